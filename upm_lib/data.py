"""Tracklets, the PRID2011 reader and protocol, packed frames, and training batches without names.

A training batch holds frames and the index of each frame's tracklet, from which its camera follows.
It has no person id: the method is unsupervised, and the type makes a leak impossible.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

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
    """The tracklets of a data set, in a fixed order: by camera, then by person."""

    name: str
    root: Path
    tracklets: tuple[Tracklet, ...]
    cameras: tuple[str, ...]  # their names

    @cached_property
    def people(self) -> tuple[int, ...]:
        """Identities, sorted."""
        return tuple(sorted({t.person for t in self.tracklets}))

    def digest(self) -> str:
        """Return 12 hex digits over the names and contents of all frames; their place is free."""
        text = hashlib.sha256(self.name.encode())
        with _readable():
            for tracklet in self.tracklets:
                for frame in tracklet.frames:
                    content = (self.root / frame).read_bytes()
                    text.update(f"\n{frame} {len(content)}\n".encode())
                    text.update(content)
        return text.hexdigest()[:12]


class Trial(NamedTuple):
    """A half/half split: indices into ``Dataset.tracklets``."""

    train: np.ndarray
    probe: np.ndarray  # test people in camera A
    gallery: np.ndarray  # the same people in camera B


class TrainBatch(NamedTuple):
    """What the unsupervised learner gets. There is no person id."""

    frames: Tensor  # [B, 3, H, W] in [-1, 1]
    tracklet: Tensor  # [B], index among the training tracklets


# ---------------------------------------------------------------- reading


@contextmanager
def _readable() -> Iterator[None]:
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
    return read_prid2011(root, config.min_frames, config.dataset)


def read_prid2011(root: str | Path, min_frames: int = 28, name: str = "prid2011") -> Dataset:
    """Read PRID2011 (Hirzer et al., SCIA 2011): ``multi_shot/cam_a/person_0001/0001.png``.

    Kept are the people seen by every camera whose tracklets all have at least ``min_frames``
    frames; with the paper's "more than 27" these are 178 people of the real set. Frames are in
    sorted order.

    Raises UserError if the folders are not there or nobody is left.
    """
    with _readable():
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


def split(dataset: Dataset, trial: int) -> Trial:
    """Return the half/half split of the identities that belongs to a trial number (section 4.1).

    The split depends on nothing but the identities and the number. Camera A is the probe.
    """
    people = np.array(dataset.people)
    order = np.random.default_rng([2011, trial]).permutation(len(people))
    train = set(people[order[: len(people) // 2]].tolist())
    kinds = [(t.person in train, t.camera) for t in dataset.tracklets]
    train_index = np.flatnonzero([is_train for is_train, _ in kinds])
    test = [np.flatnonzero([k == (False, camera) for k in kinds]) for camera in (0, 1)]
    return Trial(train_index, *test)


# ---------------------------------------------------------------- frames


class Frames:
    """All frames of a data set as one memory-mapped uint8 array [F, h, w, 3], RGB.

    Each image is decoded once; the packed file lives in the run store under the data's digest.
    ``tracklet`` [F] gives each frame's index in ``Dataset.tracklets``.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.digest = dataset.digest()
        path = runs.store() / "packed" / f"{dataset.name}-{self.digest}.npy"
        if not path.is_file():
            _pack(dataset, path)
        self.pixels = np.load(path, mmap_mode="r")
        counts = [len(t.frames) for t in dataset.tracklets]
        self.tracklet = np.repeat(np.arange(len(counts)), counts)

    def of(self, tracklets: Sequence[int]) -> np.ndarray:
        """Return the frame numbers of some tracklets, in their order."""
        return np.concatenate([np.flatnonzero(self.tracklet == t) for t in tracklets])

    def batch(self, index: np.ndarray, config: Config, device: torch.device | str) -> Tensor:
        """Return frames [B] as network input [B, 3, H, W] on a device."""
        pixels = torch.from_numpy(self.pixels[index]).to(device)
        return to_input(pixels, config.height, config.width, config.resize)


def _pack(dataset: Dataset, path: Path) -> None:
    files = [dataset.root / frame for t in dataset.tracklets for frame in t.frames]
    # The commonest size of the tracklets' first frames; one odd frame must not decide for all.
    sizes = Counter(_decode(dataset.root / t.frames[0]).shape for t in dataset.tracklets)
    shape = sizes.most_common(1)[0][0]
    with runs.replacing(path) as temporary:
        whole = (len(files), *shape)
        packed = np.lib.format.open_memmap(temporary, "w+", np.uint8, whole)
        for number, file in enumerate(files):
            image = _decode(file)
            if image.shape != shape:
                image = cv2.resize(image, shape[1::-1], interpolation=cv2.INTER_LINEAR)
            packed[number] = image
        packed.flush()


def _decode(file: Path) -> np.ndarray:
    with _readable():
        content = file.read_bytes()
    # OpenCV fills up a truncated JPEG with grey; its end marker tells.
    whole = content[:2] != b"\xff\xd8" or b"\xff\xd9" in content.rstrip(b"\0")[-64:]
    pixels = np.frombuffer(content, np.uint8)
    image = cv2.imdecode(pixels, cv2.IMREAD_COLOR) if content and whole else None
    if image is None:
        raise UserError(f"{file} is not a readable image: replace it or remove the tracklet")
    return image[..., ::-1]


def to_input(pixels: Tensor, height: int, width: int, resize: str = "half_pixel") -> Tensor:
    """Turn frames [B, h, w, 3] uint8 into network input [B, 3, height, width] in [-1, 1].

    "half_pixel" is the bilinear resize of today's libraries; "legacy" samples at i * h / height as
    TensorFlow 1 did, which shifts the picture by up to half a pixel.
    """
    x = pixels.permute(0, 3, 1, 2).float() / 255  # channels_last in memory, as the trunk likes it
    if x.shape[2:] != (height, width):
        if resize == "half_pixel":
            x = F.interpolate(x, (height, width), mode="bilinear", align_corners=False)
        else:
            x = _legacy_bilinear(x, height, width)
    return (x - 0.5) * 2


def _legacy_bilinear(x: Tensor, height: int, width: int) -> Tensor:
    for axis, size in ((2, height), (3, width)):
        old = x.shape[axis]
        place = torch.arange(size, device=x.device, dtype=x.dtype) * (old / size)
        low = place.long()
        part = (place - low).view([-1 if a == axis else 1 for a in range(4)])
        high = (low + 1).clamp_max(old - 1)
        x = x.index_select(axis, low).lerp(x.index_select(axis, high), part)
    return x


# ---------------------------------------------------------------- batches


class Sampler:
    """Frames in random order, an endless stream of shuffled epochs cut into batches.

    The batch of a step follows from (seed, step) alone, so that resuming needs no state. The unit
    is the frame, not the tracklet: a batch may hold several frames of one tracklet.
    """

    def __init__(self, count: int, batch: int, seed: int) -> None:
        self.count, self.size, self.seed = count, batch, seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    @property
    def steps_per_epoch(self) -> float:
        """Batches that one pass over the frames gives."""
        return self.count / self.size

    def __call__(self, step: int) -> np.ndarray:
        """Return the positions [batch] in 0 .. count-1 of a step, counted from 0."""
        places = np.arange(step * self.size, (step + 1) * self.size)
        return np.array([self._shuffled(p // self.count)[p % self.count] for p in places])

    def _shuffled(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self.seed, epoch]).permutation(self.count)
        return self._order


class TrainingSet:
    """The training half of a trial: frames and tracklet numbers, the people's names left behind."""

    def __init__(self, dataset: Dataset, frames: Frames, config: Config) -> None:
        # In random order: equal numbers in two cameras must not hint at equal people.
        order = np.random.default_rng([config.seed, config.trial])
        self.tracklets = order.permutation(split(dataset, config.trial).train)
        self.camera_of = torch.tensor([dataset.tracklets[t].camera for t in self.tracklets])
        self.frame = frames.of(self.tracklets)
        number = np.full(len(dataset.tracklets), -1)
        number[self.tracklets] = np.arange(len(self.tracklets))
        self.tracklet = number[frames.tracklet[self.frame]]
        self.sampler = Sampler(len(self.frame), config.batch, config.seed)
        self._frames, self._config = frames, config

    def batch(self, step: int, device: torch.device | str = "cpu") -> TrainBatch:
        """Return the batch of a step, counted from 0."""
        chosen = self.sampler(step)
        images = self._frames.batch(self.frame[chosen], self._config, device)
        return TrainBatch(images, torch.from_numpy(self.tracklet[chosen]).to(device))
