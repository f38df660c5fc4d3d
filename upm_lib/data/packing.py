"""All frames of a data set as one memory-mapped array, decoded once.

A pack is the folder ``packed/NAME-DIGEST/`` of the run store: ``frames.npy`` and ``index.json``,
which is written last, so that a pack without it counts as not made. Contents are read again only
when the relative path, size or modification time of a source file differs from what was packed: a
file that is changed without either changing goes unnoticed. The pack itself is checked byte by
byte.
"""

import hashlib
import io
import json
import os
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from upm_lib import files, runs
from upm_lib.config import Caution, Config, UserError
from upm_lib.data.tracklets import Dataset, Tracklet

VERSION = 2  # of the pack's format, and of how frames are decoded and resized
DEFAULT_SIZE = (256, 128)  # of the packed frames where the data have no common size
PIXELS = 2**26  # of a picture, at most: 67 million; a frame of a person has some ten thousand
READ = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")  # by content: not every .jpg is one
SEEN = 16  # fingerprints that an index remembers


# Pillow warns of a picture that we refuse.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class Source(ABC):
    """What training and extraction read: frames, or what frozen blocks have made of them."""

    tracklet: np.ndarray  # [F], ascending: each frame's index in ``Dataset.tracklets``

    def of(self, tracklets: ArrayLike) -> np.ndarray:
        """Return the frame numbers of some tracklets, in their order."""
        pieces = [np.arange(*pair) for pair in zip(*self._ends(tracklets), strict=True)]
        return np.concatenate([np.empty(0, np.int64), *pieces])

    def rows(self, tracklets: ArrayLike) -> np.ndarray:
        """Return, for each frame of :meth:`of`, the place of its tracklet among those given."""
        first, end = self._ends(tracklets)
        return np.repeat(np.arange(len(first)), end - first)

    def _ends(self, tracklets: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return the first frame's number of each tracklet, and that behind its last frame."""
        first, end = (np.searchsorted(self.tracklet, tracklets, side) for side in ("left", "right"))
        return first, end

    @abstractmethod
    def batch(self, index: np.ndarray, config: Config, device: torch.device | str) -> Tensor:
        """Return frames [B] as network input on a device."""


class Pixels(Source):
    """Frames in memory or on disk, all of one size."""

    pixels: np.ndarray  # [F, h, w, 3], uint8 RGB

    def batch(self, index: np.ndarray, config: Config, device: torch.device | str) -> Tensor:
        """Return frames [B] as network input [B, 3, H, W] on a device."""
        pixels = on_device(self.pixels[index], device)
        return to_input(pixels, config.height, config.width, config.resize)


class Frames(Pixels):
    """All frames of a data set as one memory-mapped uint8 array [F, h, w, 3], RGB.

    ``digest`` names the content of the source files (12 hex digits, wherever they lie), ``skipped``
    the files that are no readable images: they are left out, with a warning each time. h x w is the
    size of most tracklets' first frames; where no size has a majority it is 256x128. Opening an
    unchanged set costs a look at each source file's size and time, and at every byte of the pack. A
    pack that is damaged is made anew, with a warning.

    Raises UserError if a file cannot be read at all, has too many pixels, or if a tracklet would be
    left without frames.
    """

    def __init__(self, dataset: Dataset, progress: bool = False) -> None:
        mark = fingerprint(dataset)
        self.digest = _seen(dataset.name, mark) or dataset.digest(progress)
        self.folder = runs.store() / "packed" / f"{dataset.name}-{self.digest}"
        self.index, self.pixels = _open(dataset, self.folder, mark, progress)
        self.skipped = tuple(self.index["skipped"])
        left_out = set(self.skipped)
        counts = [sum(f not in left_out for f in t.frames) for t in dataset.tracklets]
        self.tracklet = np.repeat(np.arange(len(counts)), counts)
        if left_out:
            names = ", ".join(self.skipped[:5]) + (" ..." if len(left_out) > 5 else "")
            what = f"{len(left_out)} broken frame(s) of {dataset.name} in {dataset.root}"
            warnings.warn(f"left out {what}: {names}", Caution, stacklevel=2)
        height, width = self.pixels.shape[1:3]
        if self.index.get("wide", width > height):  # an older index does not say
            what = f"most frames of {dataset.root} are wider than high"
            advice = "each frame is expected to be cut out around one person"
            warnings.warn(f"{what}: {advice}", Caution, stacklevel=2)


def on_device(values: np.ndarray, device: torch.device | str) -> Tensor:
    """Return an array as a tensor on a device; a GPU fetches it while the program goes on.

    That takes pinned memory, which torch keeps until the copy is done.
    """
    tensor = torch.from_numpy(values)
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def fingerprint(dataset: Dataset) -> str:
    """Return a digest over the root and each frame's relative path, size and modification time."""
    text = hashlib.sha256(json.dumps([VERSION, dataset.name, str(dataset.root.resolve())]).encode())
    root = str(dataset.root)
    with files.readable():
        for number, tracklet in enumerate(dataset.tracklets):
            for frame in tracklet.frames:
                about = os.stat(f"{root}/{frame}")
                line = f"\n{number} {frame} {about.st_size} {about.st_mtime_ns}"
                text.update(line.encode(errors="surrogateescape"))
    return text.hexdigest()


def _seen(name: str, mark: str) -> str | None:
    """Return the content digest of the pack whose index remembers a fingerprint."""
    for path in sorted((runs.store() / "packed").glob("*/index.json")):
        theirs, _, digest = path.parent.name.rpartition("-")
        try:
            if theirs == name and mark in read_index(path.parent)["seen"]:
                return digest
        except (UserError, OSError):  # damaged: told and mended when it is opened
            continue
    return None


def read_index(folder: Path) -> dict[str, Any]:
    """Return the index of a pack.

    It holds ``version``, ``shape`` [F, h, w, 3], ``wide`` (whether most tracklets' first frames are
    wider than high), ``skipped`` (relative paths of broken frames) and ``seen`` (fingerprints of
    the source). It names no place: what is read and written follows from the folder alone.

    Raises Damaged if it is not as it was written, or of another version, and OSError if it is not
    there.
    """
    index = runs.read_json(folder / "index.json")
    if index.get("version") != VERSION:
        raise runs.Damaged(f"{folder / 'index.json'} is of another version")
    return index


def read_frames(folder: Path, index: dict[str, Any]) -> np.ndarray:
    """Map the frames of a pack into memory; every byte is checked.

    Raises Damaged if they are not as they were written, and OSError if they are not there.
    """
    pixels = runs.read_array(folder / "frames.npy")
    if pixels.dtype != np.uint8 or list(pixels.shape) != index["shape"]:
        raise runs.Damaged(f"{folder / 'frames.npy'} has another shape than its index says")
    return pixels


def _open(
    dataset: Dataset, folder: Path, mark: str, progress: bool
) -> tuple[dict[str, Any], np.ndarray]:
    """Return index and frames of a pack that is whole: found, or made now by one process a time."""
    with suppress(UserError, OSError):
        # Without the lock, so that several can check at once: files are moved here whole, and a
        # pack that is made anew meanwhile holds the same, since the folder names its content.
        index = read_index(folder)
        if mark in index["seen"]:
            return index, read_frames(folder, index)
    with runs.lock(folder / "lock"):
        made = (folder / "index.json").exists()
        try:
            index = read_index(folder)
            pixels = read_frames(folder, index)
        except (UserError, OSError) as error:
            if made:
                warnings.warn(f"{error}: the pack is made anew", Caution, stacklevel=4)
            index = _pack(dataset, folder, mark, progress)
            pixels = read_frames(folder, index)
        if mark not in index["seen"]:
            index["seen"] = [mark, *index["seen"]][:SEEN]
            runs.write_json(folder / "index.json", index)
    return index, pixels


def _pack(dataset: Dataset, folder: Path, mark: str, progress: bool) -> dict[str, Any]:
    """Decode all frames into one file, one after the other, and write and return its index."""
    runs.remove(folder / "index.json")
    size, wide = _common_size(dataset, progress)
    frames = [(frame, tracklet) for tracklet in dataset.tracklets for frame in tracklet.frames]

    def made(number: int) -> np.ndarray:
        image = _decoded(dataset.root, *frames[number], size)
        if number == len(frames) - 1 and fingerprint(dataset) != mark:
            raise UserError(f"{dataset.root} changed while it was packed: open it again")
        return image

    title = "packing frames" if progress else None
    place, shape = folder / "frames.npy", (*size, 3)
    broken = runs.write_array(place, len(frames), made, shape, np.uint8, mark, title)
    index = {"version": VERSION, "shape": [len(frames) - len(broken), *shape], "seen": [mark]}
    index["wide"] = wide
    index["skipped"] = [frames[number][0] for number in broken]
    runs.write_json(folder / "index.json", index)
    return index


def _common_size(dataset: Dataset, progress: bool) -> tuple[tuple[int, int], bool]:
    """Return the height and width that most tracklets' first frames have, else 256x128.

    Beside it whether most of them are wider than high.
    """
    bar = tqdm(dataset.tracklets, "sizes", disable=not progress, delay=runs.PATIENCE)
    firsts = (decode(dataset.root / t.frames[0]) for t in bar)
    sizes = Counter(image.shape[:2] for image in firsts if image is not None)
    size, votes = sizes.most_common(1)[0] if sizes else (DEFAULT_SIZE, 0)
    wide = sum(count for (height, width), count in sizes.items() if width > height)
    half = sizes.total() / 2
    return size if votes > half else DEFAULT_SIZE, wide > half


def _decoded(root: Path, frame: str, tracklet: Tracklet, size: tuple[int, int]) -> np.ndarray:
    """Return a frame of a tracklet [1, h, w, 3], or nothing [0, h, w, 3] if it is broken."""
    image = decode(root / frame)
    if image is None:
        last = frame == tracklet.frames[-1]
        if last and all(decode(root / other) is None for other in tracklet.frames):
            what = f"{root / tracklet.frames[0]} is not a readable image"
            if len(tracklet.frames) == 1:
                raise UserError(f"{what}: replace it or remove it")
            more = "nor is any other frame of its tracklet"
            raise UserError(f"{what}, {more}: replace them or remove the tracklet")
        return np.empty((0, *size, 3), np.uint8)
    return resized(image, size)[None]


def resized(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring a frame [h, w, 3], uint8, to a size (height, width)."""
    if frame.shape[:2] == tuple(size):
        return frame
    return cv2.resize(np.ascontiguousarray(frame), size[::-1], interpolation=cv2.INTER_LINEAR)


def decode(file: Path) -> np.ndarray | None:
    """Return a picture [h, w, 3], uint8 RGB, upright; None if the file is not a whole picture.

    Of 16 bits a channel the upper 8 are kept. Cameras of 12 bits store their numbers in 16, and
    some programs store 8: where all numbers are below 2**12 or 2**8, so many bits are meant.

    Raises UserError for what is no regular file, and for more than ``PIXELS`` pixels.
    """
    with files.readable():
        content = files.read(file)
    try:
        with Image.open(io.BytesIO(content), formats=READ) as head:
            width, height = head.size
    except Image.DecompressionBombError:
        width = height = PIXELS
    except Exception:  # no picture: for a damaged header Pillow raises many kinds
        return None
    if width * height > PIXELS:
        what = f"{file} has more than {PIXELS:,} pixels"
        raise UserError(f"{what}: make it smaller or remove it")
    if content[:2] == b"\xff\xd8" and not _ends(content):
        return None
    try:
        kind = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
        image = cv2.imdecode(np.frombuffer(content, np.uint8), kind)
    except cv2.error:
        return None
    if image is None or image.dtype not in (np.uint8, np.uint16):
        return None
    if image.dtype == np.uint16:
        largest = int(image.max())
        down = 8 if largest >= 2**12 else 4 if largest >= 2**8 else 0
        image = np.right_shift(image, down).astype(np.uint8)
    return image[..., ::-1]


def _ends(content: bytes) -> bool:
    """Whether the segments of a JPEG lead to its end marker, whatever comes behind it.

    OpenCV fills up what a truncated one lacks with grey. A thumbnail inside has an end marker too.
    """
    place = 2
    while 0 <= (place := content.find(b"\xff", place)) < len(content) - 1:
        marker = content[place + 1]
        if marker == 0xD9:
            return True
        alone = marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD7
        place += 1 if marker == 0xFF else 2
        if not alone and marker != 0xFF:
            place += int.from_bytes(content[place : place + 2], "big")
    return False


def to_input(pixels: Tensor, height: int, width: int, resize: str = "half_pixel") -> Tensor:
    """Turn frames [B, h, w, 3] uint8 into network input [B, 3, height, width] in [-1, 1].

    "half_pixel" is the bilinear resize of today's libraries; "legacy" samples at i * h / height as
    TensorFlow 1 did, which shifts the picture by up to half a pixel.
    """
    x = pixels.permute(0, 3, 1, 2).float() / 255  # channels last in memory, as the backbone's maps
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
