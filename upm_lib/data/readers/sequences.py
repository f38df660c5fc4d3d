"""What PRID2011 and iLIDS-VID share: one tracklet for each person and camera."""

from pathlib import Path
from typing import NamedTuple

from upm_lib.config import UserError
from upm_lib.data import tracklets
from upm_lib.data.tracklets import Dataset, Found, folders


class Sequences(NamedTuple):
    """A layout of one tracklet for each person and camera: ``place/CAMERA/PERSON/frames``."""

    place: str
    cameras: tuple[str, str]
    person: str  # what the folders' names begin with
    example: str  # how they go on


@tracklets.readable()
def read(
    root: Path, name: str, layout: Sequences, min_frames: int, empty: list[str] | None
) -> Dataset:
    """Return the people seen by every camera with enough frames, camera by camera.

    Raises UserError for folders that are not named as the layout says, and if nobody is left.
    """
    tracklets.check_root(root, layout.place)
    place, start = root / layout.place, layout.cameras[0][:-1]
    cameras = [p.name for p in folders(place) if p.name.startswith(start)]
    if len(cameras) < 2:
        raise UserError(
            f"{place} needs the folders {' and '.join(layout.cameras)}, "
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
    return tracklets.arranged(name, root, found)


def _person_frames(
    root: Path, layout: Sequences, camera: str, empty: list[str] | None
) -> dict[int, tuple[str, ...]]:
    found = {}
    for person in folders(root / layout.place / camera):
        if not person.name.startswith(layout.person):
            continue
        number = person.name.removeprefix(layout.person)
        if not number.isdecimal() or int(number) in found:
            named = layout.person + layout.example
            raise UserError(
                f"{person} is not a person of its own: the folders are named {named}, "
                f"{named[:-1]}2 and so on; rename or remove it"
            )
        found[int(number)] = tracklets.images(root, person)
        if not found[int(number)] and empty is not None:
            tracklets.refuse_empty(root, person, empty)
    return found
