"""Reading MARS (Zheng et al., ECCV 2016): pictures in folders, tracklets in lists beside them."""

import re
from pathlib import Path

import numpy as np

from upm_lib import files
from upm_lib.config import UserError
from upm_lib.data.readers import matlab
from upm_lib.data.tracklets import UNKNOWN, Dataset, Found, arranged, check_root

INFO = (
    "train_name.txt",
    "test_name.txt",
    "tracks_train_info.mat",
    "tracks_test_info.mat",
    "query_IDX.mat",
)
ADVICE = "take both lists from one source"
FRAME = re.compile(r"(?:\d{4}|00-1)C\dT\d+F\d+\.jpg")  # person, camera, tracklet, frame


@files.readable()
def read(root: str | Path) -> Dataset:
    """Read MARS with its official division.

    ``bbox_train`` and ``bbox_test`` hold the frames, ``bbox_train/0001/0001C1T0001F001.jpg``.
    The lists in ``info`` say which belong together: in ``train_name.txt`` and ``test_name.txt`` a
    frame's name a line; in ``tracks_train_info.mat`` and ``tracks_test_info.mat`` a row
    (first frame, last frame, person, camera) for each tracklet; in ``query_IDX.mat`` the rows of
    the test tracklets that are queries. All count from 1.

    Junk (folder 00-1, person -1), which is neither correct nor wrong, is left out. The distractors
    (folder 0000) stay: finding one is a mistake. As in the owner's script a query is also part of
    the gallery of the others, although the usual count of the gallery, 9,330, is without them.

    Raises UserError if a folder or list is missing, or a list is not what it should be.
    """
    root = files.place(root)
    check_root(root, "bbox_train", "bbox_test", "info")
    info = root / "info"
    lacking = [file for file in INFO if not (info / file).is_file()]
    if lacking:
        advice = "the owner publishes the lists apart from the pictures, put all five there"
        raise UserError(f"{info} lacks {', '.join(lacking)}: {advice}")
    found = [Found("train", *t) for t in _tracks(info, "train")]
    tests = _tracks(info, "test")
    queries = _queries(info / "query_IDX.mat", [person for _, person, _ in tests])
    for row, track in enumerate(tests, 1):
        if track[1] != UNKNOWN:
            found.append(Found("query" if row in queries else "gallery", *track))
    return arranged("mars", root, found, queries_in_gallery=True)


def _tracks(info: Path, part: str) -> list[tuple[int, int, tuple[str, ...]]]:
    """Return camera, person and frames of the tracklets of a part, in the order of its list."""
    names = _names(info / f"{part}_name.txt")
    path = info / f"tracks_{part}_info.mat"
    tracks = []
    for row, (first, last, person, camera) in enumerate(_matrix(path, 4).tolist(), 1):
        if not 1 <= first <= last <= len(names):
            what = f"frames {first} to {last} are not among the {len(names)} of {part}_name.txt"
            raise UserError(f"{path}, row {row}: {what}; {ADVICE}")
        chosen = names[first - 1 : last]
        start = f"{'00-1' if person == UNKNOWN else f'{person:04d}'}C{camera}T"
        strange = [n for n in chosen if not n.startswith(start)]
        if strange:
            what = f"is of person {person} and camera {camera}, but its frame {strange[0]} is not"
            raise UserError(f"{path}, row {row} {what}; {ADVICE}")
        tracks.append((camera, person, tuple(f"bbox_{part}/{n[:4]}/{n}" for n in chosen)))
    return tracks


def _names(path: Path) -> list[str]:
    """Return the frames' names; their form leaves no way out of the root."""
    lines = files.read(path).decode("ascii", "replace").rstrip().splitlines()
    names = [line.strip() for line in lines]
    for number, name in enumerate(names, 1):
        if not FRAME.fullmatch(name):
            what = f"{name[:80]!r} is no frame's name such as 0001C1T0001F001.jpg"
            raise UserError(f"{path}, line {number}: {what}; take the owner's list")
    return names


def _queries(path: Path, people: list[int]) -> set[int]:
    """Return the rows of the test tracklets that are queries, from 1."""
    rows = _matrix(path).ravel().tolist()
    for row in rows:
        if not 1 <= row <= len(people) or people[row - 1] == UNKNOWN:
            what = f"junk or not among the {len(people)} of tracks_test_info.mat"
            raise UserError(f"{path} names test tracklet {row}, which is {what}; {ADVICE}")
    if len(set(rows)) < len(rows):
        raise UserError(f"{path} names a tracklet twice: take the owner's list")
    return set(rows)


def _matrix(path: Path, columns: int | None = None) -> np.ndarray:
    """Return the one matrix of whole numbers [rows, columns] in a MATLAB file."""
    try:
        found = [*matlab.matrices(files.read(path)).values()]
    except ValueError as error:
        raise UserError(f"{path} is no list of MARS ({error}): take the owner's") from error
    matrix = found[0] if len(found) == 1 else np.empty((0, 0))
    wanted = f"of {columns} columns " if columns else ""
    whole = matrix.size and columns in (None, matrix.shape[1])
    # Beyond 2**31 a float no longer stands for one row, and nothing here counts so far.
    if not whole or not (abs(matrix) < 2**31).all() or (matrix != np.trunc(matrix)).any():
        raise UserError(f"{path} must hold one matrix {wanted}of whole numbers: take the owner's")
    return matrix.astype(np.int64)
