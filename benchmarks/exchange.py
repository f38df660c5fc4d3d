"""What the processes of one training exchange in a step; started by torchrun.

``torchrun --nproc-per-node 2 -m benchmarks.exchange``, or with the options of several nodes.
"""

import time
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from benchmarks import timing
from upm_lib import distributed
from upm_lib.config import Config
from upm_lib.learning import model

BATCH = 64


def exchanges(network: model.UPMNet) -> dict[str, tuple[list[Tensor], Callable[[Tensor], object]]]:
    """Return what is exchanged in a step, by name: this process's tensors, and how each is sent."""
    features = torch.zeros(BATCH // distributed.size(), network.k, network.dim)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    gradients = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return {
        "features": ([features], distributed.gather),
        "statistics of batch normalisation": (
            [torch.zeros(1, 2, norm.num_features) for norm in norms], distributed.gather
        ),
        "and their gradients": (
            [torch.zeros(2, norm.num_features) for norm in norms], dist.all_reduce
        ),
        "gradients": ([torch.zeros(gradients)], dist.all_reduce),
    }  # fmt: skip


def sent(tensors: list[Tensor], send: Callable[[Tensor], object]) -> Callable[[], None]:
    """Return a call that sends tensors once all processes are ready."""

    def call() -> None:
        for tensor in tensors:
            send(tensor)

    return call


def main() -> None:
    """Print the table, in the first process."""
    torch.set_num_threads(1)
    rows = []
    with distributed.processes():
        for branch in ("local", "global"):
            made = exchanges(model.build(Config(branch=branch, k=8)))
            calls = {name: sent(*what) for name, what in made.items()}
            seconds = timing.medians(calls, 20, time.perf_counter)
            for name, (tensors, _) in made.items():
                size = sum(t.numel() * t.element_size() for t in tensors)
                rows.append(
                    [branch, name, len(tensors), f"{size / 1e6:.2f}", f"{1e3 * seconds[name]:.1f}"]
                )
        if distributed.rank() == 0:
            print("## What the processes of one training exchange in a step\n")
            print(f"{distributed.size()} processes, MobileNetV1, batch {BATCH}, k = 8, float32.\n")
            head = ("branch", "what", "messages", "MB a process", "wall ms")
            print(timing.table(head, rows))


if __name__ == "__main__":
    main()
