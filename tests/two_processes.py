"""What each process of a test of ``torchrun`` does: train in double precision.

In double precision the order of sums is the only difference between one process and several, and it
is far below what a mistake in a gradient or a statistic would make.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from upm_lib import distributed
from upm_lib.config import Config, preset
from upm_lib.data import packing
from upm_lib.data.batches import TrainBatch, TrainingSet
from upm_lib.data.readers.sequences import prid2011
from upm_lib.data.tracklets import Dataset
from upm_lib.learning import training
from upm_lib.retrieval import features

STEPS = 4
# What is trained; a branch with association learning, and one with cluster contrast.
TRAINED: dict[str, dict[str, Any]] = {
    "local": {},
    "global": {"branch": "global"},
    "clusters": {"objective": "cluster", "warmup_epochs": 0.75, "flip": True, "crop": 3},
}


class DoubleBatches(TrainingSet):
    """A training set whose frames are in double precision."""

    def batch(self, step: int, device: torch.device | str = "cpu") -> TrainBatch:
        frames, tracklet = super().batch(step, device)
        return TrainBatch(frames.double(), tracklet)


def a_config(name: str) -> Config:
    return preset(
        "synthetic_clean", "demo", k=2, batch=8, steps=STEPS, seed=3,
        optimiser="sgd", lr=0.05, schedule="halves", lr_factors=(1.0, 0.5), weight_decay=1e-4,
        ema=0.9, **{"warmup_epochs": 0.25} | TRAINED[name],
    )  # fmt: skip


def a_trainer(dataset: Dataset, frames: packing.Frames, name: str) -> training.Trainer:
    """A trainer whose state is in double precision throughout."""
    config = a_config(name)
    torch.set_default_dtype(torch.float64)
    try:
        half = DoubleBatches(dataset, frames, config)
        return training.Trainer(config, half, torch.device("cpu"))
    finally:
        torch.set_default_dtype(torch.float32)


def outcome(trainer: training.Trainer, frames: packing.Frames) -> dict[str, Tensor]:
    """The whole state of a run, and the features of seven frames from it in single precision."""
    state = {name: value.detach().clone() for name, value in trainer.tensors().items()}
    index = trainer.data.frame[:7]
    found = features.extract(trainer.result.float(), frames, index, trainer.config)
    return {n: v.contiguous() for n, v in state.items()} | {"features": found}


def at_three(done: int, folder: Path) -> bool:
    """Stop after three steps; there the second process is killed, the first time."""
    if done == 3 and distributed.rank() == 1 and not (killed := folder / "killed").exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return done == 3


def main(root: str, out: str) -> None:
    """Train in two halves, the second from the checkpoint of the first; keep what came out."""
    folder, resumed = Path(out), []
    with distributed.processes():
        with distributed.first_goes_first():
            dataset = prid2011(root, min_frames=1, name="synthetic_clean")
            frames = packing.Frames(dataset)
        for name in TRAINED:
            runs = folder / f"run-{name}"
            first = a_trainer(dataset, frames, name)
            training.due = lambda *_, trainer=first: trainer.step % 2 == 0
            training.train(first, runs, stop=lambda done: at_three(done, folder))
            resumed.append(first.resumed)
            distributed.wait()  # the first process may still be writing
            second = a_trainer(dataset, frames, name)
            training.train(second, runs)
            state = outcome(second, frames)
            save_file(state, folder / f"{name}-{distributed.rank()}.safetensors")
        said = distributed.from_first(lambda: f"of {distributed.rank()}")
        (folder / f"said-{distributed.rank()}").write_text(said)
    (folder / "resumed.json").write_text(json.dumps(resumed))


if __name__ == "__main__":
    main(*sys.argv[1:])
