"""All frames of a data set as one memory-mapped array, decoded once.

A pack is the folder ``packed/NAME-DIGEST/`` of the run store: ``frames.npy`` and ``index.json``,
which is written last, so that a pack without it counts as not made. Contents are read again only
when the relative path, size or modification time of a source file differs from what was packed: a
file that is changed without either changing goes unnoticed.
"""

import hashlib
import json
import os
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from filelock import FileLock
from numpy.typing import ArrayLike
from torch import Tensor
from tqdm.auto import tqdm

from upm_lib import runs
from upm_lib.config import Config, UserError
from upm_lib.data.tracklets import Dataset, readable

VERSION = 1  # of the pack's format, and of how frames are decoded and resized
DEFAULT_SIZE = (256, 128)  # of the packed frames where the data have no common size
BLOCK, BLOCKS = 2**16, 2**10  # bytes a block, blocks that are checked when a pack is opened
SEEN = 16  # fingerprints that an index remembers


class PackingWarning(Warning):
    """Frames are left out because they are broken, or a damaged pack is made anew."""


class Source(ABC):
    """What training and extraction read: frames, or what frozen blocks have made of them."""

    tracklet: np.ndarray  # [F], ascending: each frame's index in ``Dataset.tracklets``

    def of(self, tracklets: ArrayLike) -> np.ndarray:
        """Return the frame numbers of some tracklets, in their order."""
        ends = (np.searchsorted(self.tracklet, tracklets, side) for side in ("left", "right"))
        pieces = [np.arange(*pair) for pair in zip(*ends, strict=True)]
        return np.concatenate([np.empty(0, np.int64), *pieces])

    @abstractmethod
    def batch(self, index: np.ndarray, config: Config, device: torch.device | str) -> Tensor:
        """Return frames [B] as network input on a device."""


class Frames(Source):
    """All frames of a data set as one memory-mapped uint8 array [F, h, w, 3], RGB.

    ``digest`` names the content of the source files (12 hex digits, wherever they lie), ``skipped``
    the files that are no readable images: they are left out, with a PackingWarning each time. h x w
    is the size of most tracklets' first frames; where no size has a majority it is 256x128.
    Opening an unchanged set costs a look at each source file's size and time and at 64 MiB of the
    pack; see :func:`damage`. A pack that is damaged is made anew, with a PackingWarning.

    Raises UserError if a file cannot be read at all, has too many pixels for OpenCV, or if a
    tracklet would be left without frames.
    """

    def __init__(self, dataset: Dataset, progress: bool = False) -> None:
        mark = fingerprint(dataset)
        self.digest = _seen(dataset.name, mark) or dataset.digest()
        self.folder = runs.store() / "packed" / f"{dataset.name}-{self.digest}"
        index = read_index(self.folder)
        if index is None or mark not in index["seen"] or damage(self.folder, index):
            index = _make(dataset, self.folder, mark, progress)
        self.pixels = np.lib.format.open_memmap(self.folder / "frames.npy", "r")
        self.index, self.skipped = index, tuple(index["skipped"])
        left_out = set(self.skipped)
        counts = [sum(f not in left_out for f in t.frames) for t in dataset.tracklets]
        self.tracklet = np.repeat(np.arange(len(counts)), counts)
        if left_out:
            names = ", ".join(self.skipped[:5]) + (" ..." if len(left_out) > 5 else "")
            what = f"{len(left_out)} broken frame(s) of {dataset.name} in {dataset.root}"
            warnings.warn(f"left out {what}: {names}", PackingWarning, stacklevel=2)

    def batch(self, index: np.ndarray, config: Config, device: torch.device | str) -> Tensor:
        """Return frames [B] as network input [B, 3, H, W] on a device."""
        pixels = on_device(self.pixels[index], device)
        return to_input(pixels, config.height, config.width, config.resize)


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
    with readable():
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
        index = read_index(path.parent) if theirs == name else None
        if index is not None and mark in index["seen"]:
            return digest
    return None


def read_index(folder: Path) -> dict[str, Any] | None:
    """Return the index of a pack, or None if there is none of this version that is well formed.

    It holds ``version``, ``shape`` [F, h, w, 3], ``skipped`` (relative paths of broken frames),
    ``seen`` (fingerprints of the source), ``sample`` and ``sha256`` (of the pixels). It names no
    place: what is read and written follows from the folder alone.
    """
    try:
        index = runs.read_json(folder / "index.json")
        shape, texts = index["shape"], [*index["skipped"], *index["seen"]]
        whole = all(type(n) is int and n > 0 for n in shape) and len(shape) == 4
        whole = whole and all(isinstance(t, str) for t in (*texts, index["sample"]))
        return index if whole and index["version"] == VERSION else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def damage(folder: Path, index: dict[str, Any], every_byte: bool = False) -> str | None:
    """Return in words what is wrong with a pack's frames, or None.

    Checked are header and size, and the SHA-256 of up to 1024 evenly spaced blocks of 64 KiB (so
    all of a pack up to 64 MiB), or of every byte. Nothing in the file is executed.
    """
    path = folder / "frames.npy"
    try:
        pixels = np.lib.format.open_memmap(path, "r")
    except (OSError, ValueError, EOFError):
        return "is not there or has no readable header"
    if pixels.dtype != np.uint8 or list(pixels.shape) != index["shape"]:
        return "has another shape"
    if path.stat().st_size != pixels.offset + pixels.nbytes:
        return "has another size"
    whole = not every_byte or hashlib.sha256(pixels.data).hexdigest() == index["sha256"]
    return None if whole and _sample(pixels) == index["sample"] else "has another checksum"


def _sample(pixels: np.ndarray) -> str:
    flat = pixels.reshape(-1)
    count = -(-flat.size // BLOCK)
    text = hashlib.sha256()
    for block in np.unique(np.linspace(0, count - 1, min(count, BLOCKS)).astype(np.int64)):
        text.update(flat[block * BLOCK : (block + 1) * BLOCK].data)
    return text.hexdigest()


def _make(dataset: Dataset, folder: Path, mark: str, progress: bool) -> dict[str, Any]:
    """Return the index of a pack that is whole: found, or made now; one process at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        runs.remove_leftovers(folder)
        index, text = read_index(folder), ""
        if index is None and (folder / "index.json").is_file():
            text = f"{folder / 'index.json'} is damaged or old: the pack is made anew"
        elif index is not None and (what := damage(folder, index)):
            text = f"{folder / 'frames.npy'} {what}: it is damaged and made anew"
        if text:
            warnings.warn(text, PackingWarning, stacklevel=4)
        if index is None or text:
            index = _pack(dataset, folder / "frames.npy", progress)
            if fingerprint(dataset) != mark:
                raise UserError(f"{dataset.root} changed while it was packed: open it again")
        seen = [mark, *(m for m in index.get("seen", ()) if m != mark)]
        index["seen"] = seen[:SEEN]
        runs.write_json(folder / "index.json", index)
    return index


def _pack(dataset: Dataset, path: Path, progress: bool) -> dict[str, Any]:
    """Decode all frames into one file, one after the other; return its index."""
    size = _common_size(dataset)
    skipped: list[str] = []
    text, count = hashlib.sha256(), 0
    with runs.replacing(path) as temporary:
        with open(temporary, "wb") as file:
            total = sum(len(t.frames) for t in dataset.tracklets)
            _write_header(file, (total, *size, 3))
            images = _decoded(dataset, size, skipped)  # the bar comes after 10 seconds
            for image in tqdm(images, "packing frames", total, disable=not progress, delay=10):
                file.write(image.data)
                text.update(image.data)
                count += 1
            file.seek(0)
            _write_header(file, (count, *size, 3))  # as long as the first: numpy leaves room
        sample = _sample(np.lib.format.open_memmap(temporary, "r"))
    found = {"version": VERSION, "shape": [count, *size, 3], "skipped": skipped}
    return found | {"sample": sample, "sha256": text.hexdigest()}


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    about = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, about)


def _common_size(dataset: Dataset) -> tuple[int, int]:
    """Return the height and width that most tracklets' first frames have, else 256x128."""
    firsts = (decode(dataset.root / t.frames[0]) for t in dataset.tracklets)
    sizes = Counter(image.shape[:2] for image in firsts if image is not None)
    size, votes = sizes.most_common(1)[0] if sizes else (DEFAULT_SIZE, 0)
    return size if 2 * votes > sizes.total() else DEFAULT_SIZE


def _decoded(dataset: Dataset, size: tuple[int, int], skipped: list[str]) -> Iterator[np.ndarray]:
    """Yield each frame [h, w, 3]; the names of broken ones are added to ``skipped``."""
    for tracklet in dataset.tracklets:
        before = len(skipped)
        for frame in tracklet.frames:
            image = decode(dataset.root / frame)
            if image is None:
                skipped.append(frame)
                continue
            if image.shape[:2] != size:
                image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
            yield np.ascontiguousarray(image)
        if len(skipped) - before == len(tracklet.frames):
            what = f"{dataset.root / tracklet.frames[0]} is not a readable image, nor is any other "
            raise UserError(what + "frame of its tracklet: replace them or remove the tracklet")


def decode(file: Path) -> np.ndarray | None:
    """Return a picture [h, w, 3], uint8 RGB; None if the file is not a whole picture."""
    with readable():
        content = file.read_bytes()
    # OpenCV fills up a truncated JPEG with grey; its end marker tells.
    whole = content[:2] != b"\xff\xd8" or b"\xff\xd9" in content.rstrip(b"\0")[-64:]
    if not content or not whole:
        return None
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        if "CV_IO_MAX_IMAGE" not in str(error):
            return None
        text = f"{file} has more pixels than OpenCV reads: make it smaller or remove it"
        raise UserError(text) from error
    return None if image is None else image[..., ::-1]


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
