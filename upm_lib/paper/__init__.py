"""The paper: its numbers, its tables, what they still need, and the notebooks that teach it.

In: a bench and the published cells. Out: Tables 1 to 6 with published and measured values side by
side, plans that run them, the committed study, the executed notebooks. May use all rooms.
Files: committed, complexity -> published -> tables -> study, plan -> misalignment, verdict, demo.
"""
