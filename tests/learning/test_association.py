"""Association learning against loops written for reading, against the published code's numbers."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from upm_lib.config import Config, UserError, official
from upm_lib.learning.association import (
    Association,
    camera_blocks,
    distance,
    nearest,
    nearest_by_camera,
    top_push_loss,
    unit,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "assoc_2cam.npz"
COUNTS = {2: [4, 6], 3: [5, 3, 4], 4: [3, 4, 2, 3], 5: [3, 1, 4, 2, 5]}  # tracklets by camera
DIM = 6


pytestmark = pytest.mark.usefixtures("one_thread")


# ---------------------------------------------------------------- the oracle


class Naive:
    """Eqs. (3)-(9) in every reading, one part, camera, frame and tracklet at a time.

    Anchors are kept as stored; an anchor never visited is a zero vector. ``intra`` and ``cross``
    are [k][N] lists of vectors.
    """

    def __init__(self, k: int, dim: int, camera_of: list[int], config: Config) -> None:
        self.k, self.camera_of, self.config = k, camera_of, config
        zero = torch.zeros(dim, dtype=torch.float64)
        self.intra = [[zero.clone() for _ in camera_of] for _ in range(k)]
        self.cross = [[zero.clone() for _ in camera_of] for _ in range(k)]
        self.match = [[-1 for _ in camera_of] for _ in range(k)]

    @staticmethod
    def unit(v: Tensor) -> Tensor:
        return v / torch.sqrt(torch.clamp((v * v).sum(), min=1e-10))

    def compared(self, anchor: Tensor) -> Tensor:
        """An anchor as distances and averages see it."""
        return anchor if self.config.anchor_length == "stored" else self.unit(anchor)

    @staticmethod
    def squared(u: Tensor, v: Tensor) -> Tensor:
        """Squared distance; exactly |u|^2 from a zero vector, so that these tie."""
        return ((u - v) ** 2).sum() if bool(v.any()) else (u**2).sum()

    def metric(self, u: Tensor, v: Tensor) -> Tensor:
        d = ((u - v) ** 2).sum()
        return d if self.config.distance == "squared" else torch.sqrt(torch.clamp(d, min=1e-12))

    def nearest(self, query: Tensor, anchors: list[Tensor], camera: int, own: bool) -> int:
        """The nearest of the own camera or of all others; -1 if nobody is ranked."""
        best, best_distance = -1, float("inf")
        for n, anchor in enumerate(anchors):  # ascending: ties go to the lowest index
            if (self.camera_of[n] == camera) != own:
                continue
            if not self.config.rank_unvisited and not bool(anchor.any()):
                continue
            d = float(self.squared(query, self.compared(anchor)))
            if d < best_distance - 1e-12:  # equal up to rounding is a tie
                best, best_distance = n, d
        return best

    def loss(self, features: Tensor, tracklet: list[int]) -> tuple[Tensor, float]:
        """Loss and own-first share of raw features [B, k, d]; each hinge has weight 1/(B k)."""
        total, own_first = torch.zeros((), dtype=torch.float64), 0
        for part in range(self.k):
            x = [self.unit(f[part]) for f in features]
            d_min, first = [], []
            for v, n in zip(x, tracklet, strict=True):
                found = self.nearest(v.detach(), self.intra[part], self.camera_of[n], own=True)
                first.append(n if found == -1 else found)
                own_first += found == n
                d_min.append(self.metric(v, self.compared(self.intra[part][first[-1]])))
            for b, n in enumerate(tracklet):
                total = total + self.frame_loss(part, x[b], n, d_min, first[b] == n, b, tracklet)
        frames = self.k * len(tracklet)
        return total / frames, own_first / frames

    def frame_loss(
        self, part: int, x: Tensor, n: int, d_min: list[Tensor], own_first: bool, b: int,
        tracklet: list[int],
    ) -> Tensor:  # fmt: skip
        """Eqs. (5)-(7) of frame b."""
        mates = [d_min[j] for j, m in enumerate(tracklet) if self.camera_of[m] == self.camera_of[n]]
        mean = sum(mates) / len(mates)
        d_intra = self.metric(x, self.compared(self.intra[part][n]))
        d_cross = self.metric(x, self.compared(self.cross[part][n]))
        if self.config.cross_case == "cross":
            equal = abs(float((d_cross - d_min[b]).detach())) < 1e-9
            cross_first = equal and own_first  # of two zero anchors at one distance, one is first
        else:
            cross_first = own_first
        intra = torch.relu(d_intra - (mean if own_first else d_min[b]) + self.config.margin)
        cross = torch.relu(d_cross - (mean if cross_first else d_min[b]) + self.config.margin)
        return intra + self.config.lam * cross

    def update(self, features: Tensor, tracklet: list[int], warm: bool) -> float:
        """Move the anchors; return the share of frames whose tracklet found a match."""
        matched = 0
        for part in range(self.k):
            x = [self.unit(f[part].detach()) for f in features]
            at_t = [a.clone() for a in self.intra[part]]
            self._update_intra(part, x, tracklet)
            others = at_t if self.config.partner_anchor == "before" else self.intra[part]
            match = {n: -1 if warm else self._match(part, n, others) for n in set(tracklet)}
            for n, m in match.items():
                anchor = self.compared(self.intra[part][n])
                if m >= 0:
                    anchor = (anchor + self.compared(others[m])) / 2
                self.cross[part][n], self.match[part][n] = anchor, m
            matched += sum(match[n] >= 0 for n in tracklet)
        return matched / (self.k * len(tracklet))

    def _update_intra(self, part: int, x: list[Tensor], tracklet: list[int]) -> None:
        old = [a.clone() for a in self.intra[part]]  # all frames see the anchor before the step
        for b, n in enumerate(tracklet):
            pulled = old[n] if self.config.anchor_difference == "stored" else self.unit(old[n])
            share = 1 if self.config.repeats == "accumulate" else tracklet.count(n)
            self.intra[part][n] = self.intra[part][n] - self.config.eta * (pulled - x[b]) / share

    def cyclic_match(self, part: int, n: int) -> int:
        return self._match(part, n, self.intra[part])

    def _match(self, part: int, n: int, others: list[Tensor]) -> int:
        """From the anchor of n to the others' and back to the anchors of its camera."""
        own = self.intra[part]
        there = self.nearest(self.compared(own[n]), others, self.camera_of[n], own=False)
        if there == -1:
            return -1
        back = self.nearest(self.compared(others[there]), own, self.camera_of[n], own=True)
        return there if back == n else -1


def cameras(count: int, seed: int | None = 0) -> list[int]:
    """Camera of each tracklet: in mixed order, or camera by camera as in a training set (None)."""
    camera_of = [c for c, n in enumerate(COUNTS[count]) for _ in range(n)]
    if seed is None:
        return camera_of
    return np.random.default_rng(seed).permutation(camera_of).tolist()


def batches(
    camera_of: list[int], k: int, steps: int, seed: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches with a tracklet three times; the last tracklet never; camera 0 absent every third.

    Features gather around the prototype of a person seen by all cameras, so that rankings are
    neither all right nor all wrong.
    """
    rng = np.random.default_rng(seed)
    people = [camera_of[:n].count(c) for n, c in enumerate(camera_of)]
    prototypes = rng.normal(size=(max(people) + 1, k, DIM))
    for step in range(steps):
        pool = [n for n in range(len(camera_of) - 1) if step % 3 != 2 or camera_of[n] != 0]
        drawn = rng.choice(pool, size=7).tolist()
        tracklet = [*drawn, drawn[0], drawn[0]]
        noise = rng.normal(size=(len(tracklet), k, DIM))
        features = prototypes[[people[n] for n in tracklet]] + 0.7 * noise
        yield torch.tensor(features), torch.tensor(tracklet)


def pair(camera_of: list[int], k: int, config: Config) -> tuple[Association, Naive]:
    objective = Association(k, DIM, torch.tensor(camera_of), config).double()
    return objective, Naive(k, DIM, camera_of, config)


def compare_steps(objective: Association, naive: Naive, steps: int, warm_steps: int) -> list[float]:
    """Run both on the same batches; return the cyclic shares."""
    shares = []
    for step, (features, tracklet) in enumerate(batches(naive.camera_of, naive.k, steps)):
        ours = features.clone().requires_grad_()
        theirs = features.clone().requires_grad_()
        warm = step < warm_steps
        loss, own_first, move = objective.step(ours, tracklet, warm)
        expected, expected_share = naive.loss(theirs, tracklet.tolist())
        loss.backward()
        expected.backward()
        torch.testing.assert_close(loss.detach(), expected.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)
        assert float(own_first) == pytest.approx(expected_share)
        share = float(move())
        assert share == pytest.approx(naive.update(features, tracklet.tolist(), warm))
        for name in ("intra", "cross"):
            stored = torch.stack([torch.stack(part) for part in getattr(naive, name)])
            torch.testing.assert_close(getattr(objective, name), stored, rtol=1e-10, atol=1e-10)
        assert objective.match.tolist() == naive.match
        shares.append(share)
    return shares


# ---------------------------------------------------------------- agreement with the oracle


READINGS: dict[str, tuple] = {
    "distance": ("euclidean", "squared"),
    "anchor_difference": ("stored", "normalised"),
    "repeats": ("mean", "accumulate"),
    "partner_anchor": ("before", "after"),
    "cross_case": ("cross", "intra"),
    "anchor_length": ("normalised", "stored"),
    "rank_unvisited": (False, True),
}


@pytest.mark.parametrize("readings", list(itertools.product(*READINGS.values())), ids=str)
def test_loss_gradient_and_anchors_equal_the_loops_in_every_reading(readings: tuple) -> None:
    config = Config(**dict(zip(READINGS, readings, strict=True)))
    # All anchors of one visit are equally far from a zero vector: here no such tie is decided.
    by_camera = 0 if config.rank_unvisited else None
    for count, seed in ((2, by_camera), (3, 0), (4, by_camera)):  # cameras
        objective, naive = pair(cameras(count, seed), 2, config)
        shares = compare_steps(objective, naive, steps=4, warm_steps=1)
        assert shares[0] == 0
        assert any(0 < share < 1 for share in shares[1:])  # both outcomes of the cyclic test
        assert bool((objective.intra == 0).all(-1).any())  # some were never visited


@pytest.mark.parametrize("name", READINGS)
def test_every_reading_changes_the_loss_or_the_anchors(name: str) -> None:
    losses = []
    for value in READINGS[name]:
        objective, naive = pair(cameras(3), 2, Config(**{name: value}))
        compare_steps(objective, naive, steps=5, warm_steps=0)
        losses.append(float(objective(*a_batch())[0]))
    assert abs(losses[0] - losses[1]) > 1e-3


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_other_numbers_of_parts_and_values_equal_the_loops(count: int, k: int) -> None:
    for config in (Config(), official(Config())):
        config = config.replace(eta=0.3, margin=0.1, lam=0.7)
        compare_steps(*pair(cameras(count, seed=3), k, config), steps=4, warm_steps=0)


# ---------------------------------------------------------------- the readings, by hand


def in_the_plane(camera_of: list[int], degrees: list[float], config: Config) -> Association:
    """An objective whose anchors stand on the circle."""
    angle = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    objective = Association(1, 2, torch.tensor(camera_of), config).double()
    objective.place(torch.stack([angle.cos(), angle.sin()], 1)[None])
    return objective


def direction(vectors: Tensor) -> list[float]:
    return torch.atan2(vectors[..., 1], vectors[..., 0]).rad2deg().flatten().tolist()


def frames(*degrees: float) -> Tensor:
    angle = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angle.cos(), angle.sin()], 1)[:, None]


@pytest.mark.parametrize(("partner_anchor", "wanted"), [("before", 30), ("after", 40)])
def test_the_partner_is_averaged_where_it_stood_before_or_after_the_batch(
    partner_anchor: str, wanted: float
) -> None:
    # Tracklets 0 at 0 degrees and 1 at 40, each alone in its camera, move to 20 and 60 (eta = 1).
    # The own anchor at t + 1 meets the other's at t: 20 and 40, 60 and 0; or at t + 1: 20 and 60.
    objective = in_the_plane([0, 1], [0, 40], Config(eta=1.0, partner_anchor=partner_anchor))
    objective.update(frames(20, 60), torch.tensor([0, 1]), warm=False)
    assert objective.match.tolist() == [[1, 0]]
    assert direction(objective.cross) == pytest.approx([wanted, wanted])


@pytest.mark.parametrize(("partner_anchor", "match"), [("before", 2), ("after", 1)])
def test_the_partner_is_searched_where_it_is_averaged(partner_anchor: str, match: int) -> None:
    # Tracklet 0 stays at 0 degrees. In the other camera, 1 comes from 90 to 10, and 2 is at 20.
    config = Config(eta=1.0, partner_anchor=partner_anchor)
    objective = in_the_plane([0, 1, 1], [0, 90, 20], config)
    objective.update(frames(0, 10), torch.tensor([0, 1]), warm=False)
    assert int(objective.match[0, 0]) == match


def test_the_way_back_ends_among_the_own_anchors_after_the_batch() -> None:
    # Tracklet 0 leads to 2 at 20 degrees. Before the batch 1, at 25, is the nearest to it in
    # camera 0; but 1 moves to 90 in the same batch, so the way back ends at 0.
    objective = in_the_plane([0, 0, 1], [0, 25, 20], Config(eta=1.0))
    objective.update(frames(0, 90), torch.tensor([0, 1]), warm=False)
    assert objective.match[0].tolist() == [2, -1, -1]


@pytest.mark.parametrize(("partner_anchor", "match"), [("before", [-1, -1]), ("after", [1, 0])])
def test_a_partner_must_have_been_visited_when_it_is_averaged(
    partner_anchor: str, match: list[int]
) -> None:
    config = Config(partner_anchor=partner_anchor)
    objective = Association(1, 2, torch.tensor([0, 1]), config).double()
    objective.update(frames(0, 10), torch.tensor([0, 1]), warm=False)
    assert objective.match[0].tolist() == match


@pytest.mark.parametrize("cross_case", ["cross", "intra"])
def test_the_case_of_the_cross_term_with_and_without_a_partner(cross_case: str) -> None:
    # Camera 0 has tracklets 0 at 0 degrees, whose partner at 20 puts its cross anchor at 10, and 1
    # at 90, without a partner. Frames at 4 and 80 degrees both have their own anchor first.
    objective = in_the_plane([0, 0, 1], [0, 90, 20], Config(cross_case=cross_case))
    objective.update(frames(0, 90), torch.tensor([0, 1]), warm=False)
    assert objective.match[0].tolist() == [2, -1, -1]
    loss, own_first = objective(frames(4, 80), torch.tensor([0, 1]))
    assert float(own_first) == 1
    near, far, to_cross = (2 * math.sin(math.radians(angle / 2)) for angle in (4, 10, 6))
    mean = (near + far) / 2
    intra = (near - mean + 0.5) + (far - mean + 0.5)
    beaten = near if cross_case == "cross" else mean  # by the frame with a partner
    cross = (to_cross - beaten + 0.5) + (far - mean + 0.5)
    assert float(loss) == pytest.approx((intra + cross) / 2, abs=1e-9)


@pytest.mark.parametrize("cross_case", ["cross", "intra"])
def test_the_case_of_the_cross_term_decides_whom_the_own_anchor_repels(cross_case: str) -> None:
    # Five frames of a camera, all with their own anchor first, two of them without a partner: a
    # share u of 2/5. The forces, times 5: what is positive pulls to the own or the cross anchor.
    own = torch.tensor([[0.2, 0.4, 0.1, 0.3, 0.25]], dtype=torch.float64, requires_grad=True)
    alone = torch.tensor([[False, False, False, True, True]])
    partner = torch.full_like(own, 0.35).requires_grad_()
    always, camera, lam, u = torch.ones(1, 5, dtype=torch.bool), torch.zeros(5).long(), 0.7, 2 / 5
    cross_first = always & alone if cross_case == "cross" else always
    to_cross = torch.where(alone, own, partner)
    loss = top_push_loss(own, to_cross, own, always, camera, 0.5, lam, cross_first)
    loss.backward()
    torch.testing.assert_close(5 * partner.grad, lam * (~alone).double())
    with_partner, without = (
        (-lam * (1 + u), lam * (1 - u)) if cross_case == "cross" else (-lam, 0.0)
    )
    expected = torch.where(alone, without, with_partner).double()
    torch.testing.assert_close(5 * own.grad, expected)


@pytest.mark.parametrize(("anchor_length", "own_first"), [("normalised", 1), ("stored", 0)])
def test_a_short_anchor_is_compared_by_its_direction_or_as_it_is(
    anchor_length: str, own_first: int
) -> None:
    # Anchors of length 1/2 at 0 degrees and of length 1 at 40. A frame at 18 is nearer to the
    # first by angle (18 against 22), to the second by distance (0.55 against 0.38).
    objective = in_the_plane([0, 0, 1], [0, 40, 0], Config(anchor_length=anchor_length))
    objective.place(objective.intra * torch.tensor([0.5, 1, 1])[None, :, None])
    loss, share = objective(frames(18), torch.tensor([0]))
    assert float(share) == own_first
    stored = math.sqrt(1 + 0.25 - math.cos(math.radians(18)))
    chord = {angle: 2 * math.sin(math.radians(angle / 2)) for angle in (18, 22)}
    own = chord[18] if anchor_length == "normalised" else stored
    first = own if own_first else chord[22]
    assert float(loss) == pytest.approx(2 * (own - first + 0.5), abs=1e-9)
    objective.update(frames(0), torch.tensor([0]), warm=False)  # from 0.5 to 0.75
    length = 1.0 if anchor_length == "normalised" else 0.875
    assert float(objective.cross[0, 0].norm()) == pytest.approx(length)


REDUCTIONS = {  # a reading, and what makes both of its values the same
    "partner_anchor": "batches of one camera",
    "cross_case": "no partners",
    "anchor_length": "anchors of length 1, no partners",
    "rank_unvisited": "all visited",
    "repeats": "no repeats",
    "anchor_difference": "anchors of length 1",
}


@pytest.mark.parametrize(("name", "case"), REDUCTIONS.items())
def test_readings_agree_where_they_must(name: str, case: str) -> None:
    camera_of = torch.tensor(cameras(3))
    everyone = torch.arange(len(camera_of))
    rng = torch.Generator().manual_seed(0)
    start = unit(torch.randn(2, len(camera_of), DIM, dtype=torch.float64, generator=rng))
    eta = 1.0 if "length 1" in case else 0.5
    results = []
    for value in READINGS[name]:
        objective = Association(2, DIM, camera_of, Config(eta=eta, **{name: value})).double()
        objective.place(start)
        for step in range(6):
            camera = everyone[camera_of == step % 3]
            tracklet = camera if case == "batches of one camera" else everyone[step % 2 :]
            features = torch.randn(len(tracklet), 2, DIM, generator=rng.manual_seed(step)).double()
            loss, _ = objective(features, tracklet)
            objective.update(features, tracklet, warm="no partners" in case)
        results.append((loss, objective.intra, objective.cross))
        assert bool((objective.match >= 0).any()) == ("no partners" not in case)
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------- half precision


@pytest.mark.parametrize("anchors", ["float32", "float16"])
def test_without_partners_both_readings_of_eq_6_are_the_same(anchors: str) -> None:
    camera_of = cameras(3)
    config = Config(anchors=anchors)
    readings = [
        Association(2, DIM, torch.tensor(camera_of), config.replace(cross_case=case))
        for case in ("intra", "cross")
    ]
    own_first = 0.0
    for features, tracklet in batches(camera_of, 2, 6):
        (loss, share), (other, _) = (one(features.float(), tracklet) for one in readings)
        torch.testing.assert_close(loss, other)
        own_first = max(own_first, float(share))
        for objective in readings:
            objective.update(features.float(), tracklet, warm=True)
    assert own_first > 0, "the first case of Eq. (6) arises"


@pytest.mark.parametrize("seed", [None, 0])  # camera by camera, or in mixed order
@pytest.mark.parametrize("readings", [{}, dict(anchor_length="stored"), dict(repeats="accumulate")])
def test_half_precision_rounds_what_is_stored_and_nothing_else(
    readings: dict[str, str], seed: int | None
) -> None:
    camera_of, config = cameras(3, seed), Config(**readings)
    half = Association(2, DIM, torch.tensor(camera_of), config.replace(anchors="float16"))
    full = Association(2, DIM, torch.tensor(camera_of), config)
    rounding = 2**-11  # relative, of one number
    for step, (features, tracklet) in enumerate(batches(camera_of, 2, 6)):
        full.load_state_dict(half.state_dict())  # both begin with the same rounded anchors
        features = features.float()
        ours, theirs = features.clone().requires_grad_(), features.clone().requires_grad_()
        losses = half(ours, tracklet)[0], full(theirs, tracklet)[0]
        for loss in losses:
            loss.backward()
        torch.testing.assert_close(*losses, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)
        for objective in (half, full):
            objective.update(features, tracklet, warm=step < 1)
        assert half.intra.dtype == half.cross.dtype == torch.float16
        assert torch.equal(half.intra, full.intra.half())  # computed in float32, rounded once
        assert torch.equal(half.match, full.match)
        visited = full.intra_scale[..., None] > 0
        wrong = torch.where(visited, half.cross - full.cross, 0).abs().max()
        assert 0 < float(wrong) < 3 * rounding  # the anchors, then their mean


def test_half_precision_follows_single_precision_through_a_training() -> None:
    objectives = [
        Association(2, DIM, torch.tensor(cameras(3)), Config(eta=0.1, anchors=anchors))
        for anchors in ("float32", "float16")
    ]
    for features, tracklet in batches(cameras(3), 2, 200):
        for objective in objectives:
            objective.update(features.float(), tracklet, warm=True)
    single, half = (objective.intra.float() for objective in objectives)
    # Each step adds half a unit in the last place at most, and the average forgets: 1 / eta of it.
    assert float((single - half).abs().max()) < 2**-12 / 0.1
    assert 2 * objectives[1].intra.nbytes == objectives[0].intra.nbytes


# ---------------------------------------------------------------- tracklets not seen yet


@pytest.mark.parametrize("rank_unvisited", [False, True])
def test_only_the_switch_lets_an_unvisited_tracklet_be_the_partner(rank_unvisited: bool) -> None:
    # Camera 0: tracklet 0 at e0. Camera 1: tracklet 1 at right angles, tracklet 2 not seen. The
    # squared distances from e0 are 2 and 1; on the way back tracklet 0 is alone in its camera.
    objective = Association(1, DIM, torch.tensor([0, 1, 1]), Config(rank_unvisited=rank_unvisited))
    e = torch.eye(DIM)
    objective.place(torch.stack([e[0], e[1], torch.zeros(DIM)])[None])
    match = objective.cyclic_match(torch.tensor([0]))
    assert match.tolist() == [[2 if rank_unvisited else 1]]


@pytest.mark.parametrize("rank_unvisited", [False, True])
def test_only_the_switch_lets_an_unvisited_tracklet_win_the_way_back(rank_unvisited: bool) -> None:
    # Tracklet 0 at e0 leads to 2 at right angles, alone in its camera. From there 0 is at squared
    # distance 2 and tracklet 1, not seen, at 1.
    objective = Association(1, DIM, torch.tensor([0, 0, 1]), Config(rank_unvisited=rank_unvisited))
    e = torch.eye(DIM)
    objective.place(torch.stack([e[0], torch.zeros(DIM), e[1]])[None])
    match = objective.cyclic_match(torch.tensor([0]))
    assert match.tolist() == [[-1 if rank_unvisited else 2]]


@pytest.mark.parametrize("rank_unvisited", [False, True])
def test_only_the_switch_lets_an_unvisited_tracklet_be_the_rival(rank_unvisited: bool) -> None:
    # A frame of tracklet 0, at e0, stands at right angles to it; tracklet 1 is not seen.
    config = Config(rank_unvisited=rank_unvisited, lam=0.0)
    objective = Association(1, DIM, torch.tensor([0, 0, 1]), config)
    e = torch.eye(DIM)
    objective.place(torch.stack([e[0], torch.zeros(DIM), e[1]])[None])
    loss, own_first = objective(e[1].view(1, 1, -1), torch.tensor([0]))
    assert float(own_first) == (not rank_unvisited)
    beaten = 1.0 if rank_unvisited else math.sqrt(2)
    assert float(loss) == pytest.approx(math.sqrt(2) - beaten + 0.5)


def test_a_first_frame_is_pushed_from_the_nearest_of_its_camera_if_one_was_seen() -> None:
    # Tracklet 0 is not seen: its anchors are zero, at distance 1. Tracklet 1 is at e0.
    objective = Association(1, DIM, torch.tensor([0, 0, 1]), Config())
    e = torch.eye(DIM)
    objective.place(torch.stack([torch.zeros(DIM), e[0], torch.zeros(DIM)])[None])
    x = (e[0] + e[1]).view(1, 1, -1).clone().requires_grad_()
    loss, own_first = objective(x, torch.tensor([0]))
    loss.backward()
    assert float(own_first) == 0
    apart = math.sqrt(2 - math.sqrt(2))
    assert float(loss.detach()) == pytest.approx(2 * (1 - apart + 0.5), abs=1e-6)
    assert float(x.grad[0, 0, 0]) > 0 > float(x.grad[0, 0, 1])  # a step leads away from e0


def test_without_any_visited_tracklet_in_its_camera_the_own_is_the_one_to_beat() -> None:
    # Camera 1 was seen, camera 0 was not: nobody ranks first, and the own is at distance 1.
    objective = Association(1, DIM, torch.tensor([0, 0, 1]), Config())
    objective.place(torch.stack([torch.zeros(DIM), torch.zeros(DIM), torch.eye(DIM)[0]])[None])
    loss, own_first = objective(torch.ones(2, 1, DIM), torch.tensor([1, 0]))
    assert float(own_first) == 0
    assert float(loss) == pytest.approx(1)
    assert objective.cyclic_match(torch.tensor([0, 1, 2])).tolist() == [[-1, -1, -1]]


def test_without_any_visited_tracklet_elsewhere_there_is_no_match() -> None:
    objective = Association(2, DIM, torch.tensor([0, 0, 1]), Config())
    features = torch.randn(2, 2, DIM, generator=torch.Generator().manual_seed(0))
    share = objective.update(features, torch.tensor([0, 1]), warm=False)
    assert float(share) == 0
    assert torch.equal(objective.cross[:, :2], objective.intra_at(torch.tensor([0, 1])))


def test_one_winner_among_all_other_cameras_and_back_to_the_own_camera_only() -> None:
    # On a circle, in degrees: camera 0 has tracklets at 0 and 40, camera 1 at 22, camera 2 at 15.
    # From 0 the nearest elsewhere is 15; nearest to 15 is 22, but the way back looks at camera 0
    # alone, where 0 wins: consistent. From 40: to 22, whose nearest in camera 0 is 40: consistent.
    # From 22: to 15 (camera 2, not 40), and back, alone in its camera. From 15: to 22, and back.
    angle = torch.tensor([0.0, 40.0, 22.0, 15.0]).deg2rad()
    objective = Association(1, 2, torch.tensor([0, 0, 1, 2]), Config())
    objective.place(torch.stack([angle.cos(), angle.sin()], 1)[None])
    assert objective.cyclic_match(torch.arange(4)).tolist() == [[3, 2, 3, 2]]


def test_nearest_takes_the_lowest_index_of_ties() -> None:
    anchors = torch.zeros(1, 4, DIM)
    anchors[0, 3, 0] = -1
    query = torch.eye(DIM)[None, :1]
    scale = torch.tensor([[0.0, 0, 0, 1]])
    bonus = torch.tensor([[0.5, 0.5, 0.5, 0]])
    allowed = torch.tensor([[False, True, True, True]])
    assert nearest(query, anchors, scale, bonus, allowed).tolist() == [[1]]


@pytest.mark.parametrize("own", [True, False])
def test_anchors_that_lie_by_camera_are_ranked_alike_ties_included(own: bool) -> None:
    random = torch.Generator().manual_seed(0)
    for count in range(1, 6):
        camera_of = torch.randint(count + 1, (30,), generator=random).sort().values
        anchors = torch.randint(-1, 2, (3, 30, 4), generator=random).float()  # many are equal
        scale = torch.randint(0, 2, (3, 30), generator=random).float()
        offset = torch.where(scale > 0, 0.0, -torch.inf)
        queries = torch.randint(-1, 2, (3, 20, 4), generator=random).float()
        camera = torch.randint(count + 1, (20,), generator=random)
        blocks = camera_blocks(camera_of)
        assert blocks is not None
        chosen = (camera[:, None] == torch.arange(len(blocks))) == own
        whole = nearest(queries, anchors, scale, offset, (camera[:, None] == camera_of) == own)
        cut = nearest_by_camera(queries, anchors, scale, offset, blocks, chosen)
        assert torch.equal(cut, whole)


def test_cameras_that_lie_together_are_found() -> None:
    assert camera_blocks(torch.tensor([0, 0, 2, 2, 2])) == [slice(0, 2), slice(2, 2), slice(2, 5)]
    assert camera_blocks(torch.tensor([0, 1, 0])) is None


def test_nearest_is_nobody_where_nobody_is_allowed() -> None:
    zero, query = torch.zeros(1, 2), torch.eye(DIM)[None, :2]
    allowed = torch.tensor([[False, False], [True, True]])
    assert nearest(query, torch.zeros(1, 2, DIM), zero, zero, allowed).tolist() == [[-1, 0]]
    never = torch.full((1, 2), -torch.inf)
    assert nearest(query, torch.zeros(1, 2, DIM), zero, never, allowed).tolist() == [[-1, -1]]


def test_unit_and_distance_by_hand() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    torch.testing.assert_close(unit(x), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    origin = torch.zeros(2, 2)
    torch.testing.assert_close(distance(x, origin), torch.tensor([5.0, 1e-6]))
    torch.testing.assert_close(distance(x, origin, "squared"), torch.tensor([25.0, 0.0]))
    distance(x, origin).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


# ---------------------------------------------------------------- what must hold whatever the data


def trained(config: Config, k: int = 2, count: int = 3, steps: int = 4) -> Association:
    objective = Association(k, DIM, torch.tensor(cameras(count)), config).double()
    for features, tracklet in batches(cameras(count), k, steps):
        objective.update(features, tracklet, warm=False)
    return objective


def a_batch(k: int = 2, count: int = 3, seed: int = 9) -> tuple[Tensor, Tensor]:
    return next(batches(cameras(count), k, 1, seed))


def content(objective: Association) -> dict[str, bytes]:
    return {n: t.numpy().tobytes() for n, t in objective.state_dict().items()}


@pytest.mark.parametrize("partner_anchor", ["before", "after"])
@pytest.mark.parametrize("camera_of", [[0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 2, 0, 1, 2, 0, 1, 2]])
def test_a_step_is_the_loss_and_then_the_update(camera_of: list[int], partner_anchor: str) -> None:
    """The two searches of a step in one, camera by camera or in mixed order."""
    config = Config(partner_anchor=partner_anchor)
    one, two = (Association(2, DIM, torch.tensor(camera_of), config).double() for _ in range(2))
    for number, (features, tracklet) in enumerate(batches(camera_of, 2, 6)):
        ours, theirs = (features.clone().requires_grad_() for _ in range(2))
        loss, share, move = one.step(ours, tracklet, warm=number < 1)
        loss.backward()
        torch.testing.assert_close(one.state_dict(), two.state_dict())  # nothing has moved yet
        expected = two(theirs, tracklet)
        expected[0].backward()
        torch.testing.assert_close((loss, share), expected)
        torch.testing.assert_close(ours.grad, theirs.grad)
        torch.testing.assert_close(move(), two.update(features, tracklet, warm=number < 1))
        torch.testing.assert_close(one.state_dict(), two.state_dict())


def test_equal_parts_equal_one_part() -> None:
    one, three = (Association(k, DIM, torch.tensor(cameras(3)), Config()).double() for k in (1, 3))
    for step, (features, tracklet) in enumerate(batches(cameras(3), 1, 5)):
        alone = features.clone().requires_grad_()
        equal = features.repeat(1, 3, 1).requires_grad_()
        losses = [objective(x, tracklet)[0] for objective, x in ((one, alone), (three, equal))]
        for loss in losses:
            loss.backward()
        torch.testing.assert_close(*losses, rtol=1e-12, atol=0)
        torch.testing.assert_close(equal.grad, alone.grad.repeat(1, 3, 1) / 3)
        for objective, x in ((one, alone), (three, equal)):
            objective.update(x, tracklet, warm=step < 1)
        for name in ("intra", "cross", "match"):
            anchors = getattr(one, name)
            torch.testing.assert_close(getattr(three, name), torch.cat([anchors] * 3))


def test_eta_one_copies_the_feature() -> None:
    objective = trained(Config(eta=1.0))
    features, _ = a_batch()
    tracklet = torch.arange(len(features))
    objective.update(features, tracklet, warm=True)
    torch.testing.assert_close(objective.intra[:, tracklet], unit(features.transpose(0, 1)))


def test_eta_zero_leaves_the_anchors() -> None:
    objective = Association(2, DIM, torch.tensor(cameras(3)), Config(eta=0.0)).double()
    objective.place(trained(Config()).intra)
    before = objective.intra.clone()
    objective.update(*a_batch(), warm=False)
    assert torch.equal(objective.intra, before)


def test_the_loss_is_linear_in_lambda_and_without_it_ignores_the_cross_anchors() -> None:
    batch = a_batch()
    losses = {}
    for lam in (0.0, 1.0, 2.0):
        objective = trained(Config(lam=lam))
        losses[lam] = float(objective(*batch)[0])
        objective.cross.normal_(generator=torch.Generator().manual_seed(0))
        assert (float(objective(*batch)[0]) == losses[lam]) == (lam == 0)
    assert losses[2.0] - losses[1.0] == pytest.approx(losses[1.0] - losses[0.0], rel=1e-12)
    assert losses[1.0] > losses[0.0]


@pytest.mark.parametrize("published", [False, True])
def test_in_the_warm_up_the_cross_anchor_is_the_unit_intra_anchor(published: bool) -> None:
    config = official(Config()) if published else Config()
    objective = trained(config, steps=2)
    features, tracklet = a_batch()
    share = objective.update(features, tracklet, warm=True)
    assert float(share) == 0
    assert bool((objective.match[:, tracklet] == -1).all())
    torch.testing.assert_close(objective.cross[:, tracklet], objective.intra_at(tracklet))
    torch.testing.assert_close(objective.cross[:, tracklet], unit(objective.intra[:, tracklet]))


def test_only_the_tracklets_of_the_batch_move() -> None:
    objective = trained(Config())
    before = {n: t.clone() for n, t in objective.state_dict().items()}
    features, tracklet = a_batch()
    objective.update(features, tracklet, warm=False)
    others = [n for n in range(len(objective.camera_of)) if n not in tracklet.tolist()]
    assert others
    for name in ("intra", "cross", "intra_scale", "match"):
        assert torch.equal(getattr(objective, name)[:, others], before[name][:, others])


def test_reading_never_writes() -> None:
    objective = trained(Config())
    before = content(objective)
    features, tracklet = a_batch()
    features.requires_grad_()
    objective(features, tracklet)[0].backward()
    objective.loss(unit(features.transpose(0, 1)), tracklet)
    objective.cyclic_match(tracklet)
    assert content(objective) == before
    assert not list(objective.parameters())


def test_the_update_leaves_the_features_and_their_graph() -> None:
    objective = trained(Config())
    features, tracklet = a_batch()
    features.requires_grad_()
    loss, _ = objective(features, tracklet)
    before = features.detach().clone()
    objective.update(features, tracklet, warm=False)
    loss.backward()  # the order of loss, update and backward does not matter
    assert torch.equal(features.detach(), before)
    again = features.detach().clone().requires_grad_()
    trained(Config())(again, tracklet)[0].backward()
    assert torch.equal(features.grad, again.grad)


def test_state_dict_continues_identically() -> None:
    objective = trained(Config())
    copy = Association(2, DIM, torch.tensor(cameras(3)), Config()).double()
    copy.load_state_dict(objective.state_dict())
    for features, tracklet in batches(cameras(3), 2, 3, seed=5):
        assert torch.equal(objective(features, tracklet)[0], copy(features, tracklet)[0])
        for each in (objective, copy):
            each.update(features, tracklet, warm=False)
        assert content(objective) == content(copy)


@pytest.mark.parametrize("published", [False, True])
def test_permuting_the_batch_permutes_the_gradient(published: bool) -> None:
    config = official(Config()) if published else Config()
    features, tracklet = a_batch()
    order = torch.randperm(len(tracklet), generator=torch.Generator().manual_seed(0))
    results = []
    for x, t in ((features, tracklet), (features[order], tracklet[order])):
        objective = trained(config)
        x = x.clone().requires_grad_()
        loss, share = objective(x, t)
        loss.backward()
        objective.update(x, t, warm=False)
        results.append((loss.detach(), share, x.grad, objective.intra, objective.cross))
    first, second = results
    torch.testing.assert_close(second[2], first[2][order], rtol=1e-10, atol=1e-12)
    for number in (0, 1, 3, 4):
        torch.testing.assert_close(second[number], first[number], rtol=1e-10, atol=1e-12)


def test_the_length_of_the_features_does_not_matter() -> None:
    features, tracklet = a_batch()
    objective = trained(Config())
    longer = features * torch.linspace(0.1, 9, features.shape[0]).double()[:, None, None]
    torch.testing.assert_close(objective(features, tracklet)[0], objective(longer, tracklet)[0])


@pytest.mark.parametrize("metric", ["euclidean", "squared"])
@pytest.mark.parametrize(("margin", "lam"), [(0.5, 1.0), (0.3, 0.25)])
def test_the_first_loss_is_the_margin_of_both_terms(metric: str, margin: float, lam: float) -> None:
    # All anchors are zero, so every distance of a unit vector, and every mean of them, is 1.
    # Where zero anchors are ranked the lowest index is first, otherwise nobody is.
    config = Config(distance=metric, margin=margin, lam=lam)
    features, tracklet = next(batches(cameras(3), 3, 1))
    lowest = [cameras(3).index(c) for c in range(3)]
    shares = {False: 0.0, True: np.mean([t in lowest for t in tracklet.tolist()])}
    for rank_unvisited, wanted in shares.items():
        ranked = config.replace(rank_unvisited=rank_unvisited)
        objective = Association(3, DIM, torch.tensor(cameras(3)), ranked)
        x = features.float().requires_grad_()
        loss, own_first = objective(x, tracklet)
        loss.backward()
        assert float(loss.detach()) == pytest.approx(margin * (1 + lam), rel=1e-6)
        assert torch.isfinite(x.grad).all()
        assert float(x.grad.abs().max()) < 1e-6  # no direction is better than another
        assert float(own_first) == pytest.approx(wanted)


def test_features_on_their_anchors_give_finite_gradients() -> None:
    objective = trained(Config())
    tracklet = (objective.intra_scale[0] > 0).nonzero()[:4, 0]
    features = objective.intra[:, tracklet].transpose(0, 1).clone().requires_grad_()
    loss, own_first = objective(features, tracklet)
    loss.backward()
    assert float(own_first) == 1
    assert torch.isfinite(features.grad).all()
    zero = torch.zeros_like(features, requires_grad=True)
    objective(zero, tracklet)[0].backward()
    assert torch.isfinite(zero.grad).all()


def test_place_sets_both_anchors() -> None:
    objective = Association(2, DIM, torch.tensor(cameras(3)), Config()).double()
    reference = trained(Config())
    objective.place(reference.intra)
    assert torch.equal(objective.intra, reference.intra)
    everyone = torch.arange(len(objective.camera_of))
    torch.testing.assert_close(objective.cross, unit(objective.intra))
    torch.testing.assert_close(objective.intra_at(everyone), unit(objective.intra))
    assert bool((objective.match == -1).all())


@pytest.mark.parametrize("camera_of", [[0, 0, 0], [2]])
def test_one_camera_is_refused(camera_of: list[int]) -> None:
    with pytest.raises(UserError, match="at least two cameras"):
        Association(1, DIM, torch.tensor(camera_of), Config())


# ---------------------------------------------------------------- the published code


def relative(ours: Tensor, golden: np.ndarray) -> float:
    """Largest difference over the largest value."""
    golden = torch.from_numpy(golden)
    return float((ours - golden).abs().max() / golden.abs().max())


def test_thirty_steps_of_the_published_code() -> None:
    golden = np.load(GOLDEN)
    counts, dim = golden["counts"].tolist(), golden["features"].shape[-1]
    camera_of = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    objective = Association(1, dim, camera_of, official(Config()))
    offset = np.cumsum([0, *counts])
    matches = set()
    for step in range(len(golden["loss"])):
        features = torch.from_numpy(golden["features"][step])
        tracklet = golden["labels"][step] - 1 + offset[golden["cams"][step] - 1]
        tracklet = torch.from_numpy(tracklet).long()
        x = features[None].clone().requires_grad_()
        loss, _ = objective.loss(x, tracklet)
        loss.backward()
        objective.update(features[:, None], tracklet, warm=not golden["start_sign"][step])
        assert float(loss.detach()) == pytest.approx(float(golden["loss"][step]), rel=1e-5)
        assert relative(x.grad[0], golden["grad"][step]) <= 1e-5
        for camera, count in enumerate(counts):
            own = slice(offset[camera], offset[camera] + count)
            assert relative(objective.intra[0, own], golden[f"intra{camera}"][step]) <= 1e-5
            assert relative(objective.cross[0, own], golden[f"cross{camera}"][step]) <= 1e-5
            merged = np.zeros(count, bool)
            here = tracklet[objective.camera_of[tracklet] == camera]
            merged[here - offset[camera]] = (objective.match[0, here] >= 0).numpy()
            assert np.array_equal(merged, golden[f"merged{camera}"][step])
            matches |= set(merged[here - offset[camera]].tolist())
    assert matches == {True, False}


def test_the_published_update_forgets_all_but_the_latest_frame() -> None:
    # The difference is taken from the unit anchor but subtracted from the stored one. Stored with
    # length eta = 1/2, the new anchor is (1/2 - 1/2) of the old direction plus half the feature.
    published, paper = (
        Association(1, DIM, torch.tensor([0, 1]), config).double()
        for config in (official(Config(eta=0.5)), Config(eta=0.5))
    )
    rng = torch.Generator().manual_seed(0)
    first, second, third = torch.randn(3, 1, 1, DIM, dtype=torch.float64, generator=rng)
    for features in (first, second, third):
        for objective in (published, paper):
            objective.update(features, torch.tensor([0]), warm=True)
        torch.testing.assert_close(published.intra[0, 0], 0.5 * unit(features[0, 0]))
    average = unit(first) / 8 + unit(second) / 4 + unit(third) / 2
    torch.testing.assert_close(paper.intra[0, 0], average[0, 0])


def test_the_published_update_adds_every_frame_of_a_tracklet() -> None:
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(1, 1, DIM, dtype=torch.float64, generator=rng).expand(3, 1, DIM)
    objectives = {
        repeats: Association(1, DIM, torch.tensor([0, 1]), Config(repeats=repeats)).double()
        for repeats in ("mean", "accumulate")
    }
    for objective in objectives.values():
        objective.update(features, torch.tensor([0, 0, 0]), warm=True)
    x = unit(features[0, 0])
    torch.testing.assert_close(objectives["mean"].intra[0, 0], 0.5 * x)
    torch.testing.assert_close(objectives["accumulate"].intra[0, 0], 1.5 * x)
