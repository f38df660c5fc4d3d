"""Citation, workflow, hooks and dev container agree with the project they belong to."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

import upm_lib

ROOT = Path(__file__).resolve().parents[2]


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text()
    named = re.findall(r"^([\w-]+):", makefile, re.MULTILINE)
    ready = re.findall(r"^(?:VENV|READY) [?:]= (?:\$\(VENV\))?(\S+)", makefile, re.MULTILINE)
    return {*named, "".join(ready)}


def pyproject(pattern: str) -> str:
    return re.search(pattern, (ROOT / "pyproject.toml").read_text(), re.DOTALL)[1]


# ---------------------------------------------------------------- citation


def test_the_citation_has_the_version_and_the_licence_of_the_project() -> None:
    citation = read("CITATION.cff")
    assert citation["version"] == upm_lib.__version__
    assert citation["license"] == pyproject(r'^.*?\nlicense = "(.+?)"')


def test_the_citation_is_that_of_the_readme() -> None:
    bibtex = (ROOT / "README.md").read_text().split("```bibtex")[1].split("```")[0]
    fields = dict(re.findall(r"(\w+) = \{(.+?)\}", bibtex))
    paper = read("CITATION.cff")["preferred-citation"]
    names = [f"{author['family-names']}, {author['given-names']}" for author in paper["authors"]]
    assert {
        "author": " and ".join(names),
        "title": paper["title"],
        "journal": paper["journal"],
        "volume": str(paper["volume"]),
        "number": paper["issue"],
        "pages": f"{paper['start']}--{paper['end']}",
        "year": str(paper["year"]),
        "doi": paper["doi"],
    } == fields


# ---------------------------------------------------------------- workflow


def test_the_workflow_begins_with_the_oldest_python() -> None:
    versions = read(".github/workflows/test.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert all(isinstance(version, str) for version in versions), "3.10 unquoted is 3.1"
    assert versions[0] == pyproject(r'requires-python = ">=([\d.]+)"')


def test_the_workflow_runs_make_with_few_rights_and_an_end() -> None:
    workflow = read(".github/workflows/test.yml")
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 90
        commands = [step["run"] for step in job["steps"] if "run" in step]
        assert commands == ["make lint", "make test"]
        assert {command.split()[1] for command in commands} <= make_targets()


# ---------------------------------------------------------------- hooks


@pytest.fixture(scope="module")
def hooks() -> dict[str, dict[str, Any]]:
    (repo,) = read(".pre-commit-config.yaml")["repos"]
    return {hook["id"]: hook for hook in repo["hooks"]}


def test_the_programs_of_the_hooks_are_installed_by_make(hooks: dict[str, Any]) -> None:
    tests = pyproject(r"\ntests = \[(.*?)\]")
    programs = {re.match(r"\.venv/bin/(\w+)|", hook["entry"])[1] for hook in hooks.values()}
    assert programs - {None} == {"ruff", "nbstripout"}
    assert all(f'"{program}>=' in tests for program in programs - {None})


def test_the_hook_turns_a_saved_notebook_into_the_committed_one(
    hooks: dict[str, Any], tmp_path: Path
) -> None:
    committed = ROOT / "notebooks" / "02_local.ipynb"
    notebook = nbformat.read(committed, as_version=4)
    notebook.metadata["language_info"] |= {
        "version": "3.11.7",
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
    }
    notebook.metadata["papermill"] = {"duration": 1.0}
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    for cell in notebook.cells:
        cell.metadata["papermill"] = {"duration": 1.0}
        cell.metadata["execution"] = {"iopub.status.busy": "2026-01-01T00:00:00Z"}
    saved = tmp_path / committed.name
    nbformat.write(notebook, saved)
    assert saved.read_bytes() != committed.read_bytes()
    program = shutil.which("nbstripout", path=Path(sys.executable).parent)
    subprocess.run([program, *hooks["nbstripout"]["args"], saved], check=True, cwd=ROOT)
    assert saved.read_bytes() == committed.read_bytes()


def test_what_is_committed_passes_the_hooks_for_files(hooks: dict[str, Any]) -> None:
    left_out = re.compile(read(".pre-commit-config.yaml")["exclude"])
    limit = int(hooks["check-added-large-files"]["entry"].split("=")[1])
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    files = [ROOT / name for name in listed.stdout.splitlines() if not left_out.search(name)]
    assert files, "the checkout is a git repository"
    assert [path.name for path in files if path.stat().st_size > 1024 * limit] == []
    texts = {path: path.read_bytes() for path in files if path.suffix != ".png"}
    assert [path.name for path, text in texts.items() if text and text[-1:] != b"\n"] == []
    assert [path.name for path, text in texts.items() if text.endswith(b"\n\n")] == []


# ---------------------------------------------------------------- dev container


def test_the_dev_container_installs_by_make_and_opens_a_notebook() -> None:
    about = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    program, target = about["postCreateCommand"].split()
    assert program == "make" and target in make_targets()
    places = about["customizations"]
    assert (ROOT / places["codespaces"]["openFiles"][0]).is_file()
    interpreter = places["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert interpreter == "${containerWorkspaceFolder}/" + f"{Path(target).parent}/bin/python"
    dockerfile = ROOT / ".devcontainer" / about["build"]["dockerfile"]
    assert {"make", "git", "python3-venv"} <= set(dockerfile.read_text().split())
