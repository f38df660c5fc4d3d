"""Reading Market-1501 (Zheng et al., ICCV 2015): single pictures, evaluated one by one."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from upm_lib import files
from upm_lib.config import UserError
from upm_lib.data.tracklets import UNKNOWN, Dataset, Found, arranged, check_root, images

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
# Person, camera, sequence, frame, and which box of the frame; some names end in .jpg.jpg.
PICTURE = re.compile(r"(-1|\d{4})_c(\d+)s(\d+)_(\d+)_(\d+)(?:\.jpg){1,2}", re.ASCII)


class Picture(NamedTuple):
    """What a picture's name tells, in the order in which pictures of a subset come."""

    person: int
    camera: int
    sequence: int
    frame: int
    box: int
    path: str  # relative to the root


def read(root: str | Path) -> Dataset:
    """Read Market-1501 with its official division, a training tracklet for each person and camera.

    ``bounding_box_train/0002_c1s1_000451_03.jpg``: person, camera and sequence, frame, box.
    ``query`` and ``bounding_box_test`` are named alike. The training tracklets, 3,262 in all,
    are those of the unsupervised tracklet literature (TAUDL, UTAL): all pictures of a person in a
    camera, in time. They rest on identities, but only within a camera.

    Evaluated are single pictures: each picture of ``query`` and of ``bounding_box_test`` is a
    tracklet of one frame. Junk (person -1), which is neither correct nor wrong, is left out; the
    distractors (person 0) stay: finding one is a mistake. Files that are no pictures, such as
    Thumbs.db, are no frames.

    Raises UserError if a folder is missing or holds no tracklet, or a picture is misnamed.
    """
    return _read(root, "market1501", lambda p: (p.person, p.camera))


def read_sequences(root: str | Path) -> Dataset:
    """Read Market-1501 as :func:`read` does, but with a training tracklet for each sequence.

    A camera's recording is cut into sequences. A person who comes back in another one gives another
    tracklet, and nothing says that it is the same person: this rests less on identities.
    """
    return _read(root, "market1501_sequences", lambda p: (p.person, p.camera, p.sequence))


def _read(root: str | Path, name: str, together: Callable[[Picture], tuple[int, ...]]) -> Dataset:
    """Join the training pictures of which ``together`` says the same to tracklets."""
    root = files.place(root)
    with files.readable():
        check_root(root, *FOLDERS.values())
        pictures = {subset: _pictures(root, subset) for subset in FOLDERS}
    tracks: dict[tuple[int, ...], list[Picture]] = {}
    for picture in pictures["train"]:
        tracks.setdefault(together(picture), []).append(picture)
    found = [
        Found("train", track[0].camera, track[0].person, tuple(p.path for p in track))
        for track in tracks.values()
    ]
    for subset in ("query", "gallery"):
        found += [Found(subset, p.camera, p.person, (p.path,)) for p in pictures[subset]]
    return arranged(name, root, found)


def _pictures(root: Path, subset: str) -> list[Picture]:
    """Return the pictures of a subset without junk, by person, camera and time."""
    folder = root / FOLDERS[subset]
    named = "0002_c1s1_000451_03.jpg"
    found = []
    for path in images(root, folder):
        told = PICTURE.fullmatch(os.path.basename(path))
        person = int(told[1]) if told else UNKNOWN
        if not told or (subset != "gallery" and person < 1):
            who = "also person -1 or 0000" if subset == "gallery" else "from person 0001 on"
            what = f"{root / path} is not named as a picture such as {named}, {who}"
            raise UserError(f"{what}: rename or remove it")
        if person != UNKNOWN:
            camera, sequence, frame, box = map(int, told.groups()[1:])
            found.append(Picture(person, camera, sequence, frame, box, path))
    if not found:
        raise UserError(f"{folder} holds no picture of a person: they are expected as {named}")
    return sorted(found)
