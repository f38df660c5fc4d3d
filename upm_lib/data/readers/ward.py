"""Reading WARD (Martinel and Micheloni, CVPR Workshops 2012): one folder holds all pictures."""

import os
import re
from pathlib import Path

from upm_lib import files
from upm_lib.config import UserError
from upm_lib.data.tracklets import Dataset, Found, arranged, check_root, folders, images

PICTURE = re.compile(r"(\d{4})(\d{4})\d{4}\.png", re.ASCII)  # person, camera, frame
EXPECTED = "000100010001.png (person, camera and frame, four digits each)"


def read(root: str | Path, min_frames: int = 1) -> Dataset:
    """Read WARD: ``000100010001.png`` and so on, a tracklet for each person and camera.

    Tracklets come by camera, then by person; their frames by number. Without an official division
    and with three cameras the people are halved at random, and queries searched in a gallery
    (:func:`upm_lib.data.splits.split`). The owner does not promise that the frames of a tracklet
    are one walk. Files that are no pictures, such as the licence, are no frames; tracklets shorter
    than ``min_frames`` are left out.

    Raises UserError if the folder is not there, a picture's name tells no person and camera, or
    fewer than two people are left.
    """
    root = files.place(root)
    with files.readable():
        frames = _frames(root)
    found = [
        Found("", camera, person, tuple(files))
        for (camera, person), files in sorted(frames.items())
        if len(files) >= min_frames
    ]
    if len({f.person for f in found}) < 2:
        what = f"{root} has fewer than two people with a tracklet of at least {min_frames} frames"
        advice = "complete the data set (or set min_frames lower)"
        raise UserError(f"{what}, and a trial needs two: {advice}")
    return arranged("ward", root, found)


def _frames(root: Path) -> dict[tuple[int, int], list[str]]:
    """Return the pictures' names of each (camera, person), in order."""
    check_root(root, files=EXPECTED)
    frames: dict[tuple[int, int], list[str]] = {}
    for picture in _pictures(root):
        told = PICTURE.fullmatch(picture)
        person, camera = (int(told[1]), int(told[2])) if told else (0, 0)
        if not person or not camera:
            what = f"{root / picture} is not named as a picture such as {EXPECTED}"
            raise UserError(f"{what}, all counted from 1: rename or remove it")
        frames.setdefault((camera, person), []).append(picture)
    if not frames:
        near = [place for place in (*folders(root), root.parent) if _pictures(place)]
        hint = f"did you mean {near[0]}?" if near else f"give the folder that contains {EXPECTED}"
        raise UserError(f"{root} holds no picture: {hint}")
    return frames


def _pictures(folder: Path) -> list[str]:
    return [os.path.basename(picture) for picture in images(folder, folder)]
