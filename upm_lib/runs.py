"""Where results live: one run store, the same from every working directory, written atomically.

The store is ``runs/`` at the root of the checkout, or the folder in the environment variable
``UPM_RUNS``; without a checkout it is in the user's cache folder. Stages meet here and only here.
"""

import ast
import fcntl
import hashlib
import json
import logging
import os
import platform
import shutil
import stat
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from upm_lib import files
from upm_lib.config import Caution, Config, UserError, training_fields

# What decides the result of a training and of a measurement, by its place in the package.
TRAINING_CODE = (
    "data/splits",
    "data/packing",
    "data/batches",
    "learning/model",
    "learning/frozen",
    "learning/association",
    "learning/clusters",
    "learning/training",
)
MEASURING_CODE = (
    "data/tracklets",
    "learning/mobilenet",  # of networks from a model file, which nothing here trains
    "retrieval/features",
    "retrieval/evaluation",
    "experiments/networks",
    "experiments/measuring",
)
PART = ".upm-part"  # the ending of a file that is being written
FOLDER = ".d"  # what follows it in the name of a folder that is being written
BEGUN = f".begun{PART}"  # of one that the next process goes on with
WEEK = 7 * 86400.0  # seconds that such a file waits for it
SECONDS = 60.0  # between two moments at which what is done of a long work is kept
SEAL = "sha256"  # the key of a record's digest
PATIENCE = 2.0  # seconds that are waited in silence

logger = logging.getLogger(__name__)


class NotWritten(UserError, OSError):
    """The system refuses to write a file."""


@lru_cache
def repo_root() -> Path | None:
    """Return the checkout this package runs from, or None for an installed copy."""
    root = Path(__file__).resolve().parents[1]
    return root if (root / "pyproject.toml").is_file() and (root / "notebooks").is_dir() else None


def store() -> Path:
    """Return the run store's folder (not created); a relative UPM_RUNS is below the checkout."""
    root = repo_root()
    if os.environ.get("UPM_RUNS"):
        folder = (root or Path.cwd()) / files.place(os.environ["UPM_RUNS"])
        with files.readable():
            taken = folder.exists() and not folder.is_dir()
        if taken:
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
    if not config.weights or not (path := files.place(config.weights)).is_file():
        return config.weights
    return file_digest(path)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file; in one process it is read again only when it has changed."""
    about = path.stat()
    return _file_digest(path, about.st_size, about.st_mtime_ns)


@lru_cache
def _file_digest(path: Path, size: int, changed: int) -> str:
    with open(path, "rb") as file:
        return _digest(file, path.name).hexdigest()


def digest(values: Any) -> str:
    """Return 10 hex digits over plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:10]


@lru_cache
def code_digest(*modules: str) -> str:
    """Return a digest over some modules of this package; comments and docstrings do not count."""
    paths = [Path(__file__).parent / f"{module}.py" for module in modules]
    return digest(
        [ast.dump(_Program().visit(ast.parse(path.read_text("utf-8")))) for path in paths]
    )


class _Program(ast.NodeTransformer):
    """Takes the docstrings away."""

    def visit_Expr(self, line: ast.Expr) -> ast.Expr | None:
        return None if isinstance(line.value, ast.Constant) else line


@contextmanager
def replacing(path: Path, folder: bool = False) -> Iterator[Path]:
    """Give a temporary name beside path; when the block ends well, it is flushed and moved there.

    Whatever happens, path holds either its old content or the whole new one. Only a process that is
    killed leaves its temporary file; :func:`sweep`, with which every write begins, takes it away.
    With ``folder`` it is a folder, and path must be free.

    Raises NotWritten, which names path, when the disk is full or the folder closed.
    """
    with _writable(path):
        temporary, held = _temporary(path, folder)
        try:
            yield temporary
            _flush(temporary)
            os.chmod(temporary, 0o755 if folder else 0o644)
            os.replace(temporary, path)
        finally:
            os.close(held)
            _remove_temporary(temporary)


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    """Make the folder of a path, sweep it, and turn the system's refusals into a sentence."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        yield
    except OSError as error:
        if isinstance(error, UserError):
            raise
        advice = "make room or check the permissions of its folder; what it held before is kept"
        raise NotWritten(f"{path} cannot be written ({error}): {advice}") from error


def _temporary(path: Path, folder: bool) -> tuple[Path, int]:
    """Make a temporary file or folder and hold a lock on it, which ends with this process.

    A folder's lock is on a file beside it: NFS locks nothing that cannot be opened for writing.
    """
    # A name may have 255 bytes, and this one is only to be recognised.
    prefix = f".{os.fsencode(path.name)[:100].decode(errors='ignore')}."
    while True:
        held, name = tempfile.mkstemp(PART, prefix, path.parent)
        fcntl.flock(held, fcntl.LOCK_EX)
        if Path(name).exists():  # not swept before it was locked
            break
        os.close(held)
    if folder:
        os.mkdir(name := name + FOLDER)
    return Path(name), held


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_temporary(temporary: Path) -> None:
    """Remove a temporary file, or a temporary folder and the file that locks it."""
    lock = temporary.with_name(temporary.name.removesuffix(FOLDER))
    remove(lock.with_name(lock.name + FOLDER))
    remove(lock)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder.

    Those that somebody still writes are locked and stay, those that the next process goes on with
    stay for a week, and everything else stays.
    """
    for path in folder.glob(f".*{PART}"):
        try:
            if path.name.endswith(BEGUN) and time.time() - path.stat().st_mtime < WEEK:
                continue
            handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        except OSError:  # gone meanwhile, or not ours
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_temporary(path)
        except OSError:  # at work, or not ours to remove
            pass
        finally:
            os.close(handle)


def sweep_store() -> None:
    """Remove what killed processes left anywhere in the store."""
    for depth in ("*", "*/*", "*/*/*"):
        for folder in {path.parent for path in store().glob(f"{depth}/.*{PART}")}:
            sweep(folder)


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a lock; whoever has to wait for another process for two seconds says so.

    Raises NotWritten where the system refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(path)
        try:
            held.acquire(timeout=PATIENCE)
        except Timeout:
            logger.warning("waiting for another process that works on %s", path.parent)
            held.acquire()
    except OSError as error:
        advice = "check the permissions of its folder, or choose another place"
        raise NotWritten(f"{path} cannot be written ({error}): {advice}") from error
    try:
        yield
    finally:
        held.release()


class Damaged(UserError):
    """A file of the store is not as it was written, or of an older version."""


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write values as JSON, atomically, with the SHA-256 of their text among them."""
    with replacing(path) as temporary:
        temporary.write_bytes(_sealed(values))


def read_json(path: Path) -> dict[str, Any]:
    """Read what :func:`write_json` wrote; every byte is checked.

    Raises Damaged for anything else, and OSError where the system refuses.
    """
    content = files.read(path)
    try:
        values = json.loads(content)
        values.pop(SEAL)
        whole = _sealed(values) == content
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise Damaged(f"{path} is damaged or of an older version")
    return values


def find_json(path: Path) -> dict[str, Any] | None:
    """Return what a file of the store holds; None, after a warning, for one to be made anew."""
    if not path.exists():
        return None
    try:
        return read_json(path)
    except (UserError, OSError) as error:
        warnings.warn(f"{error}: it is made anew", Caution, stacklevel=2)
        return None


def _sealed(values: dict[str, Any]) -> bytes:
    text = json.dumps(values, indent=1, sort_keys=True)
    seal = hashlib.sha256(text.encode()).hexdigest()
    return (json.dumps({**values, SEAL: seal}, indent=1, sort_keys=True) + "\n").encode()


def write_array(
    path: Path,
    blocks: int,
    make: Callable[[int], np.ndarray],
    shape: tuple[int, ...],
    dtype: Any,
    mark: str = "",
    title: str | None = None,
) -> list[int]:
    """Write what ``make`` returns for 0, 1 ... blocks - 1, rows [n, *shape], as a .npy file.

    The path holds its old content or the whole new one. What is done is kept beside it once a
    minute: after Ctrl-C, a kill or a power cut the next call with the same ``mark`` goes on from
    there, and ends in the same bytes; an error leaves nothing. One process at a time may do this.
    Rows go through the file, so that a full disk is an error and not a crash. The file ends in the
    SHA-256 of all that is before. ``title`` is that of the bar; None shows none.

    Returns the numbers of the blocks without rows.
    """
    begun, notes = (path.with_name(f".{path.name}{kind}{BEGUN}") for kind in ("", ".json"))
    of = {"mark": mark, "blocks": blocks, "shape": list(shape), "dtype": np.dtype(dtype).str}
    with _writable(path):
        try:
            begun.touch(0o644)
            with open(begun, "r+b") as file:
                done = _grown(file, notes, of, make, title)
                file.seek(0)
                _write_header(file, dtype, (done["rows"], *shape))
                file.seek(0)
                file.write(_digest(file, path.name).digest())
                file.flush()
                os.fsync(file.fileno())
            os.replace(begun, path)
        except BaseException as end:
            if isinstance(end, Exception) or not notes.exists():
                remove(begun)
                remove(notes)
            raise
        remove(notes)
    return done["empty"]


def _grown(
    file: BinaryIO,
    notes: Path,
    of: dict[str, Any],
    make: Callable[[int], np.ndarray],
    title: str | None,
) -> dict[str, Any]:
    """Append the blocks that a file lacks; return its rows and the numbers of its empty blocks."""
    done, text = _taken_up(file, notes, of)
    kept, left = time.monotonic(), range(done["blocks"], of["blocks"])
    for number in tqdm(
        left, title, of["blocks"], initial=left.start, disable=title is None, delay=PATIENCE
    ):
        block = np.ascontiguousarray(make(number), of["dtype"])
        file.write(block.data)
        text.update(block.data)
        done["rows"] += len(block)
        done["empty"] += [] if len(block) else [number]
        if time.monotonic() - kept >= SECONDS:
            file.flush()
            os.fsync(file.fileno())
            now = {"blocks": number + 1, "bytes": file.tell(), "content": text.hexdigest()}
            write_json(notes, done | now)
            kept = time.monotonic()
    return done


def _taken_up(file: BinaryIO, notes: Path, of: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return what is done of a file, and the digest of its bytes; it is begun where nothing is."""
    done = find_json(notes)
    if done and done.get("of") == of:  # else of another work, or of an older version
        text = _digest(file, notes.name, done["bytes"])
        if text.hexdigest() == done["content"]:
            file.truncate(done["bytes"])
            return done, text
    file.seek(0)
    file.truncate()
    _write_header(file, of["dtype"], (0, *of["shape"]))  # as long as the last: numpy leaves room
    file.seek(0)
    return {"of": of, "blocks": 0, "rows": 0, "empty": []}, _digest(file, notes.name)


def _write_header(file: BinaryIO, dtype: Any, shape: tuple[int, ...]) -> None:
    about = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, about)


def read_array(path: Path) -> np.ndarray:
    """Map what :func:`write_array` wrote into memory; every byte is checked.

    Raises Damaged for anything else, and OSError where the system refuses.
    """
    about = os.stat(path)
    if not stat.S_ISREG(about.st_mode) or not _whole(path, about.st_size, about.st_mtime_ns):
        raise Damaged(f"{path} is damaged or of an older version")
    return np.load(path, mmap_mode="r", allow_pickle=False)


@lru_cache(maxsize=256)  # in one process a file is read again only when it has changed
def _whole(path: Path, size: int, changed: int) -> bool:
    with open(path, "rb") as file:
        digest = _digest(file, path.name, size - hashlib.sha256().digest_size)
        return file.read() == digest.digest()


def _digest(file: BinaryIO, name: str, size: int | None = None) -> Any:
    """Return the SHA-256 of a file's next bytes, all or so many, with a bar where it takes long."""
    text, left = hashlib.sha256(), size if size is not None else os.fstat(file.fileno()).st_size
    quiet = not logger.isEnabledFor(logging.WARNING)
    with tqdm(
        total=left, desc=f"checking {name}", unit="B", unit_scale=True, delay=PATIENCE, leave=False,
        disable=quiet,
    ) as bar:  # fmt: skip
        while left > 0 and (block := file.read(min(left, 2**18))):
            text.update(block)
            left -= len(block)
            bar.update(len(block))
    return text


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
