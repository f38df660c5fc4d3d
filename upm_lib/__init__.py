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

# A thread that waits for work spins for some microseconds, then sleeps. GNU's OpenMP, which torch
# uses on Linux, otherwise spins for milliseconds: on two idle cores a step of the paper's trunk is
# then up to a tenth faster, but where another program wants a core, the spinning thread holds up
# the one it waits for, and a small step takes 2 to 9 times as long. Sleeping at once costs a small
# step a third. OpenMP reads this when torch is first imported; a value of yours stays.
if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}:
    os.environ["GOMP_SPINCOUNT"] = "1000"

__version__ = "0.1.0"
