"""Activation maps: unit channel weights, ReLU, each frame scaled to [0, 1]."""

import numpy as np
import pytest
import torch

from upm_lib import model
from upm_lib.activation import activation_map, activation_maps
from upm_lib.config import Config
from upm_lib.packing import Frames


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
    """A trunk whose only channel is the mean red of each cell of the map."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale * torch.nn.functional.adaptive_avg_pool2d(images[:, :1], (8, 4))


def test_maps_of_frames_have_the_size_of_the_crops_and_show_the_right_rows() -> None:
    frames = Frames.__new__(Frames)
    frames.pixels = np.zeros((3, 40, 20, 3), np.uint8)
    for number in range(3):  # frame n is red in the rows 10 n .. 10 n + 9, blue elsewhere
        frames.pixels[number, 10 * number : 10 * number + 10, :, 0] = 255
        frames.pixels[number, ..., 2] = 255 - frames.pixels[number, ..., 0]
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
