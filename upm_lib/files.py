"""The door for files from outside: only regular files of a bounded size come in.

A pipe or a device in a file's place could be waited for without end, or read without end.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from upm_lib.config import UserError

LARGEST = 2**28  # bytes of a picture, a list, a record; weights and checkpoints may be larger


def place(name: str | Path) -> Path:
    """Return the path that a user means; "~" is the home folder.

    Raises UserError for a name that no file can have.
    """
    if not isinstance(name, str | Path):
        raise UserError(f"{name!r} is no path: give the name of a file or a folder")
    if "\0" in str(name):
        raise UserError(f"{str(name)!r} is no path: it holds a zero byte")
    path = os.path.expanduser(name)
    if path.startswith("~"):
        advice = f"for a folder of that name say ./{name}"
        raise UserError(f"{name}: there is no such user here; {advice}")
    return Path(path)


@contextmanager
def readable() -> Iterator[None]:
    """Turn the system's refusal to read a file or folder into a sentence that names it."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        what = f"{error.filename} cannot be read ({error.strerror})"
        raise UserError(f"{what}: check it and its permissions") from error


def read(path: Path, largest: int = LARGEST) -> bytes:
    """Return the content of a regular file of at most ``largest`` bytes; nothing is waited for.

    Raises UserError for anything else, and OSError where the system refuses.
    """
    irregular = f"{path} is no regular file: remove it, or put a file in its place"
    if os.path.isdir(path):
        raise UserError(irregular)
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise UserError(irregular)
        if about.st_size > largest:
            size = f"{about.st_size / 1e6:,.0f} MB, more than {largest / 1e6:,.0f}"
            raise UserError(f"{path} has {size}: make it smaller or remove it")
        return file.read(about.st_size + 1)
