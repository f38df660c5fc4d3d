"""From frames to one vector a tracklet: extraction, fusion and pooling over time (section 3.5).

Shapes: F frames, T tracklets, k parts, d numbers a part feature.
"""

from collections.abc import Iterator
from copy import deepcopy
from itertools import pairwise
from typing import cast

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from tqdm.auto import tqdm

from upm_lib import distributed
from upm_lib.config import Config
from upm_lib.data.packing import Frames, Source
from upm_lib.learning.association import unit
from upm_lib.learning.model import UPMNet

BLOCK = 64  # frames that go through the networks at a time


def folded(network: UPMNet) -> UPMNet:
    """Return a copy for evaluation, batch normalisations folded into the backbone's convolutions.

    With fixed statistics a batch normalisation is one factor and one term a channel; a convolution
    that absorbs them saves a pass over the map. The features are the same up to rounding.
    """
    network = deepcopy(network).eval()
    for module in list(network.backbone.modules()):
        children = list(module.named_children())
        for (name, one), (follower, other) in pairwise(children):
            if isinstance(one, nn.Conv2d) and hasattr(other, "running_mean"):
                norm = cast(nn.BatchNorm2d, other)  # or GlobalBatchNorm, which has the same fields
                setattr(module, name, fuse_conv_bn_eval(one, norm))
                setattr(module, follower, getattr(other, "act", nn.Identity()))
    return network


@torch.inference_mode()
def blocks(
    networks: list[UPMNet],
    frames: Source,
    index: np.ndarray,
    config: Config,
    progress: bool = False,
) -> Iterator[tuple[slice, list[Tensor]]]:
    """Yield the part features of the frames numbered ``index`` [F], block by block, on the CPU.

    A block is its places in ``index``, and for each network its features [B, k, d]. Copies of the
    networks in evaluation mode do it; a frame is read once for all.
    """
    device = next(networks[0].parameters()).device
    copies = [folded(network) for network in networks]
    starts = range(0, len(index), BLOCK)
    for start in tqdm(starts, desc="features", disable=not progress, delay=2, leave=False):
        place = slice(start, min(start + BLOCK, len(index)))
        images = frames.batch(index[place], config, device)
        yield place, [network(images).cpu() for network in copies]


def extract(
    network: UPMNet, frames: Source, index: np.ndarray, config: Config, progress: bool = False
) -> Tensor:
    """Return the part features [F, k, d] of some frames, as the network gives them, on the CPU.

    Several processes share the frames, and each returns all features in order.
    """
    own = index[distributed.share(len(index))]
    out = torch.empty(len(own), network.k, network.dim)
    for place, (features,) in blocks([network], frames, own, config, progress):
        out[place] = features
    return distributed.merge(out, len(index))


def fuse(*branches: Tensor, normalise_branches: bool = False) -> Tensor:
    """Fuse the part features of one or several networks, frame by frame (section 3.5).

    For each part the vectors of all branches are concatenated and scaled to unit length together;
    the k parts are concatenated, so part features [F, k, d_i] give [F, k (d_1 + d_2 ...)] of unit
    length. ``normalise_branches`` scales each branch's vector to unit length first, so that neither
    outweighs the other; the published code does not.
    """
    if len({b.shape[1] for b in branches}) > 1:
        raise ValueError(f"branches differ in k: {[b.shape[1] for b in branches]}")
    if normalise_branches:
        branches = tuple(unit(b) for b in branches)
    joined = unit(torch.cat(branches, dim=2))  # [F, k, sum d_i]
    return joined.flatten(1) / joined.shape[1] ** 0.5


class TrackletPool:
    """Pool frame features over the frames of each tracklet as they come (section 3.5).

    Only the tracklets' vectors [T, D] are held, never those of all frames. The frames may come in
    any order and in pieces of any size; ``frames_of`` says how many each tracklet has in all [T],
    at least 1. ``pool`` is "max" (element by element) or "mean".
    """

    def __init__(
        self, frames_of: np.ndarray, dim: int, pool: str, dtype: torch.dtype = torch.float32
    ) -> None:
        self.frames_of, self.pool = torch.from_numpy(frames_of), pool
        start = -torch.inf if pool == "max" else 0.0
        self.vectors = torch.full((len(frames_of), dim), start, dtype=dtype)

    def add(self, features: Tensor, tracklet: np.ndarray) -> None:
        """Take in the features [B, D] of some frames of tracklets 0 .. T-1 [B]."""
        rows = torch.from_numpy(tracklet)
        how = "amax" if self.pool == "max" else "sum"
        self.vectors.scatter_reduce_(0, rows[:, None].expand_as(features), features, how)

    def result(self) -> Tensor:
        """Return the pooled vectors [T, D], of unit length."""
        if self.pool == "max":
            return unit(self.vectors)
        return unit(self.vectors / self.frames_of[:, None])


def pool_tracklets(features: Tensor, tracklet: np.ndarray, pool: str = "max") -> Tensor:
    """Pool fused frame features [F, D] as :class:`TrackletPool` does, all at once: [T, D].

    ``tracklet`` [F] numbers each frame's tracklet; the result follows their sorted order.
    """
    _, number, counts = np.unique(tracklet, return_inverse=True, return_counts=True)
    pooled = TrackletPool(counts, features.shape[1], pool, features.dtype)
    pooled.add(features, number)
    return pooled.result()


def tracklet_features(
    networks: list[UPMNet],
    frames: Source,
    tracklets: np.ndarray,
    config: Config,
    progress: bool = False,
) -> Tensor:
    """Return unit vectors [T, D] of some tracklets [T], in their order, fused from the networks.

    The memory needed grows with the tracklets, not with the frames. Several processes share the
    tracklets, and each returns all.
    """
    own = tracklets[distributed.share(len(tracklets))]
    index = frames.of(own)
    counts = np.bincount(frames.tracklet)[own]
    row = np.repeat(np.arange(len(own)), counts)
    dim = sum(network.k * network.dim for network in networks)
    pooled = TrackletPool(counts, dim, config.tracklet_pool)
    for place, parts in blocks(networks, frames, index, config, progress):
        fused = fuse(*parts, normalise_branches=config.normalise_branches)
        pooled.add(fused, row[place])
    return distributed.merge(pooled.result(), len(tracklets))


def colour_histogram(frames: Frames, tracklets: np.ndarray, stripes: int = 8) -> Tensor:
    """Return the control that has learnt nothing: hue-saturation histograms of stripes [T, D].

    Averaged over the frames of a tracklet; the square root of the counts, scaled to unit length.
    """
    rows = []
    for tracklet in tracklets:
        beside = np.hstack(frames.pixels[frames.tracklet == tracklet])  # [h, T w, 3]
        parts = np.array_split(cv2.cvtColor(beside, cv2.COLOR_RGB2HSV), stripes)
        counts = [cv2.calcHist([p], [0, 1], None, [12, 4], [0, 180, 0, 256]) for p in parts]
        rows.append([np.sqrt(c / c.sum()).ravel() for c in counts])
    return unit(torch.from_numpy(np.array(rows)).flatten(1))
