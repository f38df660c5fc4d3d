"""CMC and mean average precision with ties and junk, by counting instead of sorting.

The rank of a true match is one more than the number of kept gallery items that are nearer; an item
at the same distance counts if it stands earlier in the gallery, as a stable sort would have it.
From given distances (:func:`rank_scores`) this is exact. Distances from features (:func:`rank`) are
rounded: of two items whose distances differ by less than the rounding, either may come first. Only
copies, vectors that are equal bit for bit, are sure to be at one distance and in gallery order.

Only the items that are not farther than the farthest match are looked at. Distances are computed
for a block of queries at a time, so the whole matrix is never held.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

# Queries whose distances are held at a time: 256 bytes for each gallery item, far less than its
# feature. Fewer make the matrix product slower (by a tenth with 32), more do not make it faster.
BLOCK = 64


class Labels(NamedTuple):
    """Who vectors are of, and which camera saw them: identities [n], cameras [n] or None."""

    person: np.ndarray
    camera: np.ndarray | None = None


class Ranking(NamedTuple):
    """Ranks of the true matches of each query, from 1, ascending; empty if it has none."""

    ranks: list[np.ndarray]
    gallery_size: int

    def cmc(self, top: int | None = None) -> np.ndarray:
        """Share of queries whose first true match has at most rank 1 .. top: [top], in 0..1.

        A query without a true match counts as a miss, as in the official protocols.
        """
        top = self.gallery_size if top is None else top
        first = np.array([r[0] for r in self.ranks if len(r)], np.int64)
        hits = np.bincount(first[first <= top], minlength=top + 1)[1:]
        return hits.cumsum() / len(self.ranks)

    def average_precision(self, rule: str = "trapezoid") -> np.ndarray:
        """Average precision of each query [Q], in 0..1; NaN without a true match.

        The rule "trapezoid" is the one of the official MARS and DukeMTMC-VideoReID scripts, which
        the paper's mAP uses: the mean of the precisions before and at each match. "mean_precision"
        is that of the common toolboxes: the precision at each match.
        """
        if rule not in ("trapezoid", "mean_precision"):
            raise ValueError(f"unknown rule {rule!r}: known are trapezoid, mean_precision")
        count = np.array([len(r) for r in self.ranks])
        rank = np.concatenate([np.empty(0, np.int64), *self.ranks])
        begin = count.cumsum() - count  # where each query's ranks start
        number = np.arange(1, len(rank) + 1) - np.repeat(begin, count)
        at = number / rank
        if rule == "trapezoid":
            before = np.where(rank > 1, (number - 1) / np.maximum(rank - 1, 1), 1.0)
            at = (before + at) / 2
        values = np.full(len(self.ranks), np.nan)
        found = count > 0
        values[found] = np.add.reduceat(at, begin[found]) / count[found]
        return values


def distances(query: Tensor, gallery: Tensor) -> Tensor:
    """Euclidean distances [Q, G] of unit vectors [Q, D] and [G, D]."""
    return (2 - 2 * query @ gallery.T).clamp_min(0).sqrt()


def rank(query: Tensor, gallery: Tensor, asked: Labels, kept: Labels) -> Ranking:
    """Rank the gallery for each query; copies of a vector rank in the order of the gallery.

    Features are unit vectors [Q, D] and [G, D], both float32 or both float64, labelled by ``asked``
    and ``kept``. The identity -1 in the gallery is junk: neither a match nor a mistake. With
    cameras the same identity in the same camera is junk too (section 4.1, DukeMTMC-VideoReID and
    MARS).

    Beside the features it holds ``BLOCK`` queries, their distances, and the ranks.
    Raises ValueError if a feature is not finite.
    """
    for name, features in (("query", query), ("gallery", gallery)):
        if features.numel() and not torch.stack(features.aminmax()).isfinite().all():
            raise ValueError(f"{name} features hold numbers that are not finite")
    return Ranking(rank_scores(_scores(query, gallery), asked, kept), len(gallery))


def rank_scores(blocks: Iterable[np.ndarray], asked: Labels, kept: Labels) -> list[np.ndarray]:
    """Ranks of the true matches of each query, from distances; all else is as in :func:`rank`.

    Blocks are the distances of the first, the next, ... queries [q, G], smaller is better; the
    entries of junk are overwritten with infinity.
    """
    nobody = np.empty(0, np.int64)
    places_of = pd.Series(kept.person).groupby(kept.person).indices  # ascending
    junk = places_of.pop(-1, nobody)
    ranks: list[np.ndarray] = []
    for block in blocks:
        block[:, junk] = np.inf
        for score in block:
            row = len(ranks)
            places = places_of.get(asked.person[row], nobody)
            if asked.camera is not None and kept.camera is not None:
                same_camera = kept.camera[places] == asked.camera[row]
                score[places[same_camera]] = np.inf
                places = places[~same_camera]
            ranks.append(_count(score, places))
    return ranks


def _scores(query: Tensor, gallery: Tensor) -> Iterator[np.ndarray]:
    """Yield -q.g of a block of queries after the other: for unit vectors, the order of distances.

    A product of matrices rounds by shape and place: an entry may depend on its column and on the
    number of rows. So copies in the gallery get the score of their first, and all blocks have the
    same number of rows. A block may be written to; it is valid until the next one.
    """
    copy, first = _copies(gallery)
    rows = query.new_zeros(BLOCK, query.shape[1])
    out = gallery.new_empty(BLOCK, len(gallery))
    for part in query.split(BLOCK):
        rows[: len(part)] = part
        torch.addmm(out, rows, gallery.T, beta=0, alpha=-1, out=out)
        if len(copy):
            out[:, copy] = out[:, first]
        yield out[: len(part)].cpu().numpy()


def _copies(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the vectors [N, D] that equal an earlier one, and the places of the first such.

    Equal means bit for bit. Only vectors with the same sum of their bits are compared, so that
    without copies this costs a hundredth of the product or less.
    """
    bits = vectors.contiguous().view(torch.int32)
    _, group, count = bits.sum(1, dtype=torch.int32).unique(return_inverse=True, return_counts=True)
    seen: dict[bytes, int] = {}
    pairs = []
    for place in (count[group] > 1).nonzero()[:, 0].tolist():
        earliest = seen.setdefault(bits[place].cpu().numpy().tobytes(), place)
        if earliest < place:
            pairs.append((place, earliest))
    copy, first = torch.tensor(pairs, dtype=torch.int64, device=vectors.device).view(-1, 2).T
    return copy, first


def rank_two_cameras(
    first: Tensor, second: Tensor, asked: Labels, kept: Labels, probes: str = "first"
) -> Ranking:
    """Rank in the two-camera protocols of section 4.1: vectors [P, D] and [G, D].

    With probes "first" camera A searches camera B (PRID2011). With "both" each searches the other,
    and every search counts the same (iLIDS-VID; with equally many people on both sides this is the
    mean of the two CMCs).
    """
    there = rank(first, second, asked, kept)
    if probes == "first":
        return there
    back = rank(second, first, kept, asked)
    return Ranking(there.ranks + back.ranks, max(there.gallery_size, back.gallery_size))


def rank_camera_pair(
    query: Tensor, gallery: Tensor, asked: Labels, kept: Labels, pair: tuple[int, int]
) -> Ranking:
    """Rank the gallery of one camera for the queries of another, as a set of these two cameras.

    The arguments are those of :func:`rank`, and the pair of cameras: of the queries, and of the
    gallery. A query whose person the second camera did not see is not asked.
    """
    inside = kept.camera == pair[1]
    wanted = (asked.camera == pair[0]) & np.isin(asked.person, kept.person[inside])
    vectors = query[torch.from_numpy(wanted)], gallery[torch.from_numpy(inside)]
    return rank(*vectors, Labels(asked.person[wanted]), Labels(kept.person[inside]))


def match_ranks(score: np.ndarray, match: np.ndarray, junk: np.ndarray) -> np.ndarray:
    """Ranks of one query's matches, from 1, ascending, among the items that are not junk.

    ``score`` are the distances to the gallery [G], smaller is better; ``match`` the true matches
    and ``junk`` the items left out, both bool [G].
    """
    return _count(np.where(junk, np.inf, score), np.flatnonzero(match))


def _count(score: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Ranks of the items at ascending places among scores [G]; what is left out scores infinity."""
    if not len(places):
        return np.empty(0, np.int64)
    wanted = score[places]
    wanted.sort()
    rivals = score.compress(score <= wanted[-1])  # only these can stand before a match
    rivals.sort()
    before = rivals.searchsorted(wanted)
    ranks = rivals.searchsorted(wanted, "right")
    if (ranks - before).max() == 1:  # nobody shares a match's distance
        return ranks
    places = places[np.argsort(score[places], kind="stable")]
    tied = [np.count_nonzero(score[:p] == score[p]) for p in places]
    return 1 + before + np.array(tied)
