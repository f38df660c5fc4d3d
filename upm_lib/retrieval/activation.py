"""Where a network looks: activation maps as in section 4.6 (Fig. 8), and measures of them."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy import special
from torch import Tensor

from upm_lib.config import Config
from upm_lib.data.packing import Frames
from upm_lib.learning.model import UPMNet
from upm_lib.retrieval.features import BLOCK


def activation_map(f: Tensor, weights: Tensor | None = None) -> Tensor:
    """Sum the channels of a map with their weights, apply ReLU, and scale each frame to [0, 1].

    Section 4.6 gives every channel the weight 1, so that the map shows what the backbone responds
    to and not what a classifier would; a map without any contrast is all zero.

    Maps of the backbone [B, c, h, w] and weights [B, c], or None for all 1, give [B, h, w].
    """
    total = (f if weights is None else f * weights[..., None, None]).sum(1).relu()
    low, high = total.amin((1, 2), keepdim=True), total.amax((1, 2), keepdim=True)
    return (total - low) / (high - low).clamp_min(1e-12)


def gradient_weights(network: UPMNet, f: Tensor) -> Tensor:
    """Weight each channel by the mean gradient of the summed part features (Grad-CAM).

    Not in the paper: the published script draws such maps. The score is the sum of all numbers of
    all part features, as the head gives them, since there is no class to choose. The sum of
    averages has the same gradient in every channel, so for the local-aware head all weights are
    equal and the map is that of section 4.6; the global-aware head's convolutions weigh them.

    Maps of the backbone [B, c, h, w] give weights [B, c] of either sign. The network is to be in
    evaluation mode, so that frames do not depend on each other.
    """
    with torch.enable_grad():
        leaf = f.clone().requires_grad_()
        (slope,) = torch.autograd.grad(network.head(leaf).sum(), leaf)
    return slope.mean((2, 3))


def cell_maps(
    network: UPMNet,
    frames: Frames,
    index: np.ndarray,
    config: Config,
    by_gradient: bool = False,
) -> Tensor:
    """Return the activation maps of frames ``index`` [n] as the backbone has them: [n, 8, 4].

    The network is set to evaluation mode, and some frames go through it at a time. ``by_gradient``
    weighs channels by :func:`gradient_weights` instead of 1.
    """
    network.eval()
    device, maps = next(network.parameters()).device, []
    for start in range(0, len(index), BLOCK):
        with torch.no_grad():
            f = network.map(frames.batch(index[start : start + BLOCK], config, device))
        maps.append(activation_map(f, gradient_weights(network, f) if by_gradient else None))
    return torch.cat(maps)


def activation_maps(
    network: UPMNet,
    frames: Frames,
    index: np.ndarray,
    config: Config,
    by_gradient: bool = False,
) -> np.ndarray:
    """Return what :func:`cell_maps` does at the crops' size: [n, h, w] in [0, 1]."""
    maps = cell_maps(network, frames, index, config, by_gradient)
    size = frames.pixels.shape[1:3]
    large = F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)
    return large[:, 0].cpu().numpy()


def region_shares(
    maps: np.ndarray, regions: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of activation and the share of area that falls on each region.

    Section 4.6 compares by eye; the ratio of the two shares puts a number on it: 1 where a region
    gets as much as an even map would give it. Both are [n, count] in [0, 1]; the first is NaN for a
    map that is all zero.

    Maps are [n, h, w] of 0 and above; regions [n, h, w] are integers from 0 to count - 1.
    """
    inside = regions[..., None] == np.arange(count)
    return np.einsum("nhw,nhwr->nr", _shares(maps), inside), inside.mean((1, 2))


def breadth(maps: np.ndarray) -> np.ndarray:
    """Return the share of the picture over which a map [n, h, w] is spread, by its entropy: [n].

    A map that is even on one part of the picture and zero elsewhere has the area of that part: 1
    if it is even everywhere. NaN for a map that is all zero.
    """
    return np.exp(special.entr(_shares(maps)).sum((1, 2))) / maps[0].size


def _shares(maps: np.ndarray) -> np.ndarray:
    """Scale maps [n, h, w] to a sum of 1; NaN for a map that is all zero."""
    total = maps.sum((1, 2), np.float64, keepdims=True)
    return np.divide(maps, total, out=np.full(maps.shape, np.nan), where=total > 0)
