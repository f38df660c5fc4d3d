"""All frames of a data set as one memory-mapped array, decoded once."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from upm_lib import runs
from upm_lib.config import Config, UserError
from upm_lib.readers import Dataset, readable


class Source(Protocol):
    """What training and extraction read: frames, or what frozen blocks have made of them."""

    digest: str  # of the data
    tracklet: np.ndarray  # [F], each frame's index in ``Dataset.tracklets``

    def of(self, tracklets: Sequence[int]) -> np.ndarray:
        """Return the frame numbers of some tracklets, in their order."""
        ...

    def batch(self, index: np.ndarray, config: Config, device: torch.device | str) -> Tensor:
        """Return frames [B] as network input on a device."""
        ...


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
    with readable():
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
