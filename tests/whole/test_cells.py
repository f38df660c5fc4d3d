"""Cells of the notebooks on data that are not the demo's: few, many, of other kinds."""

from itertools import product
from pathlib import Path
from runpy import run_path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pytest
from trees import both, write_image, write_prid

from upm_lib.config import DEMO, UserError
from upm_lib.experiments.bench import PARAMETERS

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
# What shows people in two notebooks, with the cells before that it needs.
PEOPLE = {"01_data": ("01-01", "01-04", "01-10"), "05_cam": ("05-01", "05-03", "05-09")}


def run(name: str, *cells: str, **names: Any) -> dict[str, Any]:
    """Execute some code cells of a notebook, by their ids, beside names; return all names."""
    code = {c.id: c.source for c in nbformat.read(NOTEBOOKS / f"{name}.ipynb", 4).cells}
    with TemporaryDirectory() as folder:
        program = Path(folder, f"{name}.py")
        program.write_text("\n".join(code[cell] for cell in cells), encoding="utf-8")
        return run_path(str(program), names)


@pytest.fixture
def given(run_store: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The notebooks' parameters for the least work: small batches, two steps."""
    for name in ("folder", "synthetic_clean"):
        monkeypatch.setitem(DEMO[name], "batch", 8)
    names = run("01_data", "01-03") | {"backbone": "small", "steps": 2, "device": "cpu"}
    return {name: names[name] for name in (*PARAMETERS, "model_file")}


@pytest.mark.filterwarnings("ignore:left out 1 of 3 people")
def test_the_shortest_tracklet_may_be_chosen(given: dict[str, Any], tmp_path: Path) -> None:
    root = write_prid(tmp_path, both({1: 3, 2: 3, 3: 2}))
    given |= {"dataset": "prid2011", "root": str(root), "min_frames": 3}
    assert run("01_data", "01-01", "01-04", **given)["bench"].dataset.people == (1, 2)


@pytest.fixture
def three_cameras(given: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The parameters for a folder with three cameras and six tracklets in each, without names."""
    root = tmp_path / "own"
    for camera, number in product("abc", range(6)):
        write_image(root / camera / str(number) / "1.png", (40 * number, 99, 0), (32, 16))
    return given | {"dataset": "folder", "root": str(root)}


def test_notebooks_1_and_5_show_people_whom_two_cameras_saw(
    three_cameras: dict[str, Any], tmp_path: Path
) -> None:
    lines = [f"{camera},{number},{number // 2}" for camera, number in product("abc", range(6))]
    (tmp_path / "own" / "identities.csv").write_text("\n".join(["camera,tracklet,person", *lines]))
    first, last = (run(name, *PEOPLE[name], **three_cameras) for name in PEOPLE)
    people, cameras = first["bench"].people(first["pairs"]), first["bench"].cameras(first["pairs"])
    assert len(people) == 4 and (people[::2] == people[1::2]).all()
    assert (cameras[::2] != cameras[1::2]).all()
    assert last["shown"].tolist() == [*first["pairs"][::2], *first["pairs"][1::2]]  # a frame each


@pytest.mark.parametrize("name", PEOPLE)
def test_people_without_names_get_a_sentence(three_cameras: dict[str, Any], name: str) -> None:
    with pytest.raises(UserError, match="no identities, so nobody can tell"):
        run(name, *PEOPLE[name], **three_cameras)


FIRST = {
    "02_local": ("02-01", "02-03", "02-07", "method-loss", "method-update", "loop", "loop-same"),
    "03_global": ("03-01", "03-03", "global-aware", "global-aware-same", "03-13"),
}


@pytest.mark.parametrize("name", FIRST)
def test_three_steps_are_shown_of_a_training_of_one(
    given: dict[str, Any], tiny_root: Path, name: str
) -> None:
    names = run(name, *FIRST[name], **given | {"root": str(tiny_root), "steps": 1})
    assert names["bench"].config.steps == 1 and len(names["run"].log()) == 3


@pytest.mark.parametrize(("frames", "shown"), [(800, 200), (9600, 343), (100_000, 397)])
def test_of_many_frames_a_few_hundred_are_looked_at(frames: int, shown: int) -> None:
    of = SimpleNamespace(of=lambda tracklets: np.arange(frames))
    bench = SimpleNamespace(frames=of, label="", config=SimpleNamespace(dataset=""))
    halves = SimpleNamespace(probe=[])
    given = {"bench": bench, "halves": halves, "trained": [], "model_file": "a model"}
    assert len(run("05_cam", "05-01", "05-11", **given)["index"]) == shown
