"""A gallery of eight tracklets a camera, and an index of it."""

import shutil
from pathlib import Path

import pytest

from upm_lib.deploy.index import Index, open_index
from upm_lib.retrieval.model_file import Model


@pytest.fixture
def gallery(tiny_root: Path, tmp_path: Path) -> Path:
    """A copy that a test may change: cam_a and cam_b, person_0001 to person_0008."""
    return shutil.copytree(tiny_root / "multi_shot", tmp_path / "shop's")


@pytest.fixture(scope="session")
def built(tiny_root: Path, tiny_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the tiny world; nobody may write to it."""
    place = tmp_path_factory.mktemp("index") / "shop.lance"
    open_index(place, tiny_model).add(tiny_root / "multi_shot")
    return place


@pytest.fixture
def index(built: Path, tmp_path: Path) -> Index:
    """A copy of the index, whose gallery is the tiny world itself."""
    return open_index(shutil.copytree(built, tmp_path / "shop.lance"))
