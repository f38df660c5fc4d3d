"""The README's commands, links and pictures exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import papermill
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def readme() -> str:
    """The text of README.md."""
    return (ROOT / "README.md").read_text(encoding="utf-8")


def commands(text: str) -> list[str]:
    """The lines of fenced code blocks, continuations joined, and the code spans of the prose."""
    fence = re.compile(r"^ *```[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
    blocks = "\n".join(fence.findall(text)).replace("\\\n", " ")
    lines = [re.sub(r"^\s*(\$\s+)?|\s+#.*$", "", line) for line in blocks.splitlines()]
    spans = re.findall(r"`([^`\n]+)`", fence.sub("", text))
    return [line for line in (*lines, *spans) if line]


def papermill_calls(text: str) -> list[tuple[str, set[str]]]:
    """The notebook and the names of the parameters of each papermill command."""
    calls = []
    for command in commands(text):
        words = shlex.split(command) if re.search(r"\bpapermill\s+\S*\.ipynb", command) else []
        if not words:
            continue
        after = words[[Path(word).name for word in words].index("papermill") + 1 :]
        names = {
            after[place + 1]
            for place, word in enumerate(after)
            if word in ("-p", "-r", "--parameters", "--parameters_raw")
        }
        for place, word in enumerate(after):
            if word in ("-y", "--parameters_yaml"):
                names |= set(yaml.safe_load(after[place + 1]))
        calls.append((next(word for word in after if word.endswith(".ipynb")), names))
    return calls


def test_no_placeholder_is_left(readme: str) -> None:
    assert re.findall(r"@[A-Z_]+@|\bTODO\b|\bFIXME\b|\bTBD\b", readme) == []


def test_every_make_target_exists(readme: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    found = {
        name
        for command in commands(readme)
        for name in re.findall(r"(?:^|&&|;)\s*make\s+([a-z][\w-]*)", command)
    }
    assert found, "the README shows how to begin"
    assert found <= targets


def test_every_link_and_picture_exists(readme: str) -> None:
    prose = re.sub(r"```.*?```", "", readme, flags=re.DOTALL)
    targets = re.findall(r"\]\(<?([^)>\s]+)", prose)
    targets += re.findall(r"(?:src|href|srcset)=\"([^\"\s]+)", prose)
    targets += re.findall(r"^\[[^\]]+\]:\s*(\S+)", prose, re.MULTILINE)
    local = [target for target in targets if not re.match(r"[a-z]+:|#|//", target)]
    missing = [target for target in local if not (ROOT / target.partition("#")[0]).exists()]
    assert missing == []


def test_every_link_inside_the_readme_has_its_heading(readme: str) -> None:
    prose = re.sub(r"```.*?```", "", readme, flags=re.DOTALL)
    headings = re.findall(r"^#+\s+(.+?)\s*$", prose, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert {anchor for anchor in re.findall(r"\]\(#([^)]+)\)", prose)} <= slugs


def test_every_papermill_command_fits_its_notebook(readme: str) -> None:
    calls = papermill_calls(readme)
    assert calls, "the README shows how to change a parameter"
    for notebook, names in calls:
        path = ROOT / notebook
        assert path.is_file(), notebook
        assert names <= set(papermill.inspect_notebook(str(path))), notebook


def test_every_subcommand_exists(readme: str) -> None:
    found = {
        name
        for command in commands(readme)
        for name in re.findall(r"python3? -m upm_lib\s+([a-z][\w-]*)", command)
    }
    for name in found:
        command = [sys.executable, "-m", "upm_lib", name, "--help"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_every_option_of_a_subcommand_exists(readme: str) -> None:
    for command in commands(readme):
        match = re.search(r"python3? -m upm_lib\s+([a-z][\w-]*)(.*)", command)
        options = set(re.findall(r"\s(--[a-z][\w-]*)", match[2])) if match else set()
        if not options:
            continue
        asked = [sys.executable, "-m", "upm_lib", match[1], "--help"]
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
        assert options <= set(re.findall(r"--[a-z][\w-]*", done.stdout)), command
