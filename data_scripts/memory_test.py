"""Watch the memory of a long training and of an extraction that does not fit (Linux).

    python data_scripts/memory_test.py --steps 5000 --frames 40000

Training: resident memory after step 500 and at the end; exit code 1 if it has grown by more than
the bound. Extraction: the frames lie in a file of blank pictures that takes no space on disk; the
process may take only little memory beyond what it has, less than the features of all frames need.
"""

import argparse
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from upm_lib import runs
from upm_lib.command import command
from upm_lib.config import Config, preset
from upm_lib.data import batches, packing
from upm_lib.data.readers.sequences import prid2011
from upm_lib.learning import model, training
from upm_lib.retrieval import features
from upm_lib.synthetic import world

MB = 2**20
SETTLED = 500  # steps after which everything has been allocated once
BOUND = 20  # MB that a training may grow by
ALLOWED = 200  # MB that the extraction may take
CONFIG = preset("synthetic_clean", "demo", k=8, batch=8)


def memory(name: str = "VmRSS") -> int:
    """Return a figure of this process from the kernel, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024


def training_grows(folder: Path, steps: int) -> bool:
    """Train on a small synthetic world, with checkpoints; return whether memory grows too much."""
    config = CONFIG.replace(k=2, steps=steps, ema=0.999)
    root = world.write(world.World(identities=8, cameras=2, frames=4), folder / "data")
    dataset = prid2011(root, 1, config.dataset)
    half = batches.TrainingSet(dataset, packing.Frames(dataset), config)
    seen = {}

    def look(done: int) -> bool:
        if done % SETTLED == 0 or done == steps:
            seen[done] = memory()
            print(f"step {done:6}: {seen[done] / MB:.1f} MB", flush=True)
        return False

    trainer = training.Trainer(config, half, torch.device("cpu"))
    training.train(trainer, folder / "run", stop=look)
    growth = (seen[steps] - seen[SETTLED]) / MB
    print(f"growth from step {SETTLED} to {steps}: {growth:.1f} MB, at most {BOUND}")
    return growth > BOUND


class BlankFrames(packing.Source):
    """What extraction asks of ``packing.Frames``: a mapped array, here of blank pictures."""

    def __init__(self, path: Path, count: int, each: int = 50) -> None:
        shape = (count, CONFIG.height, CONFIG.width, 3)
        np.lib.format.open_memmap(path, "w+", np.uint8, shape).flush()
        self.pixels = np.load(path, mmap_mode="r")
        self.tracklet = np.arange(count) // each

    def batch(self, index: np.ndarray, config: Config, device: torch.device | str) -> torch.Tensor:
        """Return frames as network input."""
        pixels = torch.from_numpy(self.pixels[index]).to(device)
        return packing.to_input(pixels, config.height, config.width)


def extraction_fails(folder: Path, count: int) -> bool:
    """Extract with little memory; return whether that fails, or whether the limit does."""
    frames, network = BlankFrames(folder / "blank.npy", count), model.build(CONFIG)
    tracklets, index = np.unique(frames.tracklet), np.arange(count)
    features.tracklet_features([network], frames, tracklets[:4], CONFIG)  # allocates what it needs
    before = memory("VmData")
    limit = before + ALLOWED * MB
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    needed = 4 * count * network.k * network.dim / MB
    print(f"{count} frames: {frames.pixels.nbytes / MB:.0f} MB, their features: {needed:.0f} MB")
    if needed <= ALLOWED:
        sys.exit(f"the features of all frames fit in {ALLOWED} MB: take more frames")
    try:
        features.extract(network, frames, index, CONFIG)
        print(f"the limit of {ALLOWED} MB does not hold: the features of all frames fit")
        return True
    except RuntimeError:
        print(f"the features of all frames at once are refused beyond {ALLOWED} MB")
    found = features.tracklet_features([network], frames, tracklets, CONFIG)
    more = (memory("VmData") - before) / MB
    print(f"vectors {tuple(found.shape)} of the tracklets: done with {more:.0f} MB more")
    return False


@command
def main() -> int:
    """Train, extract."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=5000, help="0: no training")
    parser.add_argument("--frames", type=int, default=40000, help="0: no extraction")
    arguments = parser.parse_args()
    if 0 < arguments.steps <= SETTLED:
        parser.error(f"steps must be 0 or more than {SETTLED}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs.store = lambda: folder  # nothing stays
        bad = bool(arguments.steps) and training_grows(folder, arguments.steps)
        bad |= bool(arguments.frames) and extraction_fails(folder, arguments.frames)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
