"""The list of an index's files, which is compared with them before LanceDB reads any.

LanceDB checks nothing of what it reads: a damaged file may end the whole process, and where the
newest one is lost, the one before is taken. It never changes a file that it has written, so sizes
and digests are enough. An index in object storage has no list.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from upm_lib import runs

NAME = "files.json"
HINT = "latest_version_hint.json"  # LanceDB's one file that changes; it does without
LARGE = 2**26  # bytes of a file that costs next to nothing to read


def begin(index: Path) -> None:
    """Note that an index is being changed: files may be gone until :func:`note` is called.

    Who is killed meanwhile leaves it so until the next change.
    """
    if kept := _kept(index):
        runs.write_json(index / NAME, kept | {"changing": True})


def note(index: Path, whole: bool = True) -> None:
    """List the files of an index as they are; those that are listed already are not read again.

    Unless ``whole``, of large ones only the size is kept.
    """
    known, found = _kept(index).get("files", {}), {}
    for path in sorted(index.glob("*/**/*")):
        if path.is_file() and path.name != HINT:
            name, size = path.relative_to(index).as_posix(), path.stat().st_size
            read = whole or size <= LARGE
            found[name] = known.get(name) or [size, runs.file_digest(path) if read else None]
    runs.write_json(index / NAME, {"files": found, "changing": False})


def check(index: Path) -> None:
    """Raise ValueError for a file that is lost or another one than was written, or is no file.

    Where a writer changes the list meanwhile, it is looked at again.
    """
    for path in index.glob("*/**/*"):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ValueError(f"{path.relative_to(index)} is no regular file")
    while wrong := next(_wrong(index, kept := _kept(index)), None):
        if _kept(index) == kept:
            own = f"delete {NAME} if you have changed the index with another program"
            raise ValueError(f"{wrong} is not as it was written; {own}")


def _wrong(index: Path, kept: dict[str, Any]) -> Iterator[str]:
    for name, (size, digest) in kept.get("files", {}).items():
        path = index / name
        try:
            same = path.stat().st_size == size
            same = same and (digest is None or runs.file_digest(path) == digest)
        except FileNotFoundError:
            same = kept["changing"]
        if not same:
            yield name


def _kept(index: Path) -> dict[str, Any]:
    """Return the list of an index; empty for one that was made before there were lists."""
    path = index / NAME
    try:
        return runs.read_json(path) if path.exists() else {}
    except runs.Damaged as error:
        raise ValueError(str(error)) from error
