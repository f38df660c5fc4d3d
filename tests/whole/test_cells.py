"""Cells of the notebooks on data that are not the demo's: few, many, of other kinds."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pytest
from trees import both, write_prid

from upm_lib.experiments.bench import PARAMETERS

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def run(name: str, *cells: str, **names: Any) -> dict[str, Any]:
    """Execute some code cells of a notebook, by their ids, beside names; return all names."""
    code = {c.id: c.source for c in nbformat.read(NOTEBOOKS / f"{name}.ipynb", 4).cells}
    for cell in cells:
        exec(compile(code[cell], f"{name}, {cell}", "exec"), names)
    return names


@pytest.fixture
def given(run_store: Path) -> dict[str, Any]:
    """The notebooks' parameters for the least work."""
    names = run("01_data", "01-03")
    return {name: names[name] for name in (*PARAMETERS, "model_file")} | {
        "steps": 2,
        "device": "cpu",
    }


def test_the_shortest_tracklet_may_be_chosen(given: dict[str, Any], tmp_path: Path) -> None:
    root = write_prid(tmp_path, both({1: 3, 2: 3, 3: 2}))
    given |= {"dataset": "prid2011", "root": str(root), "min_frames": 3}
    assert run("01_data", "01-01", "01-04", **given)["bench"].dataset.people == (1, 2)


@pytest.mark.parametrize(("frames", "shown"), [(800, 200), (9600, 343), (100_000, 397)])
def test_of_many_frames_a_few_hundred_are_looked_at(frames: int, shown: int) -> None:
    of = SimpleNamespace(of=lambda tracklets: np.arange(frames))
    bench = SimpleNamespace(frames=of, label="", config=SimpleNamespace(dataset=""))
    halves = SimpleNamespace(probe=[])
    given = {"bench": bench, "halves": halves, "trained": [], "model_file": "a model"}
    assert len(run("05_cam", "05-01", "05-11", **given)["index"]) == shown
