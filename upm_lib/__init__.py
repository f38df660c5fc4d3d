"""Unsupervised video person re-identification with part models (uPMnet), in PyTorch.

The library is a house of rooms; a room imports only from those below it, and a file only from
those before it in its room. From the ground up: config -> command -> files -> distributed -> runs
-> synthetic -> pictures -> data -> learning -> retrieval -> experiments -> deploy, paper ->
__main__. The docstring of each room says what it is for, what comes in and what goes out. Nothing
of it is imported here before :func:`load` is called, so that ``import upm_lib`` costs nothing.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upm_lib.retrieval.model_file import Model

# A thread that waits for work spins for some microseconds, then sleeps. GNU's OpenMP, which torch
# uses on Linux, otherwise spins for milliseconds: on two idle cores a step of the paper's network
# is then up to a tenth faster, but where another program wants a core, the spinning thread holds up
# the one it waits for, and a small step takes 2 to 9 times as long. Sleeping at once costs a small
# step a third. OpenMP reads this when torch is first imported; a value of yours stays.
if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}:
    os.environ["GOMP_SPINCOUNT"] = "1000"

__version__ = "0.1.0"


def load(path: str, device: str | None = None) -> "Model":
    """Return the trained model in a file; see :func:`upm_lib.retrieval.model_file.load`."""
    from upm_lib.retrieval import model_file

    return model_file.load(path, device)
