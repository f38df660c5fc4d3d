"""The main job: run the six notebooks on the synthetic data, keep pages and figures, sum up."""

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Generator, Sequence
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import nbformat
import torch
from math_core import LatexToMathML
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from tqdm import tqdm

from upm_lib import runs
from upm_lib.config import UserError, known
from upm_lib.experiments import measurement, measuring
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.pictures import canvas
from upm_lib.synthetic import world

NOTEBOOKS = ("01_data", "02_local", "03_global", "04_fusion", "05_cam", "06_tables")
# At once, each with its share of the threads: a step of the small network does not fill two cores,
# so two networks that train side by side are ready sooner than one after the other.
AT_ONCE = 2
# Begun in this order, so that none has to wait long for what another one trains. Notebook 2 trains
# two networks; the third one, which notebook 3 needs, is trained beside it.
ORDER = ("02_local", "01_data", "03_global", "05_cam", "04_fusion", "06_tables")
AHEAD = ("train", "global", "--quiet")
MATHML = LatexToMathML()


def run(dataset: str = "synthetic_clean", progress: bool = True) -> Path:
    """Execute the notebooks with papermill, two at a time, and return the folder of the results.

    What one of them has trained the others find in the run store. Executed notebooks and an HTML
    page of each go to ``demo/`` in the store, figures at print size to ``figures/demo/`` in the
    checkout.

    Raises UserError where a notebook stops, with what stopped it.
    """
    known(world.WORLDS, dataset, "synthetic data set")
    root, began = runs.repo_root(), time.perf_counter()
    if root is None:
        raise UserError("the notebooks are part of the checkout: clone the repository to run them")
    out, figures = runs.store() / "demo", root / "figures" / "demo"
    out.mkdir(parents=True, exist_ok=True)
    parameters = {"dataset": dataset, "figures_dir": str(figures)}
    paths = [root / "notebooks" / f"{name}.ipynb" for name in ORDER]
    ahead = (*AHEAD, "--dataset", dataset)
    folder = os.path.relpath(root / "notebooks", out)
    bar = tqdm(total=len(paths), desc="notebooks", unit="notebook", disable=not progress)
    with bar, closing(execute(paths, out, parameters, ahead)) as finished:
        for made in finished:
            body = page(nbformat.read(made, as_version=4), made.stem, folder)
            with runs.replacing(made.with_suffix(".html")) as temporary:
                temporary.write_text(body, encoding="utf-8")
            bar.update()
    print("", *summary(open_bench(dataset, progress=False)), "", sep="\n")
    print(f"Six notebooks in {time.perf_counter() - began:.0f} s. Look next at:")
    pages, pictures = os.path.relpath(out), os.path.relpath(figures)
    print(f"  {pages}/01_data.html ... 06_tables.html   the lesson, with your results")
    print(f"  {pictures}/   the figures at print size")
    print("  make lab   to read and change the notebooks in JupyterLab")
    return out


class Job(NamedTuple):
    """A process: what follows ``python -m``, and the notebook it makes, if it makes one."""

    words: tuple[str, ...]
    made: Path | None = None


def execute(
    notebooks: Sequence[Path], out: Path, parameters: dict[str, str], ahead: Sequence[str] = ()
) -> Generator[Path, None, None]:
    """Execute notebooks in their folders, begun in this order; yield each as it is ready in out.

    ``ahead`` is a command of ``python -m upm_lib`` that is begun beside the first notebook. Closing
    the iterator stops what is still at work. Raises UserError where one of them stops.
    """
    options = [word for pair in parameters.items() for word in ("-r", *pair)]
    jobs = []
    for path in notebooks:
        (made := out / path.name).unlink(missing_ok=True)
        words = ("papermill", str(path), str(made), "--cwd", str(path.parent), *options)
        jobs.append(Job((*words, "--no-progress-bar"), made))
    jobs[1:1] = [Job(("upm_lib", *ahead))] if ahead else []
    # A result depends on the number of threads: sums are rounded in another order.
    threads = {"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // AT_ONCE))}
    at_work, ready = dict[Job, subprocess.Popen](), list[Path]()
    try:
        while jobs or at_work or ready:
            while jobs and len(at_work) < AT_ONCE:
                job = jobs.pop(0)
                at_work[job] = subprocess.Popen(
                    [sys.executable, "-m", *job.words],
                    env=os.environ | threads,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            yield from ready  # while the next ones are at work
            time.sleep(0.1)
            ended = [job for job, process in at_work.items() if process.poll() is not None]
            if failed := [job for job in ended if at_work.pop(job).returncode]:
                raise UserError(_stopped(failed[0]))
            ready = [job.made for job in ended if job.made]
    finally:
        for process in at_work.values():
            process.terminate()
        for process in at_work.values():
            process.wait()


def _stopped(job: Job) -> str:
    """Return why a job has failed, or where to see why."""
    if (made := job.made) is None:
        return f"`python -m {' '.join(job.words)}` stopped: run it by hand to see why"
    cells = nbformat.read(made, as_version=4).cells if made.exists() else []
    for output in (output for cell in cells for output in cell.get("outputs", [])):
        if output.output_type == "error":
            return f"{made} stopped ({output.ename}: {output.evalue}): look there"
    return f"papermill could not make {made}: run it by hand to see why"


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


class _Text(IPythonRenderer):
    """Markdown to HTML that lies in another folder than the notebook (``path``, seen from there).

    Links lead to the pages of the other notebooks, and to the files of the checkout. Formulas are
    MathML, which browsers show without a script.
    """

    def link(self, text: str, url: str, title: str | None = None) -> str:
        if url.endswith(".ipynb"):
            url = f"{Path(url).stem}.html"
        elif url.startswith("../"):
            url = Path(os.path.normpath(Path(self.path, url))).as_posix()
        return super().link(text, url, title)

    def inline_math(self, body: str) -> str:
        return MATHML.convert_with_local_state(body, displaystyle=False)

    def block_math(self, body: str) -> str:
        # In LaTeX a \tag stands in a numbered environment; MathJax in Jupyter asks for none.
        if r"\tag" in body:
            body = rf"\begin{{equation}}{body}\end{{equation}}"
        return MATHML.convert_with_local_state(body, displaystyle=True)


def page(notebook: nbformat.NotebookNode, title: str, folder: str) -> str:
    """Return an executed notebook as one HTML file that asks for nothing from the network.

    Live widgets are dropped from the notebook; ``folder`` is that of the notebook, seen from the
    page. LatexError of math_core shows a formula that cannot be converted.
    """
    exporter = HTMLExporter(
        raw_template=resources.files(__package__).joinpath("page.html.j2").read_text("utf-8"),
        filters={"markdown2html": MarkdownWithMath(_Text(escape=False, path=folder)).render},
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
