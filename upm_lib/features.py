"""From frames to one vector a tracklet: extraction, fusion and pooling over time (section 3.5).

Shapes: F frames, T tracklets, k parts, d numbers a part feature.
"""

from copy import deepcopy
from itertools import pairwise

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from tqdm.auto import tqdm

from upm_lib import distributed
from upm_lib.association import unit
from upm_lib.config import Config
from upm_lib.model import UPMNet
from upm_lib.packing import Frames, Source


def folded(network: UPMNet) -> UPMNet:
    """Return a copy for evaluation, the trunk's batch normalisations folded into its convolutions.

    With fixed statistics a batch normalisation is one factor and one term a channel; a convolution
    that absorbs them saves a pass over the map. The features are the same up to rounding.
    """
    network = deepcopy(network).eval()
    for module in list(network.trunk.modules()):
        children = list(module.named_children())
        for (name, one), (follower, other) in pairwise(children):
            if isinstance(one, nn.Conv2d) and hasattr(other, "running_mean"):
                setattr(module, name, fuse_conv_bn_eval(one, other))
                setattr(module, follower, getattr(other, "act", nn.Identity()))
    return network


@torch.inference_mode()
def extract(
    network: UPMNet, frames: Source, index: np.ndarray, config: Config, progress: bool = False
) -> Tensor:
    """Return the part features [F, k, d] of some frames, as the network gives them, on the CPU.

    A copy of the network in evaluation mode does it. Several processes share the frames, and each
    returns all features in order.
    """
    device = next(network.parameters()).device
    own = index[distributed.share(len(index))]
    out = torch.empty(len(own), network.k, network.dim)
    network = folded(network)
    starts = range(0, len(own), 64)
    for start in tqdm(starts, desc="features", disable=not progress):
        part = own[start : start + 64]
        out[start : start + 64] = network(frames.batch(part, config, device)).cpu()
    return distributed.merge(out, len(index))


def fuse(*branches: Tensor, normalise_branches: bool = False) -> Tensor:
    """Fuse the part features of one or several networks, frame by frame (section 3.5).

    For each part the vectors of all branches are concatenated and scaled to unit length together;
    the k parts are concatenated, so the result has k (c + c') numbers and unit length.

    Args:
        branches: part features [F, k, d_i] with the same k.
        normalise_branches: scale each branch's vector to unit length first, so that neither
            outweighs the other; the published code does not.

    Returns:
        [F, k * sum(d_i)].
    """
    if len({b.shape[1] for b in branches}) > 1:
        raise ValueError(f"branches differ in k: {[b.shape[1] for b in branches]}")
    if normalise_branches:
        branches = tuple(unit(b) for b in branches)
    joined = unit(torch.cat(branches, dim=2))  # [F, k, sum d_i]
    return joined.flatten(1) / joined.shape[1] ** 0.5


def pool_tracklets(features: Tensor, tracklet: np.ndarray, pool: str = "max") -> Tensor:
    """Pool frame features [F, D] over the frames of each tracklet and scale to unit length.

    Args:
        features: fused frame features [F, D].
        tracklet: number of each frame's tracklet [F]; the result follows their sorted order.
        pool: "max" (element by element, section 3.5) or "mean".

    Returns:
        [T, D], T the number of different tracklets.
    """
    _, number = np.unique(tracklet, return_inverse=True)
    rows = torch.from_numpy(number)[:, None].expand_as(features)
    out = features.new_zeros(int(number.max()) + 1, features.shape[1])
    how = "amax" if pool == "max" else "mean"
    return unit(out.scatter_reduce_(0, rows, features, how, include_self=False))


def tracklet_features(
    networks: list[UPMNet],
    frames: Source,
    tracklets: np.ndarray,
    config: Config,
    progress: bool = False,
) -> Tensor:
    """Return unit vectors [T, D] of some tracklets, in their order, fused from the networks."""
    index = frames.of(tracklets)
    branches = [extract(network, frames, index, config, progress) for network in networks]
    fused = fuse(*branches, normalise_branches=config.normalise_branches)
    pooled = pool_tracklets(fused, frames.tracklet[index], config.tracklet_pool)
    return pooled[np.argsort(np.argsort(tracklets))]


def colour_histogram(frames: Frames, tracklets: np.ndarray, stripes: int = 8) -> Tensor:
    """Return the control that has learnt nothing: hue-saturation histograms of stripes [T, D].

    Averaged over the frames of a tracklet; the square root of the counts, scaled to unit length.
    """
    rows = []
    for tracklet in tracklets:
        total = 0.0
        for image in frames.pixels[frames.tracklet == tracklet]:
            hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
            parts = np.array_split(hsv, stripes)
            total = total + np.stack(
                [cv2.calcHist([p], [0, 1], None, [12, 4], [0, 180, 0, 256]).ravel() for p in parts]
            )
        rows.append(np.sqrt(total / total.sum(1, keepdims=True)).ravel())
    return unit(torch.from_numpy(np.stack(rows)).float())
