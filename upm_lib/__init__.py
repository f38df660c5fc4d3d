"""Unsupervised video person re-identification with part models (uPMnet), in PyTorch.

The modules follow the method from left to right, and each imports only from those before it:
config -> distributed -> runs -> pedestrian -> scenery -> synthetic -> tracklets -> matlab
-> mars, folder -> readers -> splits, packing -> data -> model -> frozen -> association -> training
-> features -> evaluation -> activation, complexity, published, study -> canvas
-> toyworld, drawings, photos, figures -> experiments -> analysis -> interactive, tables -> plan
-> search -> demo.
Nothing of it is imported here, so that ``import upm_lib`` costs nothing.
"""

import os

# Threads that wait for work sleep instead of spinning. Where other programs want the cores, a
# spinning thread holds up the one it waits for: a step of the small trunk took 2 to 6 times as
# long on two busy cores. OpenMP reads this when torch is first imported; a value of yours stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
