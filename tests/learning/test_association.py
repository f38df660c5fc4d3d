"""Association learning against loops written for reading, against the published code's numbers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from upm_lib.config import Config, UserError, official
from upm_lib.learning.association import Association, distance, nearest, unit

GOLDEN = Path(__file__).parents[1] / "golden" / "assoc_2cam.npz"
COUNTS = {2: [4, 6], 3: [5, 3, 4], 5: [3, 1, 4, 2, 5]}  # tracklets of each camera
DIM = 6


pytestmark = pytest.mark.usefixtures("one_thread")


# ---------------------------------------------------------------- the oracle


class Naive:
    """The same rules, one part, camera, frame and tracklet at a time.

    Anchors are stored as they are updated; an anchor never visited is a zero vector. ``intra`` and
    ``cross`` are [k][N] lists of vectors.
    """

    def __init__(self, k: int, dim: int, camera_of: list[int], config: Config) -> None:
        self.k, self.camera_of, self.config = k, camera_of, config
        zero = torch.zeros(dim, dtype=torch.float64)
        self.intra = [[zero.clone() for _ in camera_of] for _ in range(k)]
        self.cross = [[zero.clone() for _ in camera_of] for _ in range(k)]

    @staticmethod
    def unit(v: Tensor) -> Tensor:
        return v / torch.sqrt(torch.clamp((v * v).sum(), min=1e-10))

    @staticmethod
    def squared(u: Tensor, v: Tensor) -> Tensor:
        """Squared distance of unit or zero vectors; exactly 1 between the two kinds."""
        if bool((u == 0).all()) != bool((v == 0).all()):
            return torch.ones((), dtype=u.dtype)
        return ((u - v) ** 2).sum()

    def metric(self, u: Tensor, v: Tensor) -> Tensor:
        d = ((u - v) ** 2).sum()
        return d if self.config.distance == "squared" else torch.sqrt(torch.clamp(d, min=1e-12))

    def nearest(self, query: Tensor, part: int, candidates: list[int]) -> int:
        best, best_distance = -1, float("inf")
        for n in candidates:  # ascending: ties go to the lowest index
            d = float(self.squared(query, self.unit(self.intra[part][n])))
            if d < best_distance - 1e-12:  # equal up to rounding is a tie
                best, best_distance = n, d
        return best

    def in_camera(self, camera: int) -> list[int]:
        return [n for n, c in enumerate(self.camera_of) if c == camera]

    def loss(self, features: Tensor, tracklet: list[int]) -> tuple[Tensor, float]:
        """Loss and own-first share of raw features [B, k, d]; each hinge has weight 1/(B k)."""
        config = self.config
        total, own_first = torch.zeros((), dtype=torch.float64), 0
        for part in range(self.k):
            x = [self.unit(f[part]) for f in features]
            first = []
            for b, n in enumerate(tracklet):
                rivals = self.in_camera(self.camera_of[n])
                first.append(self.nearest(x[b].detach(), part, rivals))
            d_first = [
                self.metric(v, self.unit(self.intra[part][first[b]])) for b, v in enumerate(x)
            ]
            for b, n in enumerate(tracklet):
                if first[b] != n:  # a wrong anchor is nearest: push it away
                    d_minus = d_first[b]
                else:  # the mean over the frames of this camera that are in the batch
                    own_first += 1
                    mates = [
                        d_first[j]
                        for j, m in enumerate(tracklet)
                        if self.camera_of[m] == self.camera_of[n]
                    ]
                    d_minus = sum(mates) / len(mates)
                d_intra = self.metric(x[b], self.unit(self.intra[part][n]))
                d_cross = self.metric(x[b], self.unit(self.cross[part][n]))
                for weight, d_plus in ((1.0, d_intra), (config.lam, d_cross)):
                    hinge = d_plus - d_minus + config.margin
                    if hinge.item() > 0:
                        total = total + weight * hinge
        frames = self.k * len(tracklet)
        return total / frames, own_first / frames

    def update(self, features: Tensor, tracklet: list[int], warm: bool) -> float:
        """Move the anchors; return the share of frames whose tracklet found a match."""
        matched = 0
        for part in range(self.k):
            x = [self.unit(f[part].detach()) for f in features]
            self._update_intra(part, x, tracklet)
            merged = {n: -1 if warm else self.cyclic_match(part, n) for n in set(tracklet)}
            for n, match in merged.items():
                anchor = self.unit(self.intra[part][n])
                if match >= 0:
                    anchor = (anchor + self.unit(self.intra[part][match])) / 2
                self.cross[part][n] = anchor
            matched += sum(merged[n] >= 0 for n in tracklet)
        return matched / (self.k * len(tracklet))

    def _update_intra(self, part: int, x: list[Tensor], tracklet: list[int]) -> None:
        old = [a.clone() for a in self.intra[part]]  # all frames see the anchor before the step
        for b, n in enumerate(tracklet):
            pulled = old[n] if self.config.anchor_difference == "stored" else self.unit(old[n])
            share = 1 if self.config.repeats == "accumulate" else tracklet.count(n)
            self.intra[part][n] = self.intra[part][n] - self.config.eta * (pulled - x[b]) / share

    def cyclic_match(self, part: int, n: int) -> int:
        others = [m for m, c in enumerate(self.camera_of) if c != self.camera_of[n]]
        if not self.config.match_unvisited:
            others = [m for m in others if bool(self.intra[part][m].any())]
        if not others:
            return -1
        there = self.nearest(self.unit(self.intra[part][n]), part, others)
        own = self.in_camera(self.camera_of[n])
        back = self.nearest(self.unit(self.intra[part][there]), part, own)
        return there if back == n else -1


def cameras(count: int, seed: int = 0) -> list[int]:
    """Camera of each tracklet, in mixed order as in a training set."""
    camera_of = [c for c, n in enumerate(COUNTS[count]) for _ in range(n)]
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
        loss, own_first = objective(ours, tracklet)
        expected, expected_share = naive.loss(theirs, tracklet.tolist())
        loss.backward()
        expected.backward()
        torch.testing.assert_close(loss.detach(), expected.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)
        assert float(own_first) == pytest.approx(expected_share)
        warm = step < warm_steps
        share = float(objective.update(features, tracklet, warm))
        assert share == pytest.approx(naive.update(features, tracklet.tolist(), warm))
        for name in ("intra", "cross"):
            stored = torch.stack([torch.stack(part) for part in getattr(naive, name)])
            torch.testing.assert_close(getattr(objective, name), stored, rtol=1e-10, atol=1e-10)
        shares.append(share)
    return shares


# ---------------------------------------------------------------- agreement with the oracle


@pytest.mark.parametrize("repeats", ["mean", "accumulate"])
@pytest.mark.parametrize("anchor_difference", ["stored", "normalised"])
@pytest.mark.parametrize("metric", ["euclidean", "squared"])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_loss_gradient_and_anchors_equal_the_loops(
    count: int, k: int, metric: str, anchor_difference: str, repeats: str
) -> None:
    config = Config(distance=metric, anchor_difference=anchor_difference, repeats=repeats)
    objective, naive = pair(cameras(count), k, config)
    shares = compare_steps(objective, naive, steps=5, warm_steps=1)
    assert shares[0] == 0
    assert any(0 < share < 1 for share in shares[1:])  # both outcomes of the cyclic test occurred


@pytest.mark.parametrize("match_unvisited", [False, True])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_cyclic_match_with_unvisited_anchors_equals_the_loops(
    count: int, match_unvisited: bool
) -> None:
    config = Config(match_unvisited=match_unvisited, eta=0.3, margin=0.1, lam=0.7)
    objective, naive = pair(cameras(count, seed=3), 3, config)
    compare_steps(objective, naive, steps=4, warm_steps=0)
    assert bool((objective.intra == 0).all(-1).any())  # some were never visited


@pytest.mark.parametrize("match_unvisited", [False, True])
def test_only_the_switch_lets_an_unvisited_tracklet_win(match_unvisited: bool) -> None:
    # Camera 0: tracklet 0 at e0. Camera 1: tracklet 1 at right angles, tracklet 2 not seen. The
    # squared distances from e0 are 2 and 1; on the way back tracklet 0 is alone in its camera.
    config = Config(match_unvisited=match_unvisited)
    objective = Association(1, DIM, torch.tensor([0, 1, 1]), config)
    e = torch.eye(DIM)
    objective.place(torch.stack([e[0], e[1], torch.zeros(DIM)])[None])
    match = objective.cyclic_match(torch.tensor([0]))
    assert match.tolist() == [[2 if match_unvisited else 1]]


def test_without_any_visited_tracklet_elsewhere_there_is_no_match() -> None:
    objective = Association(2, DIM, torch.tensor([0, 0, 1]), Config())
    features = torch.randn(2, 2, DIM, generator=torch.Generator().manual_seed(0))
    share = objective.update(features, torch.tensor([0, 1]), warm=False)
    assert float(share) == 0
    assert torch.equal(objective.cross[:, :2], objective.unit_intra(torch.tensor([0, 1])))


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
    allowed = torch.tensor([[False, True, True, True]])
    assert nearest(query, anchors, scale, allowed).tolist() == [[1]]


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
    torch.testing.assert_close(objective.cross[:, tracklet], objective.unit_intra(tracklet))
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
    config = Config(distance=metric, margin=margin, lam=lam)
    objective = Association(3, DIM, torch.tensor(cameras(3)), config)
    features, tracklet = next(batches(cameras(3), 3, 1))
    features = features.float().requires_grad_()
    loss, own_first = objective(features, tracklet)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(margin * (1 + lam), rel=1e-6)
    assert torch.isfinite(features.grad).all()
    assert float(features.grad.abs().max()) < 1e-6  # no direction is better than another
    lowest = [objective.camera_of.tolist().index(c) for c in range(3)]
    wanted = np.mean([t in lowest for t in tracklet.tolist()])
    assert float(own_first) == pytest.approx(wanted)


def test_features_on_their_anchors_give_finite_gradients() -> None:
    objective = trained(Config())
    tracklet = torch.tensor([0, 1, 2, 3])
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
    torch.testing.assert_close(objective.unit_intra(everyone), unit(objective.intra))
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
