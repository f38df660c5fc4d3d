"""Unsupervised video person re-identification with part models (uPMnet), in PyTorch.

The modules follow the method from left to right, and each imports only from those before it:
config -> runs -> pedestrian -> scenery -> synthetic -> tracklets -> matlab -> mars, folder
-> readers -> splits, packing -> data -> model -> frozen -> association -> training -> features
-> evaluation -> activation, complexity, published, study -> figures -> experiments -> tables
-> plan -> search -> demo.
Nothing is imported here, so that ``import upm_lib`` costs nothing.
"""

__version__ = "0.1.0"
