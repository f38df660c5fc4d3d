"""How far the boxes of two tracklets are apart vertically, read from the rows of their maps.

Part models compare row with row, so they rely on boxes that begin and end at the same places of the
body. Detected boxes do not.
"""

import torch
from torch import Tensor

from upm_lib.learning.association import unit


def vertical_offsets(one: Tensor, other: Tensor, reach: float = 0.25) -> Tensor:
    """Return the offset [P] at which the rows of two maps match best, as a share of their height.

    Positive: what ``one`` shows stands lower in ``other``. The rows are features [P, R, c] from top
    to bottom. Their mean over all pairs and rows is taken away first: it is the same everywhere and
    would favour no offset at all. For every whole offset up to ``reach`` the cosines of the rows
    that lie on each other are averaged; a parabola through the best one and its neighbours gives
    the fraction.
    """
    rows = one.shape[1]
    both = torch.stack([one, other])
    one, other = unit(both - both.mean((0, 1, 2)))
    most = int(reach * rows)
    steps = range(-most, most + 1)
    scores = torch.stack([_overlap(one, other, step) for step in steps], 1)  # [P, steps]
    best = scores.argmax(1).clamp(1, len(steps) - 2)
    left, top, right = (scores.gather(1, (best + d)[:, None])[:, 0] for d in (-1, 0, 1))
    bend = left - 2 * top + right
    fraction = torch.where(bend < 0, (left - right) / (2 * bend), 0).clamp(-1, 1)
    return (best - most + fraction) / rows


def _overlap(one: Tensor, other: Tensor, step: int) -> Tensor:
    """Mean cosine [P] of row i of one and row i + step of the other, where both exist."""
    rows = one.shape[1]
    upper, lower = one[:, max(0, -step) : rows - max(0, step)], other[:, max(0, step) :]
    return (upper * lower[:, : upper.shape[1]]).sum(2).mean(1)
