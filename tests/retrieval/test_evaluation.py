"""Ranks, CMC and average precision: by hand, against sorting, against the official scripts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from upm_lib.retrieval import evaluation
from upm_lib.retrieval.evaluation import (
    Labels,
    Ranking,
    distances,
    match_ranks,
    rank,
    rank_two_cameras,
)
from upm_lib.retrieval.features import fuse, pool_tracklets

GOLDEN = Path(__file__).parents[1] / "golden" / "eval_cmc.npz"


def rank_scores(
    score: list[list[float]],
    query_person: object,
    gallery_person: object,
    query_camera: object = None,
    gallery_camera: object = None,
) -> Ranking:
    """Rank with a given matrix of distances: a gallery of unit axes has the products -distance."""
    matrix = torch.tensor(score, dtype=torch.float64)
    axes = torch.eye(matrix.shape[1], dtype=torch.float64)
    said = ((query_person, query_camera), (gallery_person, gallery_camera))
    labels = (Labels(np.array(p), None if c is None else np.array(c)) for p, c in said)
    return rank(-matrix, axes, *labels)


# ---------------------------------------------------------------- by hand


def test_ranks_cmc_and_precision_by_hand() -> None:
    # Gallery: people 1 2 1 3 1. Sorted by distance, with the matches in brackets:
    # query 0 (person 1): 0.1 (0.2) 0.3 (0.4) (0.5)  ranks 2 4 5
    # query 1 (person 2): (0.1) ...                  rank 1
    # query 2 (person 3): 0.1 0.2 0.3 0.4 (0.9)      rank 5
    # query 3 (person 9): nobody
    score = [
        [0.5, 0.1, 0.2, 0.3, 0.4],
        [0.5, 0.1, 0.2, 0.3, 0.4],
        [0.1, 0.2, 0.3, 0.9, 0.4],
        [0.1, 0.2, 0.3, 0.4, 0.5],
    ]
    ranking = rank_scores(score, [1, 2, 3, 9], [1, 2, 1, 3, 1])
    assert [r.tolist() for r in ranking.ranks] == [[2, 4, 5], [1], [5], []]
    # First matches at 2, 1, 5 and never, of four queries.
    np.testing.assert_allclose(ranking.cmc(), [1 / 4, 2 / 4, 2 / 4, 2 / 4, 3 / 4])
    np.testing.assert_allclose(ranking.cmc(2), [1 / 4, 2 / 4])
    # Precision at each match of query 0: 1/2, 2/4, 3/5.
    mean_precision = ranking.average_precision("mean_precision")
    wanted = [(1 / 2 + 2 / 4 + 3 / 5) / 3, 1, 1 / 5, np.nan]
    np.testing.assert_allclose(mean_precision, wanted)
    # The trapezoid takes the mean with the precision one rank before: 0/1, 1/3, 2/4.
    # Query 1: one rank before the first counts as precision 1. Query 2: 0/4 before, 1/5 at it.
    trapezoid = ranking.average_precision("trapezoid")
    first = ((0 / 1 + 1 / 2) / 2 + (1 / 3 + 2 / 4) / 2 + (2 / 4 + 3 / 5) / 2) / 3
    np.testing.assert_allclose(trapezoid, [first, 1, (0 / 4 + 1 / 5) / 2, np.nan])


def test_junk_by_hand() -> None:
    # The query is person 1 in camera 0. Of the gallery, the first is the query itself (same person,
    # same camera), the second is a false detection (-1), the third another person; the match in
    # camera 1 comes next and has rank 2, the second match has rank 3.
    score = [[0.0, 0.1, 0.2, 0.3, 0.4]]
    people, gallery_camera = [1, -1, 2, 1, 1], [0, 1, 0, 1, 2]
    options = dict(query_camera=[0], gallery_camera=gallery_camera)
    ranking = rank_scores(score, [1], people, **options)
    assert [r.tolist() for r in ranking.ranks] == [[2, 3]]
    # Without cameras only the false detection is left out.
    ranking = rank_scores(score, [1], people)
    assert [r.tolist() for r in ranking.ranks] == [[1, 3, 4]]


def test_a_tie_is_won_by_the_earlier_item() -> None:
    score = [[0.5, 0.5, 0.5, 0.5]]
    for place in range(4):
        people = [2] * 4
        people[place] = 1
        assert rank_scores(score, [1], people).ranks[0].tolist() == [place + 1]


@pytest.mark.parametrize("place", [2, 3, 10])
def test_a_single_match_is_worth_half_its_reciprocal_rank_by_the_trapezoid(place: int) -> None:
    ranking = Ranking([np.array([place])], 20)
    assert ranking.average_precision("mean_precision")[0] == pytest.approx(1 / place)
    assert ranking.average_precision("trapezoid")[0] == pytest.approx(1 / (2 * place))


def test_both_rules_agree_on_rank_one() -> None:
    ranking = Ranking([np.array([1])], 20)
    for rule in ("trapezoid", "mean_precision"):
        assert ranking.average_precision(rule)[0] == 1


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown rule 'mean'"):
        Ranking([np.array([1])], 2).average_precision("mean")


def test_a_perfect_and_the_worst_ranking() -> None:
    people = np.arange(6)
    features = torch.eye(6)
    best = rank(features, features, Labels(people), Labels(people))
    assert best.cmc().tolist() == [1] * 6
    assert best.average_precision().tolist() == [1] * 6
    worst = rank(-features, features, Labels(people), Labels(people))
    assert worst.cmc().tolist() == [0] * 5 + [1]
    assert worst.average_precision("mean_precision").tolist() == pytest.approx([1 / 6] * 6)


def test_distances_are_euclidean() -> None:
    rng = torch.Generator().manual_seed(0)
    query, gallery = (
        torch.nn.functional.normalize(torch.randn(n, 9, generator=rng).double(), dim=1)
        for n in (4, 7)
    )
    found = distances(query, gallery)
    assert found.shape == (4, 7)
    for q in range(4):
        for g in range(7):
            difference = (query[q] - gallery[g]).tolist()
            assert float(found[q, g]) == pytest.approx(sum(d * d for d in difference) ** 0.5)
    assert torch.isfinite(distances(query.float(), query.float())).all()


def test_ranking_follows_the_distances_of_unit_vectors() -> None:
    rng = torch.Generator().manual_seed(0)
    query, gallery = (
        torch.nn.functional.normalize(torch.randn(n, 5, generator=rng).double(), dim=1)
        for n in (6, 30)
    )
    people = np.random.default_rng(0).integers(0, 6, 30)
    ranking = rank(query, gallery, Labels(np.arange(6)), Labels(people))
    for row, found in enumerate(ranking.ranks):
        order = torch.cdist(query[row : row + 1], gallery)[0].argsort().tolist()
        wanted = [place for place, g in enumerate(order, 1) if people[g] == row]
        assert found.tolist() == wanted


@pytest.mark.parametrize("which", ["query", "gallery"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(which: str, value: float) -> None:
    features = {"query": torch.eye(3), "gallery": torch.eye(3)}
    features[which][1, 1] = value
    people = np.arange(3)
    with pytest.raises(ValueError, match=f"{which} features hold numbers that are not finite"):
        rank(features["query"], features["gallery"], Labels(people), Labels(people))


# ---------------------------------------------------------------- against sorting


def sorted_ranks(score: list, match: list, junk: list) -> list[int]:
    """Sort the items that are not junk by distance, the earlier first, and read off the matches."""
    kept = sorted((s, g) for g, s in enumerate(score) if not junk[g])
    return [place for place, (_, g) in enumerate(kept, 1) if match[g]]


def walked_precision(score: list, match: list, junk: list) -> float:
    """The trapezoid as the official script walks down the ranked list."""
    kept = sorted((s, g) for g, s in enumerate(score) if not junk[g])
    total, hits, area, recall_before, precision_before = sum(match), 0, 0.0, 0.0, 1.0
    for place, (_, g) in enumerate(kept, 1):
        hits += match[g]
        recall, precision = hits / total, hits / place
        area += (recall - recall_before) * (precision_before + precision) / 2
        recall_before, precision_before = recall, precision
    return area


MATCH, JUNK, OTHER = "match", "junk", "other"
ITEM = st.tuples(st.integers(0, 6) | st.floats(-2, 2), st.sampled_from([MATCH, JUNK, OTHER]))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(ITEM, min_size=1, max_size=25))
def test_counting_equals_sorting(items: list) -> None:
    score = [float(s) for s, _ in items]
    match = [kind == MATCH for _, kind in items]
    junk = [kind == JUNK for _, kind in items]
    ranks = match_ranks(np.array(score), np.array(match), np.array(junk))
    assert ranks.tolist() == sorted_ranks(score, match, junk)
    precision = Ranking([ranks], len(items)).average_precision("trapezoid")[0]
    if any(match):
        assert precision == pytest.approx(walked_precision(score, match, junk))
    else:
        assert np.isnan(precision)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_ranking_with_cameras_equals_sorting(seed: int) -> None:
    rng = np.random.default_rng(seed)
    queries, gallery = rng.integers(1, 6), rng.integers(1, 12)
    score = rng.integers(0, 5, (queries, gallery)).astype(float)
    query_person, query_camera = rng.integers(0, 3, queries), rng.integers(0, 2, queries)
    gallery_person, gallery_camera = rng.integers(-1, 3, gallery), rng.integers(0, 2, gallery)
    ranking = rank_scores(
        score.tolist(), query_person, gallery_person,
        query_camera=query_camera, gallery_camera=gallery_camera,
    )  # fmt: skip
    first = []
    for q in range(queries):
        same = gallery_person == query_person[q]
        junk = (gallery_person == -1) | (same & (gallery_camera == query_camera[q]))
        wanted = sorted_ranks(score[q].tolist(), (same & ~junk).tolist(), junk.tolist())
        assert ranking.ranks[q].tolist() == wanted
        first.append(wanted[0] if wanted else np.inf)
    curve = [np.mean([f <= top for f in first]) for top in range(1, gallery + 1)]
    np.testing.assert_allclose(ranking.cmc(), curve)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.permutations(range(12)), st.integers(0, 1000))
def test_the_order_of_a_gallery_without_ties_does_not_matter(order: list, seed: int) -> None:
    rng = np.random.default_rng(seed)
    score = rng.permutation(12).astype(float)
    match, junk = rng.random(12) < 0.4, rng.random(12) < 0.2
    match &= ~junk
    before = match_ranks(score, match, junk)
    after = match_ranks(score[order], match[order], junk[order])
    assert before.tolist() == after.tolist()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(ITEM, min_size=1, max_size=15), st.floats(-3, 7))
def test_junk_never_counts(items: list, junk_score: float) -> None:
    score = np.array([float(s) for s, _ in items])
    match = np.array([kind == MATCH for _, kind in items])
    junk = np.array([kind == JUNK for _, kind in items])
    moved = np.where(junk, junk_score, score)
    with_junk = match_ranks(score, match, junk).tolist()
    assert match_ranks(moved, match, junk).tolist() == with_junk
    kept = ~junk
    assert match_ranks(score[kept], match[kept], junk[kept]).tolist() == with_junk


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.sets(st.integers(1, 30), min_size=1))
def test_the_trapezoid_is_at_most_the_mean_precision(places: set) -> None:
    ranking = Ranking([np.array(sorted(places))], 30)
    trapezoid = ranking.average_precision("trapezoid")[0]
    mean_precision = ranking.average_precision("mean_precision")[0]
    assert 0 < trapezoid <= mean_precision + 1e-12 <= 1 + 1e-12
    # They are equal exactly when nothing wrong stands before a match.
    perfect = places == set(range(1, len(places) + 1))
    assert (trapezoid == pytest.approx(mean_precision)) == perfect


def test_blocks_of_queries_do_not_change_the_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    score = rng.integers(0, 6, (11, 9)).astype(float).tolist()
    people, gallery = rng.integers(0, 4, 11), rng.integers(0, 4, 9)
    found = []
    for size in (1, 4, 256):
        monkeypatch.setattr(evaluation, "BLOCK", size)
        found.append([r.tolist() for r in rank_scores(score, people, gallery).ranks])
    assert found[0] == found[1] == found[2]


# ---------------------------------------------------------------- copies among real features


def unit_rows(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    rows = rng.standard_normal((count, size))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def stable_ranks(query: np.ndarray, gallery: np.ndarray, match: np.ndarray) -> list[int]:
    """Ranks by a stable sort; the product of two vectors depends on these two alone."""
    nearness = [sum(float(a) * float(b) for a, b in zip(query, g, strict=True)) for g in gallery]
    order = sorted(range(len(gallery)), key=lambda g: -nearness[g])
    return [place for place, g in enumerate(order, 1) if match[g]]


SIZES = (3, 7, 16, 100, 257)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("queries", [1, 2, 3, 5, 64, 65])
def test_a_gallery_of_one_vector_ranks_in_its_order(queries: int, size: int) -> None:
    rng = np.random.default_rng(size)
    query = torch.from_numpy(unit_rows(rng, queries, size))
    for count in (1, 2, 7, 11, 20, 65):
        gallery = torch.from_numpy(unit_rows(rng, 1, size).repeat(count, axis=0))
        place = rng.integers(0, count, queries)
        people = np.zeros(count, int)
        for at in set(place.tolist()):
            people[:] = 0
            people[at] = 1
            ranking = rank(query, gallery, Labels(np.ones(queries, int)), Labels(people))
            assert [r.tolist() for r in ranking.ranks] == [[at + 1]] * queries


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from(SIZES))
def test_copies_in_the_gallery_and_among_the_queries_rank_as_a_stable_sort(
    seed: int, size: int
) -> None:
    rng = np.random.default_rng(seed)
    kinds = unit_rows(rng, rng.integers(1, 9), size)  # few vectors, many copies, far apart
    gallery = kinds[rng.integers(0, len(kinds), rng.integers(1, 30))]
    persons = rng.integers(0, 3, len(gallery))
    asked = unit_rows(rng, 3, size)
    which = rng.integers(0, 3, rng.choice([2, 4, 65, 67]))  # in a first and in a short last block
    vectors = map(torch.from_numpy, (asked[which], gallery))
    found = rank(*vectors, Labels(which), Labels(persons)).ranks
    wanted = [stable_ranks(asked[q], gallery, persons == q) for q in range(3)]
    assert [r.tolist() for r in found] == [wanted[q] for q in which]


def test_vectors_are_copies_if_their_numbers_are_equal_and_in_the_same_order() -> None:
    rows = torch.tensor([[0.6, 0.8, 0.0], [0.8, 0.6, 0.0], [0.6, 0.8, 0.0], [0.8, 0.6, 0.0]])
    for vectors in (rows, rows.double(), rows.T.contiguous().T):
        copy, first = evaluation._copies(vectors)  # all four have the same sum of bits
        assert (copy.tolist(), first.tolist()) == ([2, 3], [0, 1])
    assert not len(evaluation._copies(torch.eye(3))[0])


def test_the_number_of_queries_does_not_change_the_score_of_a_query() -> None:
    rng = np.random.default_rng(0)
    query, gallery = (torch.from_numpy(unit_rows(rng, n, 100)) for n in (64, 20))
    (whole,) = (block.copy() for block in evaluation._scores(query, gallery))
    for count in (1, 2, 3, 5, 63):  # a plain product of so few rows would be rounded otherwise
        (block,) = evaluation._scores(query[:count], gallery)
        assert np.array_equal(block, whole[:count])


# ---------------------------------------------------------------- the official scripts


def official_templates(golden: np.lib.npyio.NpzFile, trial: int) -> dict[int, Tensor]:
    """One vector [20, D] for each camera from the frame features of a split."""
    branches = [
        torch.from_numpy(golden[f"split{trial}/{name}"]).transpose(1, 2)
        for name in ("local", "global")
    ]
    fused = fuse(*branches)
    ids, cameras = golden[f"split{trial}/ids"], golden[f"split{trial}/cams"]
    assert set(ids[cameras == 1]) == set(ids[cameras == 2])
    return {c: pool_tracklets(fused[cameras == c], ids[cameras == c]) for c in (1, 2)}


@pytest.mark.parametrize(("protocol", "probes"), [("prid", "first"), ("ilids", "both")])
def test_curves_of_the_official_scripts(protocol: str, probes: str) -> None:
    golden = np.load(GOLDEN)
    curves = []
    for trial in range(1, 11):
        template = official_templates(golden, trial)
        people = Labels(np.arange(len(template[1])))
        found = rank_two_cameras(template[1], template[2], people, people, probes)
        curves.append(found.cmc())
    np.testing.assert_allclose(curves, golden[f"{protocol}_cmc_per_split"], rtol=0, atol=1e-9)
    percent = 100 * np.mean(curves, axis=0)
    np.testing.assert_allclose(percent, golden[f"{protocol}_cmc_percent"], rtol=0, atol=1e-9)
    assert percent[0] < percent[4] < 100  # neither trivial nor hopeless
