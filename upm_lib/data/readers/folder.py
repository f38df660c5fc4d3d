"""Reading anyone's own tracklets, with or without identities."""

import csv
import io
import os
import unicodedata
from collections.abc import Collection, Iterator
from pathlib import Path

from upm_lib import files
from upm_lib.config import UserError
from upm_lib.data import tracklets
from upm_lib.data.tracklets import UNKNOWN, Dataset, Found, folders, images

COLUMNS = ("camera", "tracklet", "person")
NOBODY = {"-1", "-", "?", "na", "n/a", "nan", "none", "null", "unknown"}  # are no names
EXPECTED = ", while CAMERA/TRACKLET/frames is expected"


@files.readable()
def read(root: str | Path, min_frames: int = 1) -> Dataset:
    """Read anyone's own tracklets: ``CAMERA/TRACKLET/frames``, folders of any name.

    Identities are optional: ``identities.csv`` in the root, with the columns camera, tracklet and
    person. Without it all tracklets train, features and search work, and nothing can be evaluated.
    With it, half of the people, drawn anew for each trial, train, and the others test, as
    :func:`upm_lib.data.splits.split` says; tracklets that the list leaves out, or gives no person,
    train. People may have names; they are numbered from 1 in sorted order.

    Raises UserError if the folders are not as described, or the list does not fit them.
    """
    root = files.place(root)
    tracklets.check_root(root, files="CAMERA/TRACKLET/frames")
    frames = _frames(root)
    person = _people(root / "identities.csv", frames.keys())
    found = [
        Found("", camera, person.get((camera, tracklet), UNKNOWN), files)
        for (camera, tracklet), files in frames.items()
        if len(files) >= min_frames
    ]
    if not found:
        what = f"{root} holds no tracklet of at least {min_frames} frames"
        expected = "its frames are expected as CAMERA/TRACKLET/0001.jpg (or set min_frames lower)"
        places = (root / camera / tracklet for camera, tracklet in frames)
        raise UserError(f"{what}: {tracklets.advice(root, places, expected)}")
    empty = (root / camera / tracklet for (camera, tracklet), files in frames.items() if not files)
    return tracklets.arranged("folder", root, found, empty)


def _frames(root: Path) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the frames of each (camera, tracklet), in sorted order."""
    frames = {}
    if images(root, root) and not folders(root):
        meant = f"; did you mean {root.parent.parent}?"
        raise UserError(f"{root} holds pictures itself{EXPECTED}{meant}")
    for camera in folders(root):
        inside = folders(camera)
        if images(root, camera):
            meant = "" if inside else f"; did you mean {root.parent}?"
            raise UserError(f"{camera} holds pictures itself{EXPECTED}{meant}")
        if not inside:
            raise UserError(f"{camera} holds no tracklet{EXPECTED}; fill it or remove it")
        for tracklet in inside:
            frames[camera.name, tracklet.name] = files = images(root, tracklet)
            if not files and folders(tracklet):
                raise UserError(f"{tracklet} holds folders{EXPECTED}; did you mean {camera}?")
    return frames


def people(dataset: Dataset) -> dict[str, str]:
    """Return the names of people, by CAMERA/TRACKLET, for the tracklets whose person is known."""
    places = (Path(t.frames[0]).parts[:2] for t in dataset.tracklets)
    names = _names(dataset.root / "identities.csv", None)
    found = {(camera, tracklet): f"{camera}/{tracklet}" for camera, tracklet in places}
    return {found[key]: person for key, person in names.items() if key in found and person}


def _people(path: Path, known: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Return the number of the person of each (camera, tracklet) that the list names."""
    names = _names(path, known)
    numbers = {name: n for n, name in enumerate(sorted({*names.values()} - {""}), 1)}
    if len(numbers) == 1:
        raise UserError(f"{path} names one person: an evaluation needs two, one of them to train")
    return {key: numbers[name] for key, name in names.items() if name}


def _names(path: Path, known: Collection[tuple[str, str]] | None) -> dict[tuple[str, str], str]:
    """Return the person of each (camera, tracklet) that the list of identities names."""
    if not os.path.lexists(path):
        return {}
    names: dict[tuple[str, str], str] = {}
    for line, row in _rows(path):
        camera, tracklet, person = (row[column].strip() for column in COLUMNS)
        where = f"{path}, line {line}: {camera}/{tracklet}"
        if known is not None and (camera, tracklet) not in known:
            raise UserError(f"{where} is no tracklet of this folder: correct or remove the line")
        if (camera, tracklet) in names:
            raise UserError(f"{where} is listed twice: a tracklet is of one person")
        if person.casefold() in NOBODY:
            raise UserError(f"{where} is of person {person!r}: leave the cell of nobody empty")
        names[camera, tracklet] = unicodedata.normalize("NFC", person)
    return names


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and cells by column of a table of comma-separated values, read strictly."""
    try:
        text = files.read(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not in UTF-8 ({error}): save it as CSV in UTF-8") from error
    if "\0" in text:
        raise UserError(f"{path} holds zero bytes: save it as CSV in UTF-8")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        wanted = f"its first line must be {','.join(COLUMNS)}"
        for column in COLUMNS:
            if header.count(column) != 1:
                state = "has twice" if column in header else "lacks"
                raise UserError(f"{path} {state} the column {column}: {wanted}")
        for cells in reader:
            if cells and (len(cells) != len(header) or any("\n" in cell for cell in cells)):
                what = f"has {len(cells)} cells, not {len(header)}, or one over several lines"
                advice = 'put quotation marks around a name with a comma, as in "Lee, A"'
                raise UserError(f"{path}, line {reader.line_num} {what}: {advice}")
            if cells:
                yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        what = f"{path}, line {reader.line_num} is no line of comma-separated values ({error})"
        raise UserError(f"{what}: correct it") from error
