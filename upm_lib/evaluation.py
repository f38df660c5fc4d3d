"""CMC and mean average precision, exact with ties and junk, by counting instead of sorting.

The rank of a true match is one more than the number of kept gallery items that are nearer; an item
at the same distance counts if it stands earlier in the gallery, as a stable sort would have it.
Distances are computed for a block of queries at a time, so the whole matrix is never held.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

BLOCK = 256  # queries whose distances are held at a time


class Ranking(NamedTuple):
    """Ranks of the true matches of each query, from 1, ascending; empty if it has none."""

    ranks: list[np.ndarray]
    gallery_size: int

    def cmc(self, top: int | None = None) -> np.ndarray:
        """Share of queries whose first true match has at most rank 1 .. top: [top], in 0..1.

        A query without a true match counts as a miss, as in the official protocols.
        """
        top = self.gallery_size if top is None else top
        first = np.array([r[0] if len(r) else np.iinfo(np.int64).max for r in self.ranks])
        return (first[:, None] <= np.arange(1, top + 1)).mean(0)

    def average_precision(self, rule: str = "trapezoid") -> np.ndarray:
        """Average precision of each query [Q], in 0..1; NaN without a true match.

        Args:
            rule: "trapezoid" is the one of the official MARS and DukeMTMC-VideoReID scripts, which
                the paper's mAP uses: the mean of the precisions before and at each match.
                "mean_precision" is that of the common toolboxes: the precision at each match.
        """
        if rule not in ("trapezoid", "mean_precision"):
            raise ValueError(f"unknown rule {rule!r}: known are trapezoid, mean_precision")
        values = np.full(len(self.ranks), np.nan)
        for query, rank in enumerate(self.ranks):
            if not len(rank):
                continue
            number = np.arange(1, len(rank) + 1)
            at = number / rank
            if rule == "trapezoid":
                before = np.where(rank > 1, (number - 1) / np.maximum(rank - 1, 1), 1.0)
                at = (before + at) / 2
            values[query] = at.mean()
        return values


def distances(query: Tensor, gallery: Tensor) -> Tensor:
    """Euclidean distances [Q, G] of unit vectors [Q, D] and [G, D]."""
    return (2 - 2 * query @ gallery.T).clamp_min(0).sqrt()


def rank(
    query: Tensor,
    gallery: Tensor,
    query_person: np.ndarray,
    gallery_person: np.ndarray,
    query_camera: np.ndarray | None = None,
    gallery_camera: np.ndarray | None = None,
) -> Ranking:
    """Rank the gallery for each query.

    Args:
        query: unit vectors [Q, D].
        gallery: unit vectors [G, D].
        query_person: identities [Q].
        gallery_person: identities [G]; -1 is junk.
        query_camera: cameras [Q]; with them, the same identity in the same camera is junk
            (section 4.1, DukeMTMC-VideoReID and MARS): neither a match nor a mistake.
        gallery_camera: cameras [G].

    Raises ValueError if a feature is not finite.
    """
    for name, features in (("query", query), ("gallery", gallery)):
        if not torch.isfinite(features).all():
            raise ValueError(f"{name} features hold numbers that are not finite")
    ranks = []
    for start in range(0, len(query), BLOCK):
        # The order of distances is that of -q.g for unit vectors; no root is needed to rank.
        block = -(query[start : start + BLOCK] @ gallery.T).cpu().numpy()
        for row, score in enumerate(block, start):
            match = gallery_person == query_person[row]
            junk = gallery_person == -1
            if query_camera is not None:
                junk |= match & (gallery_camera == query_camera[row])
            ranks.append(match_ranks(score, match & ~junk, junk))
    return Ranking(ranks, len(gallery))


def rank_two_cameras(
    first: Tensor,
    second: Tensor,
    first_person: np.ndarray,
    second_person: np.ndarray,
    probes: str = "first",
) -> Ranking:
    """Rank in the two-camera protocols of section 4.1.

    Args:
        first: unit vectors of camera A's tracklets [P, D].
        second: unit vectors of camera B's [G, D].
        first_person: identities [P].
        second_person: identities [G].
        probes: "first": camera A searches camera B (PRID2011). "both": each searches the other,
            and every search counts the same (iLIDS-VID; with equally many people on both sides
            this is the mean of the two CMCs).
    """
    there = rank(first, second, first_person, second_person)
    if probes == "first":
        return there
    back = rank(second, first, second_person, first_person)
    return Ranking(there.ranks + back.ranks, max(there.gallery_size, back.gallery_size))


def match_ranks(score: np.ndarray, match: np.ndarray, junk: np.ndarray) -> np.ndarray:
    """Ranks of the matches of one query among the items that are not junk.

    Args:
        score: distances to the gallery [G], smaller is better.
        match: true matches [G], bool.
        junk: items left out [G], bool.

    Returns:
        Ranks from 1, ascending.
    """
    places = np.flatnonzero(match)
    if not len(places):
        return np.empty(0, np.int64)
    places = places[np.argsort(score[places], kind="stable")]
    worst = score[places[-1]]
    rivals = np.flatnonzero((score <= worst) & ~junk)  # only these can stand before a match
    wanted = score[places]
    values = score[rivals]
    # nearer[j]: rivals strictly nearer than match j
    nearer = np.bincount(np.searchsorted(wanted, values, side="right"), minlength=len(places) + 1)
    ranks = 1 + nearer.cumsum()[: len(places)]
    tied = np.isin(values, wanted)
    if tied.sum() > len(places):  # somebody else at a match's distance: earlier in the gallery wins
        ties, at = rivals[tied], values[tied]
        ranks += [((at == s) & (ties < p)).sum() for s, p in zip(wanted, places, strict=True)]
    elif len(np.unique(wanted)) < len(wanted):
        ranks += [((wanted == s) & (places < p)).sum() for s, p in zip(wanted, places, strict=True)]
    return ranks
