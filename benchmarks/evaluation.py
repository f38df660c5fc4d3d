"""What CMC and mAP cost: from a matrix, beside sorting, and straight from features."""

import time

import numpy as np
import torch

from benchmarks import timing
from upm_lib import evaluation

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


def people_and_cameras(name: str, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return query and gallery identities, then query and gallery cameras, drawn evenly."""
    queries, gallery, people, cameras = SETS[name]
    persons = rng.integers(0, people, gallery)
    return (
        rng.choice(persons, queries), persons,
        rng.integers(0, cameras, queries), rng.integers(0, cameras, gallery),
    )  # fmt: skip


def realistic(name: str, rng: np.random.Generator) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Return distances [Q, G] with most matches near the top and a tail of hard ones."""
    world = people_and_cameras(name, rng)
    score = rng.standard_normal((len(world[0]), len(world[1])), np.float32)
    for row, person in zip(score, world[0], strict=True):
        match = np.flatnonzero(world[1] == person)
        ease = 4.2 + 1.4 * rng.standard_normal()  # of this query
        row[match] = rng.standard_normal(len(match)) - ease
    return score, world


def counted(score: np.ndarray, world: tuple[np.ndarray, ...]) -> dict[str, float]:
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
        calls = {
            "counting": lambda s=score, w=world: counted(s, w),
            "sorting": lambda s=score: np.argsort(s, axis=1),
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


def from_features() -> str:
    """Return the table of features to metrics, with the memory beyond the features."""
    rows = []
    for name, size in FEATURES.items():
        world = people_and_cameras(name, np.random.default_rng(0))
        generator = torch.Generator().manual_seed(0)
        query, gallery = (unit_rows(len(p), size, generator) for p in world[:2])
        product = query[:64] @ gallery.T  # so that the product's own workspace is there already
        del product
        few = tuple(w[:8] if len(w) == len(query) else w for w in world)
        evaluation.rank(query[:8], gallery, *few)
        timing.peak_megabytes()
        before, began = timing.peak_megabytes(), time.process_time()
        evaluation.rank(query, gallery, *world).average_precision()
        ours = time.process_time() - began
        more = timing.peak_megabytes() - before
        began = time.process_time()
        for part in query.split(256):
            part @ gallery.T
        product = time.process_time() - began
        rows.append(
            [
                f"{name}, {len(query)} x {len(gallery)}",
                size,
                f"{(query.nbytes + gallery.nbytes) / 2**20:.0f}",
                f"{4 * len(query) * len(gallery) / 2**20:.0f}",
                f"{more:.1f}",
                f"{ours:.2f}",
                f"{ours / product:.2f}",
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
        "Memory is the growth of the process's peak. Aims: under 5 MB at MARS's size, under 200 MB "
        "at Market's with 10,240 numbers.\n"
    )
    print(from_features())


if __name__ == "__main__":
    main()
