"""Settings of `pytest --nbval` that must not depend on the directory it is started in."""

import os
from pathlib import Path

import pytest

os.environ.pop("MPLBACKEND", None)  # else the notebooks' kernels inherit it and show no figures
# nbval reads a cell's messages when the cell has ended. Of a bar that moves ten times a second,
# those beyond the first thousand are lost, the last one with them, and the cell is said to hang.
os.environ.setdefault("TQDM_MININTERVAL", "5")
# A worker of pytest-xdist, and each kernel that it starts, has its share of the processors. On two
# cores a network is then trained on one thread, as by `make demo`, and comes out the same.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))


def pytest_configure(config: pytest.Config) -> None:
    """Name nbval's sanitising file from the root: nbval itself looks in the current directory."""
    if getattr(config.option, "nbval_sanitize_with", "no nbval") is None:
        config.option.nbval_sanitize_with = str(config.rootpath / "tests" / "nbval_sanitize.cfg")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what papermill wrote: notebooks outside notebooks/."""
    ours = config.rootpath / "notebooks"
    return True if collection_path.suffix == ".ipynb" and collection_path.parent != ours else None
