"""Importing the package costs nothing and says nothing; its files import in one direction."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "upm_lib"
ROOMS = [path.parent for path in sorted(PACKAGE.rglob("__init__.py"))]
SPIN = "GOMP_SPINCOUNT"


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that knows this checkout."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def described(room: Path) -> list[list[str]]:
    """What a room says of its files: steps, each of files that do not know each other."""
    text = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
    start = "From the ground up:" if room == PACKAGE else "Files:"
    chain = re.search(rf"{start}\s+(.*?)\.(?=\s|$)", text, re.DOTALL)
    assert chain, f"{room.name} does not say in which order its files stand"
    return [re.findall(r"\w+", step) for step in chain[1].split("->")]


def held(room: Path) -> set[str]:
    """The files and rooms that lie in a room."""
    files = {path.stem for path in room.glob("*.py")} - {"__init__"}
    return files | {path.parent.name for path in room.glob("*/__init__.py")}


def imported(path: Path) -> set[tuple[str, ...]]:
    """What a file imports of this package, anywhere in it, as places such as (data, splits)."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    places = {tuple(name.split(".")[1:]) for name in found if name.startswith("upm_lib.")}
    return {place for place in places if place[0] in held(PACKAGE)}


def test_importing_the_package_is_silent_and_takes_nothing_heavy(tmp_path: Path) -> None:
    heavy = ("torch", "torchvision", "timm", "numpy", "cv2", "pandas", "matplotlib", "seaborn")
    code = f"import sys, upm_lib; print([m for m in {heavy} if m in sys.modules])"
    done = python(code, tmp_path)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_importing_the_networks_is_silent_and_leaves_timm_for_later(tmp_path: Path) -> None:
    show = "[m for m in ('timm', 'torchvision', 'torch._dynamo', 'pandas') if m in sys.modules]"
    code = f"import sys; from upm_lib.retrieval import model_file; print({show})"
    done = python(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    assert list(tmp_path.iterdir()) == []


def test_what_the_notebooks_import_and_the_demos_network_leave_timm_for_later(
    tmp_path: Path,
) -> None:
    late = ("timm", "torchvision", "torch._dynamo", "scipy.stats")
    code = (
        "import sys; from upm_lib.experiments import analysis, curves, sliders\n"
        "from upm_lib.learning import model; from upm_lib.config import preset\n"
        "model.build(preset('synthetic_clean', 'demo')); "
        f"print([m for m in {late} if m in sys.modules])"
    )
    done = python(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_says_what_it_is_for_and_which_files_it_has(room: Path) -> None:
    names = [name for step in described(room) for name in step]
    assert len(names) == len(set(names))
    assert set(names) == held(room)
    text = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
    if room.parent == PACKAGE:
        assert all(part in text for part in ("In:", "Out:", "use")), room.name


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_file_imports_only_from_below(room: Path) -> None:
    place = room.relative_to(PACKAGE).parts
    steps = described(room)
    for number, step in enumerate(steps):
        below = {name for earlier in steps[:number] for name in earlier}
        for name in step:
            for path in (room / f"{name}.py", *(room / name).rglob("*.py")):
                if not path.is_file():
                    continue
                inside = path.parent.relative_to(PACKAGE).parts
                for target in imported(path):
                    if target[: len(place)] != place or len(target) == len(place):
                        continue  # another room: judged where both are held
                    first = target[len(place)]
                    own = first == name and len(inside) > len(place)
                    assert own or first in below, f"{path} imports {'.'.join(target)}"


def test_the_ground_imports_nothing_from_above() -> None:
    rooms = {room.name for room in ROOMS}
    for name in ("config", "distributed", "runs"):
        assert not {place[0] for place in imported(PACKAGE / f"{name}.py")} & rooms
    for name in ("_memory", "_torchvision"):
        assert imported(PACKAGE / "learning" / f"{name}.py") == set()


def test_the_tests_are_arranged_by_the_same_rooms() -> None:
    rooms = {room.name for room in ROOMS if room.parent == PACKAGE}
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders == rooms | {"whole"}


def test_how_threads_wait_is_set_unless_the_reader_has_set_it() -> None:
    show = "import os, upm_lib; print([os.environ.get(n) for n in ('OMP_WAIT_POLICY', {0})])"
    clean = {n: v for n, v in os.environ.items() if n not in ("OMP_WAIT_POLICY", SPIN)}
    for given, expected in (
        ({}, [None, "1000"]),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, ["ACTIVE", None]),
        ({SPIN: "7"}, [None, "7"]),
    ):
        command = [sys.executable, "-c", show.format(repr(SPIN))]
        environment = clean | given | {"PYTHONPATH": str(ROOT)}
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert said.stdout.strip() == str(expected)
