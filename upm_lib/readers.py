"""Tracklets and the readers of the data sets' folder layouts."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from upm_lib import runs, synthetic
from upm_lib.config import Config, UserError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp"}


@dataclass(frozen=True)
class Tracklet:
    """One person walking past one camera: the unit that needs no label."""

    person: int
    camera: int  # from 0
    frames: tuple[str, ...]  # paths relative to the root, in time


@dataclass(frozen=True)
class Dataset:
    """The tracklets of a data set, in a fixed order: by camera, then by person.

    ``subset`` is empty for sets that are halved at random; a set with an official division names
    for each tracklet its subset: "train", "query" or "gallery". ``published`` has the identities
    that train and those that test in each published trial; empty: the halves are drawn.
    """

    name: str
    root: Path
    tracklets: tuple[Tracklet, ...]
    cameras: tuple[str, ...]  # their names
    subset: tuple[str, ...] = ()
    published: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()

    @cached_property
    def people(self) -> tuple[int, ...]:
        """Identities, sorted."""
        return tuple(sorted({t.person for t in self.tracklets}))

    def digest(self) -> str:
        """Return 12 hex digits over the names and contents of all frames; their place is free."""
        text = hashlib.sha256(self.name.encode())
        with readable():
            for tracklet in self.tracklets:
                for frame in tracklet.frames:
                    content = (self.root / frame).read_bytes()
                    text.update(f"\n{frame} {len(content)}\n".encode(errors="surrogateescape"))
                    text.update(content)
        return text.hexdigest()[:12]


@contextmanager
def readable() -> Iterator[None]:
    """Turn the system's refusal to read a file or folder into a sentence that names it."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{error.filename} cannot be read ({error.strerror}): check it and its permissions"
        ) from error


def load(config: Config, progress: bool = False) -> Dataset:
    """Open the data set of a config; the embedded synthetic ones are drawn on first use."""
    root = config.root
    if config.dataset in synthetic.WORLDS:
        if root is None:
            world = synthetic.WORLDS[config.dataset]
            root = runs.store() / "data" / f"{config.dataset}-{synthetic.digest(world)}"
            synthetic.write(world, root, progress)
    elif root is None:
        raise UserError(f"the data set {config.dataset} is not embedded: give its folder as root")
    if config.dataset == "synthetic_eight":
        return read_dukemtmc(root, config.dataset)
    return read_prid2011(root, config.min_frames, config.dataset)


def read_prid2011(root: str | Path, min_frames: int = 28, name: str = "prid2011") -> Dataset:
    """Read PRID2011 (Hirzer et al., SCIA 2011): ``multi_shot/cam_a/person_0001/0001.png``.

    Kept are the people seen by every camera whose tracklets all have at least ``min_frames``
    frames; with the paper's "more than 27" these are 178 people of the real set. Frames are in
    sorted order.

    Raises UserError if the folders are not there or nobody is left.
    """
    with readable():
        return _read_prid2011(Path(root).expanduser(), min_frames, name)


def _read_prid2011(root: Path, min_frames: int, name: str) -> Dataset:
    multi = root / "multi_shot"
    if not multi.is_dir():
        near = [p.parent for p in (*root.glob("*/multi_shot"), root.parent / "multi_shot")]
        near = [p for p in near if (p / "multi_shot").is_dir()]
        hint = f"did you mean {near[0]}?" if near else "give the folder that contains multi_shot/"
        state = "has no folder multi_shot" if root.is_dir() else "does not exist"
        state = "is a file, not a folder" if root.is_file() else state
        raise UserError(f"{root} {state}: {hint}")
    cameras = sorted(p.name for p in multi.iterdir() if p.name[:4] == "cam_" and p.is_dir())
    if len(cameras) < 2:
        raise UserError(
            f"{multi} needs the folders cam_a and cam_b, found {', '.join(cameras) or 'none'}"
        )
    frames = {camera: _person_frames(root, multi / camera) for camera in cameras}
    people = set.intersection(*(set(f) for f in frames.values()))
    people = sorted(p for p in people if all(len(frames[c][p]) >= min_frames for c in cameras))
    if len(people) < 2:
        raise UserError(
            f"{root}: {len(people)} people have at least {min_frames} frames in each of "
            f"{', '.join(cameras)}; a trial needs two (set min_frames lower?)"
        )
    tracklets = tuple(
        Tracklet(person, number, frames[camera][person])
        for number, camera in enumerate(cameras)
        for person in people
    )
    return Dataset(name, root, tracklets, tuple(cameras))


def _person_frames(root: Path, folder: Path) -> dict[int, tuple[str, ...]]:
    found = {}
    # iterdir, not glob, which is silent about a folder it may not read
    for person in sorted(p for p in folder.iterdir() if p.name[:7] == "person_" and p.is_dir()):
        number = person.name.removeprefix("person_")
        if not number.isdecimal() or int(number) in found:
            raise UserError(
                f"{person} is not a person of its own: the folders are named person_0001, "
                "person_0002 and so on; rename or remove it"
            )
        images = (f for f in person.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES)
        files = sorted(f for f in images if not f.is_dir())
        found[int(number)] = tuple(f.relative_to(root).as_posix() for f in files)
    return found


SUBSETS = ("train", "query", "gallery")
_DUKE_NAME = re.compile(r"\d+_?C(\d+)_?F\d+")  # of a frame: person, camera, number


def read_dukemtmc(root: str | Path, name: str) -> Dataset:
    """Read DukeMTMC-VideoReID's layout: ``train/ID/TRACKLET/0001_C6_F0099_X30823.jpg``.

    The camera is in the file name, with or without underscores. The official division is kept.
    """
    root = Path(root).expanduser()
    found = []
    for subset in SUBSETS:
        for folder in sorted(p for p in root.glob(f"{subset}/*/*") if p.is_dir()):
            files = sorted(f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES)
            camera = int(_DUKE_NAME.match(files[0].name)[1])
            frames = tuple(f.relative_to(root).as_posix() for f in files)
            found.append((subset, camera, int(folder.parent.name), frames))
    cameras = sorted({camera for _, camera, _, _ in found})
    tracklets = tuple(Tracklet(p, cameras.index(c), frames) for _, c, p, frames in found)
    subset = tuple(subset for subset, *_ in found)
    return Dataset(name, root, tracklets, tuple(f"C{c}" for c in cameras), subset)
