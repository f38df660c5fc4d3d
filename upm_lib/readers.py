"""The readers of the data sets' folder layouts, by name."""

import os
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from upm_lib import folder, mars, runs, synthetic
from upm_lib.config import Config, UserError, known
from upm_lib.tracklets import (
    SUBSETS,
    Dataset,
    Found,
    arranged,
    check_root,
    folders,
    images,
    readable,
    refuse_empty,
)

NAMES = ("prid2011", "ilids_vid", "dukemtmc", "mars", "folder")
RIGHTS = "UPM_DUKEMTMC_RIGHTS"  # the environment variable by which a user confirms them

# What the real sets hold, with the paper's limit of 28 frames for PRID2011. MARS's identities are
# the folders of its two parts; those of the test part include 0000 (distractors) and 00-1 (junk).
KNOWN: dict[str, dict[str, int]] = {
    "prid2011": {"identities": 178, "tracklets": 356, "frames": 38466},
    "ilids_vid": {"identities": 300, "tracklets": 600, "frames": 42459},
    "dukemtmc": {
        "train identities": 702,
        "train tracklets": 2196,
        "query tracklets": 702,
        "gallery tracklets": 2636,
    },
    "mars": {
        "train identities": 625,
        "test identities": 636,
        "train tracklets": 8298,
        "query tracklets": 1980,
        "gallery tracklets": 9330,
    },
    "folder": {},
}
# The folders (and lists) that each layout has, below its root.
LAYOUT: dict[str, tuple[str, ...]] = {
    "prid2011": ("multi_shot/cam_a", "multi_shot/cam_b"),
    "ilids_vid": ("sequences/cam1", "sequences/cam2"),
    "dukemtmc": SUBSETS,
    "mars": ("bbox_train", "bbox_test", *(f"info/{file}" for file in mars.INFO)),
    "folder": (),
}


DUKE_FRAME = re.compile(r"\d+_?C(\d+)_?F\d+_?X\d+\.\w+")  # person, camera, frame numbers


def load(config: Config, progress: bool = False) -> Dataset:
    """Open the data set of a config; the embedded synthetic ones are drawn on first use.

    Raises UserError with one sentence for a folder that is not as its layout should be.
    """
    name, root = config.dataset, config.root
    if name in synthetic.WORLDS:
        world = synthetic.WORLDS[name]
        if root is None:
            root = runs.store() / "data" / f"{name}-{synthetic.digest(world)}"
            synthetic.write(world, root, progress)
        if world.seen_by:
            return read_dukemtmc(root, name)
        return read_prid2011(root, config.min_frames, name)
    if root is None:
        raise UserError(f"the data set {name} is not embedded: give its folder as root")
    return read(name, root, config.min_frames)


def read(
    name: str, root: str | Path, min_frames: int = 1, *, empty: list[str] | None = None
) -> Dataset:
    """Read a data set from its folder.

    Args:
        name: one of ``NAMES``.
        root: its folder.
        min_frames: shorter tracklets are left out, where nothing else divides the set.
        empty: gathers the tracklet folders without a picture; None: the first one is refused
            (by the two-camera sets as little as any short one: its person is left out).

    Raises UserError if the folders are not as they should be, and for DukeMTMC-VideoReID unless
    the environment variable UPM_DUKEMTMC_RIGHTS is "yes".
    """
    known(NAMES, name, "data set")
    if name == "mars":
        return mars.read(root, name)
    if name == "dukemtmc":
        confirm_rights()
        return read_dukemtmc(root, name, empty=empty)
    by_name = {"prid2011": read_prid2011, "ilids_vid": read_ilids_vid, "folder": folder.read}
    return by_name[name](root, min_frames, name, empty=empty)


def confirm_rights() -> None:
    """Refuse to read DukeMTMC-VideoReID unless its user confirms a right to the copy."""
    if os.environ.get(RIGHTS) != "yes":
        raise UserError(
            "DukeMTMC was withdrawn by its owners, so its reader is off: if you have the right to "
            f"use your copy, confirm it by the environment variable {RIGHTS}=yes"
        )


# ---------------------------------------------------------------- PRID2011 and iLIDS-VID


def read_prid2011(
    root: str | Path,
    min_frames: int = 28,
    name: str = "prid2011",
    *,
    empty: list[str] | None = None,
) -> Dataset:
    """Read PRID2011 (Hirzer et al., SCIA 2011): ``multi_shot/cam_a/person_0001/0001.png``.

    Kept are the people seen by every camera whose tracklets all have at least ``min_frames``
    frames; with the paper's "more than 27" these are 178 people of the real set. Frames are in
    sorted order. ``empty`` gathers the folders without a picture.

    Raises UserError if the folders are not there or nobody is left.
    """
    root = Path(root).expanduser()
    with readable():
        check_root(root, "multi_shot")
        layout = _Sequences(root / "multi_shot", ("cam_a", "cam_b"), "person_", "0001")
        return _read_sequences(root, name, layout, min_frames, empty)


def read_ilids_vid(
    root: str | Path,
    min_frames: int = 1,
    name: str = "ilids_vid",
    *,
    empty: list[str] | None = None,
) -> Dataset:
    """Read iLIDS-VID (Wang et al., ECCV 2014): ``i-LIDS-VID/sequences/cam1/person001/*.png``.

    Root is i-LIDS-VID or the folder that contains it. Kept are the people seen by both cameras
    with at least ``min_frames`` frames: all 300 of the real set. ``empty`` gathers the folders
    without a picture.

    Raises UserError if the folders are not there or nobody is left.
    """
    root = Path(root).expanduser()
    inside = root / "i-LIDS-VID"
    root = inside if (inside / "sequences").is_dir() else root
    with readable():
        check_root(root, "sequences")
        layout = _Sequences(root / "sequences", ("cam1", "cam2"), "person", "001")
        return _read_sequences(root, name, layout, min_frames, empty)


class _Sequences(NamedTuple):
    """A layout of one tracklet for each person and camera: ``place/CAMERA/PERSON/frames``."""

    place: Path
    cameras: tuple[str, str]
    person: str  # what the folders' names begin with
    example: str  # how they go on


def _read_sequences(
    root: Path, name: str, layout: _Sequences, min_frames: int, empty: list[str] | None
) -> Dataset:
    start = layout.cameras[0][:-1]
    cameras = [p.name for p in folders(layout.place) if p.name.startswith(start)]
    if len(cameras) < 2:
        raise UserError(
            f"{layout.place} needs the folders {' and '.join(layout.cameras)}, "
            f"found {', '.join(cameras) or 'none'}"
        )
    frames = {camera: _person_frames(root, layout, camera, empty) for camera in cameras}
    people = set.intersection(*(set(f) for f in frames.values()))
    people = {p for p in people if all(len(frames[c][p]) >= min_frames for c in cameras)}
    if len(people) < 2:
        raise UserError(
            f"{root}: {len(people)} people have at least {min_frames} frames in each of "
            f"{', '.join(cameras)}; a trial needs two (set min_frames lower?)"
        )
    found = [Found("", c, p, frames[c][p]) for c in cameras for p in sorted(people)]
    return arranged(name, root, found)


def _person_frames(
    root: Path, layout: _Sequences, camera: str, empty: list[str] | None
) -> dict[int, tuple[str, ...]]:
    found = {}
    for person in folders(layout.place / camera):
        if not person.name.startswith(layout.person):
            continue
        number = person.name.removeprefix(layout.person)
        if not number.isdecimal() or int(number) in found:
            named = layout.person + layout.example
            raise UserError(
                f"{person} is not a person of its own: the folders are named {named}, "
                f"{named[:-1]}2 and so on; rename or remove it"
            )
        found[int(number)] = images(root, person)
        if not found[int(number)] and empty is not None:
            refuse_empty(root, person, empty)
    return found


# ---------------------------------------------------------------- DukeMTMC-VideoReID


def read_dukemtmc(
    root: str | Path, name: str = "dukemtmc", *, empty: list[str] | None = None
) -> Dataset:
    """Read DukeMTMC-VideoReID (Wu et al., CVPR 2018) with its official division.

    ``train/0001/0001/0001_C6_F0099_X30823.jpg``: subset, person, tracklet, and in the frame's name
    person, camera and two frame numbers, with or without the underscores. The gallery holds a copy
    of each query, which is junk for that query. ``empty`` gathers the tracklets without a picture;
    None: the first one is refused.

    Raises UserError if a folder is missing or misnamed, or a frame's name tells no camera.
    """
    root = Path(root).expanduser()
    found = []
    with readable():
        check_root(root, *SUBSETS)
        for subset in SUBSETS:
            before = len(found)
            for person in folders(root / subset):
                if not person.name.isdecimal():
                    raise UserError(
                        f"{person} is no person's number such as 0001: rename or remove it"
                    )
                for tracklet in folders(person):
                    if not (frames := images(root, tracklet)):
                        refuse_empty(root, tracklet, empty)
                        continue
                    camera = _duke_camera(tracklet, frames)
                    found.append(Found(subset, camera, int(person.name), frames))
            if len(found) == before:
                raise UserError(
                    f"{root / subset} holds no tracklet: its frames are expected as "
                    f"{subset}/0001/0001/0001_C6_F0099_X30823.jpg"
                )
    return arranged(name, root, found)


def _duke_camera(tracklet: Path, frames: tuple[str, ...]) -> int:
    """Return the number of the camera that all frames' names tell."""
    cameras: Counter[int] = Counter()
    for frame in frames:
        told = DUKE_FRAME.fullmatch(os.path.basename(frame))
        if not told:
            raise UserError(
                f"{tracklet / os.path.basename(frame)} is not named as a frame such as "
                "0001_C6_F0099_X30823.jpg or 0001C6F0099X30823.jpg, so its camera is not known: "
                "rename or remove it"
            )
        cameras[int(told[1])] += 1
    if len(cameras) > 1:
        numbers = " and ".join(f"C{c}" for c in sorted(cameras))
        raise UserError(f"{tracklet} mixes the cameras {numbers}: a tracklet is of one camera")
    return next(iter(cameras))
