"""Cluster contrast: the loss, the memory and the clusters, against loops and known cases."""

import math

import numpy as np
import pytest
import torch
from sklearn.cluster import HDBSCAN
from torch import Tensor

from upm_lib.config import Config
from upm_lib.learning.association import unit
from upm_lib.learning.clusters import Clusters, clustered, contrast_loss, first_of

CAMERAS = torch.tensor([0, 0, 0, 1, 1, 1])
CONFIG = Config(objective="cluster")


def people(noise: float = 0.05, k: int = 2, d: int = 8) -> Tensor:
    """Unit features [k, 6, d] of three people, each seen by two cameras (n and n + 3)."""
    random = torch.Generator().manual_seed(0)
    one = unit(torch.randn(k, 3, d, generator=random, dtype=torch.float64))
    moved = torch.randn(k, 6, d, generator=random, dtype=torch.float64)
    return unit(one.repeat(1, 2, 1) + noise * moved)


def filled(config: Config = CONFIG, x: Tensor | None = None) -> Clusters:
    """An objective that has seen each tracklet once."""
    x = people() if x is None else x
    made = Clusters(len(x), x.shape[2], CAMERAS, config).double()
    made.update(x.transpose(0, 1), torch.arange(6))
    return made


# ---------------------------------------------------------------- the loss


def naive_loss(x: Tensor, centres: Tensor, positive: Tensor, group: list[int], t: float) -> float:
    total = 0.0
    for part in range(len(x)):
        for frame in range(x.shape[1]):
            scores = {
                n: math.exp(float(x[part, frame] @ centres[part, n]) / t)
                for n in range(centres.shape[1])
                if centres[part, n].any()
            }
            own = [n for n in scores if positive[part, frame, n]]
            for n in own:
                rivals = sum(scores[m] for m in scores if group[m] == group[n])
                total -= math.log(scores[n] / rivals) / len(own)
    return total / (x.shape[0] * x.shape[1])


@pytest.mark.parametrize("group", [[0] * 7, [0, 1, 2, 0, 1, 2, 2]])
@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_the_loss_is_that_of_a_loop(temperature: float, group: list[int]) -> None:
    random = torch.Generator().manual_seed(1)
    x = unit(torch.randn(3, 5, 4, generator=random, dtype=torch.float64))
    centres = unit(torch.randn(3, 7, 4, generator=random, dtype=torch.float64))
    centres[torch.rand(3, 7, generator=random) > 0.7] = 0
    positive = torch.rand(3, 5, 7, generator=random) < 0.3
    found, _ = contrast_loss(x, centres, positive, torch.tensor(group), 3, temperature)
    assert float(found) == pytest.approx(naive_loss(x, centres, positive, group, temperature))


def test_two_centres_and_one_feature_give_the_logistic_loss() -> None:
    x, centres = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    positive, group = torch.tensor([[[True, False]]]), torch.tensor([0, 0])
    loss, share = contrast_loss(x, centres, positive, group, 1, 0.5)
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-2)))
    assert float(share) == 1


def test_before_anything_was_seen_the_loss_and_its_gradient_are_zero() -> None:
    fresh = Clusters(2, 8, CAMERAS, CONFIG).double()
    features = people().transpose(0, 1).clone().requires_grad_()
    loss, share = fresh(features, torch.arange(6))
    loss.backward()
    assert loss.item() == share.item() == 0
    assert not features.grad.any()


def test_the_loss_falls_where_a_frame_moves_to_its_centre() -> None:
    made = filled()
    made.renew()
    features = people(noise=0.5).transpose(0, 1).clone().requires_grad_()
    loss, _ = made(features, torch.arange(6))
    loss.backward()
    after, _ = made(features.detach() - 0.1 * features.grad, torch.arange(6))
    assert after < loss


# ---------------------------------------------------------------- the clusters


def test_tracklets_of_one_person_are_one_cluster_named_by_its_first() -> None:
    made = filled()
    made.renew()
    assert made.cluster.tolist() == [[0, 1, 2, 0, 1, 2]] * 2
    assert made.match.tolist() == [[3, 4, 5, 0, 1, 2]] * 2
    centres = made.centre[:, :3]
    assert torch.allclose(centres, unit(people()[:, :3] + people()[:, 3:]))
    assert not made.centre[:, 3:].any()


def test_during_the_warm_up_each_tracklet_is_a_cluster_of_its_own() -> None:
    made = filled()
    assert torch.equal(made.cluster, torch.arange(6).repeat(2, 1))
    assert torch.allclose(made.centre, people())
    assert (made.match < 0).all()


def test_who_joins_none_is_alone_and_others_are_named_by_their_first_member() -> None:
    points = unit(torch.randn(40, 5, generator=torch.Generator().manual_seed(2)))
    method = HDBSCAN(min_cluster_size=2, cluster_selection_method="leaf", copy=True)
    label = method.fit_predict(points.numpy()).tolist()
    assert -1 in label
    assert max(label) > 2
    assert clustered(points).tolist() == [
        n if own < 0 else label.index(own) for n, own in enumerate(label)
    ]


def test_a_tracklet_never_seen_has_no_centre_and_joins_none() -> None:
    made = Clusters(2, 8, CAMERAS, CONFIG).double()
    seen = torch.tensor([0, 1, 3, 4])
    made.update(people()[:, seen].transpose(0, 1), seen)
    made.renew()
    assert made.cluster.tolist() == [[0, 1, 2, 0, 1, 5]] * 2
    assert made.centre[:, :2].any(-1).all()
    assert not made.centre[:, 2:].any()
    assert (made.match[:, [2, 5]] < 0).all()


def test_with_camera_centres_a_cluster_has_one_for_each_camera_and_all_are_positive() -> None:
    made = filled(CONFIG.replace(centres="camera"))
    made.renew()
    assert made.cluster.tolist() == [[0, 1, 2, 0, 1, 2]] * 2
    assert made.place.tolist() == [[0, 1, 2, 3, 4, 5]] * 2
    assert torch.allclose(made.centre, people())
    loss, _ = made(people().transpose(0, 1), torch.arange(6))
    positive = (made.cluster[:, :, None] == made.cluster[:, None]).double()
    assert float(loss) == pytest.approx(
        naive_loss(people(), made.centre, positive, CAMERAS.tolist(), CONFIG.temperature)
    )


def test_with_camera_centres_nobody_is_pushed_away_from_another_camera() -> None:
    """In the warm-up a frame has its own tracklet's centre; the other camera's have no part."""
    features = people(noise=0.5).transpose(0, 1).clone().requires_grad_()
    alone = features[:3].detach().requires_grad_()
    both = filled(CONFIG.replace(centres="camera"))
    one = filled(CONFIG.replace(centres="camera"))
    one.centre[:, 3:] = 0
    for made, x in ((both, features), (one, alone)):
        made(x[:3], torch.arange(3))[0].backward()
    assert torch.allclose(features.grad[:3], alone.grad)
    assert alone.grad.any()


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_tracklets_are_no_reason_to_stop(count: int) -> None:
    assert clustered(torch.randn(count, 4)).tolist() == list(range(count))
    made = Clusters(1, 4, CAMERAS, CONFIG)
    seen = torch.arange(count)
    made.update(torch.randn(count, 1, 4), seen)
    made.renew()
    assert torch.equal(made.cluster[0], torch.arange(6))


def test_first_of_is_that_of_a_loop() -> None:
    group = torch.from_numpy(np.random.default_rng(0).integers(0, 5, 40))
    assert first_of(group).tolist() == [group.tolist().index(g) for g in group.tolist()]


# ---------------------------------------------------------------- the memory


def test_the_memory_moves_as_a_loop_moves_it() -> None:
    config = CONFIG.replace(eta=0.3, centre_momentum=0.2)
    made = filled(config)
    made.renew()
    mean, centre = made.mean.clone(), made.centre.clone()
    tracklet = torch.tensor([0, 3, 3, 1])  # 0 and 3 are one cluster
    x = people(noise=0.4)[:, tracklet]
    made.update(x.transpose(0, 1) * 7, tracklet)  # of any length
    for part in range(2):
        for t, frames in ((0, [0]), (3, [1, 2]), (1, [3])):
            pulled = 0.7 * mean[part, t] + 0.3 * x[part, frames].mean(0)
            assert torch.allclose(made.mean[part, t], pulled)
        for c, frames in ((0, [0, 1, 2]), (1, [3])):
            pulled = unit(0.2 * centre[part, c] + 0.8 * x[part, frames].mean(0))
            assert torch.allclose(made.centre[part, c], pulled)
    assert torch.equal(made.mean[:, 4], mean[:, 4])
    assert torch.equal(made.centre[:, 2], centre[:, 2])


def test_one_part_and_many_parts_are_the_same_part_by_part() -> None:
    x = people(noise=0.3)
    both = filled(x=x)
    both.renew()
    for part in range(2):
        alone = filled(x=x[part : part + 1])
        alone.renew()
        for name in ("cluster", "place", "match", "centre", "mean"):
            assert torch.equal(alone.get_buffer(name)[0], both.get_buffer(name)[part]), name
