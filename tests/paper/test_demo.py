"""The main job's runner: notebooks side by side, and what is left when one of them stops."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import nbformat
import pytest
import torch

from upm_lib.config import UserError
from upm_lib.paper import demo

THREADS = "import os; print(os.environ['OMP_NUM_THREADS'], dataset)"
SLOW = "import os, time, pathlib\npathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(600)"
WAITS = "import pathlib, time\nwhile not pathlib.Path('pid').exists(): time.sleep(0.1)\n"
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def write(folder: Path, **sources: str) -> list[Path]:
    """Notebooks of one cell, with a parameter."""
    for name, source in sources.items():
        notebook = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL})
        cells = [nbformat.v4.new_code_cell(text) for text in ("dataset = 'none'", source)]
        cells[0].metadata["tags"] = ["parameters"]
        notebook.cells = cells
        nbformat.write(notebook, folder / f"{name}.ipynb")
    return [folder / f"{name}.ipynb" for name in sources]


def printed(made: Path) -> str:
    return nbformat.read(made, as_version=4).cells[-1].outputs[0].text


def test_notebooks_run_with_their_parameters_and_a_share_of_the_threads(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    ready = demo.execute(write(tmp_path, a=THREADS, b=THREADS), out, {"dataset": "some people"})
    assert sorted(ready) == [out / "a.ipynb", out / "b.ipynb"]
    share = max(1, torch.get_num_threads() // 2)
    assert {printed(out / f"{name}.ipynb") for name in "ab"} == {f"{share} some people\n"}


def test_a_notebook_that_stops_stops_the_other_and_is_named(tmp_path: Path) -> None:
    wrong = f"{WAITS}raise ValueError('no such thing')"
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UserError, match=r"b\.ipynb stopped \(ValueError: no such thing\)"):
        list(demo.execute(write(tmp_path, a=SLOW, b=wrong, c=SLOW), out, {"dataset": "x"}))
    assert not (out / "c.ipynb").exists(), "the third is not begun"
    assert_ends(int((tmp_path / "pid").read_text()))


def test_what_papermill_cannot_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.ipynb").write_text("")
    with pytest.raises(UserError, match=r"papermill could not make .*empty\.ipynb"):
        list(demo.execute([tmp_path / "empty.ipynb"], tmp_path / "out", {}))


def test_a_command_runs_beside_the_first_notebook(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UserError, match=r"`python -m upm_lib train nobody` stopped: run it by"):
        list(demo.execute(write(tmp_path, a=SLOW, b=SLOW), out, {}, ["train", "nobody"]))
    assert not (out / "b.ipynb").exists(), "the second is not begun"
    (_,) = demo.execute(write(tmp_path, a=THREADS), out, {"dataset": "x"}, ["runs", "--help"])
    assert printed(out / "a.ipynb").endswith(" x\n")


def assert_ends(number: int) -> None:
    """A kernel that was told to end does so within some seconds."""
    wait = f"import os, time\nfor _ in range(200):\n    os.kill({number}, 0); time.sleep(0.1)"
    ended = subprocess.run([sys.executable, "-c", wait], capture_output=True, text=True)
    assert "ProcessLookupError" in ended.stderr, f"process {number} is still at work"


def test_whoever_stops_reading_stops_what_is_at_work(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with closing(demo.execute(write(tmp_path, a=WAITS, b=SLOW, c=SLOW), out, {})) as ready:
        assert next(ready) == out / "a.ipynb"
    assert_ends(int((tmp_path / "pid").read_text()))
