"""What CMC and mAP cost: from a matrix, beside sorting, and straight from features."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks import timing
from upm_lib.retrieval import evaluation

# queries, gallery, people, cameras
SETS = {"Duke": (702, 2636, 702, 8), "MARS": (1980, 9330, 626, 6), "Market": (3368, 15913, 751, 6)}
FEATURES = {"MARS": 2048, "Market": 10240}
# CPU s measured once on a machine of the same kind (2 shared cores with AVX-512), from a matrix.
TOOLBOXES = {
    "torchreid, Python": {"Duke": 1.62, "MARS": 17.0, "Market": 51.0},
    "fast-reid, Python": {"Duke": 1.63, "MARS": 17.6, "Market": 53.3},
    "torchreid, Cython": {"Duke": 0.044, "MARS": 0.432, "Market": 1.96},
    "fast-reid, Cython": {"Duke": 0.039, "MARS": 0.397, "Market": 1.44},
}


World = tuple[evaluation.Labels, evaluation.Labels]  # of the queries and of the gallery


def people_and_cameras(name: str, rng: np.random.Generator) -> World:
    """Return the people and cameras of queries and gallery, drawn evenly."""
    queries, gallery, people, cameras = SETS[name]
    persons = rng.integers(0, people, gallery)
    asked = evaluation.Labels(rng.choice(persons, queries), rng.integers(0, cameras, queries))
    return asked, evaluation.Labels(persons, rng.integers(0, cameras, gallery))


def realistic(name: str, rng: np.random.Generator) -> tuple[np.ndarray, World]:
    """Return distances [Q, G] with most matches near the top and a tail of hard ones."""
    world = asked, kept = people_and_cameras(name, rng)
    score = rng.standard_normal((len(asked.person), len(kept.person)), np.float32)
    for row, person in zip(score, asked.person, strict=True):
        match = np.flatnonzero(kept.person == person)
        ease = 4.2 + 1.4 * rng.standard_normal()  # of this query
        row[match] = rng.standard_normal(len(match)) - ease
    return score, world


def counted(score: np.ndarray, world: World) -> dict[str, float]:
    """CMC and both mAPs of a matrix, as :func:`evaluation.rank` has them block by block."""
    ranking = evaluation.Ranking(evaluation.rank_scores([score], *world), score.shape[1])
    return {
        "Rank-1": ranking.cmc(50)[0],
        "mAP": np.nanmean(ranking.average_precision("trapezoid")),
        "mAP, mean precision": np.nanmean(ranking.average_precision("mean_precision")),
    }


def from_matrix() -> str:
    """Return the table of matrix to metrics."""
    rows = []
    for name, (queries, gallery, *_) in SETS.items():
        score, world = realistic(name, np.random.default_rng(0))
        result = counted(score, world)
        calls: dict[str, Callable[[], Any]] = {
            "counting": partial(counted, score, world),
            "sorting": partial(np.argsort, score, axis=1),
        }
        seconds = timing.medians(calls, 5)
        ours = seconds["counting"]
        others = (times[name] / ours for times in TOOLBOXES.values())
        rows.append(
            [
                f"{name}, {queries} x {gallery}",
                f"{100 * result['Rank-1']:.0f} / {100 * result['mAP, mean precision']:.0f}",
                f"{ours:.4f}",
                f"{seconds['sorting'] / ours:.0f}",
                *(f"{other:.0f}" for other in others),
            ]
        )
    head = ("size", "Rank-1 / mAP", "CPU s", "np.argsort alone / ours", *TOOLBOXES)
    return timing.table(head, rows)


def unit_rows(count: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """Random unit vectors [count, size], made without a second copy."""
    rows = torch.randn(count, size, generator=generator)
    for part in rows.split(256):
        part /= part.norm(dim=1, keepdim=True)
    return rows


def features_to_ranks(name: str) -> tuple[float, float, float]:
    """Return MB held beyond features and the product's workspace, CPU s, and those of the product.

    Meant for a process in which freed memory goes back to the system at once.
    """
    torch.set_num_threads(1)
    asked, kept = people_and_cameras(name, np.random.default_rng(0))
    generator = torch.Generator().manual_seed(0)
    size = FEATURES[name]
    query, gallery = (unit_rows(len(x.person), size, generator) for x in (asked, kept))
    began = time.process_time()
    for part in query.split(256):
        part @ gallery.T
    product = time.process_time() - began
    few = evaluation.Labels(*(side[:64] for side in asked if side is not None))
    evaluation.rank(
        query[:64], gallery, few, kept
    )  # what a first call loads and keeps is not counted
    timing.peak_megabytes()
    before, began = timing.peak_megabytes(), time.process_time()
    evaluation.rank(query, gallery, asked, kept).average_precision()
    seconds = time.process_time() - began
    return timing.peak_megabytes() - before, seconds, product


def from_features() -> str:
    """Return the table of features to metrics, each from a fresh process."""
    rows = []
    for name, numbers in FEATURES.items():
        environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
        command = [sys.executable, "-m", "benchmarks.evaluation", name]
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        more, seconds, product = map(float, done.stdout.split())
        queries, gallery, *_ = SETS[name]
        rows.append(
            [
                f"{name}, {queries} x {gallery}",
                numbers,
                f"{4 * (queries + gallery) * numbers / 2**20:.0f}",
                f"{4 * queries * gallery / 2**20:.0f}",
                f"{more:.1f}",
                f"{seconds:.2f}",
                f"{seconds / product:.2f}",
            ]
        )
    head = ("size", "numbers a feature", "features MB", "whole matrix MB", "held beyond MB",
            "CPU s", "over the product alone")  # fmt: skip
    return timing.table(head, rows)


def main() -> None:
    """Print both tables; one thread."""
    torch.set_num_threads(1)
    print("## Evaluation\n")
    print(
        "From a distance matrix to CMC(50) and mAP by both rules, with junk, one thread. The last "
        "columns are times measured once with the toolboxes' own evaluators on a machine of the "
        "same kind, over ours here. Aims at MARS's size: 0.040 CPU s, compiled evaluators over "
        "ours at least 10, Python ones at least 300.\n"
    )
    print(from_matrix())
    print(
        "\nFrom unit features (random, so the worst case) to ranks; the matrix is never held. "
        "Memory is the growth of the process's peak after a first block of queries, which leaves "
        "about 4 MB of workspace of the product and loaded code. Aims: under 5 MB at MARS's size, "
        "under 200 MB at Market's with 10,240 numbers.\n"
    )
    print(from_features())


if __name__ == "__main__":
    print(*features_to_ranks(sys.argv[1])) if len(sys.argv) > 1 else main()
