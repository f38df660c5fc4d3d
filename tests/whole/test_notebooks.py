"""What every notebook keeps to, and what papermill users see when a parameter is wrong."""

import ast
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest

from upm_lib.experiments.bench import PARAMETERS

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("01_data", "02_local", "03_global", "04_fusion", "05_cam", "06_tables")
TAGS = {
    "parameters",  # papermill's
    "nbval-ignore-output",  # honest noise: training, timing
    "nbval-skip",
    "nbval-check-output",
    "hide-input",
}
MACHINE_PATHS = re.compile(r"/(home|root|tmp|work|Users|mnt|var/folders)/|[A-Z]:\\\\?Users")

notebook = pytest.mark.parametrize("name", NAMES)


@cache
def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def cells(name: str, kind: str = "code") -> list[nbformat.NotebookNode]:
    return [cell for cell in read(name).cells if cell.cell_type == kind]


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def outputs(name: str) -> Iterator[nbformat.NotebookNode]:
    for cell in cells(name):
        yield from cell.outputs


def texts(output: nbformat.NotebookNode) -> Iterator[str]:
    """Everything in an output that is text: pictures in base64 are left out."""
    if output.output_type == "stream":
        yield output.text
    elif output.output_type == "error":
        yield from output.traceback
    else:
        for mime, content in output.data.items():
            if not mime.startswith("image/") or mime == "image/svg+xml":
                yield content if isinstance(content, str) else json.dumps(content)


def parameters(name: str) -> dict[str, Any]:
    """The names in the cell tagged `parameters` with their defaults."""
    (cell,) = (cell for cell in cells(name) if "parameters" in tags(cell))
    found = {}
    for node in ast.parse(cell.source).body:
        assert isinstance(node, ast.Assign), "the cell holds plain assignments only"
        (target,) = node.targets
        found[target.id] = ast.literal_eval(node.value)
    return found


# ---------------------------------------------------------------- the set


def test_the_six_notebooks_are_there_and_no_others() -> None:
    found = sorted(path.name for path in (ROOT / "notebooks").iterdir())
    hidden = {".ipynb_checkpoints", "__pycache__"}
    assert [name for name in found if name not in hidden] == [f"{name}.ipynb" for name in NAMES]


def test_all_notebooks_have_the_same_parameters() -> None:
    first = parameters(NAMES[0])
    for name in NAMES[1:]:
        assert parameters(name) == first
    assert {"dataset", "root", "backbone", "k", "scale", "steps", "seed", "device"} <= set(first)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", parameter) for parameter in first)
    assert set(first) == {*PARAMETERS, "model_file"}
    (table,) = (c.source for c in cells("01_data", "markdown") if "## Parameters" in c.source)
    assert [name for name in first if f"| `{name}` |" not in table] == []


def test_the_defaults_need_no_data_and_no_gpu() -> None:
    defaults = parameters(NAMES[0])
    assert defaults["dataset"].startswith("synthetic_")
    assert defaults["scale"] == "demo"
    assert defaults["root"] is defaults["weights"] is defaults["device"] is None


# ---------------------------------------------------------------- form


@notebook
def test_the_notebook_is_valid_and_runs_on_any_python3_kernel(name: str) -> None:
    nbformat.validate(read(name))
    assert read(name).metadata.kernelspec.name == "python3"


@notebook
def test_it_begins_with_a_title_and_the_section_of_the_paper(name: str) -> None:
    first = read(name).cells[0]
    assert first.cell_type == "markdown"
    assert re.match(r"# \S", first.source)
    assert re.search(r"[Ss]ections?\s+\d", first.source)


@notebook
def test_it_ends_by_recording_what_it_measured(name: str) -> None:
    assert "record(" in cells(name)[-1].source


@notebook
def test_prose_is_at_least_as_long_as_code(name: str) -> None:
    prose, code = (
        sum(len(cell.source) for cell in cells(name, kind)) for kind in ("markdown", "code")
    )
    assert prose >= code


def definitions(cell: nbformat.NotebookNode) -> list[ast.FunctionDef]:
    return [node for node in ast.parse(cell.source).body if isinstance(node, ast.FunctionDef)]


@notebook
def test_code_cells_are_short(name: str) -> None:
    for cell in cells(name):
        if "parameters" in tags(cell):  # a line each
            continue
        allowed = 30 if definitions(cell) else 15
        assert len(cell.source.strip().splitlines()) <= allowed, cell.source


@notebook
def test_a_definition_teaches_and_the_next_cell_compares_it_with_the_library(name: str) -> None:
    code = cells(name)
    for number, cell in enumerate(code):
        after = next((c for c in code[number + 1 :] if not definitions(c)), None)
        for node in definitions(cell):
            assert ast.get_docstring(node), f"{node.name} says what it is"
            called = {n.id for n in ast.walk(ast.parse(after.source)) if isinstance(n, ast.Name)}
            assert node.name in called, f"{node.name} is compared in the cell that follows"
            (result,) = [o for o in after.outputs if o.output_type == "execute_result"]
            assert "True" in result.data["text/plain"], after.source
            assert "False" not in result.data["text/plain"], after.source


@notebook
def test_code_otherwise_calls_the_library(name: str) -> None:
    forbidden = (ast.AsyncFunctionDef, ast.ClassDef)
    for cell in cells(name):
        lines = [line.strip() for line in cell.source.splitlines()]
        assert not [line for line in lines if line.startswith(("!", "%"))], "no shell, no magics"
        assert "sys.path" not in cell.source
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, forbidden), f"a definition in line {node.lineno}"
            if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)):
                assert not isinstance(node.value, ast.Lambda), f"a lambda in line {node.lineno}"


@notebook
def test_no_cell_ends_in_a_semicolon(name: str) -> None:
    # nbval runs cells without history, and then IPython prints the value all the same.
    assert not [cell.source for cell in cells(name) if cell.source.rstrip().endswith(";")]


@notebook
def test_only_known_tags_are_used(name: str) -> None:
    used = {tag for cell in read(name).cells for tag in tags(cell)}
    assert used <= TAGS


@notebook
def test_most_outputs_are_compared(name: str) -> None:
    unseen = {"nbval-ignore-output", "nbval-skip"}
    ignored = [cell for cell in cells(name) if unseen & set(tags(cell))]
    comments = [cell for cell in cells(name) if "NBVAL_" in cell.source]
    assert comments == [], "tags, not comments"
    assert len(ignored) <= len(cells(name)) // 2  # measured tables are honest noise


# ---------------------------------------------------------------- committed outputs


@notebook
def test_every_code_cell_was_executed_in_order_in_a_fresh_kernel(name: str) -> None:
    counts = [cell.execution_count for cell in cells(name)]
    assert counts == list(range(1, len(counts) + 1))


@notebook
def test_outputs_hold_no_errors_and_no_warnings(name: str) -> None:
    for output in outputs(name):
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.get("text")


@notebook
def test_pictures_are_in_the_outputs(name: str) -> None:
    if name != "06_tables":
        assert any(
            {"image/png", "image/jpeg"} & set(output.get("data", {})) for output in outputs(name)
        )


@notebook
def test_outputs_name_no_machine(name: str) -> None:
    host = platform.node()
    for output in outputs(name):
        for text in texts(output):
            assert not MACHINE_PATHS.search(text), text
            if len(host) > 3 and host != "localhost":
                assert not re.search(rf"\b{re.escape(host)}\b", text), text


@notebook
def test_no_trace_of_the_tools_that_ran_it(name: str) -> None:
    assert set(read(name).metadata) <= {"kernelspec", "language_info"}
    assert "version" not in read(name).metadata.get("language_info", {})
    for cell in read(name).cells:
        assert not {"papermill", "execution", "widgets"} & set(cell.metadata)
        for output in cell.get("outputs", []):
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})


@notebook
def test_the_file_is_small(name: str) -> None:
    assert (ROOT / "notebooks" / f"{name}.ipynb").stat().st_size < 400_000


@notebook
def test_links_to_other_files_lead_somewhere(name: str) -> None:
    for cell in cells(name, "markdown"):
        for target in re.findall(r"\]\(([^)\s]+)\)", cell.source):
            if not re.match(r"[a-z]+:|#", target):
                assert (ROOT / "notebooks" / target.partition("#")[0]).exists(), target


# ---------------------------------------------------------------- papermill


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run store for all papermill runs: the synthetic data are drawn once."""
    return tmp_path_factory.mktemp("papermill") / "runs"


def papermill(store: Path, out: Path, **values: object) -> subprocess.CompletedProcess[str]:
    """Run 03_global from the root of the checkout, as the README has it."""
    command = [sys.executable, "-m", "papermill", "notebooks/03_global.ipynb", str(out)]
    for name, value in values.items():
        command += ["-p", name, str(value)]
    environment = os.environ | {"UPM_RUNS": str(store), "PYTHONWARNINGS": "ignore"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def tree() -> set[str]:
    """What git sees as changed, new or ignored, and every file where notebooks might leave one."""
    caches = re.compile(r"__pycache__|_cache\b|\.ipynb_checkpoints|\.hypothesis")
    command = ["git", "status", "--porcelain", "--ignored"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    files = {str(p) for name in ("notebooks", "figures") for p in (ROOT / name).rglob("*")}
    return {line for line in files.union(done.stdout.splitlines()) if not caches.search(line)}


@pytest.mark.parametrize("k", [8, 2, 1])
def test_papermill_runs_a_notebook_from_the_root_and_leaves_nothing_there(
    k: int, shared_store: Path, tmp_path: Path
) -> None:
    before, out = tree(), tmp_path / "out.ipynb"
    done = papermill(shared_store, out, k=k, steps=6)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "unknown parameter" not in done.stderr
    assert tree() - before == set()
    kept = {path.name for path in shared_store.iterdir()}
    assert kept == {"data", "packed", "training", "results"}
    executed = nbformat.read(out, as_version=4)
    (injected,) = (cell for cell in executed.cells if "injected-parameters" in tags(cell))
    assert f"k = {k}" in injected.source
    record = json.loads((shared_store / "results" / "03_global.json").read_text())
    found = {row["method"]: row["k"] for row in record["rows"]}
    assert found["local"] == found["global"] == k


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"k": 3}, "k = 3 does not divide"),
        ({"k": "abc"}, "k must be a whole number, not 'abc'"),
        ({"dataset": "synthetic_claen"}, "did you mean 'synthetic_clean'"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_papermill_ends_with_one_sentence_about_a_wrong_parameter(
    values: dict[str, object], sentence: str, shared_store: Path, tmp_path: Path
) -> None:
    done = papermill(shared_store, tmp_path / "out.ipynb", **{"steps": 6, **values})
    assert done.returncode != 0
    last = [line for line in done.stderr.splitlines() if line.strip()][-2:]
    assert "Exception encountered" in last[0], "papermill's own words, then the sentence alone"
    assert last[1].startswith("UserError: ")
    assert sentence in last[1]
    executed = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    shown = [text for cell in executed.cells for o in cell.get("outputs", []) for text in texts(o)]
    assert any(sentence in text for text in shown)
    assert not any("Traceback" in text for text in shown)
