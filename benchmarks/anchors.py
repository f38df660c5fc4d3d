"""What anchors in half precision save and cost, at the size of MARS."""

from collections.abc import Callable
from typing import Literal

import torch

from benchmarks import timing
from upm_lib.config import Config
from upm_lib.learning.association import Association

TRACKLETS, CAMERAS, PARTS, BATCH = 8298, 6, 8, 64
KINDS: tuple[Literal["float32", "float16"], ...] = ("float32", "float16")


def a_step(objective: Association) -> Callable[[], None]:
    """Loss and anchor update of one batch after the warm-up, without gradients."""
    features = torch.randn(BATCH, PARTS, objective.intra.shape[2])
    tracklet = torch.randint(TRACKLETS, (BATCH,))

    def step() -> None:
        with torch.no_grad():
            _, _, move = objective.step(features, tracklet, warm=False)
        move()

    return step


def main() -> None:
    """Print the table; one thread."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows = []
    for branch, dim in (("local", 1024), ("global", 256)):
        steps: dict[str, Callable[[], None]] = {}
        held = {}
        for kind in KINDS:
            camera_of = torch.arange(TRACKLETS) * CAMERAS // TRACKLETS
            objective = Association(PARTS, dim, camera_of, Config(k=PARTS, anchors=kind))
            for part in objective.intra:
                part.normal_()
            objective.intra_scale.fill_(dim**-0.5)
            steps[kind] = a_step(objective)
            held[kind] = sum(t.nbytes for t in objective.buffers()) / 2**20
        seconds = timing.medians(steps, 15)
        for kind in KINDS:
            rows.append(
                [branch, kind, f"{held[kind]:.0f}", f"{1e3 * seconds[kind]:.0f}",
                 f"{seconds[kind] / seconds['float32']:.2f}"]
            )  # fmt: skip
    print("## Anchors in half precision\n")
    print(
        f"Loss and anchor update of a batch of {BATCH} at MARS's size ({TRACKLETS} tracklets, "
        f"{CAMERAS} cameras), k = {PARTS}, random features, one thread.\n"
    )
    head = ("branch", "anchors", "held MB", "CPU ms", "of float32")
    print(timing.table(head, rows))


if __name__ == "__main__":
    main()
