"""What head, association and anchor update cost beside the bare backbone, in a training step."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.autograd import grad

from benchmarks import timing
from benchmarks.extraction import Packed
from upm_lib.config import Config
from upm_lib.data.batches import Sampler, TrainBatch, TrainingSet
from upm_lib.learning import model, training
from upm_lib.learning.association import Association

# Tracklets, cameras, and what is aimed at: percent of the bare backbone's step at most.
SETS = {"PRID2011": (178, 2, 5), "DukeMTMC-VideoReID": (2196, 8, 6), "MARS": (8298, 6, 8)}
BATCH = 64


def backbone_step(backbone: nn.Module, images: torch.Tensor) -> Callable[[], None]:
    """Forward, backward and optimiser step of the bare backbone."""
    optimiser = torch.optim.SGD(backbone.parameters(), lr=1e-4)

    def step() -> None:
        optimiser.zero_grad()
        backbone(images).mean().backward()
        optimiser.step()

    return step


def rest_of_step(network: model.UPMNet, tracklets: int, cameras: int) -> Callable[[], None]:
    """Head, loss, their gradients down to the map, and the anchor update after warm-up."""
    objective = Association(
        network.k, network.dim, torch.arange(tracklets) * cameras // tracklets, Config(k=network.k)
    )
    objective.place(torch.randn(network.k, tracklets, network.dim))
    maps = torch.rand(BATCH, 1024, 8, 4).to(memory_format=torch.channels_last).requires_grad_()
    weights = [*network.head.parameters()]  # the local-aware head has none
    optimiser = torch.optim.SGD(weights or [torch.zeros(())], lr=0.0)
    tracklet = torch.randint(tracklets, (BATCH,))

    def step() -> None:
        optimiser.zero_grad()
        features = network.head(maps)
        loss, _, move = objective.step(features, tracklet, warm=False)
        *gradients, _ = grad(loss, [*weights, maps])  # that of the map goes on to the backbone
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        optimiser.step()
        move()

    return step


class Drawn(TrainingSet):
    """Stands in for a training set of PRID2011's size: packed random frames."""

    def __init__(self, folder: str, config: Config) -> None:
        self.frame = np.arange(256)
        self._frames, self._config = Packed(folder, len(self.frame)), config
        self.camera_of = torch.arange(178) % 2
        self.sampler = Sampler(len(self.frame), BATCH, seed=0)

    def batch(self, step: int, device: torch.device | str = "cpu") -> TrainBatch:
        """Frames of the sampler's choice, and the tracklets they are said to be of."""
        chosen = self.sampler(step)
        tracklet = torch.from_numpy(chosen % len(self.camera_of))
        return TrainBatch(self._frames.batch(chosen, self._config, device), tracklet)


def whole_step(config: Config, folder: str) -> Callable[[], None]:
    """Everything a step consists of, from packed frames to anchors, after the warm-up."""
    trainer = training.Trainer(config, Drawn(folder, config), torch.device("cpu"))
    trainer.warmup_steps = 1
    return trainer.train_step


def main() -> None:
    """Print the table; one thread, so that processor seconds are a step's own."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    networks = {
        "local": model.channels_last(model.build(Config(branch="local", k=8))),
        "global": model.channels_last(model.build(Config(branch="global", k=8))),
    }
    images = torch.rand(BATCH, 3, 256, 128).to(memory_format=torch.channels_last)
    calls = {"backbone": backbone_step(networks["local"].backbone.train(), images)}
    for branch, network in networks.items():
        for name, (tracklets, cameras, _) in SETS.items():
            calls[f"{branch} {name}"] = rest_of_step(network.train(), tracklets, cameras)
    seconds = timing.medians(calls, 7)
    whole = seconds.pop("backbone")
    rows = []
    for call, value in seconds.items():
        branch, name = call.split()
        share = f"{100 * value / whole:.1f} %"
        tracklets, _, aim = SETS[name]
        rows.append([branch, name, tracklets, f"{1e3 * value:.0f}", share, f"{aim} %"])
    print("## Head, association and anchor update beside the backbone\n")
    print(
        f"MobileNetV1, 256x128, batch {BATCH}, k = 8, one thread. The bare backbone's forward, "
        f"backward and optimiser step: {whole:.2f} CPU s.\n"
    )
    head = ("branch", "data set's size", "tracklets", "CPU ms", "of the backbone", "aim: at most")
    print(timing.table(head, rows))


if __name__ == "__main__":
    main()
