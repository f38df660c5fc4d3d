"""From frames to one vector a tracklet: extraction, fusion and pooling over time (section 3.5).

Shapes: F frames, T tracklets, k parts, d numbers a part feature.
"""

from collections.abc import Iterator, Sequence
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
# How frames are pooled over time, and what they are added to. Vectors get unit length in the end,
# so a mean is a sum.
POOLS = {"max": ("amax", -torch.inf), "mean": ("sum", 0.0)}


def folded(network: UPMNet) -> UPMNet:
    """Return a copy for evaluation, batch normalisations folded into the convolutions.

    With fixed statistics a batch normalisation is one factor and one term a channel; a convolution
    that absorbs them saves a pass over the map. The features are the same up to rounding. A folded
    network is returned as it is.
    """
    norms = [module for module in network.backbone.modules() if hasattr(module, "running_mean")]
    if not norms and not network.training:
        return network
    network = deepcopy(network).eval()
    for module in [*network.frozen.modules(), *network.backbone.modules()]:
        children = list(module.named_children())
        for (name, one), (follower, other) in pairwise(children):
            if isinstance(one, nn.Conv2d) and hasattr(other, "running_mean"):
                norm = cast(nn.BatchNorm2d, other)  # or GlobalBatchNorm, which has the same fields
                setattr(module, name, fuse_conv_bn_eval(one, norm))
                setattr(module, follower, getattr(other, "act", nn.Identity()))
    return network


def shared(networks: list[UPMNet]) -> nn.Sequential | None:
    """Return the frozen blocks that all networks have, number by number, or None.

    Two networks of scale `frozen` differ in their last blocks only: the others can run once.
    """
    first, *others = (network.frozen.state_dict() for network in networks)
    alike = all(
        list(other) == list(first) and all(torch.equal(first[name], other[name]) for name in first)
        for other in others
    )
    return networks[0].frozen if first and alike else None


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
    networks in evaluation mode do it; a frame is read once for all, and goes once through frozen
    blocks that all of them share.
    """
    device = next(networks[0].parameters()).device
    copies = [folded(network) for network in networks]
    once = shared(copies)
    starts = range(0, len(index), BLOCK)
    for start in tqdm(starts, desc="features", disable=not progress, delay=2, leave=False):
        place = slice(start, start + BLOCK)
        images = frames.batch(index[place], config, device)
        if once is not None and images.shape[1] == 3:  # else they are maps of these blocks already
            images = once(images)
        yield place, [network(images).cpu() for network in copies]


def extract(network: UPMNet, frames: Source, index: np.ndarray, config: Config) -> Tensor:
    """Return the part features [F, k, d] of some frames, as the network gives them, on the CPU.

    Several processes share the frames, and each returns all features in order.
    """
    own = index[distributed.share(len(index))]
    out = torch.empty(len(own), network.k, network.dim)
    for place, (features,) in blocks([network], frames, own, config):
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


def pool_into(vectors: Tensor, features: Tensor, tracklet: np.ndarray, pool: str) -> None:
    """Pool the features [B, D] of some frames into the vectors [T, D] of their tracklets [B].

    Tracklets are numbered 0 .. T-1. The vectors begin as POOLS says; frames may come in any order
    and in pieces of any size. ``pool`` is "max" (element by element) or "mean".
    """
    rows = torch.from_numpy(tracklet)[:, None].expand_as(features)
    vectors.scatter_reduce_(0, rows, features, POOLS[pool][0])


def pool_tracklets(features: Tensor, tracklet: np.ndarray, pool: str = "max") -> Tensor:
    """Pool fused frame features [F, D] over the frames of each tracklet (section 3.5): [T, D].

    ``tracklet`` [F] numbers each frame's tracklet; the result, of unit length, follows their sorted
    order.
    """
    names, number = np.unique(tracklet, return_inverse=True)
    vectors = features.new_full((len(names), features.shape[1]), POOLS[pool][1])
    pool_into(vectors, features, number, pool)
    return unit(vectors)


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
    own, pool = tracklets[distributed.share(len(tracklets))], config.tracklet_pool
    row = frames.rows(own)
    dim = sum(network.k * network.dim for network in networks)
    vectors = torch.full((len(own), dim), POOLS[pool][1])
    for place, parts in blocks(networks, frames, frames.of(own), config, progress):
        fused = fuse(*parts, normalise_branches=config.normalise_branches)
        pool_into(vectors, fused, row[place], pool)
    return distributed.merge(unit(vectors), len(tracklets))


def groups(frames: Sequence[int], size: int) -> list[slice]:
    """Divide tracklets in a row, of so many frames each [T], into groups of about ``size`` frames.

    Counted by frames, tracklets of a single one go through the networks in full blocks, too.
    """
    counts = np.asarray(frames, np.int64)
    before = counts.cumsum() - counts
    starts = np.flatnonzero(np.diff(before // size, prepend=-1))
    return [slice(*pair) for pair in pairwise([*starts.tolist(), len(before)])]


def colour_histogram(frames: Frames, tracklets: np.ndarray) -> Tensor:
    """Return the control that has learnt nothing: hue-saturation histograms of 8 stripes [T, D].

    Averaged over the frames of a tracklet; the square root of the counts, scaled to unit length.
    """
    rows = []
    for tracklet in tracklets:
        beside = np.hstack(frames.pixels[frames.tracklet == tracklet])  # [h, T w, 3]
        parts = np.array_split(cv2.cvtColor(beside, cv2.COLOR_RGB2HSV), 8)
        counts = [cv2.calcHist([p], [0, 1], None, [12, 4], [0, 180, 0, 256]) for p in parts]
        rows.append([np.sqrt(c / c.sum()).ravel() for c in counts])
    return unit(torch.from_numpy(np.array(rows)).flatten(1))
