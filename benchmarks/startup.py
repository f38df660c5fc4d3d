"""How soon a notebook is ready: imports, and the first result of a kernel with cached runs."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from benchmarks import timing
from upm_lib.paper import demo

CODE = ("pass", "import upm_lib", "import torch", "import upm_lib.experiments.bench")
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def imports() -> list[list[str]]:
    """Seconds of a fresh interpreter for each piece of code."""
    seconds: dict[str, list[float]] = {code: [] for code in CODE}
    for run in range(4):
        for code in CODE:
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            if run > 0:
                seconds[code].append(time.perf_counter() - began)
    return [[f"`{code}`", f"{statistics.median(s):.2f}"] for code, s in seconds.items()]


def opened(name: str, figures: str) -> tuple[float, float]:
    """Seconds from the start of a kernel to the first result and to the notebook's end."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    parameters = f"figures_dir = {figures!r}"  # the committed pictures stay as they are
    tagged = ("parameters" in c.metadata.get("tags", ()) for c in notebook.cells)
    place = list(tagged).index(True)
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(parameters))
    first: list[float] = []

    def executed(cell: nbformat.NotebookNode, **_: object) -> None:
        if cell.outputs and not first:
            first.append(time.perf_counter() - began)

    client = NotebookClient(
        notebook,
        timeout=1800,
        kernel_name="python3",
        resources={"metadata": {"path": NOTEBOOKS}},
        on_cell_executed=executed,
    )
    began = time.perf_counter()
    client.execute()
    return first[0], time.perf_counter() - began


def main() -> None:
    """Print the tables; the first round makes the runs that are missing."""
    print("## Start-up\n")
    print("Wall seconds of a fresh interpreter:\n")
    print(timing.table(("code", "s"), imports()))
    with tempfile.TemporaryDirectory() as figures:
        for name in demo.NOTEBOOKS:
            opened(name, figures)
        rows = [[name, *(f"{s:.1f}" for s in opened(name, figures))] for name in demo.NOTEBOOKS]
    print("\nWall seconds of a fresh kernel when the runs are cached. Aim: first result in 10 s.\n")
    print(timing.table(("notebook", "first result", "whole notebook"), rows))


if __name__ == "__main__":
    main()
