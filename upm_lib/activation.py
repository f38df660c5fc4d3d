"""Where a network looks: the activation maps of section 4.6 (Fig. 8)."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from upm_lib.config import Config
from upm_lib.model import UPMNet
from upm_lib.packing import Frames


def activation_map(f: Tensor) -> Tensor:
    """Sum the channels of a map with unit weights, apply ReLU, and scale each frame to [0, 1].

    Section 4.6 gives every channel the weight 1, so that the map shows what the trunk responds to
    and not what a classifier would; a map without any contrast is all zero.

    Args:
        f: maps of the trunk [B, c, h, w].

    Returns:
        [B, h, w] in [0, 1].
    """
    total = f.sum(1).relu()
    low, high = total.amin((1, 2), keepdim=True), total.amax((1, 2), keepdim=True)
    return (total - low) / (high - low).clamp_min(1e-12)


@torch.inference_mode()
def activation_maps(
    network: UPMNet, frames: Frames, index: np.ndarray, config: Config
) -> np.ndarray:
    """Return the activation maps of some frames at the size of the crops: [n, h, w] in [0, 1]."""
    network.eval()
    device = next(network.parameters()).device
    maps = activation_map(network.map(frames.batch(index, config, device)))
    size = frames.pixels.shape[1:3]
    large = F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)
    return large[:, 0].cpu().numpy()
