"""Reading DukeMTMC-VideoReID (Wu et al., CVPR 2018), which its owners have withdrawn."""

import os
import re
from pathlib import Path

from upm_lib import files
from upm_lib.config import UserError
from upm_lib.data import tracklets
from upm_lib.data.tracklets import SUBSETS, Dataset, Found, folders

RIGHTS = "UPM_DUKEMTMC_RIGHTS"  # the environment variable by which a user confirms them
FRAME = re.compile(r"\d+_?C(\d+)_?F\d+_?X\d+\.\w+")  # person, camera, frame numbers


def confirm_rights() -> None:
    """Refuse to read DukeMTMC-VideoReID unless its user confirms a right to the copy."""
    if os.environ.get(RIGHTS) != "yes":
        raise UserError(
            "DukeMTMC was withdrawn by its owners, so its reader is off: if you have the right to "
            f"use your copy, confirm it by the environment variable {RIGHTS}=yes"
        )


@files.readable()
def read(root: str | Path, name: str = "dukemtmc") -> Dataset:
    """Read DukeMTMC-VideoReID (Wu et al., CVPR 2018) with its official division.

    ``train/0001/0001/0001_C6_F0099_X30823.jpg``: subset, person, tracklet, and in the frame's name
    person, camera and two frame numbers, with or without the underscores. The gallery holds a copy
    of each query, which is junk for that query.

    Raises UserError if a folder is missing or misnamed, or a frame's name tells no camera.
    """
    root = files.place(root)
    found: list[Found] = []
    empty = []
    tracklets.check_root(root, *SUBSETS)
    for subset in SUBSETS:
        before = len(found)
        for person in folders(root / subset):
            if not re.fullmatch(r"\d{1,9}", person.name, re.ASCII):
                raise UserError(f"{person} is no person's number such as 0001: rename or remove it")
            for folder in folders(person):
                if frames := tracklets.images(root, folder):
                    camera = _camera(folder, frames)
                    found.append(Found(subset, camera, int(person.name), frames))
                else:
                    empty.append(folder)
        if len(found) == before:
            expected = f"{subset}/0001/0001/0001_C6_F0099_X30823.jpg"
            what = f"{root / subset} holds no tracklet"
            raise UserError(f"{what}: its frames are expected as {expected}")
    return tracklets.arranged(name, root, found, empty)


def _camera(tracklet: Path, frames: tuple[str, ...]) -> int:
    """Return the number of the camera that all frames' names tell."""
    cameras = set()
    for name in map(os.path.basename, frames):
        told = FRAME.fullmatch(name)
        if not told:
            raise UserError(
                f"{tracklet / name} is not named as a frame such as 0001_C6_F0099_X30823.jpg or "
                "0001C6F0099X30823.jpg, so its camera is not known: rename or remove it"
            )
        cameras.add(int(told[1]))
    if len(cameras) > 1:
        numbers = " and ".join(f"C{c}" for c in sorted(cameras))
        raise UserError(f"{tracklet} mixes the cameras {numbers}: a tracklet is of one camera")
    return cameras.pop()
