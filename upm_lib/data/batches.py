"""Training batches without names: frames and the index of each frame's tracklet.

The tracklet's camera follows from its index. There is no person id: the method is unsupervised, and
the type makes a leak impossible.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from upm_lib import distributed
from upm_lib.config import Config
from upm_lib.data.packing import Source, on_device
from upm_lib.data.splits import split
from upm_lib.data.tracklets import Dataset


class TrainBatch(NamedTuple):
    """What the unsupervised learner gets. There is no person id."""

    frames: Tensor  # [B, 3, H, W] in [-1, 1]
    tracklet: Tensor  # [B], index among the training tracklets


class Sampler:
    """Frames in random order, an endless stream of shuffled epochs cut into batches.

    The batch of a step follows from (seed, step) alone, so that resuming needs no state. The unit
    is the frame, not the tracklet: a batch may hold several frames of one tracklet.
    """

    def __init__(self, count: int, batch: int, seed: int) -> None:
        self.count, self.size, self.seed = count, batch, seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

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

    def __init__(self, dataset: Dataset, frames: Source, config: Config) -> None:
        # In random order: equal numbers in two cameras must not hint at equal people.
        order = np.random.default_rng([config.seed, config.trial])
        shuffled = order.permutation(split(dataset, config.trial).train)
        self.frame = frames.of(shuffled)
        camera = np.array([dataset.tracklets[t].camera for t in shuffled])
        by_camera = camera.argsort(kind="stable")  # so that a camera's anchors lie together
        self.tracklets, self.camera_of = shuffled[by_camera], torch.from_numpy(camera[by_camera])
        number = np.full(len(dataset.tracklets), -1)
        number[self.tracklets] = np.arange(len(self.tracklets))
        self.tracklet = number[frames.tracklet[self.frame]]
        self.sampler = Sampler(len(self.frame), config.batch, config.seed)
        self._frames, self._config = frames, config

    def batch(self, step: int, device: torch.device | str = "cpu") -> TrainBatch:
        """Return the batch of a step, counted from 0; of several processes, each gets its share."""
        chosen = self.sampler(step)[distributed.share(self.sampler.size)]
        images = self._frames.batch(self.frame[chosen], self._config, device)
        if self._config.flip or self._config.crop:
            images = augmented(images, *(on_device(n, device) for n in self._drawn(step)))
        return TrainBatch(images, on_device(self.tracklet[chosen], device))

    def _drawn(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw, for this process's frames of a step, which are mirrored [b] and how far moved."""
        config, share = self._config, distributed.share(self.sampler.size)
        random = np.random.default_rng([config.seed, config.trial, step])
        mirrored = (random.random(config.batch) < 0.5) & config.flip
        moved = random.integers(-config.crop, config.crop, (config.batch, 2), endpoint=True)
        return mirrored[share], moved[share]


def augmented(images: Tensor, mirrored: Tensor, moved: Tensor) -> Tensor:
    """Mirror and move images [B, c, H, W]; the pixels at the edges fill the gaps.

    mirrored: bool [B]; moved: pixels down and to the right, as the result is seen, [B, 2].
    """
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device) - moved[:, :1]
    columns = (torch.arange(width, device=images.device) - moved[:, 1:]).clamp(0, width - 1)
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    image = torch.arange(len(images), device=images.device)[:, None, None]
    rows = rows.clamp(0, height - 1)[:, :, None]
    return images.permute(0, 2, 3, 1)[image, rows, columns[:, None]].permute(0, 3, 1, 2)
