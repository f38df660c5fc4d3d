"""What several test files share: a run store of their own and a small synthetic world."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest
from tiny_model import bench_of, model_of
from trees import both, write_prid

from upm_lib.data.readers.sequences import prid2011
from upm_lib.data.tracklets import Dataset
from upm_lib.retrieval.model_file import Model
from upm_lib.synthetic import world

matplotlib.use("agg")  # in this process only: kernels started from here draw inline


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Numerics are compared to the last bits: on one thread the order of sums is fixed."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty run store; the folder is not created yet."""
    folder = tmp_path / "run store"
    monkeypatch.setenv("UPM_RUNS", str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_world() -> world.World:
    """Eight people, two cameras, four frames a tracklet."""
    return world.World(identities=8, cameras=2, frames=4)


@pytest.fixture(scope="session")
def tiny_root(tiny_world: world.World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny world on disk, in PRID2011's layout; nobody may write to it."""
    return world.write(tiny_world, tmp_path_factory.mktemp("drawn") / "tiny world é")


@pytest.fixture
def few(tmp_path: Path, run_store: Path) -> Dataset:
    """Four people, two cameras, three frames."""
    root = write_prid(tmp_path / "few", both(dict.fromkeys((1, 2, 3, 4), 3)))
    return prid2011(root, 1)


@pytest.fixture(scope="session")
def tiny(tiny_root: Path) -> Dataset:
    """The tiny synthetic world."""
    return prid2011(tiny_root, 1)


@pytest.fixture(scope="session")
def tiny_model(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Both networks, trained for four steps on all tracklets of the tiny world."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPM_RUNS", str(tmp_path_factory.mktemp("model")))
        return model_of(bench_of(tiny_root / "multi_shot"))
