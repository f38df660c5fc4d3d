"""Vertical offsets: known ones are found, whatever the sign, to a fraction of a row."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from upm_lib.retrieval.offsets import vertical_offsets


def smooth(pairs: int, rows: int, channels: int) -> Tensor:
    """Random rows [pairs, rows, channels] that change slowly from top to bottom."""
    draw = torch.Generator().manual_seed(5)
    coarse = torch.randn(pairs, channels, rows // 2, generator=draw)
    return F.interpolate(coarse, size=rows, mode="linear").transpose(1, 2)


@pytest.mark.parametrize("step", [-3, -1, 0, 1, 2, 3])
def test_a_whole_offset_is_found(step: int) -> None:
    whole = smooth(40, 24, 64)
    one, other = whole[:, 4:20], whole[:, 4 - step : 20 - step]  # 16 rows each
    found = vertical_offsets(one, other)
    assert found == pytest.approx(step / 16, abs=0.5 / 16)
    assert found.mean() == pytest.approx(step / 16, abs=0.1 / 16)
    assert vertical_offsets(other, one).mean() == pytest.approx(-step / 16, abs=0.1 / 16)


def test_half_a_row_is_found() -> None:
    fine = smooth(200, 48, 64)
    one = fine[:, 8:40].unflatten(1, (16, 2)).mean(2)
    other = fine[:, 7:39].unflatten(1, (16, 2)).mean(2)  # the same, one fine row lower
    assert vertical_offsets(one, other).mean() == pytest.approx(0.5 / 16, abs=0.15 / 16)


def test_what_all_rows_share_does_not_count() -> None:
    whole = smooth(40, 20, 64)
    one, other = whole[:, 2:18], whole[:, :16]
    apart = vertical_offsets(one + 50, other + 50)
    assert torch.allclose(apart, vertical_offsets(one, other), atol=1e-4)
