"""What the run store holds, and taking some of it away."""

import shutil
import time
from collections.abc import Sequence
from contextlib import nullcontext
from fnmatch import fnmatch
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from upm_lib import runs
from upm_lib.config import UserError

# What lies in a folder of the store, and how deep below it one thing of its kind is.
KINDS = {
    "data": ("synthetic people, drawn", 1),
    "packed": ("frames, decoded", 1),
    "maps": ("what frozen blocks make of the frames", 1),
    "training": ("a network", 2),
    "results": ("what was measured", 1),
    "index": ("vectors of a gallery", 1),
    "search": ("a picture of a search", 1),
    "splits": ("published splits, imported", 1),
    "weights": ("trained weights, downloaded", 1),
    "checks": ("a look at a data set", 1),
    "curves": ("learning curves", 1),
    "study": ("records of the study", 1),
    "demo": ("executed notebooks", 0),
}


def listing() -> pd.DataFrame:
    """Return what the run store holds, the largest first.

    Columns what (path in the store), bytes, days (since the last change) and belongs (in words).
    """
    store, rows = runs.store(), []
    for top in sorted(store.iterdir()) if store.is_dir() else []:
        text, depth = KINDS.get(top.name, ("not of this program", 0))
        things = top.glob("/".join("*" * depth)) if depth else [top]
        for thing in things:
            if thing.suffix == ".lock" or thing.name[0] == ".":
                continue
            inside = () if thing.is_symlink() else (thing, *thing.rglob("*"))
            about = [path.lstat() for path in inside if path.is_file()]
            newest = max((one.st_mtime for one in about), default=thing.lstat().st_mtime)
            size, days = sum(one.st_size for one in about), (time.time() - newest) / 86400
            rows.append((thing.relative_to(store).as_posix(), size, days, _belongs(thing, text)))
    columns = ["what", "bytes", "days", "belongs"]
    found = pd.DataFrame(rows, columns=columns, dtype=object)  # a name need not be UTF-8
    return found.sort_values("bytes", ascending=False, ignore_index=True)


def _belongs(thing: Path, text: str) -> str:
    """Say in words what a thing of the store is, and of what."""
    if thing.parent.parent.name == "training":
        steps = sorted(path.name.split("-")[1] for path in thing.glob("step-" + "[0-9]" * 8 + "-*"))
        done = f"{int(steps[-1])} steps done" if steps else "not begun"
        return f"{text} of {thing.parent.name}, {done}"
    return (
        text
        if thing.parent == runs.store()
        else f"{text}, of {thing.stem.rpartition('-')[0] or thing.stem}"
    )


def chosen(found: pd.DataFrame, patterns: Sequence[str]) -> pd.DataFrame:
    """Return the things of a listing whose path fits one of some patterns, such as "maps/*".

    Raises UserError for a pattern that fits none.
    """
    for pattern in patterns:
        if not any(fnmatch(what, pattern) for what in found["what"]):
            example = f": one is {found['what'].iloc[0]!r}" if len(found) else ", which is empty"
            raise UserError(f"{pattern!r} fits nothing in {runs.store()}{example}")
    fits = [any(fnmatch(what, pattern) for pattern in patterns) for what in found["what"]]
    return found[fits].reset_index(drop=True)


def remove(found: pd.DataFrame) -> list[str]:
    """Remove the things of a listing; return those that another process works on, which stay."""
    busy = []
    for what in found["what"]:
        thing = runs.store() / what
        lock = _lock_of(thing)
        try:
            with FileLock(lock, timeout=0) if lock.exists() else nullcontext():
                if thing.is_dir() and not thing.is_symlink():
                    shutil.rmtree(thing)
                else:
                    thing.unlink()
        except Timeout:
            busy.append(what)
        except OSError as error:
            advice = "check its permissions"
            raise UserError(f"{thing} cannot be removed ({error}): {advice}") from error
        else:
            lock.unlink(missing_ok=True)
    return busy


def _lock_of(thing: Path) -> Path:
    """Return the lock of whoever works on a thing: in a run, a pack or an index, else beside it."""
    beside = thing.with_name(f"{thing.name}.lock")
    inside = (thing / "lock", thing / ".lock")
    return next((lock for lock in inside if lock.exists()), beside)


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)


def lines(found: pd.DataFrame) -> list[str]:
    """Return a listing in words, with its sum."""
    names = [_printable(what) for what in found["what"]]
    width = max([4, *map(len, names)])
    rows = [f"{'what':<{width}}  {'MB':>9}  {'days':>5}  belongs to"]
    for name, row in zip(names, found.to_dict("records"), strict=True):
        size, days = row["bytes"] / 1e6, row["days"]
        rows.append(f"{name:<{width}}  {size:>9.1f}  {days:>5.1f}  {_printable(row['belongs'])}")
    count = "1 thing" if len(found) == 1 else f"{len(found)} things"
    return [*rows, f"{count}, {found['bytes'].sum() / 1e6:.1f} MB, in {runs.store()}"]
