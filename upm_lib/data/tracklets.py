"""Tracklets, the data set they make, and what the readers of all folder layouts share."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tqdm.auto import tqdm

from upm_lib import files
from upm_lib.config import UserError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp"}
KINDS = ", ".join(sorted(IMAGE_SUFFIXES))
# What lies beside frames and is not meant as one; any other kind of file is named when left out.
COMPANIONS = {
    ".txt",
    ".md",
    ".csv",
    ".json",
    ".xml",
    ".mat",
    ".html",
    ".pdf",
    ".log",
    ".db",
    ".ini",
}
COMPANIONS |= {"readme", "license", "licence", "copying"}
_EXPECTED = COMPANIONS | IMAGE_SUFFIXES | {"."}  # kinds that nobody is told of
SUBSETS = ("train", "query", "gallery")
UNKNOWN = -1  # the person of a tracklet without an identity, and of junk


@dataclass(frozen=True)
class Tracklet:
    """One person walking past one camera: the unit that needs no label."""

    person: int  # UNKNOWN: nobody has said
    camera: int  # from 0
    frames: tuple[str, ...]  # paths relative to the root, in time


@dataclass(frozen=True)
class Dataset:
    """The tracklets of a data set, in a fixed order: two-camera sets by camera, then by person.

    ``subset`` is empty for sets that are halved at random; a set with an official division names
    for each tracklet its subset: "train", "query" or "gallery". ``queries_in_gallery`` says that
    the queries are also searched themselves, each by the others. ``published`` has the identities
    that train and those that test in each published trial; without any the halves are drawn.
    """

    name: str
    root: Path
    tracklets: tuple[Tracklet, ...]
    cameras: tuple[str, ...]  # their names
    subset: tuple[str, ...] = ()
    queries_in_gallery: bool = False
    published: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()
    empty: tuple[Path, ...] = ()  # folders of tracklets that were left out: they hold no picture

    @cached_property
    def people(self) -> tuple[int, ...]:
        """Known identities, sorted."""
        return tuple(sorted({t.person for t in self.tracklets} - {UNKNOWN}))

    @property
    def identified(self) -> bool:
        """Whether anybody's identity is known; without one, nothing can be evaluated."""
        return bool(self.people)

    @property
    def anonymous(self) -> "Dataset":
        """The same tracklets without anybody's identity: all of them train, nothing is tested."""
        nobody = tuple(replace(tracklet, person=UNKNOWN) for tracklet in self.tracklets)
        return replace(self, tracklets=nobody)

    @cached_property
    def protocol(self) -> Literal["two cameras", "query and gallery"]:
        """How the set is evaluated (section 4.1).

        "two cameras": the test people of one camera are searched in the other (PRID2011,
        iLIDS-VID); there are two cameras, each person is seen by both, and no division is given.
        "query and gallery": everything else; the same identity in the same camera is junk.
        """
        seen = {(t.person, t.camera) for t in self.tracklets if t.person != UNKNOWN}
        in_both = len(self.cameras) == 2 and len(seen) == 2 * len(self.people)
        return "two cameras" if in_both and not self.subset else "query and gallery"

    def digest(self, progress: bool = False) -> str:
        """Return 12 hex digits over the names and contents of all frames; their place is free."""
        text = hashlib.sha256(self.name.encode())
        bar = tqdm(self.tracklets, "reading tracklets", disable=not progress, delay=2)
        with files.readable():
            for tracklet in bar:
                for frame in tracklet.frames:
                    content = files.read(self.root / frame)
                    text.update(f"\n{frame} {len(content)}\n".encode(errors="surrogateescape"))
                    text.update(content)
        return text.hexdigest()[:12]

    @cached_property
    def meaning(self) -> str:
        """12 hex digits over what is said of the frames: whose, whence, in which subset."""
        said = [(t.person, t.camera, len(t.frames)) for t in self.tracklets]
        return hashlib.sha256(repr((said, self.subset)).encode()).hexdigest()[:12]


class Found(NamedTuple):
    """A tracklet as a reader finds it."""

    subset: str  # "" where there is no official division
    camera: int | str  # as the layout names it
    person: int
    frames: tuple[str, ...]


def arranged(
    name: str, root: Path, found: list[Found], empty: Iterable[Path] = (), **rest: Any
) -> Dataset:
    """Return the tracklets found as a data set, in the order found."""
    cameras = sorted({f.camera for f in found})
    tracklets = tuple(Tracklet(f.person, cameras.index(f.camera), f.frames) for f in found)
    names = tuple(c if isinstance(c, str) else f"C{c}" for c in cameras)
    subset = tuple(f.subset for f in found if f.subset)
    return Dataset(name, root, tracklets, names, subset, empty=tuple(empty), **rest)


def check_root(root: Path, *wanted: str, files: str = "") -> None:
    """Refuse a root that is no folder or lacks one, and name the one that was probably meant.

    ``files`` says what a layout without folders of fixed names holds.
    """
    lacking = [w for w in wanted if not (root / w).is_dir()]
    if root.is_dir() and not lacking:
        return
    near = [p.parent for w in wanted[:1] for p in root.glob(f"*/{w}")] + [root.parent]
    near = [p for p in near if wanted and all((p / w).is_dir() for w in wanted)]
    whole = files or " and ".join(f"{w}/" for w in wanted)
    hint = f"did you mean {near[0]}?" if near else f"give the folder that contains {whole}"
    state = f"has no folder {', '.join(lacking)}" if root.is_dir() else "does not exist"
    state = "is a file, not a folder" if root.exists() and not root.is_dir() else state
    raise UserError(f"{root} {state}: {hint}")


def folders(parent: Path) -> list[Path]:
    """Return the folders in a folder, sorted by name, hidden ones apart.

    Unlike glob it is not silent about a folder that may not be read.
    """
    return sorted(p for p in parent.iterdir() if p.name[0] != "." and p.is_dir())


def images(root: Path, folder: Path) -> tuple[str, ...]:
    """Return the pictures in a folder, as paths relative to the root, sorted by name.

    Other files, and hidden ones such as the ._0001.png of some archives, are no frames.

    Raises UserError for what is named as a picture and is a pipe, a device or a link to nothing.
    """
    where = folder.relative_to(root).as_posix()
    with os.scandir(folder) as entries:
        found = [e for e in entries if _kind(e.name) in IMAGE_SUFFIXES and not e.is_dir()]
    for entry in found:
        if not entry.is_file():
            what = "is no regular file (a pipe, a device or a link to nothing)"
            raise UserError(f"{folder / entry.name} {what}: remove it, or put a picture there")
    return tuple(f"{where}/{name}" for name in sorted(e.name for e in found))


def unread(dataset: Dataset) -> list[str]:
    """Return the files beside the frames that are of no kind that is read, by path, sorted."""
    places = {os.path.dirname(frame) for t in dataset.tracklets for frame in t.frames}
    places |= {folder.relative_to(dataset.root).as_posix() for folder in dataset.empty}
    found = []
    for place in places:
        with files.readable(), os.scandir(dataset.root / place) as entries:
            names = [e.name for e in entries if not e.is_dir()]
        found += [f"{place}/{n}" for n in names if _kind(n) not in _EXPECTED]
    return sorted(found)


def advice(root: Path, folders: Iterable[Path], usual: str) -> str:
    """Return what to do where frames are lacking: make pictures of other files there, or usual."""
    others = unread(Dataset("", root, (), (), empty=tuple(folders)))
    kinds = f"the files there are of kinds that are not read ({by_kind(others)})"
    return f"{kinds}: make them one of {KINDS}" if others else usual


def by_kind(names: Iterable[str]) -> str:
    """Return how many files there are of each kind: ".tif 2, .webp 1"."""
    counts = Counter(_kind(os.path.basename(name)) for name in names)
    return ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))


def _kind(name: str) -> str:
    """Return a file's ending in small letters, or its name if it has none; "." if it is hidden."""
    return "." if name[0] == "." else (os.path.splitext(name)[1] or name).lower()
