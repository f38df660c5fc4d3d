"""The main job: run the six notebooks on the synthetic data, keep pages and figures, sum up."""

import logging
import os
import time
import warnings
from importlib import resources
from pathlib import Path

import nbformat
import papermill
from math_core import LatexToMathML
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from papermill.exceptions import PapermillExecutionError
from tqdm import tqdm

from upm_lib import runs
from upm_lib.config import UserError, known
from upm_lib.experiments import measurement, measuring
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.pictures import canvas
from upm_lib.synthetic import world

NOTEBOOKS = ("01_data", "02_local", "03_global", "04_fusion", "05_cam", "06_tables")
MATHML = LatexToMathML()


def run(dataset: str = "synthetic_clean", progress: bool = True) -> Path:
    """Execute the notebooks in order with papermill and return the folder of the results.

    Executed notebooks and an HTML page of each go to ``demo/`` in the run store, figures at print
    size to ``figures/demo/`` in the checkout.
    """
    known(world.WORLDS, dataset, "synthetic data set")
    root, began = runs.repo_root(), time.perf_counter()
    if root is None:
        raise UserError("the notebooks are part of the checkout: clone the repository to run them")
    logging.getLogger("papermill").setLevel(logging.WARNING)
    out, figures = runs.store() / "demo", root / "figures" / "demo"
    out.mkdir(parents=True, exist_ok=True)
    parameters = {"dataset": dataset, "figures_dir": str(figures)}
    for name in tqdm(NOTEBOOKS, desc="notebooks", unit="notebook", disable=not progress):
        made = out / f"{name}.ipynb"
        try:
            papermill.execute_notebook(
                root / "notebooks" / f"{name}.ipynb",
                made,
                parameters,
                cwd=root / "notebooks",
                progress_bar=False,
            )
        except PapermillExecutionError as error:
            if error.ename == "KeyboardInterrupt":
                raise KeyboardInterrupt from None
            raise UserError(f"{made} stopped ({error.ename}: {error.evalue}): look there") from None
        body = page(nbformat.read(out / f"{name}.ipynb", as_version=4), name)
        with runs.replacing(out / f"{name}.html") as temporary:
            temporary.write_text(body, encoding="utf-8")
    print("", *summary(open_bench(dataset, progress=False)), "", sep="\n")
    print(f"Six notebooks in {time.perf_counter() - began:.0f} s. Look next at:")
    pages, pictures = os.path.relpath(out), os.path.relpath(figures)
    print(f"  {pages}/01_data.html ... 06_tables.html   the lesson, with your results")
    print(f"  {pictures}/   the figures at print size")
    print("  make lab   to read and change the notebooks in JupyterLab")
    return out


def drop_widgets(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove live widgets from a notebook, in place, and return it: their pictures are left.

    Without the kernel that made it a widget is an empty box, also where its picture stands beside.
    A progress bar has no picture and goes altogether.
    """
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in list(cell.get("outputs", [])):
            live = output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
            if live and set(output["data"]) <= {"text/plain"}:
                cell.outputs.remove(output)
    return notebook


class _Formulas(IPythonRenderer):
    """Markdown to HTML with its formulas as MathML, which browsers show without a script."""

    def inline_math(self, body: str) -> str:
        return MATHML.convert_with_local_state(body, displaystyle=False)

    def block_math(self, body: str) -> str:
        # In LaTeX a \tag stands in a numbered environment; MathJax in Jupyter asks for none.
        if r"\tag" in body:
            body = rf"\begin{{equation}}{body}\end{{equation}}"
        return MATHML.convert_with_local_state(body, displaystyle=True)


def page(notebook: nbformat.NotebookNode, title: str) -> str:
    """Return an executed notebook as one HTML file that asks for nothing from the network.

    Live widgets are dropped from the notebook. LatexError of math_core shows a formula that cannot
    be converted.
    """
    exporter = HTMLExporter(
        raw_template=resources.files(__package__).joinpath("page.html.j2").read_text("utf-8"),
        filters={"markdown2html": MarkdownWithMath(_Formulas(escape=False)).render},
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about alt texts and cell ids of the template
        body, _ = exporter.from_notebook_node(drop_widgets(notebook), {"metadata": {"name": title}})
    return body


def results(bench: Bench) -> list[tuple[str, float | None]]:
    """Return (name, Rank-1 in percent of trial 1) of every method; None where it is not run."""
    found = [
        (canvas.METHOD_NAMES[m], measuring.find(bench, bench.measurement(m)))
        for m in measurement.METHODS
    ]
    balanced = measuring.find(bench, bench.measurement("fusion", normalise_branches=True))
    found.append(("fusion, scaled first", balanced))
    return [(name, record["rank1"] if record else None) for name, record in found]


def summary(bench: Bench) -> list[str]:
    """Return the lines of the closing table."""
    people = len(bench.dataset.people) // 2
    lines = [f"Rank-1 in %, {bench.label} {bench.config.dataset!r}, {people} test people, 1 trial:"]
    for name, rank1 in [*results(bench), ("chance", 100 / people)]:
        lines.append(f"  {name:<32} " + ("not run" if rank1 is None else f"{rank1:5.1f}"))
    return lines
