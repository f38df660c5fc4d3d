"""What must hold whatever the data: drawn cases, the same in every run."""

import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from learning.test_association import Naive
from torch import Tensor

from upm_lib.config import Config, UserError, official
from upm_lib.data.readers.sequences import prid2011
from upm_lib.data.tracklets import IMAGE_SUFFIXES
from upm_lib.learning.association import Association, unit
from upm_lib.retrieval import features as pooling
from upm_lib.retrieval.evaluation import Labels, Ranking, match_ranks, rank
from upm_lib.retrieval.features import fuse, pool_into, pool_tracklets

pytestmark = pytest.mark.usefixtures("one_thread")


def cases(number: int, **options: object) -> Callable:
    """Draw a bounded number of cases, always the same ones."""
    chosen = settings(max_examples=number, deadline=None, derandomize=True, **options)
    return lambda test: chosen(test)


SEEDS = st.integers(0, 2**32 - 1)

# ---------------------------------------------------------------- association


class Case(NamedTuple):
    """A training set, its switches, and a source of batches."""

    k: int
    dim: int
    camera_of: list[int]
    config: Config
    rng: np.random.Generator

    def objective(self, **changes: object) -> Association:
        config = self.config.replace(**changes)
        return Association(self.k, self.dim, torch.tensor(self.camera_of), config).double()

    def batch(self, size: int = 7) -> tuple[Tensor, Tensor]:
        """Features around a vector of each tracklet's person; tracklets may come several times."""
        people = [self.camera_of[:n].count(c) for n, c in enumerate(self.camera_of)]
        prototypes = np.random.default_rng(0).normal(size=(max(people) + 1, self.k, self.dim))
        tracklet = self.rng.integers(0, len(people), size)
        noise = self.rng.normal(size=(size, self.k, self.dim))
        features = prototypes[np.array(people)[tracklet]] + 0.5 * noise
        return torch.from_numpy(features), torch.from_numpy(tracklet)

    def visited(self, steps: int = 3, **changes: object) -> Association:
        """An objective after some updates; some tracklets may never have been visited."""
        objective = self.objective(**changes)
        for step in range(steps):
            objective.update(*self.batch(4), warm=step < 1)
        return objective


@st.composite
def association_cases(draw: st.DrawFn) -> Case:
    camera_of = draw(st.lists(st.integers(0, 3), min_size=2, max_size=9))
    assume(len(set(camera_of)) > 1)
    config = Config(
        eta=draw(st.sampled_from([0.1, 0.5, 1.0])),
        margin=draw(st.sampled_from([0.0, 0.5])),
        lam=draw(st.sampled_from([0.0, 0.7, 1.0])),
        distance=draw(st.sampled_from(["euclidean", "squared"])),
        anchor_difference=draw(st.sampled_from(["stored", "normalised"])),
        repeats=draw(st.sampled_from(["mean", "accumulate"])),
        partner_anchor=draw(st.sampled_from(["before", "after"])),
        cross_case=draw(st.sampled_from(["cross", "intra"])),
        anchor_length=draw(st.sampled_from(["normalised", "stored"])),
        rank_unvisited=draw(st.booleans()),
    )
    rng = np.random.default_rng(draw(SEEDS))
    return Case(draw(st.integers(1, 4)), draw(st.integers(2, 6)), camera_of, config, rng)


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


ANCHORS = ("intra", "cross", "intra_scale", "match")


class Outcome(NamedTuple):
    """What a step gives."""

    loss: Tensor
    own_first: Tensor
    gradient: Tensor
    anchors: dict[str, Tensor]


def step(objective: Association, features: Tensor, tracklet: Tensor) -> Outcome:
    x = features.clone().requires_grad_()
    loss, own_first = objective(x, tracklet)
    loss.backward()
    objective.update(x, tracklet, warm=False)
    anchors = {name: getattr(objective, name).clone() for name in ANCHORS}
    return Outcome(loss.detach(), own_first, x.grad, anchors)


def twin(objective: Association, camera_of: Tensor | None = None) -> Association:
    """An objective in the same state, perhaps with other names for the cameras."""
    cameras = objective.camera_of if camera_of is None else camera_of
    k, _, dim = objective.intra.shape
    other = Association(k, dim, cameras, objective.config).double()
    other.load_state_dict({**objective.state_dict(), "camera_of": cameras})
    return other


def same(one: Outcome, other: Outcome) -> None:
    close(one.loss, other.loss)
    close(one.own_first, other.own_first)
    close(one.gradient, other.gradient)
    for name in ANCHORS:
        close(one.anchors[name], other.anchors[name])


@cases(40)
@given(association_cases())
def test_association_equals_the_loops(case: Case) -> None:
    objective = case.objective()
    naive = Naive(case.k, case.dim, case.camera_of, case.config)
    for number in range(3):
        features, tracklet = case.batch(5)
        ours, theirs = features.clone().requires_grad_(), features.clone().requires_grad_()
        loss, own_first = objective(ours, tracklet)
        expected, expected_share = naive.loss(theirs, tracklet.tolist())
        (loss + 0 * ours.sum()).backward()
        (expected + 0 * theirs.sum()).backward()
        close(loss.detach(), expected.detach())
        close(ours.grad, theirs.grad)
        assert float(own_first) == pytest.approx(expected_share)
        share = objective.update(features, tracklet, warm=number < 1)
        assert float(share) == pytest.approx(
            naive.update(features, tracklet.tolist(), warm=number < 1)
        )
        for name in ("intra", "cross"):
            stored = torch.stack([torch.stack(part) for part in getattr(naive, name)])
            close(getattr(objective, name), stored)
    for part in range(case.k):
        wanted = [naive.cyclic_match(part, n) for n in range(len(case.camera_of))]
        everyone = torch.arange(len(wanted))
        seen = objective.intra_scale[part] > 0
        found = objective.cyclic_match(everyone)[part]
        assert found[seen].tolist() == [m for m, s in zip(wanted, seen, strict=True) if s]


@cases(40)
@given(association_cases(), SEEDS)
def test_the_order_of_a_batch_changes_nothing(case: Case, seed: int) -> None:
    objective, (features, tracklet) = case.visited(), case.batch()
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(tracklet)))
    before = step(twin(objective), features, tracklet)
    after = step(twin(objective), features[order], tracklet[order])
    same(after, before._replace(gradient=before.gradient[order]))


@cases(40)
@given(association_cases(), st.permutations(range(4)))
def test_the_names_of_the_cameras_change_nothing(case: Case, names: list[int]) -> None:
    objective, batch = case.visited(), case.batch()
    renamed = twin(objective, torch.tensor(names)[objective.camera_of])
    one, other = step(objective, *batch), step(renamed, *batch)
    assert torch.equal(one.loss, other.loss)
    assert torch.equal(one.gradient, other.gradient)
    assert all(torch.equal(one.anchors[name], other.anchors[name]) for name in ANCHORS)


@cases(40)
@given(association_cases(), SEEDS)
def test_the_order_of_the_parts_is_free(case: Case, seed: int) -> None:
    objective, (features, tracklet) = case.visited(), case.batch()
    order = torch.from_numpy(np.random.default_rng(seed).permutation(case.k))
    other = twin(objective)
    for name in ANCHORS:
        getattr(other, name).copy_(getattr(objective, name)[order])
    before = step(objective, features, tracklet)
    after = step(other, features[:, order], tracklet)
    moved = {name: value[order] for name, value in before.anchors.items()}
    same(after, before._replace(gradient=before.gradient[:, order], anchors=moved))


@cases(40)
@given(association_cases(), SEEDS)
def test_the_numbers_of_the_tracklets_are_free(case: Case, seed: int) -> None:
    everyone = torch.arange(len(case.camera_of))
    objective = case.objective(rank_unvisited=False)
    features = torch.from_numpy(case.rng.normal(size=(len(everyone), case.k, case.dim)))
    objective.update(features, everyone, warm=True)  # all visited: no ties between zero anchors
    batch_features, tracklet = case.batch()
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(everyone)))
    place = torch.argsort(order)  # new number of each tracklet
    other = twin(objective, objective.camera_of[order])
    for name in ("intra", "cross", "intra_scale"):
        getattr(other, name).copy_(getattr(objective, name)[:, order])
    before = step(objective, batch_features, tracklet)
    after = step(other, batch_features, place[tracklet])
    match = before.anchors["match"]
    moved = {name: before.anchors[name][:, order] for name in ANCHORS}
    moved["match"] = torch.where(match < 0, -1, place[match.clamp_min(0)])[:, order]
    same(after, before._replace(anchors=moved))


@cases(40)
@given(association_cases(), st.lists(st.floats(1e-3, 1e3), min_size=7, max_size=7))
def test_the_length_of_a_feature_changes_nothing(case: Case, lengths: list[float]) -> None:
    objective, (features, tracklet) = case.visited(), case.batch(7)
    factor = torch.tensor(lengths, dtype=torch.float64)[:, None, None]
    one = step(twin(objective), features, tracklet)
    other = step(twin(objective), features * factor, tracklet)
    same(other._replace(gradient=other.gradient * factor), one)


EXTREME = st.sampled_from([0.0, -0.0, 1e-20, -1e-20, 1e-5, 1.0, -1.0, 1e10, 1e20, -1e20])


@cases(60)
@given(association_cases(), st.data())
def test_extreme_features_give_finite_numbers(case: Case, data: st.DataObject) -> None:
    size = 4 * case.k * case.dim
    values = data.draw(st.lists(EXTREME, min_size=size, max_size=size))
    features = torch.tensor(values).view(4, case.k, case.dim)
    _, tracklet = case.batch(4)
    objective = case.visited().float()
    for _ in range(2):
        outcome = step(objective, features, tracklet)
        assert torch.isfinite(outcome.loss)
        assert torch.isfinite(outcome.gradient).all()
        assert all(torch.isfinite(value).all() for value in outcome.anchors.values())


@cases(40)
@given(association_cases(), st.booleans())
def test_equal_features_of_all_frames_give_finite_numbers(case: Case, zero: bool) -> None:
    objective, tracklet = case.objective(), torch.arange(len(case.camera_of))
    one = torch.from_numpy(case.rng.normal(size=(1, case.k, case.dim)))
    features = one.expand(len(tracklet), -1, -1) * (not zero)
    for _ in range(3):
        outcome = step(objective, features, tracklet)
        assert torch.isfinite(outcome.loss)
        assert torch.isfinite(outcome.gradient).all()
    if zero:
        assert not outcome.anchors["intra"].any(), "a frame without direction moves nothing"
    elif case.config.anchor_difference == "stored":
        close(unit(outcome.anchors["intra"]), unit(features.transpose(0, 1)))


@cases(60)
@given(association_cases())
def test_loss_shares_and_matches_lie_where_they_must(case: Case) -> None:
    objective, batch = case.visited(), case.batch()
    unvisited = objective.intra_scale == 0
    loss, own_first = objective(*batch)
    stored = case.config.anchor_length == "stored"  # such anchors may be longer than 1
    longest = max(1.0, float(objective.intra.norm(dim=-1).max())) if stored else 1.0
    furthest = (1 + longest) ** (1 if case.config.distance == "euclidean" else 2)
    assert 0 <= float(loss) <= (furthest + case.config.margin) * (1 + case.config.lam)
    assert 0 <= float(own_first) <= 1
    assert 0 <= float(objective.update(*batch, warm=False)) <= 1
    match = objective.match
    camera = objective.camera_of
    assert bool((camera[match] != camera)[match >= 0].all()), "a match is in another camera"
    if not case.config.rank_unvisited:
        fresh = objective.intra_scale == 0
        assert not bool(fresh.gather(1, match.clamp_min(0))[match >= 0].any())
    absent = torch.ones(len(camera), dtype=torch.bool)
    absent[batch[1]] = False
    assert torch.equal(objective.intra_scale[:, absent] == 0, unvisited[:, absent])


@cases(30)
@given(association_cases())
def test_the_published_switches_keep_what_must_hold(case: Case) -> None:
    case = case._replace(config=official(case.config))
    objective, (features, tracklet) = case.visited(), case.batch()
    order = torch.arange(len(tracklet) - 1, -1, -1)
    before = step(twin(objective), features, tracklet)
    after = step(twin(objective), 3 * features[order], tracklet[order])
    same(after, before._replace(gradient=before.gradient[order] / 3))


# ---------------------------------------------------------------- fusion and pooling


class Clips(NamedTuple):
    """Frame features of several branches, and the tracklet of each frame."""

    branches: list[Tensor]
    tracklet: np.ndarray
    rng: np.random.Generator


@st.composite
def clips(draw: st.DrawFn) -> Clips:
    k, dims = draw(st.integers(1, 4)), draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    count, rng = draw(st.integers(1, 12)), np.random.default_rng(draw(SEEDS))
    # Each number has the same sign in all frames: a mean that cancels out would be all rounding.
    signs = [rng.choice([-1, 1], (1, k, d)) for d in dims]
    noise = [sign * np.abs(rng.normal(size=(count, *sign.shape[1:]))) for sign in signs]
    branches = [torch.from_numpy(values).float() for values in noise]
    return Clips(branches, rng.integers(0, 5, count), rng)


POOLS = st.sampled_from(["max", "mean"])


@cases(60)
@given(clips(), POOLS)
def test_the_order_of_the_frames_is_free(drawn: Clips, pool: str) -> None:
    features = fuse(*drawn.branches)
    order = drawn.rng.permutation(len(features))
    one = pool_tracklets(features, drawn.tracklet, pool)
    other = pool_tracklets(features[order], drawn.tracklet[order], pool)
    assert torch.equal(one, other) if pool == "max" else torch.allclose(one, other, atol=1e-6)


@cases(60)
@given(clips(), st.permutations(range(5)), POOLS)
def test_the_names_of_the_tracklets_are_free(drawn: Clips, names: list[int], pool: str) -> None:
    features = fuse(*drawn.branches)
    one = pool_tracklets(features, drawn.tracklet, pool)
    renamed = np.array(names)[drawn.tracklet]
    other = pool_tracklets(features, renamed, pool)
    place = {name: row for row, name in enumerate(np.unique(renamed))}
    rows = [place[names[number]] for number in np.unique(drawn.tracklet)]
    assert torch.equal(one, other[rows])


@cases(60)
@given(clips(), POOLS, st.booleans())
def test_the_length_of_the_features_does_not_reach_the_vectors(
    drawn: Clips, pool: str, normalise: bool
) -> None:
    count, k = drawn.branches[0].shape[:2]
    factor = torch.from_numpy(drawn.rng.uniform(0.01, 100, (count, k, 1))).float()
    one = fuse(*drawn.branches, normalise_branches=normalise)
    other = fuse(*(factor * b for b in drawn.branches), normalise_branches=normalise)
    torch.testing.assert_close(other, one)
    pooled = [pool_tracklets(f, drawn.tracklet, pool) for f in (one, other)]
    torch.testing.assert_close(pooled[1], pooled[0], rtol=1e-4, atol=1e-5)


@cases(60)
@given(clips(), POOLS, st.integers(1, 5))
def test_the_pieces_in_which_frames_come_do_not_matter(drawn: Clips, pool: str, size: int) -> None:
    features = fuse(*drawn.branches)
    whole = pool_tracklets(features, drawn.tracklet, pool)
    number = np.unique(drawn.tracklet, return_inverse=True)[1]
    found = torch.full_like(whole, pooling.POOLS[pool][1])
    for start in range(0, len(features), size):
        pool_into(found, features[start : start + size], number[start : start + size], pool)
    found = unit(found)
    assert torch.equal(found, whole) if pool == "max" else torch.allclose(found, whole, atol=1e-6)


@cases(40)
@given(clips())
def test_a_frame_seen_again_does_not_change_the_maximum(drawn: Clips) -> None:
    features = fuse(*drawn.branches)
    once = pool_tracklets(features, drawn.tracklet)
    again = drawn.rng.integers(0, len(features), 3)
    twice = pool_tracklets(
        torch.cat([features, features[again]]), np.r_[drawn.tracklet, drawn.tracklet[again]]
    )
    assert torch.equal(once, twice)


@cases(40)
@given(clips(), POOLS, st.integers(1, 4))
def test_a_standing_person_has_the_vector_of_one_frame(
    drawn: Clips, pool: str, repeats: int
) -> None:
    features = fuse(*drawn.branches)
    number = np.arange(len(features))
    pooled = pool_tracklets(features.repeat(repeats, 1), np.tile(number, repeats), pool)
    torch.testing.assert_close(pooled, features)


@cases(80)
@given(clips(), POOLS, st.booleans(), st.data())
def test_extreme_features_give_finite_vectors_of_at_most_unit_length(
    drawn: Clips, pool: str, normalise: bool, data: st.DataObject
) -> None:
    for branch in drawn.branches:
        size = branch.numel()
        values = data.draw(st.lists(EXTREME, min_size=size, max_size=size))
        branch.copy_(torch.tensor(values).view_as(branch))
    fused = fuse(*drawn.branches, normalise_branches=normalise)
    for vectors in (fused, pool_tracklets(fused, drawn.tracklet, pool)):
        assert torch.isfinite(vectors).all()
        assert float(vectors.norm(dim=1).max()) <= 1 + 1e-5


@cases(40)
@given(clips(), POOLS, st.sampled_from([np.nan, np.inf, -np.inf]))
def test_a_number_that_is_none_does_not_vanish(drawn: Clips, pool: str, value: float) -> None:
    frame = int(drawn.rng.integers(len(drawn.tracklet)))
    drawn.branches[0][frame, 0, 0] = value
    pooled = pool_tracklets(fuse(*drawn.branches), drawn.tracklet, pool)
    row = int(np.searchsorted(np.unique(drawn.tracklet), drawn.tracklet[frame]))
    assert not torch.isfinite(pooled[row]).all()
    others = np.delete(np.arange(len(pooled)), row)
    assert torch.isfinite(pooled[others]).all()


# ---------------------------------------------------------------- evaluation


RANKS = st.lists(st.sets(st.integers(1, 12)), min_size=1, max_size=8)


@cases(100)
@given(RANKS)
def test_a_cmc_rises_to_the_share_of_queries_with_a_match(drawn: list[set]) -> None:
    ranking = Ranking([np.array(sorted(r), np.int64) for r in drawn], 12)
    cmc = ranking.cmc()
    assert len(cmc) == 12
    assert cmc[0] >= 0
    assert bool((np.diff(cmc) >= 0).all())
    assert cmc[-1] == pytest.approx(np.mean([bool(r) for r in drawn]))
    for rule in ("trapezoid", "mean_precision"):
        precision = ranking.average_precision(rule)
        assert np.isnan(precision).tolist() == [not r for r in drawn]
        known = precision[~np.isnan(precision)]
        assert bool(((known > 0) & (known <= 1)).all())


@cases(60)
@given(st.lists(st.sampled_from(["match", "junk", "other"]), min_size=1, max_size=20))
def test_where_all_distances_are_equal_the_order_of_the_gallery_decides(kinds: list) -> None:
    match, junk = np.array([k == "match" for k in kinds]), np.array([k == "junk" for k in kinds])
    kept = [k for k in kinds if k != "junk"]
    wanted = [place for place, k in enumerate(kept, 1) if k == "match"]
    assert match_ranks(np.full(len(kinds), 0.3), match, junk).tolist() == wanted


@cases(60)
@given(SEEDS)
def test_the_order_of_the_gallery_does_not_reach_the_metrics(seed: int) -> None:
    rng = np.random.default_rng(seed)
    queries, gallery = rng.integers(1, 7), rng.integers(1, 15)
    q, g = (unit(torch.from_numpy(rng.normal(size=(n, 4)))) for n in (queries, gallery))
    asked = Labels(rng.integers(0, 4, queries), rng.integers(0, 2, queries))
    kept = Labels(rng.integers(-1, 4, gallery), rng.integers(0, 2, gallery))
    one = rank(q, g, asked, kept)
    order, turn = rng.permutation(gallery), rng.permutation(queries)
    turned, ordered = Labels(*(x[turn] for x in asked)), Labels(*(x[order] for x in kept))
    other = rank(q[turn], g[order], turned, ordered)
    assert [one.ranks[t].tolist() for t in turn] == [r.tolist() for r in other.ranks]
    np.testing.assert_allclose(other.cmc(), one.cmc())


# ---------------------------------------------------------------- readers

FRAME_NAMES = st.sets(
    st.sampled_from(["0001", "0002", "0010", "2", "a b", "é", "人", "[1]", "0001_x", "%d"]),
    min_size=1,
    max_size=5,
)
SUFFIXES = st.sampled_from([".png", ".PNG", ".jpg", ".jpeg", ".bmp", ".txt", ".db", ""])
PERSON = st.lists(st.tuples(FRAME_NAMES, SUFFIXES), min_size=1, max_size=3)
NUMBERS = st.sampled_from([1, 2, 3, 11])
CAMERA = st.dictionaries(NUMBERS, PERSON, min_size=3, max_size=4)
TREES = st.lists(CAMERA, min_size=2, max_size=3)


def plant(root: Path, tree: list[dict], chance: random.Random) -> None:
    """Write a tree's files in an order of chance."""
    files = [
        root / "multi_shot" / f"cam_{'abc'[camera]}" / f"person_{person:04d}" / f"{name}{suffix}"
        for camera, people in enumerate(tree)
        for person, groups in people.items()
        for names, suffix in groups
        for name in names
    ]
    for camera in range(len(tree)):
        (root / "multi_shot" / f"cam_{'abc'[camera]}").mkdir(parents=True)
    for file in chance.sample(sorted(set(files)), len(set(files))):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(file.name.encode())


def wanted_tracklets(tree: list[dict], least: int) -> list[tuple[int, int, tuple[str, ...]]]:
    """Person, camera, frames: in words, those whom every camera has seen for long enough."""
    frames: dict[tuple[int, int], set[str]] = {}
    for camera, people in enumerate(tree):
        for person, groups in people.items():
            folder = f"multi_shot/cam_{'abc'[camera]}/person_{person:04d}"
            frames[camera, person] = {
                f"{folder}/{name}{suffix}"
                for names, suffix in groups
                for name in names
                if suffix.lower() in IMAGE_SUFFIXES
            }
    kept = [
        person
        for person in range(1, 13)
        if all(len(frames.get((c, person), ())) >= least for c in range(len(tree)))
    ]
    return [
        (person, camera, tuple(sorted(frames[camera, person])))
        for camera in range(len(tree))
        for person in kept
    ]


@pytest.mark.filterwarnings("ignore:left out")
@cases(80)
@given(TREES, st.integers(1, 2), SEEDS)
def test_reading_is_a_function_of_the_tree(tree: list[dict], least: int, seed: int) -> None:
    wanted, found, chance = wanted_tracklets(tree, least), [], random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        for place in ("here", "an other plâce"):
            root = Path(folder, place)
            plant(root, tree, chance)
            if len(wanted) < 2 * len(tree):
                with pytest.raises(UserError, match="a trial needs two"):
                    prid2011(root, least)
                return
            found.append(prid2011(root, least))
        assert found[0].digest() == found[1].digest(), "neither place nor order of writing counts"
    for dataset in found:
        assert [(t.person, t.camera, t.frames) for t in dataset.tracklets] == wanted
        assert dataset.cameras == tuple(f"cam_{c}" for c in "abc"[: len(tree)])
        assert not any(os.path.isabs(f) or "\\" in f for t in dataset.tracklets for f in t.frames)
