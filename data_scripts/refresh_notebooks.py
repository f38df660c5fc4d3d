"""Execute the notebooks in place with their defaults; refresh the README's pictures and results.

For maintainers, after a change of the library or of a notebook:

    make notebooks

The demo is run first: what it has trained is then found in the store, so that no progress bar is
left in the outputs.
"""

import argparse
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import nbformat
import pandas as pd
from tqdm import tqdm

from upm_lib import runs
from upm_lib.command import command
from upm_lib.experiments.bench import open_bench
from upm_lib.paper import demo, study
from upm_lib.synthetic.world import WORLDS

# The pictures that README.md shows, by their name in figures/demo.
README_FIGURES = ("01_people", "02_training", "03_architecture", "04_ranked_lists", "05_maps")


def refresh(paths: list[Path]) -> None:
    """Execute notebooks and put the outputs, and nothing else, into their cells."""
    place = {path.name: path for path in paths}
    with TemporaryDirectory() as out, closing(demo.execute(paths, Path(out), {})) as finished:
        for ready in tqdm(finished, "refreshing", len(paths)):
            path = place[ready.name]
            notebook = nbformat.read(path, as_version=4)
            made = demo.drop_widgets(nbformat.read(ready, as_version=4))
            for cell, executed in zip(notebook.cells, made.cells, strict=True):
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = executed.outputs, executed.execution_count
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
    deeper = study.measured("ward", study.DEEPER)
    tables["deeper"] = markdown(deeper.drop(index=["colour histogram", "untrained"]))
    tables["study"] = markdown(worlds)
    for mark, table in tables.items():
        before, start, rest = text.partition(f"<!-- {mark} -->\n")
        text = before + start + table + rest[rest.index("<!-- end -->") :]
    with runs.replacing(page) as temporary:
        temporary.write_text(text)


@command
def main() -> None:
    """Run the demo, refresh all notebooks, and take half-size copies of figures for the README."""
    argparse.ArgumentParser(description=main.__doc__).parse_args()
    root = Path(__file__).resolve().parents[1]
    demo.run()
    refresh([root / "notebooks" / f"{name}.ipynb" for name in demo.NOTEBOOKS])
    for name in README_FIGURES:
        picture = cv2.imread(str(root / "figures" / "demo" / f"{name}.png"))
        assert picture is not None, f"figures/demo/{name}.png is no picture"
        half = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(root / "figures" / f"{name}.png"), half, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    write_results(root / "README.md")
    subprocess.run(["git", "status", "--short", "notebooks", "figures"], check=True, cwd=root)


if __name__ == "__main__":
    sys.exit(main())
