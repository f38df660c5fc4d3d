"""The output of a backbone's frozen blocks, computed once for all frames and kept on disk.

Blocks that are not trained give the same for a frame at every step, whatever the head, k or trial.
With their output in the place of the frames, a step costs the last blocks only.
"""

import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from upm_lib import distributed, runs
from upm_lib.config import Caution, Config, UserError
from upm_lib.data.packing import Frames, Source, on_device
from upm_lib.learning import model

# The config's fields that the frozen blocks and their input depend on.
FIELDS = ("backbone", "freeze", "height", "width", "resize", "restore_bn_statistics")
BLOCK = 64  # frames that go through them at a time


class FrozenMaps(Source):
    """Stands in for :class:`~upm_lib.data.packing.Frames` in training and extraction.

    The maps are a memory-mapped array [F, h, w, c] of half precision in the run store, under a key
    of the data, the weights, the fields above, the code that makes them and torch's version. They
    are computed where they are missing, by the frozen blocks of the config's network; of several
    processes, the first computes.
    """

    def __init__(
        self, frames: Frames, config: Config, device: torch.device, progress: bool = False
    ) -> None:
        self.tracklet = frames.tracklet
        with distributed.first_goes_first():
            self.maps = _opened(frames, config, device, progress)

    def batch(self, index: np.ndarray, config: Config, device: torch.device | str) -> Tensor:
        """Return the maps of frames [B] as the backbone's input [B, c, h, w], channels last."""
        return on_device(self.maps[index], device).float().permute(0, 3, 1, 2)


def place(frames: Frames, config: Config) -> Path:
    """Return the file of the maps that the networks of a config read."""
    made_of = {name: getattr(config, name) for name in FIELDS} | {
        "data": frames.digest,
        "weights": runs.weights_digest(config),
        "code": runs.code_digest("data/packing", "learning/model", "learning/frozen"),
        "torch": runs.version("torch"),
    }
    return runs.store() / "maps" / f"{config.dataset}-{runs.digest(made_of)}.npy"


def _opened(frames: Frames, config: Config, device: torch.device, progress: bool) -> np.ndarray:
    """Return maps that are whole: found, or computed now by one process at a time."""
    path = place(frames, config)
    with suppress(UserError, OSError):
        # Without the lock, so that several can check at once: the file is moved here whole.
        return runs.read_array(path)
    with runs.lock(path.with_name(f"{path.name}.lock")):
        try:
            return runs.read_array(path)  # somebody else may have computed them meanwhile
        except (UserError, OSError) as error:
            if path.exists():
                warnings.warn(f"{error}: it is made anew", Caution, stacklevel=4)
        _compute(frames, config, device, path, progress)
        return runs.read_array(path)


@torch.inference_mode()
def _compute(
    frames: Frames, config: Config, device: torch.device, path: Path, progress: bool
) -> None:
    blocks = model.channels_last(model.build(config), device).frozen
    count = len(frames.tracklet)

    def made(number: int) -> np.ndarray:
        index = np.arange(number * BLOCK, min((number + 1) * BLOCK, count))
        maps = blocks(frames.batch(index, config, device))
        return maps.permute(0, 2, 3, 1).half().cpu().numpy()

    shape = made(0).shape[1:]
    title = "frozen blocks" if progress else None
    runs.write_array(path, -(-count // BLOCK), made, shape, np.float16, title=title)
