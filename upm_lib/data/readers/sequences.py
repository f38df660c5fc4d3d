"""Reading PRID2011 (Hirzer et al., SCIA 2011) and iLIDS-VID (Wang et al., ECCV 2014).

Both have one tracklet for each person and camera: ``PLACE/CAMERA/PERSON/frames``.
"""

import warnings
from pathlib import Path

from upm_lib import files
from upm_lib.config import Caution, UserError
from upm_lib.data import tracklets
from upm_lib.data.tracklets import Dataset, Found, folders

# PRID2011 numbers the people of its two views up to here. By its owners' page the first 200 are the
# same people in both; a higher number is somebody else in each view.
LAST = [385, 749]
SHARED = 200
PUBLISHED = 178  # of them have more than 27 frames in both views, as the paper has it


def prid2011(root: str | Path, min_frames: int = 28, name: str = "prid2011") -> Dataset:
    """Read PRID2011: ``multi_shot/cam_a/person_0001/0001.png``.

    Kept are the people seen by every camera whose tracklets all have at least ``min_frames``
    frames; of a set with the real one's numbers only its ``SHARED`` people. With the paper's "more
    than 27" these are 178. Of any other set a warning tells how many are left out, and why.

    Raises UserError if the folders are not there or nobody is left.
    """
    root = files.place(root)
    return _read(root, min_frames, name, "multi_shot", ("cam_a", "cam_b"), "person_0001")


def ilids_vid(root: str | Path, min_frames: int = 1) -> Dataset:
    """Read iLIDS-VID as :func:`prid2011`: ``i-LIDS-VID/sequences/cam1/person001/*.png``.

    Root is i-LIDS-VID or the folder that contains it. All 300 people of the real set are kept.
    """
    root = files.place(root)
    root = root / "i-LIDS-VID" if (root / "i-LIDS-VID" / "sequences").is_dir() else root
    return _read(root, min_frames, "ilids_vid", "sequences", ("cam1", "cam2"), "person001")


@files.readable()
def _read(
    root: Path, min_frames: int, name: str, place: str, wanted: tuple[str, str], example: str
) -> Dataset:
    """Return the people seen by every camera with enough frames, camera by camera."""
    tracklets.check_root(root, place)
    start = wanted[0][:-1]
    cameras = [p.name for p in folders(root / place)]
    if strange := [c for c in cameras if not c.startswith(start)]:
        names = f"they are named {' and '.join(wanted)}"
        raise UserError(f"{root / place / strange[0]} is no camera: {names}; rename or remove it")
    if len(cameras) < 2:
        what = f"{root / place} needs the folders {' and '.join(wanted)}"
        raise UserError(f"{what}, found {', '.join(cameras) or 'none'}")
    people = {camera: _people(root / place / camera, example) for camera in cameras}
    if [max(numbers, default=0) for numbers in people.values()] == LAST:
        people = {c: {n: f for n, f in found.items() if n <= SHARED} for c, found in people.items()}
    return _both(root, min_frames, name, people)


def _both(root: Path, min_frames: int, name: str, people: dict[str, dict[int, Path]]) -> Dataset:
    """Return the data set of those whom every camera saw long enough."""
    cameras = [*people]
    every = set.union(*map(set, people.values()))
    both = sorted(set.intersection(*map(set, people.values())))
    if len(both) < 2:
        what = f"people in each of {', '.join(cameras)}: {len(both)}"
        raise UserError(f"{root}: {what}, and a trial needs two")
    frames = {f: tracklets.images(root, f) for c in cameras for f in people[c].values()}
    kept = [
        person
        for person in both
        if all(len(frames[people[c][person]]) >= min_frames for c in cameras)
    ]
    if len(kept) < 2:
        what = f"people with at least {min_frames} frames in each of {', '.join(cameras)}"
        advice = tracklets.advice(root, frames, "set min_frames lower?")
        raise UserError(f"{root}: {what}: {len(kept)}, and a trial needs two ({advice})")
    _tell_left_out(root, len(every), len(both), len(kept), min_frames)
    found = [Found("", c, p, frames[people[c][p]]) for c in cameras for p in kept]
    return tracklets.arranged(name, root, found, empty=[f for f in frames if not frames[f]])


def _tell_left_out(root: Path, every: int, both: int, kept: int, min_frames: int) -> None:
    """Warn of people who are left out, with the reasons; not of the cut that the paper makes."""
    if kept == every or (kept, every) == (PUBLISHED, SHARED):
        return
    short = f"with fewer than min_frames = {min_frames} frames in a tracklet"
    reasons = {"not seen by every camera": every - both, short: both - kept}
    why = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
    text = f"left out {every - kept} of {every} people of {root}: {why}"
    warnings.warn(text, Caution, stacklevel=3)


def _people(camera: Path, example: str) -> dict[int, Path]:
    """Return the folder of each person's number, named such as the example."""
    found: dict[int, Path] = {}
    start = example.rstrip("01")
    for folder in folders(camera):
        number = folder.name.removeprefix(start)
        named = folder.name.startswith(start) and number.isascii() and number.isdecimal()
        if not named or len(number) > 9 or int(number) in found:
            names = f"the folders are named {example}, {example[:-1]}2 and so on"
            raise UserError(f"{folder} is not a person of its own: {names}; rename or remove it")
        found[int(number)] = folder
    return found
