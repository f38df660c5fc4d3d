"""The door for files from outside, and to it: only regular files of a bounded size pass.

A pipe or a device in a file's place could be waited for without end, or read without end; and a
file that is written in one step would take its place.
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
    if not str(name):  # it would be the folder that one is in, which nobody means
        raise UserError("an empty name is no path: give the name of a file or a folder")
    if "://" in str(name):
        raise UserError(f"{name} is no path: give a file or a folder of this machine")
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


def target(name: str | Path, what: str, suffix: str = "") -> Path:
    """Return the path of a file that is to be written, before the work for it begins.

    Raises UserError, in which ``what`` says what the file is to be, for a name without the suffix,
    for what is there and is no regular file, and below a folder that nobody may write to.
    """
    path = place(name)
    if suffix and (path.suffix != suffix or path.is_dir()):
        ends = f"give the name of a file that ends in {suffix}"
        raise UserError(f"{name} cannot be {what}: {ends}")
    with readable():
        if os.path.lexists(path) and not path.is_file():
            raise UserError(f"{name} cannot be {what}: it is there already, and no regular file")
        above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError(f"{name} cannot be {what}: nobody may write to {above}")
    return path


def outside(path: str | Path, gallery: str | Path) -> None:
    """Refuse a place in a gallery for what is to be written: it would be taken for a part of it.

    An address elsewhere is none.
    """
    if "://" not in str(path) and place(path).resolve().is_relative_to(place(gallery).resolve()):
        raise UserError(f"{path} lies in the gallery and would become a part: give another place")


def read(path: Path, largest: int = LARGEST) -> bytes:
    """Return the content of a regular file of at most ``largest`` bytes; nothing is waited for.

    Raises UserError for anything else, and OSError where the system refuses.
    """
    irregular = f"{path} is no regular file: remove it, or put a file in its place"
    if os.path.isdir(path):
        raise UserError(irregular)
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise UserError(irregular)
        if about.st_size > largest:
            size = f"{about.st_size / 1e6:,.0f} MB, more than {largest / 1e6:,.0f}"
            raise UserError(f"{path} has {size}: make it smaller or remove it")
        return file.read(about.st_size + 1)
