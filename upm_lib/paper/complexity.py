"""Parameters and FLOPs: the convention behind the paper's Tables 5 and 6, and an honest count.

The paper's figures describe a training graph of one 256x128 frame with everything that was built
into it, used or not. :func:`published_convention` rebuilds them term by term, to the last digit of
what the TensorFlow profiler reports; :func:`honest_count` counts what a network does at inference.
"""

import copy
from collections.abc import Iterable
from decimal import ROUND_DOWN, Decimal
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from upm_lib.config import UserError, known

REDUCED = 256  # c', the width of the global-aware part features


class TrainingSet(NamedTuple):
    """Tracklets over all cameras, and cameras, of a training set (section 4.1)."""

    num_tracklets: int
    num_cameras: int


TRAINING_SETS = {
    "PRID2011": TrainingSet(178, 2),
    "iLIDS-VID": TrainingSet(300, 2),
    "DukeMTMC-VideoReID": TrainingSet(2196, 8),
}
# The networks (branch, k) that a row of Tables 5 and 6 adds up.
ROWS = {
    "baseline": (("local", 1),),
    "DAL": (("local", 1),),
    "local": (("local", 8),),
    "global": (("global", 8),),
    "uPMnet": (("local", 8), ("global", 8)),
}


class Complexity(NamedTuple):
    """FLOPs of one frame and parameters, as counts."""

    flops: int
    params: int


class _Backbone(NamedTuple):
    """What a backbone contributes; all are counts at 256x128."""

    channels: int
    multiply_adds: int
    decayed_weights: int  # ordinary convolutions: initialised and weight-decayed
    depthwise_weights: int  # initialised, never decayed
    norm_params: int  # scale and shift of the batch normalisations
    other_flops: int  # residual sums, pooling, moving averages; neither BN nor ReLU is counted
    pool_flops: int  # one average pooling of the whole backbone map
    dropout: bool  # on the input of each unused classifier

    def total(self) -> Complexity:
        # 3 = the weight decay's sum of squares; 2 = scale and shift of the random initialiser,
        # which runs once and yet is an operation of the graph that was profiled.
        weights = (3 + 2) * self.decayed_weights + 2 * self.depthwise_weights
        flops = 2 * self.multiply_adds + weights + self.other_flops
        return Complexity(flops, self.decayed_weights + self.depthwise_weights + self.norm_params)


_BACKBONES = {
    "mobilenet_v1": _Backbone(
        1024, 370_753_536, 3_140_448, 44_640, 21_888, 98_509, 32_768, dropout=True
    ),
    "resnet50": _Backbone(2048, 2_272_788_480, 23_454_912, 0, 53_120, 4_550_440, 65_536, False),
}


def _part(costs: _Backbone, d: int, size: TrainingSet) -> Complexity:
    """Count what every part adds: its unused classifier, its share of the association graph."""
    tracklets, cameras = size
    classes = tracklets + 1
    # Per weight 2 (the 1x1 convolution) + 3 (weight decay) + 2 (initialiser); per class 1 (bias)
    # + 5 (softmax). No loss reads these outputs.
    classifier = (7 * d + 6) * classes
    # Unit length costs 3 an element (square, sum, multiply) and 2 a vector (maximum, 1/sqrt): of
    # the feature, and of the anchors three times (intra before, cross, intra after the update).
    unit = (3 * d + 2) * (1 + 3 * tracklets)
    dropout = 2 * d if costs.dropout else 0
    # One a camera: which frames belong to it. Distances, rankings and the update itself have shapes
    # known only at run time, so the profiler skips them. 5: sums and differences of the loss terms.
    return Complexity(classifier + unit + cameras + dropout + 5, classes * (d + 1))


def _global_head(costs: _Backbone, k: int) -> Complexity:
    """Count the global-aware layers (Eq. 2): k + 1 reductions, then k relations with their BN."""
    reduction = 7 * REDUCED * costs.channels + REDUCED  # weights as in the classifier, plus bias
    relation = 7 * 2 * REDUCED * REDUCED
    # Moving mean and variance (difference, product, assignment), then the sum with x_0.
    normalise_and_add = 3 * 2 * REDUCED + REDUCED
    # The pooling is built twice, and the whole map is pooled beside its parts; the backbone's count
    # holds one of the four.
    pooling = 3 * costs.pool_flops
    scalars = 33  # read off the profile at k = 8; how it grows with k was never measured
    flops = (k + 1) * reduction + k * (relation + normalise_and_add) + pooling + scalars
    params = (k + 1) * (REDUCED * costs.channels + REDUCED)
    return Complexity(flops, params + k * (2 * REDUCED * REDUCED + 2 * REDUCED))


def published_convention(backbone: str, branch: str, k: int, size: TrainingSet) -> Complexity:
    """Count one network the way Tables 5 and 6 do, exactly.

    The backbone is mobilenet_v1 or resnet50, the branch local (k = 1 is the baseline, DAL) or
    global. The local count was checked against the profiler at k = 1 and 8; it is linear in k. The
    global count is known for k = 8 only, where its profile was taken: a few scalar operations
    cannot be assigned. The unused classifiers have a class more than there are training tracklets
    (over all cameras).

    Returns FLOPs of the training graph for one 256x128 frame, before gradients, and parameters of
    backbone, head and the k unused classifiers. The anchors are not among them. Raises UserError
    for an unknown backbone and for a k of the global-aware network other than 8.
    """
    known(_BACKBONES, backbone, "backbone")
    if branch == "global" and k != 8:
        raise UserError(
            f"the published count of the global-aware network is known for k = 8 only, not k = {k}"
        )
    costs = _BACKBONES[backbone]
    d = costs.channels if branch == "local" else REDUCED
    counts = [costs.total(), *[_part(costs, d, size)] * k]
    return _total([*counts, *[_global_head(costs, k)] * (branch == "global")])


def _total(counts: Iterable[Complexity]) -> Complexity:
    return Complexity(*map(sum, zip(*counts, strict=True)))


def table_row(backbone: str, row: str, dataset: str) -> Complexity:
    """Count one row of ``ROWS`` for a data set of ``TRAINING_SETS``; uPMnet adds two networks up.

    Raises UserError for an unknown backbone, row or data set.
    """
    known(ROWS, row, "row")
    known(TRAINING_SETS, dataset, "data set")
    size = TRAINING_SETS[dataset]
    return _total(published_convention(backbone, branch, k, size) for branch, k in ROWS[row])


def as_printed(value: float, printed: str) -> float:
    """Cut a value to the decimals of a printed one, as Tables 5 and 6 do: 4.673 to 4.6 beside 4.5.

    It is not rounded.
    """
    # Decimal of the shortest text of a float: 4.35 stays 4.35, where 4.35 * 100 is 434.99...
    return float(Decimal(str(value)).quantize(Decimal(printed), rounding=ROUND_DOWN))


def honest_count(network: nn.Module, height: int = 256, width: int = 128) -> Complexity:
    """Count what a network computes for one frame [1, 3, height, width] at inference.

    Convolutions and matrix products are counted, 2 FLOPs a multiply-add; normalisation, activations
    and pooling are not. The parameters are those that can receive a gradient. The network is left
    as it is.
    """
    copied = copy.deepcopy(network).eval()
    like = next(copied.parameters())
    frame = torch.zeros(1, 3, height, width, device=like.device, dtype=like.dtype)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        copied(frame)
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return Complexity(counter.get_total_flops(), trainable)


def anchor_bytes(k: int, num_tracklets: int, c: int, stored: torch.dtype = torch.float32) -> int:
    """Bytes of the intra and cross anchors, two arrays [k, num_tracklets, c] of what is stored."""
    return 2 * k * num_tracklets * c * stored.itemsize
