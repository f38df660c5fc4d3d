"""Deep Association Learning on part features, Eqs. (3)-(9), without labels of any person.

Every tracklet has, for each part, two anchors: an *intra-camera* anchor, a moving average of its
own features, and a *cross-camera* anchor, the mean with its match in another camera once the two
choose each other (cyclic ranking consistency). The loss pulls a frame to both anchors of its
tracklet and pushes it from the nearest wrong anchor of its camera.

Shapes: B frames, k parts, d numbers a feature, N tracklets of all cameras. All parts and cameras
are handled at once. Reading never writes: :meth:`Association.forward` gives the loss from the
anchors as they stand, :meth:`Association.update` moves them.
"""

import torch
from torch import Tensor, nn

from upm_lib.config import Config, UserError


def unit(x: Tensor) -> Tensor:
    """Scale vectors [..., d] to length 1; a zero vector stays zero."""
    return x * x.square().sum(-1, keepdim=True).clamp_min(1e-10).rsqrt()


def distance(x: Tensor, y: Tensor, kind: str = "euclidean") -> Tensor:
    """Distance of corresponding vectors [..., d]: "euclidean" (paper) or "squared" (its code)."""
    squared = (x - y).square().sum(-1)
    if kind == "squared":
        return squared
    return squared.clamp_min(1e-12).sqrt()  # the clamp keeps the gradient finite at distance 0


def nearest(queries: Tensor, anchors: Tensor, scale: Tensor, allowed: Tensor) -> Tensor:
    """Index of the nearest allowed anchor of each query, of each part.

    For unit vectors the smallest distance is the largest scalar product. An anchor that was never
    visited is a zero vector, at squared distance 1 from every unit vector, which is what a scalar
    product of 1/2 means; it ranks as such. Ties go to the lowest index.

    Args:
        queries: unit vectors [k, B, d].
        anchors: stored anchors [k, N, d], of any length.
        scale: 1 / length of the anchors [k, N]; 0 where never visited.
        allowed: which anchors compete [B, N] or [k, B, N], bool.

    Returns:
        [k, B], int64.
    """
    score = torch.bmm(queries, anchors.transpose(1, 2)).mul_(scale[:, None])  # [k, B, N], one copy
    score.masked_fill_(~(scale[:, None] > 0), 0.5).masked_fill_(~allowed, -torch.inf)
    return score.argmax(-1)


def _scale(anchors: Tensor) -> Tensor:
    """1 / length of anchors [..., d]; 0 for a zero vector, which has no direction."""
    length = anchors.square().sum(-1).sqrt()
    return torch.where(length > 1e-5, 1 / length, 0)


def gather(anchors: Tensor, index: Tensor) -> Tensor:
    """Rows of anchors [k, N, d] at index [B] (the same for all parts) or [k, B]: [k, B, d]."""
    if index.ndim == 1:
        return anchors[:, index]
    return anchors[torch.arange(len(anchors), device=index.device)[:, None], index]


def camera_mean(values: Tensor, camera: Tensor) -> Tensor:
    """Mean of values [k, B] over the frames of the same camera, given back to each frame [k, B]."""
    same = (camera[:, None] == camera[None]).to(values.dtype)  # [B, B], symmetric
    return values @ (same / same.sum(0))


def top_push_loss(
    d_intra: Tensor, d_cross: Tensor, d_first: Tensor, own_first: Tensor, camera: Tensor,
    margin: float, lam: float,
) -> Tensor:  # fmt: skip
    """Top-push hinge of Eqs. (5)-(8), averaged over parts and frames.

    A frame whose own tracklet does not rank first is pushed from the one that does, at distance
    d_first. When its own ranks first there is no such rival; then the distance to beat is the mean
    first distance of its camera in this batch, so that the frame still moves closer than average.

    Args:
        d_intra: distances to the intra anchor of the frame's own tracklet [k, B].
        d_cross: distances to its cross anchor [k, B].
        d_first: distance to the intra anchor that ranks first in the frame's camera [k, B].
        own_first: whether that is the own anchor [k, B], bool.
        camera: of each frame [B].
        margin: m, in the units of the distance.
        lam: weight of the cross-camera term.

    Returns:
        A scalar.
    """
    d_minus = torch.where(own_first, camera_mean(d_first, camera), d_first)
    intra = (d_intra - d_minus + margin).clamp_min(0)
    cross = (d_cross - d_minus + margin).clamp_min(0)
    return (intra + lam * cross).mean()


class Association(nn.Module):
    """The anchors and the rules that read and move them; an objective for ``training``.

    Buffers: ``intra``, ``cross`` [k, N, d] stored anchors, ``intra_scale`` [k, N] their 1 / length
    (0: never visited), ``camera_of`` [N], ``match`` [k, N] the cyclic match at the last visit (-1:
    none). All are part of the state dict.

    Args:
        k: number of parts.
        dim: d, length of a part feature.
        camera_of: camera of each tracklet [N], integers from 0.
        config: eta, margin, lam and the switches between paper and published code.
    """

    def __init__(self, k: int, dim: int, camera_of: Tensor, config: Config) -> None:
        super().__init__()
        if len(torch.unique(camera_of)) < 2:
            raise UserError(
                "association learning needs tracklets of at least two cameras; the training set "
                f"has {len(torch.unique(camera_of))}"
            )
        n = len(camera_of)
        self.config = config
        self.register_buffer("intra", torch.zeros(k, n, dim))
        self.register_buffer("cross", torch.zeros(k, n, dim))
        self.register_buffer("intra_scale", torch.zeros(k, n))
        self.register_buffer("match", torch.full((k, n), -1))
        self.register_buffer("camera_of", camera_of.long())

    def forward(self, features: Tensor, tracklet: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of a batch, Eqs. (5)-(8), from the anchors as they stand.

        Args:
            features: part features [B, k, d], of any length.
            tracklet: index of each frame's tracklet [B], from 0 over all cameras.

        Returns:
            The loss (scalar), and the share of frames whose own tracklet ranks first (scalar).
        """
        return self.loss(unit(features.transpose(0, 1)), tracklet)

    def loss(self, x: Tensor, tracklet: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`forward`, from part features that have unit length already [k, B, d]."""
        camera = self.camera_of[tracklet]
        same_camera = camera[:, None] == self.camera_of
        with torch.no_grad():
            first = nearest(x, self.intra, self.intra_scale, same_camera)
        own_first = first == tracklet
        kind = self.config.distance
        loss = top_push_loss(
            distance(x, self.unit_intra(tracklet), kind),
            distance(x, unit(gather(self.cross, tracklet)), kind),
            distance(x, self.unit_intra(first), kind),
            own_first,
            camera,
            self.config.margin,
            self.config.lam,
        )
        return loss, own_first.float().mean()

    @torch.no_grad()
    def place(self, anchors: Tensor) -> None:
        """Set the intra anchors to vectors [k, N, d] and the cross anchors to their directions."""
        self.intra.copy_(anchors)
        self.cross.copy_(unit(self.intra))
        self.intra_scale.copy_(_scale(self.intra))
        self.match.fill_(-1)

    @torch.no_grad()
    def update(self, features: Tensor, tracklet: Tensor, warm: bool) -> Tensor:
        """Move the anchors of a batch's tracklets, Eqs. (3), (4) and (9).

        Args:
            features: part features [B, k, d].
            tracklet: [B].
            warm: True during the warm-up: the cross anchors follow the intra anchors.

        Returns:
            Share of the batch's tracklets that are cyclically consistent (scalar).
        """
        x = unit(features.detach().transpose(0, 1)).to(self.intra.dtype)
        self._update_intra(x, tracklet)
        own = self.unit_intra(tracklet)
        if warm:
            match = torch.full_like(tracklet, -1).expand(len(own), -1)
        else:
            match = self.cyclic_match(tracklet)
        merged = (own + self.unit_intra(match.clamp_min(0))) / 2
        self.cross[:, tracklet] = torch.where((match >= 0)[..., None], merged, own)
        self.match[:, tracklet] = match
        return (match >= 0).float().mean()

    def _update_intra(self, x: Tensor, tracklet: Tensor) -> None:
        """Eq. (3): a <- a - eta (a - x); several frames of a tracklet count by ``repeats``."""
        old = gather(self.intra, tracklet)
        pulled = old if self.config.anchor_difference == "stored" else unit(old)
        step = self.config.eta * (pulled - x)
        if self.config.repeats == "mean":
            count = torch.zeros(self.intra.shape[1], dtype=x.dtype, device=x.device)
            count.index_add_(0, tracklet, torch.ones_like(tracklet, dtype=x.dtype))
            step = step / count[tracklet, None]
        self.intra.index_add_(1, tracklet, step, alpha=-1)
        self.intra_scale[:, tracklet] = _scale(gather(self.intra, tracklet))

    def unit_intra(self, index: Tensor) -> Tensor:
        """Intra anchors at index [B] or [k, B], scaled to length 1 (zero if never visited)."""
        scale = gather(self.intra_scale[..., None], index)
        return gather(self.intra, index) * scale

    def cyclic_match(self, tracklet: Tensor) -> Tensor:
        """The cyclically consistent match of tracklets [B] in any other camera: [k, B], -1 if none.

        From the own anchor to the nearest anchor of all other cameras, and from there back to the
        nearest anchor of the own camera: consistent if that is where it began (section 3.4).
        """
        same = self.camera_of[tracklet][:, None] == self.camera_of
        visited = self.intra_scale[:, None] > 0
        others = ~same if self.config.match_unvisited else ~same & visited
        there = nearest(self.unit_intra(tracklet), self.intra, self.intra_scale, others)
        back = nearest(self.unit_intra(there), self.intra, self.intra_scale, same)
        found = back == tracklet
        if not self.config.match_unvisited:
            found &= others.any(-1)
        return torch.where(found, there, -1)
