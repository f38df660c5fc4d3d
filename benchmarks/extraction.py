"""Whether extraction and loading keep the backbone fed: frames a second from packed frames."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks import timing
from upm_lib.config import Config
from upm_lib.data import packing
from upm_lib.learning import model
from upm_lib.retrieval import features

FRAMES = 256
BACKBONES = (Config(), Config(backbone="small", height=128, width=64))


class Packed(packing.Frames):
    """Random packed frames of 128x64 pixels on disk, without a data set behind them."""

    def __init__(self, folder: str, count: int) -> None:
        path = Path(folder) / "packed.npy"
        np.save(path, np.random.default_rng(0).integers(0, 256, (count, 128, 64, 3), np.uint8))
        self.pixels = np.load(path, mmap_mode="r")


def measured(config: Config, frames: Packed) -> dict[str, float]:
    """Processor seconds for all frames of: bare backbone, extraction, loader, training step."""
    index = np.random.default_rng(0).permutation(FRAMES)
    network = model.channels_last(model.build(config))
    parts = [index[start : start + 64] for start in range(0, FRAMES, 64)]
    ready = [frames.batch(part, config, "cpu") for part in parts]

    def bare() -> None:
        network.eval()
        with torch.inference_mode():
            for images in ready:
                network.backbone(images)

    def load() -> None:
        for part in parts:
            frames.batch(part, config, "cpu")

    def train() -> None:
        network.train()
        for images in ready:
            network.backbone(images).mean().backward()

    calls = {
        "backbone": bare,
        "extraction": lambda: features.extract(network, frames, index, config),
        "loader": load,
        "training": train,
    }
    return timing.medians(calls, 3)


def main() -> None:
    """Print the table; one thread, so that loader and backbone are compared on the same share."""
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        frames = Packed(folder, FRAMES)
        for config in BACKBONES:
            rate = {name: FRAMES / s for name, s in measured(config, frames).items()}
            rows.append(
                [
                    f"{config.backbone}, {config.height}x{config.width}",
                    *(f"{rate[name]:.0f}" for name in ("backbone", "extraction")),
                    f"{100 * rate['extraction'] / rate['backbone']:.0f} %",
                    *(f"{rate[name]:.0f}" for name in ("training", "loader")),
                    f"{rate['loader'] / rate['training']:.0f}",
                    f"{rate['loader'] / rate['backbone']:.0f}",
                ]
            )
    print("## Extraction and loading\n")
    print(
        "Frames a CPU second from packed 128x64 crops, one thread. Aims: extraction at least 95 % "
        "of the bare backbone's forward (it may exceed it: batch normalisation is folded); the "
        "loader at least 3 times what the backbone takes.\n"
    )
    head = (
        "backbone", "bare forward", "extraction", "extraction / bare", "training", "loader",
        "loader / training", "loader / bare",
    )  # fmt: skip
    print(timing.table(head, rows))


if __name__ == "__main__":
    main()
