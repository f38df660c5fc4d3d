"""Execute the notebooks in place with their defaults; refresh the README's pictures and results.

For maintainers, after a change of the library or of a notebook:

    make notebooks

Each notebook is executed twice: the second time every training run is found in the store, so that
no progress bar is left in the outputs. Then what changes from run to run is stripped.
"""

import subprocess
import sys
from pathlib import Path

import cv2
import nbformat
import pandas as pd
from nbclient import NotebookClient

from upm_lib import runs
from upm_lib.command import command
from upm_lib.experiments.bench import open_bench
from upm_lib.paper import demo, study
from upm_lib.synthetic.world import WORLDS

VOLATILE = ("execution", "papermill")
# The pictures that README.md shows, by their name in figures/demo.
README_FIGURES = ("01_people", "02_training", "03_architecture", "04_ranked_lists", "05_maps")


def execute(path: Path) -> None:
    """Execute one notebook in its own folder and strip what is volatile."""
    for _ in range(2):
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(
            notebook,
            timeout=1800,
            kernel_name="python3",
            resources={"metadata": {"path": path.parent}},
        ).execute()
        demo.drop_widgets(notebook)
        notebook.metadata["language_info"] = {"name": "python"}
        for cell in notebook.cells:
            for key in VOLATILE:
                cell.metadata.pop(key, None)
        nbformat.write(notebook, path)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def demo_table() -> str:
    """Return what the demo measured, as Markdown."""
    lines = ["| method | Rank-1 (%), synthetic |", "|---|---|"]
    for name, rank1 in demo.results(open_bench(progress=False)):
        lines.append(f"| {name} | " + ("not run" if rank1 is None else f"{rank1:.0f}") + " |")
    return "\n".join(lines) + "\n"


def markdown(table: pd.DataFrame) -> str:
    """Return a table of the committed study, a line a method, as Markdown."""
    lines = ["| method | " + " | ".join(map(str, table)) + " |"]
    lines.append("|---" * (1 + table.shape[1]) + "|")
    lines += [f"| {name} | " + " | ".join(row) + " |" for name, row in table.iterrows()]
    return "\n".join(lines) + "\n"


def write_results(page: Path) -> None:
    """Put what the demo and the study measured between the markers of the README."""
    text = page.read_text()
    worlds = study.comparison(sets=WORLDS).rename(columns="`{}`".format)
    tables = {"people": markdown(study.measured("ward")), "results": demo_table()}
    tables["study"] = markdown(worlds)
    for mark, table in tables.items():
        before, start, rest = text.partition(f"<!-- {mark} -->\n")
        text = before + start + table + rest[rest.index("<!-- end -->") :]
    with runs.replacing(page) as temporary:
        temporary.write_text(text)


@command
def main() -> None:
    """Refresh all notebooks, then run the demo and take half-size copies for the README."""
    root = Path(__file__).resolve().parents[1]
    for name in demo.NOTEBOOKS:
        execute(root / "notebooks" / f"{name}.ipynb")
    demo.run()
    for name in README_FIGURES:
        picture = cv2.imread(str(root / "figures" / "demo" / f"{name}.png"))
        assert picture is not None, f"figures/demo/{name}.png is no picture"
        half = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(root / "figures" / f"{name}.png"), half, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    write_results(root / "README.md")
    subprocess.run(["git", "status", "--short", "notebooks", "figures"], check=True, cwd=root)


if __name__ == "__main__":
    sys.exit(main())
