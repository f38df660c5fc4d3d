"""Importing the package costs nothing and says nothing; its files import in one direction."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import upm_lib

ROOT = Path(__file__).resolve().parents[1]
FILES = {path.stem: path for path in sorted((ROOT / "upm_lib").glob("*.py"))}
PREPARATIONS = {"_memory", "_torchvision"}  # what must happen before the networks are imported
SPIN = "GOMP_SPINCOUNT"
LAST = ("__main__",)  # the command line may import everything


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that knows this checkout."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def order() -> list[str]:
    """The modules from left to right, as the docstring of the package has them."""
    chain = re.search(r"config\s*->.*?\.(?=\s|$)", upm_lib.__doc__, re.DOTALL)[0]
    return [*re.findall(r"\w+", chain), *LAST]


def imported(path: Path) -> set[str]:
    """The modules of this package that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno} imports relatively"
            names = [node.module or ""]
            if node.module == "upm_lib":
                names = [f"upm_lib.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("upm_lib.")}
    return found & set(FILES)


def test_importing_the_package_is_silent_and_takes_nothing_heavy(tmp_path: Path) -> None:
    heavy = ("torch", "torchvision", "timm", "numpy", "cv2", "pandas", "matplotlib", "seaborn")
    code = f"import sys, upm_lib; print([m for m in {heavy} if m in sys.modules])"
    done = python(code, tmp_path)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_importing_the_networks_is_silent(tmp_path: Path) -> None:
    done = python("import upm_lib.model", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_the_package_describes_the_order_of_all_its_modules() -> None:
    described = order()
    assert len(described) == len(set(described))
    assert set(FILES) - set(described) == {"__init__", *PREPARATIONS}


def test_a_file_imports_only_from_those_to_its_left() -> None:
    described = order()
    for number, name in enumerate(described):
        if name not in FILES:
            continue
        allowed = set(described[:number])
        if name == "model":
            allowed |= PREPARATIONS
        assert imported(FILES[name]) <= allowed, f"{name}.py imports from its right"


def test_the_bottom_imports_nothing_of_the_package() -> None:
    for name in ("__init__", *PREPARATIONS, "config"):
        assert imported(FILES[name]) == set()


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
