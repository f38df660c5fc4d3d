"""The walk through JupyterLab finds what is wrong, in a real browser where there is one."""

import asyncio
import runpy
import shutil
import sys
from pathlib import Path

import nbformat
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "data_scripts" / "walk_lab.py"
walk_lab = runpy.run_path(str(SCRIPT))
CHROMIUM = next(filter(None, map(shutil.which, walk_lab["BROWSERS"])), None)
GOOD = (
    "import time",
    "from tqdm.auto import tqdm",
    "for _ in tqdm(range(8)): time.sleep(0.3)",
    "print('done')",
)


def notebook(folder: Path, name: str, *sources: str) -> Path:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    about = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    path = folder / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=about), path)
    return path


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_good_notebook_passes_and_a_failing_one_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TQDM_MININTERVAL", raising=False)  # bars move as users see them
    good = notebook(tmp_path, "good", *GOOD)
    bad = notebook(tmp_path, "bad", "1", "2", "raise OSError('no film')", "4")
    content = good.read_bytes()
    assert asyncio.run(walk_lab["walk_all"](CHROMIUM, [good, bad], tmp_path, 60)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("good: ")
    assert "1 of 1 progress bars seen moving, 0 sliders; all well" in lines[0]
    assert "error output: OSError: no film; 1 cells not run" in lines[1]
    assert good.read_bytes() == content  # copies are walked
    for name in ("good", "bad"):
        for theme in ("light", "dark"):
            assert (tmp_path / f"{name}-{theme}-01.png").stat().st_size > 1000


def test_without_a_browser_there_is_a_sentence_and_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(SCRIPT)])
    assert walk_lab["main"]() == 3
    assert capsys.readouterr().err == "no Chromium here: install Debian's package chromium\n"
