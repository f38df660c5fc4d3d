"""Where results live: one run store, the same from every working directory, written atomically.

The store is ``runs/`` at the root of the checkout, or the folder in the environment variable
``UPM_RUNS``; without a checkout it is in the user's cache folder. Stages meet here and only here.
"""

import ast
import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from upm_lib.config import Config, UserError, training_fields

# What decides a training's result, by its place in the package.
TRAINING_CODE = (
    "data/splits",
    "data/packing",
    "data/batches",
    "learning/model",
    "learning/frozen",
    "learning/association",
    "learning/training",
)
PART = ".part"  # the ending of a file that is being written


class NotWritten(UserError, OSError):
    """The system refuses to write a file."""


def repo_root() -> Path | None:
    """Return the checkout this package runs from, or None for an installed copy."""
    root = Path(__file__).resolve().parents[1]
    return root if (root / "pyproject.toml").is_file() and (root / "notebooks").is_dir() else None


def store() -> Path:
    """Return the run store's folder (not created); a relative UPM_RUNS is below the checkout."""
    root = repo_root()
    if os.environ.get("UPM_RUNS"):
        folder = (root or Path.cwd()) / Path(os.environ["UPM_RUNS"]).expanduser()
        if folder.is_file():
            raise UserError(f"{folder} is a file: set UPM_RUNS to a folder")
        return folder
    return root / "runs" if root else Path.home() / ".cache" / "upm_lib" / "runs"


def training_folder(config: Config, data_digest: str) -> Path:
    """Return the folder of a training run.

    Its name ends in a digest of everything that changes the result: config, data, the content of a
    weights file, the library's training code and torch's version.
    """
    made_of = training_fields(config) | {
        "weights": weights_digest(config),
        "data": data_digest,
        "code": code_digest(*TRAINING_CODE),
        "torch": version("torch"),
    }
    name = f"{config.branch}-k{config.k}-trial{config.trial}"
    return store() / "training" / config.dataset / f"{name}-{digest(made_of)}"


def weights_digest(config: Config) -> str | None:
    """Return the SHA-256 of a config's weights file; its ``weights`` where that is no file."""
    path = Path(config.weights or "").expanduser()
    if not path.is_file():
        return config.weights
    about = path.stat()
    return _file_digest(path, about.st_size, about.st_mtime_ns)


@lru_cache  # a file is read again only when its size or time has changed
def _file_digest(path: Path, size: int, changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest(values: Any) -> str:
    """Return 10 hex digits over plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:10]


@lru_cache
def code_digest(*modules: str) -> str:
    """Return a digest over some modules of this package; comments and docstrings do not count."""
    paths = [Path(__file__).parent / f"{module}.py" for module in modules]
    return digest([ast.dump(_Program().visit(ast.parse(path.read_text()))) for path in paths])


class _Program(ast.NodeTransformer):
    """Takes the docstrings away."""

    def visit_Expr(self, line: ast.Expr) -> ast.Expr | None:
        return None if isinstance(line.value, ast.Constant) else line


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside path; when the block ends well, it is flushed and moved there.

    Whatever happens, path holds either its old content or the whole new one. Only a process that is
    killed leaves its temporary file; :func:`remove_leftovers` takes it away.

    Raises NotWritten, which names path, when the disk is full or the folder closed.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=PART, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        advice = "make room or check the permissions of its folder; what it held before is kept"
        raise NotWritten(f"{path} cannot be written ({error}): {advice}") from error
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder; other files stay.

    Only for the one who may write there now: whoever else were writing would lose the file.
    """
    for path in folder.glob(f".*{PART}"):
        path.unlink()


def write_json(path: Path, values: Any) -> None:
    """Write values as JSON, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text())


@lru_cache
def version(package: str) -> str:
    """Return the version of an installed package."""
    return metadata.version(package)


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    names = ("torch", "timm", "numpy", "opencv-python")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def record(name: str, values: dict[str, Any]) -> Path:
    """Keep what a notebook measured: ``results/NAME.json`` in the store, with the versions."""
    path = store() / "results" / f"{name}.json"
    write_json(path, {**values, "source": "measured", "versions": versions()})
    return path
