"""How the cost of a step and of evaluation grows; SCALING.md carries the curves on."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks import evaluation as sizes
from benchmarks import timing
from upm_lib.config import Config
from upm_lib.learning import association
from upm_lib.learning.association import Association
from upm_lib.retrieval import evaluation

START = {"N": 2196, "k": 8, "B": 64, "d": 256, "cameras": 8}
GROWTH = {
    "N": (2000, 20000, 200000), "k": (1, 2, 4, 8), "B": (16, 64, 256), "d": (256, 1024, 2048),
    "cameras": (2, 8, 100),
}  # fmt: skip
GALLERY = (2000, 20000, 200000)
QUERIES, NUMBERS = 64, 512


def a_step(size: dict[str, int]) -> Callable[[], None]:
    """Loss and anchor update of one batch after the warm-up, without gradients."""
    shape = size["k"], size["N"], size["d"]
    objective = Association(
        size["k"],
        size["d"],
        torch.arange(size["N"]) * size["cameras"] // size["N"],
        Config(k=size["k"]),
    )
    objective.place(torch.randn(shape))
    features = torch.randn(size["B"], size["k"], size["d"])
    tracklet = torch.randint(size["N"], (size["B"],))

    def step() -> None:
        with torch.no_grad():
            _, _, move = objective.step(features, tracklet, warm=False)
        move()

    return step


def operations(size: dict[str, int]) -> float:
    """GFLOP of the three rankings: first of the own camera, there, and back."""
    read = 1 + 1 / size["cameras"]  # of all anchors: those of others once, those of one's own twice
    return read * 2 * size["k"] * size["B"] * size["N"] * size["d"] / 1e9


def steps() -> str:
    """Return the table of the association's cost."""
    rows = []
    for name, values in GROWTH.items():
        for value in values:
            size = START | {name: value}
            seconds = timing.medians({"step": a_step(size)}, 3)["step"]
            anchors = 2 * 4 * size["k"] * size["N"] * size["d"] / 2**20
            work = operations(size)
            rows.append(
                [name, value, f"{1e3 * seconds:.1f}", f"{work:.2f}", f"{work / seconds:.0f}",
                 f"{anchors:.0f}"]
            )  # fmt: skip
    head = ("grows", "to", "CPU ms", "GFLOP", "GFLOP / CPU s", "anchors MB")
    return timing.table(head, rows)


def rankings() -> str:
    """Return the table of evaluation's cost for one block of queries."""
    rows = []
    generator = torch.Generator().manual_seed(0)
    for count in GALLERY:
        gallery = sizes.unit_rows(count, NUMBERS, generator)
        query = sizes.unit_rows(QUERIES, NUMBERS, generator)
        rng = np.random.default_rng(0)
        people = (rng.integers(0, count // 15, size) for size in (QUERIES, count))
        labels = [evaluation.Labels(side) for side in people]
        calls: dict[str, Callable[[], Any]] = {
            "rank": partial(evaluation.rank, query, gallery, *labels),
            "product": partial(torch.matmul, query, gallery.T),
        }
        seconds = timing.medians(calls, 5)
        values = (1e3 * seconds[name] / QUERIES for name in ("rank", "product"))
        rows.append([count, *(f"{value:.3f}" for value in values)])
    head = ("gallery", "CPU ms a query", "of that the product")
    return timing.table(head, rows)


def approximate(count: int = 20000, size: int = 256, queries: int = 256) -> str:
    """Return the table of what an inverted file finds: only the lists nearest to a query are read.

    The anchors are noisy copies of a tenth as many directions, so that each has near neighbours.
    """
    centres = sizes.unit_rows(count // 10, size, torch.Generator().manual_seed(0))
    anchors = association.unit(centres.repeat(10, 1) + 0.7 * torch.randn(count, size) / size**0.5)
    query = association.unit(centres[:queries] + 0.7 * torch.randn(queries, size) / size**0.5)
    heads = anchors[torch.randperm(count)[: round(count**0.5)]]
    list_of = (anchors @ heads.T).argmax(1)
    score = query @ anchors.T
    exact = score.argmax(1)
    order = (query @ heads.T).argsort(1, descending=True)
    rows = []
    for probed in (1, 4, 16, 64):
        read = (list_of == order[:, :probed, None]).any(1)  # [queries, count]
        found = score.masked_fill(~read, -torch.inf).argmax(1)
        shares = (read.float().mean(), (found == exact).float().mean())
        rows.append([f"{probed} of {len(heads)}", *(f"{100 * float(s):.0f} %" for s in shares)])
    return timing.table(("lists read", "anchors compared", "the nearest is found"), rows)


def main() -> None:
    """Print both tables; one thread."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    start = ", ".join(f"{name} = {value}" for name, value in START.items())
    print("## Growth\n")
    print(
        f"Loss and anchor update of a batch, random features, one thread. From {start}, one number "
        "changes at a time. GFLOP counts the three rankings, (2 + 2 / C) k B N d with C cameras.\n"
    )
    print(steps())
    print(
        f"\nEvaluation: {QUERIES} queries with features of {NUMBERS} numbers, random, so the worst "
        "case for counting.\n"
    )
    print(rankings())
    print("\nSimulated: an inverted file over 20,000 noisy anchors of 256 numbers.\n")
    print(approximate())


if __name__ == "__main__":
    main()
