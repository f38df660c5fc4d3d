"""Fusion and pooling against loops written for reading; extraction equals the network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from upm_lib.config import Config, preset
from upm_lib.data import packing
from upm_lib.data.readers.sequences import prid2011
from upm_lib.learning.model import UPMNet, build, divide
from upm_lib.retrieval import features
from upm_lib.retrieval.features import extract, fuse, pool_tracklets, tracklet_features

SMALL = preset("synthetic_clean", "demo", k=2)


pytestmark = pytest.mark.usefixtures("one_thread")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def naive_unit(vector: list[float]) -> list[float]:
    length = sum(v * v for v in vector) ** 0.5
    return [v / length for v in vector]


# ---------------------------------------------------------------- fusion


@pytest.mark.parametrize("normalise_branches", [False, True])
@pytest.mark.parametrize("dims", [(3,), (5, 3), (4, 2, 3)])
@pytest.mark.parametrize("k", [1, 4])
def test_fusion_equals_the_loop(k: int, dims: tuple[int, ...], normalise_branches: bool) -> None:
    branches = [(i + 1) * noise(6, k, d, seed=i) for i, d in enumerate(dims)]
    fused = fuse(*branches, normalise_branches=normalise_branches)
    assert fused.shape == (6, k * sum(dims))
    for frame in range(6):
        expected = []
        for part in range(k):
            column = []
            for branch in branches:
                vector = branch[frame, part].tolist()
                column += naive_unit(vector) if normalise_branches else vector
            expected += [v / k**0.5 for v in naive_unit(column)]
        np.testing.assert_allclose(fused[frame], expected, rtol=1e-5, atol=1e-6)


def test_a_fused_vector_has_unit_length_and_equal_parts() -> None:
    local, over_all = 100 * noise(5, 8, 12), noise(5, 8, 7, seed=1)
    fused = fuse(local, over_all)
    torch.testing.assert_close(fused.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(fused.view(5, 8, 19).norm(dim=2), torch.full((5, 8), 8**-0.5))


def test_normalised_branches_weigh_the_same() -> None:
    local, over_all = 100 * noise(5, 4, 12), noise(5, 4, 7, seed=1)
    parts = fuse(local, over_all, normalise_branches=True).view(5, 4, 19)
    torch.testing.assert_close(parts[..., :12].norm(dim=2), parts[..., 12:].norm(dim=2))
    parts = fuse(local, over_all).view(5, 4, 19)
    assert bool((parts[..., :12].norm(dim=2) > 20 * parts[..., 12:].norm(dim=2)).all())


def test_branches_with_different_parts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"differ in k: \[4, 8\]"):
        fuse(noise(2, 4, 3), noise(2, 8, 3))


# ---------------------------------------------------------------- pooling over time


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_pooling_equals_the_loop(pool: str) -> None:
    frames = noise(9, 5)
    tracklet = np.array([7, 2, 40, 2, 7, 7, 40, 3, 2])  # unordered, with gaps, one frame alone
    pooled = pool_tracklets(frames, tracklet, pool)
    assert pooled.shape == (4, 5)
    for row, number in enumerate([2, 3, 7, 40]):
        mine = [frames[i].tolist() for i in range(9) if tracklet[i] == number]
        columns = list(zip(*mine, strict=True))
        values = [max(c) if pool == "max" else sum(c) / len(c) for c in columns]
        np.testing.assert_allclose(pooled[row], naive_unit(values), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(pooled.norm(dim=1), torch.ones(4))


def test_the_maximum_of_negative_numbers_is_negative() -> None:
    pooled = pool_tracklets(torch.tensor([[-3.0, -1.0], [-4.0, -2.0]]), np.array([0, 0]))
    torch.testing.assert_close(pooled, torch.tensor([[-3.0, -1.0]]) / 10**0.5)


def test_the_order_of_the_frames_does_not_matter() -> None:
    frames, tracklet = noise(12, 6), np.arange(12) % 3
    order = np.random.default_rng(0).permutation(12)
    for pool in ("max", "mean"):
        first = pool_tracklets(frames, tracklet, pool)
        second = pool_tracklets(frames[order], tracklet[order], pool)
        torch.testing.assert_close(first, second)


def test_pooling_leaves_the_features_as_they_are() -> None:
    frames = noise(4, 3)
    before = frames.clone()
    pool_tracklets(frames, np.array([0, 0, 1, 1]))
    assert torch.equal(frames, before)


@pytest.mark.parametrize(
    ("frames", "size", "expected"),
    [
        ([], 4, []),
        ([1] * 9, 4, [4, 4, 1]),
        ([3, 3, 3, 3], 6, [2, 2]),
        ([9, 1, 1], 4, [1, 2]),
        ([1, 9, 1, 0], 4, [2, 2]),
        ([1], 4, [1]),
    ],
)
def test_groups_of_tracklets_have_about_so_many_frames(
    frames: list[int], size: int, expected: list[int]
) -> None:
    found = features.groups(frames, size)
    assert [len(frames[group]) for group in found] == expected
    assert [n for group in found for n in frames[group]] == frames


# ---------------------------------------------------------------- extraction


@pytest.fixture(scope="module")
def frames(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> packing.Frames:
    """The 64 frames of the tiny world, 16 tracklets of 4."""
    dataset = prid2011(tiny_root, min_frames=1, name="synthetic_clean")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPM_RUNS", str(tmp_path_factory.mktemp("store")))
        return packing.Frames(dataset)


def a_network(config: Config, seed: int = 0) -> UPMNet:
    return build(config.replace(seed=seed))


@pytest.mark.parametrize("training", [True, False])
def test_extraction_is_the_network_in_evaluation_mode(
    frames: packing.Frames, training: bool
) -> None:
    network = a_network(SMALL).train(training)
    before = {n: t.clone() for n, t in network.state_dict().items()}
    index = np.array([5, 3, 40, 41, 3])
    found = extract(network, frames, index, SMALL)
    assert network.training is training
    assert all(m.training is training for m in network.modules())
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items())
    assert not found.requires_grad
    with torch.inference_mode():
        expected = network.eval()(frames.batch(index, SMALL, "cpu"))
    torch.testing.assert_close(found, expected)


def test_more_frames_than_fit_a_block_come_in_order(frames: packing.Frames) -> None:
    network = a_network(SMALL)
    index = np.r_[np.arange(63, -1, -1), [7, 8, 9]]
    found = extract(network, frames, index, SMALL)
    assert found.shape == (67, 2, 256)
    ascending = extract(network, frames, np.arange(64), SMALL)
    torch.testing.assert_close(found, ascending[index])


def test_tracklets_come_in_the_order_of_the_request(frames: packing.Frames) -> None:
    over_all = SMALL.replace(branch="global", c_reduced=16)
    networks = [a_network(SMALL), a_network(over_all, seed=1)]
    everything = tracklet_features(networks, frames, np.arange(16), SMALL)
    assert everything.shape == (16, 2 * (256 + 16))
    torch.testing.assert_close(everything.norm(dim=1), torch.ones(16))
    for request in ([9, 2, 14, 3], [3], [15, 0]):
        found = tracklet_features(networks, frames, np.array(request), SMALL)
        torch.testing.assert_close(found, everything[request])


@pytest.mark.parametrize("pool", ["max", "mean"])
@pytest.mark.parametrize("normalise_branches", [False, True])
def test_tracklet_features_follow_the_config(
    frames: packing.Frames, pool: str, normalise_branches: bool
) -> None:
    config = SMALL.replace(tracklet_pool=pool, normalise_branches=normalise_branches)
    networks = [a_network(SMALL), a_network(SMALL, seed=1)]
    found = tracklet_features(networks, frames, np.array([6, 1]), config)
    for row, tracklet in zip(found, (6, 1), strict=True):
        index = np.arange(4 * tracklet, 4 * tracklet + 4)
        branches = [extract(network, frames, index, SMALL) for network in networks]
        fused = fuse(*branches, normalise_branches=normalise_branches)
        pooled = fused.amax(0) if pool == "max" else fused.mean(0)
        torch.testing.assert_close(row, pooled / pooled.norm())


class Means(torch.nn.Module):
    """A stand-in for a network: k d numbers from the mean colour of a frame."""

    def __init__(self, k: int, dim: int) -> None:
        super().__init__()
        self.k, self.dim, self.backbone = k, dim, torch.nn.Identity()
        self.frozen = torch.nn.Sequential()
        self.weight = torch.nn.Parameter(noise(3, k * dim))

    def forward(self, images: Tensor) -> Tensor:
        return (images.mean((2, 3)) @ self.weight).unflatten(1, (self.k, self.dim))


@pytest.mark.parametrize("pool", ["max", "mean"])
@pytest.mark.parametrize("block", [1, 3, 7, 64])
def test_pooling_block_by_block_equals_pooling_all_frames_at_once(
    frames: packing.Frames, monkeypatch: pytest.MonkeyPatch, block: int, pool: str
) -> None:
    monkeypatch.setattr(features, "BLOCK", block)
    config = SMALL.replace(tracklet_pool=pool)
    networks, request = [Means(2, 5), Means(2, 3)], np.array([9, 2, 14, 3])
    index = frames.of(request)
    whole = fuse(*(extract(network, frames, index, config) for network in networks))
    expected = pool_tracklets(whole, frames.tracklet[index], pool)[[2, 0, 3, 1]]
    found = tracklet_features(networks, frames, request, config)
    assert torch.equal(found, expected) if pool == "max" else torch.allclose(found, expected)


def test_a_tracklet_asked_for_twice_comes_twice(frames: packing.Frames) -> None:
    found = tracklet_features([Means(2, 5)], frames, np.array([6, 1, 6]), SMALL)
    assert found.shape == (3, 10)
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])


class LargestTensor(TorchDispatchMode):
    """Remembers the size of the largest tensor that an operation gave."""

    elements = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        out = operation(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self.elements = max(self.elements, out.numel())
        return out


def test_no_tensor_holds_the_features_of_all_frames(
    frames: packing.Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "BLOCK", 4)
    network = Means(8, 512)
    of_all_frames, of_a_block = 64 * 8 * 512, 4 * 3 * 128 * 64
    with LargestTensor() as seen:
        tracklet_features([network], frames, np.arange(16), SMALL)
    assert seen.elements == max(16 * 8 * 512, of_a_block) < of_all_frames
    with LargestTensor() as seen:
        extract(network, frames, np.arange(64), SMALL)
    assert seen.elements == of_all_frames, "the measure sees what would be too large"


def test_a_network_that_fails_is_left_in_the_mode_it_was_in(frames: packing.Frames) -> None:
    network = Means(2, 5).train()
    network.forward = lambda images: images[:, 7]
    with pytest.raises(IndexError):
        tracklet_features([network], frames, np.arange(2), SMALL)
    assert network.training


def test_the_colour_control_sees_colours_only(frames: packing.Frames) -> None:
    found = features.colour_histogram(frames, np.array([4, 11, 4]))
    assert found.shape == (3, 8 * 12 * 4)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])

    class Mirrored:
        pixels = frames.pixels[:, :, ::-1].copy()
        tracklet = frames.tracklet

    mirrored = features.colour_histogram(Mirrored, np.array([4, 11, 4]))
    torch.testing.assert_close(mirrored, found)


@pytest.mark.parametrize(
    ("backbone", "height"),
    [("small", 128), ("mobilenet_v1", 128), ("resnet50", 128), ("resnet50_slim", 128)],
)
def test_folding_batch_normalisation_into_convolutions_keeps_the_map(
    backbone: str, height: int
) -> None:
    config = Config(backbone=backbone, height=height, width=height // 2, k=2)
    network = build(config)
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, height, height // 2, generator=rng) * 2 - 1
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics of the one batch below
            torch.nn.init.uniform_(module.weight, 0.5, 1.5, generator=rng)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5, generator=rng)
    with torch.inference_mode():
        network.train()(images)
    network.eval()
    folded = features.folded(network)
    kinds = [type(m) for m in folded.backbone.modules()]
    assert not any(issubclass(kind, torch.nn.BatchNorm2d) for kind in kinds)
    with torch.inference_mode():
        before, after = network(images), folded(images)
    assert float((after - before).norm() / before.norm()) < 1e-4  # rounding only
    assert float(before.std(0).norm()) > 0.1  # the map depends on the frame


def parted(branch: str, seed: int = 0) -> UPMNet:
    """Return a network whose first four blocks are frozen; they follow the seed alone."""
    network = build(SMALL.replace(branch=branch, seed=seed))
    frozen, rest = divide(network.backbone, "small", 4)
    return UPMNet(rest, network.head, frozen).eval()


@pytest.mark.parametrize(("seed", "calls"), [(0, 1), (1, 2)])
def test_frozen_blocks_run_once_if_all_networks_share_them_and_give_the_same_bits(
    frames: packing.Frames, monkeypatch: pytest.MonkeyPatch, seed: int, calls: int
) -> None:
    networks, seen, index = [parted("local"), parted("global", seed)], [], np.arange(6)
    apart = [extract(network, frames, index, SMALL) for network in networks]
    once = torch.nn.Sequential.forward

    def counted(self: torch.nn.Sequential, images: Tensor) -> Tensor:
        seen.extend([len(images)] if len(self) == len(networks[0].frozen) else [])
        return once(self, images)

    monkeypatch.setattr(torch.nn.Sequential, "forward", counted)
    ((_, together),) = features.blocks(networks, frames, index, SMALL)
    assert all(torch.equal(*pair) for pair in zip(apart, together, strict=True))
    assert seen == calls * [6]


def test_networks_without_frozen_blocks_share_none() -> None:
    assert features.shared([build(SMALL), build(SMALL)]) is None
