"""Activation maps: unit channel weights, ReLU, each frame scaled to [0, 1]."""

import numpy as np
import pytest
import torch

from upm_lib.config import Config
from upm_lib.data.packing import Frames
from upm_lib.learning import model
from upm_lib.retrieval.activation import (
    activation_map,
    activation_maps,
    breadth,
    cell_maps,
    gradient_weights,
    region_shares,
)


def toy(*channels: list[list[float]]) -> torch.Tensor:
    return torch.tensor([channels])


def test_channels_are_summed_with_unit_weights() -> None:
    f = toy([[1.0, 0.0], [0.0, 4.0]], [[1.0, 1.0], [0.0, 0.0]])
    expected = torch.tensor([[[0.5, 0.25], [0.0, 1.0]]])  # sums 2, 1, 0, 4
    torch.testing.assert_close(activation_map(f), expected)


def test_relu_acts_on_the_sum_not_on_the_channels() -> None:
    f = toy([[3.0, -1.0], [1.0, -5.0]], [[-1.0, -1.0], [1.0, 4.0]])
    expected = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])  # sums 2, -2, 2, -1
    torch.testing.assert_close(activation_map(f), expected)


def test_every_frame_has_its_own_range() -> None:
    f = torch.randn(5, 7, 8, 4, generator=torch.Generator().manual_seed(0))
    f = f * torch.tensor([1e-3, 1.0, 1e3, 5.0, 0.1])[:, None, None, None]
    found = activation_map(f)
    assert found.shape == (5, 8, 4)
    torch.testing.assert_close(found.amin((1, 2)), torch.zeros(5))
    torch.testing.assert_close(found.amax((1, 2)), torch.ones(5))
    torch.testing.assert_close(activation_map(f[2:3])[0], found[2])


@pytest.mark.parametrize("value", [2.5, 0.0, -1.0])
def test_a_map_without_contrast_is_all_zero(value: float) -> None:
    assert torch.equal(activation_map(torch.full((2, 3, 8, 4), value)), torch.zeros(2, 8, 4))


def test_negative_sums_are_all_zero_whatever_their_contrast() -> None:
    f = -1 - torch.rand(1, 3, 8, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(activation_map(f), torch.zeros(1, 8, 4))


@pytest.mark.parametrize("row", range(8))
def test_the_brightest_row_is_the_strongest_one(row: int) -> None:
    f = torch.rand(1, 16, 8, 4, generator=torch.Generator().manual_seed(row))
    f[:, :, row] += 1
    assert int(activation_map(f)[0].mean(1).argmax()) == row


class RowsOfRed(torch.nn.Module):
    """A backbone whose only channel is the mean red of each cell of the map."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale * torch.nn.functional.adaptive_avg_pool2d(images[:, :1], (8, 4))


def red_rows(count: int) -> Frames:
    """Frames of 40 x 20: number n is red in ten rows, the first, second or third ten of n mod 3."""
    frames = Frames.__new__(Frames)
    frames.pixels = np.zeros((count, 40, 20, 3), np.uint8)
    for number in range(count):
        top = 10 * (number % 3)
        frames.pixels[number, top : top + 10, :, 0] = 255
    frames.pixels[..., 2] = 255 - frames.pixels[..., 0]
    return frames


def test_many_frames_go_through_the_network_some_at_a_time() -> None:
    frames, config = red_rows(150), Config(height=128, width=64, backbone="small")
    network, seen = model.UPMNet(RowsOfRed(), model.LocalAware(1, 8)), []
    network.backbone.register_forward_hook(lambda _, images, f: seen.append(len(images[0])))
    index = np.arange(150)[::-1].copy()
    for by_gradient in (False, True):
        maps = cell_maps(network, frames, index, config, by_gradient)
        assert maps.shape == (150, 8, 4) and len(seen) > 1 and max(seen) <= 64
        few = [cell_maps(network, frames, index[n : n + 1], config, by_gradient) for n in (0, 149)]
        torch.testing.assert_close(maps[[0, 149]], torch.cat(few))
    assert activation_maps(network, frames, index, config).shape == (150, 40, 20)


def test_maps_of_frames_have_the_size_of_the_crops_and_show_the_right_rows() -> None:
    frames = red_rows(3)
    network = model.UPMNet(RowsOfRed(), model.LocalAware(1, 8)).train()
    config = Config(height=128, width=64, backbone="small")
    maps = activation_maps(network, frames, np.array([2, 0]), config)
    assert maps.shape == (2, 40, 20)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert maps.max() <= 1
    assert 20 <= maps[0].mean(1).argmax() < 30
    assert 0 <= maps[1].mean(1).argmax() < 10
    assert all(p.grad is None for p in network.parameters())


def network(branch: str, k: int = 4) -> model.UPMNet:
    config = Config(height=128, width=64, backbone="small", branch=branch, k=k, c_reduced=16)
    return model.build(config).eval()


def map_of(c: int = 256) -> torch.Tensor:
    return torch.rand(3, c, 8, 4, generator=torch.Generator().manual_seed(1))


def test_weights_scale_the_channels_before_the_sum() -> None:
    f = toy([[1.0, 0.0], [0.0, 4.0]], [[1.0, 1.0], [0.0, 0.0]])
    weights = torch.tensor([[1.0, -3.0]])
    expected = torch.tensor([[[0.0, 0.0], [0.0, 1.0]]])  # sums -2, -3, 0, 4
    torch.testing.assert_close(activation_map(f, weights), expected)


@pytest.mark.parametrize("k", [1, 2, 8])
def test_the_local_aware_head_weighs_all_channels_alike_so_both_maps_agree(k: int) -> None:
    f = map_of()
    weights = gradient_weights(network("local", k), f)
    torch.testing.assert_close(weights, torch.full((3, 256), k / 32))  # k stripes of 32 / k cells
    torch.testing.assert_close(activation_map(f, weights), activation_map(f))


def test_the_global_aware_head_weighs_channels_as_finite_differences_say() -> None:
    net, f = network("global").double(), map_of().double()
    weights, step = gradient_weights(net, f), 1e-6
    with torch.no_grad():
        for q in (0, 7, 200):
            moved = f.clone()
            moved[:, q] += step  # all 32 cells, so the difference is 32 times the mean gradient
            slope = (net.head(moved) - net.head(f)).sum((1, 2)) / step / 32
            torch.testing.assert_close(weights[:, q], slope, rtol=1e-4, atol=1e-7)
    assert (weights < 0).any() and (weights > 0).any()
    assert not torch.allclose(activation_map(f, weights), activation_map(f), atol=0.05)


def test_gradient_weights_leave_no_gradient_behind() -> None:
    net, f = network("global"), map_of()
    with torch.no_grad():
        gradient_weights(net, f)
    assert not f.requires_grad
    assert all(p.grad is None for p in net.parameters())


# ---------------------------------------------------------------- shares and breadth


def body() -> np.ndarray:
    """Two frames of 8 x 4: the head in row 1 (half of its cells), torso and legs below."""
    labels = np.zeros((2, 8, 4), np.uint8)
    labels[:, 1, :2], labels[:, 2:4], labels[:, 4:7] = 1, 2, 3
    return labels


def test_a_map_on_the_head_gives_the_head_everything() -> None:
    share, area = region_shares((body() == 1).astype(np.float32), body(), 4)
    assert share.tolist() == [[0, 1, 0, 0]] * 2
    assert area.tolist() == [[10 / 32, 2 / 32, 8 / 32, 12 / 32]] * 2


def test_an_even_map_gives_every_region_its_area() -> None:
    share, area = region_shares(np.full((2, 8, 4), 0.3, np.float32), body(), 4)
    np.testing.assert_allclose(share / area, 1, rtol=1e-12)


def test_shares_are_those_of_a_loop_and_sum_to_one() -> None:
    draw = np.random.default_rng(0)
    maps, labels = draw.random((3, 8, 4)), draw.integers(0, 4, (3, 8, 4))
    share, area = region_shares(maps, labels, 5)
    for n in range(3):
        for region in range(5):
            inside = [(y, x) for y in range(8) for x in range(4) if labels[n, y, x] == region]
            expected = sum(maps[n, y, x] for y, x in inside) / maps[n].sum()
            assert share[n, region] == pytest.approx(expected, abs=1e-12)
            assert area[n, region] == len(inside) / 32
    np.testing.assert_allclose(share.sum(1), 1)


def test_a_map_that_is_all_zero_has_no_shares_and_no_breadth() -> None:
    assert np.isnan(region_shares(np.zeros((2, 8, 4)), body(), 4)[0]).all()
    assert np.isnan(breadth(np.zeros((2, 8, 4)))).all()


def test_breadth_is_the_area_of_an_even_patch() -> None:
    maps = np.zeros((4, 8, 4), np.float32)
    maps[0], maps[1, :4], maps[2, 3, 1], maps[3, 0, :2] = 0.5, 1, 7, (0.9, 0.1)
    between = np.exp(-0.9 * np.log(0.9) - 0.1 * np.log(0.1)) / 32  # of two uneven cells
    np.testing.assert_allclose(breadth(maps), [1, 0.5, 1 / 32, between], rtol=1e-6)
