"""Experiments as calls: open data, find or train networks, measure, analyse.

In: the name of a data set and a method. Out: records of what was measured, kept in the run store,
so that nothing is done twice. A ``Bench`` is the open data; a ``Measurement`` is one method on one
trial. May use all rooms but ``deploy`` and ``paper``.
Files: measurement -> bench -> networks -> measuring -> analysis -> alignment, curves, sliders.
"""
