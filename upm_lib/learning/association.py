"""Deep Association Learning on part features, Eqs. (3)-(9), without labels of any person.

Every tracklet has, for each part, two anchors: an *intra-camera* anchor, a moving average of its
own features, and a *cross-camera* anchor, the mean with its match in another camera once the two
choose each other (cyclic ranking consistency). The loss pulls a frame to both anchors of its
tracklet and pushes it from the nearest wrong anchor of its camera.

Shapes: B frames, k parts, d numbers a feature, N tracklets of all cameras. All parts and cameras
are handled at once. Reading never writes: :meth:`Association.forward` gives the loss from the
anchors as they stand, :meth:`Association.update` moves them. Where the equations can be read in two
ways, a field of the config chooses (FIDELITY.md has the reasons).
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from upm_lib.config import Config, UserError


def unit(x: Tensor) -> Tensor:
    """Scale vectors [..., d] to length 1; a zero vector stays zero."""
    return x * x.square().sum(-1, keepdim=True).clamp_min(1e-10).rsqrt()


def distance(x: Tensor, y: Tensor, kind: str = "euclidean") -> Tensor:
    """Distance of corresponding vectors [..., d]: "euclidean" (paper) or "squared" (its code)."""
    if kind == "squared":
        return (x - y).square().sum(-1)
    return torch.linalg.vector_norm(x - y, dim=-1)  # its gradient at distance 0 is 0


def products(queries: Tensor, anchors: Tensor) -> Tensor:
    """Products q.a of queries [k, B, d] and anchors [k, N, d] in the queries' type: [k, B, N].

    Anchors of another type are converted one part at a time, so that no copy of all of them is.
    """
    if anchors.dtype == queries.dtype:
        return torch.bmm(queries, anchors.transpose(1, 2))
    out = queries.new_empty(*queries.shape[:2], anchors.shape[1])
    for score, query, part in zip(out, queries, anchors, strict=True):
        torch.mm(query, part.to(query.dtype).T, out=score)
    return out


def nearest(
    queries: Tensor, anchors: Tensor, scale: Tensor, offset: Tensor, allowed: Tensor
) -> Tensor:
    """Index of the nearest allowed anchor of each query, of each part: [k, B], -1 if none competes.

    The squared distance of a query q and an anchor a is |q|^2 + 1 - 2 (q.a + (1 - |a|^2) / 2), so
    the nearest anchor is that with the largest q.a + (1 - |a|^2) / 2. Equal scores go to the lowest
    index.

    Queries [k, B, d], stored anchors [k, N, d] and what each is multiplied by to give a (``scale``
    [k, N]); ``offset`` [k, N] is (1 - |a|^2) / 2: 0 for a unit vector, 1/2 for a zero vector, -inf:
    never. Which anchors compete is ``allowed`` [B, N], bool.
    """
    score = products(queries, anchors)  # [k, B, N], the only copy
    torch.addcmul(offset[:, None], score, scale[:, None], out=score)
    best, index = score.add_(torch.where(allowed, 0.0, -torch.inf)).max(-1)  # a sum is fast
    return torch.where(best > -torch.inf, index, -1)


def nearest_by_camera(
    queries: Tensor, anchors: Tensor, scale: Tensor, offset: Tensor,
    blocks: list[slice], chosen: Tensor,
) -> Tensor:  # fmt: skip
    """As :func:`nearest`, for anchors that lie camera by camera: what is not allowed is not read.

    ``blocks`` are the places of each camera's anchors; which cameras a query searches is ``chosen``
    [B, C], bool, on the CPU. For C cameras the own one costs 1 / C of all anchors.
    """
    best = queries.new_full(queries.shape[:2], -torch.inf)
    index = torch.full_like(best, -1, dtype=torch.long)
    for block, searching in zip(blocks, chosen.T, strict=True):
        query = searching.nonzero().squeeze(1)
        if not len(query) or block.start == block.stop:
            continue
        score = products(queries.index_select(1, query), anchors[:, block])
        torch.addcmul(offset[:, None, block], score, scale[:, None, block], out=score)
        top, place = score.max(-1)
        better = top > best[:, query]  # of equal ones the lowest index stays
        best[:, query] = torch.where(better, top, best[:, query])
        index[:, query] = torch.where(better, block.start + place, index[:, query])
    return index


def check_cameras(camera_of: Tensor) -> None:
    """Raise UserError unless tracklets, whose cameras are given [N], are of at least two."""
    if (cameras := len(camera_of.unique())) < 2:
        what = "association learning needs tracklets of at least two cameras"
        raise UserError(f"{what}; the training set has {cameras}")


def camera_blocks(camera_of: Tensor) -> list[slice] | None:
    """Return the places of each camera's tracklets [N]; None if cameras do not ascend."""
    if bool((camera_of.diff() < 0).any()):
        return None
    ends = camera_of.bincount().cumsum(0).tolist()
    return [slice(*pair) for pair in zip([0, *ends], ends, strict=False)]


def gather(anchors: Tensor, index: Tensor) -> Tensor:
    """Rows of anchors [k, N, d] at index [B] (the same for all parts) or [k, B]: [k, B, d]."""
    return anchors[torch.arange(len(anchors), device=index.device)[:, None], index]


def camera_mean(values: Tensor, camera: Tensor) -> Tensor:
    """Mean of values [k, B] over the frames of the same camera, given back to each frame [k, B]."""
    same = (camera[:, None] == camera[None]).to(values.dtype)  # [B, B], symmetric
    return values @ (same / same.sum(0))


def top_push_loss(
    d_intra: Tensor, d_cross: Tensor, d_first: Tensor, own_first: Tensor, camera: Tensor,
    margin: float, lam: float, cross_first: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Top-push hinge of Eqs. (5)-(8), averaged over parts and frames: a scalar.

    A frame whose own tracklet does not rank first is pushed from the one that does, at distance
    d_first. When its own ranks first there is no such rival; then the distance to beat is the mean
    first distance of its camera in this batch, so that the frame still moves closer than average.

    Args:
        d_intra: distances to the intra anchor of the frame's own tracklet [k, B].
        d_cross: distances to its cross anchor [k, B].
        d_first: distance to the intra anchor that ranks first in the frame's camera [k, B].
        own_first: whether that is the own anchor [k, B], bool: the case of Eq. (5).
        camera: of each frame [B].
        margin: m, in the units of the distance.
        lam: weight of the cross-camera term.
        cross_first: the case of Eq. (6) [k, B], bool; None: the same as that of Eq. (5).
    """
    d_mean = camera_mean(d_first, camera)
    cross_first = own_first if cross_first is None else cross_first
    intra = (d_intra - torch.where(own_first, d_mean, d_first) + margin).clamp_min(0)
    cross = (d_cross - torch.where(cross_first, d_mean, d_first) + margin).clamp_min(0)
    return (intra + lam * cross).mean()


class Association(nn.Module):
    """The anchors and the rules that read and move them; an objective for ``training``.

    Buffers: ``intra``, ``cross`` [k, N, d] stored anchors, ``intra_scale`` [k, N] what a stored
    intra anchor is multiplied by before it is compared (1 / length, or 1; 0: never visited),
    ``camera_of`` [N], ``match`` [k, N] the cyclic match at the last visit (-1: none). All are part
    of the state dict. The cameras are integers from 0. Eta, margin, lam and the switches between
    paper and published code are the config's. Anchors stored in half precision (``anchors``) are
    rounded where they are moved; everything is computed in the type of ``intra_scale``.

    Raises UserError for tracklets of a single camera.
    """

    intra: Tensor
    cross: Tensor
    intra_scale: Tensor
    match: Tensor
    camera_of: Tensor

    def __init__(self, k: int, dim: int, camera_of: Tensor, config: Config) -> None:
        super().__init__()
        check_cameras(camera_of)
        n = len(camera_of)
        self.config = config
        self.blocks = camera_blocks(camera_of)
        # Averages of unit vectors need no range, but digits: float16 has three bits more than
        # bfloat16, in which a slow average (eta = 0.01) stands still.
        stored = torch.float16 if config.anchors == "float16" else None
        self.register_buffer("intra", torch.zeros(k, n, dim, dtype=stored))
        self.register_buffer("cross", torch.zeros(k, n, dim, dtype=stored))
        self.register_buffer("intra_scale", torch.zeros(k, n))
        self.register_buffer("match", torch.full((k, n), -1))
        self.register_buffer("camera_of", camera_of.long())

    def forward(self, features: Tensor, tracklet: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of a batch, Eqs. (5)-(8), from the anchors as they stand.

        Part features [B, k, d], of any length, and the index of each frame's tracklet [B], from 0
        over all cameras, give the loss and the share of frames whose own tracklet ranks first.
        """
        return self.loss(unit(features.transpose(0, 1)), tracklet)

    def loss(self, x: Tensor, tracklet: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`forward`, from part features that have unit length already [k, B, d].

        Where no tracklet of its camera can be ranked, a frame's loss is as if its own ranked first.
        """
        with torch.no_grad():
            ranked = self.nearest(x, self.camera_of[tracklet], own=True)
        return self._loss(x, tracklet, ranked)

    def step(
        self, features: Tensor, tracklet: Tensor, warm: bool
    ) -> tuple[Tensor, Tensor, Callable[[], Tensor]]:
        """Loss and share of :meth:`forward`, and :meth:`update` as a call that is still to be made.

        Both searches that need nothing but the anchors before the step, of the frames in their own
        camera and of the moved anchors in all others, read them once.
        """
        if warm or self.config.partner_anchor == "after":
            return *self(features, tracklet), partial(self.update, features, tracklet, warm)
        x, camera = unit(features.transpose(0, 1)), self.camera_of[tracklet]
        with torch.no_grad():
            moved, own = self._moved(x.detach(), tracklet)
            own_camera = torch.arange(2 * len(camera), device=camera.device)[:, None] < len(camera)
            both = torch.cat([x.detach(), own], dim=1)
            ranked, there = self.nearest(both, camera.repeat(2), own_camera).chunk(2, dim=1)
        return *self._loss(x, tracklet, ranked), partial(self._move, moved, own, there, tracklet)

    def _loss(self, x: Tensor, tracklet: Tensor, ranked: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`loss`, given which anchor of its camera ranks first [k, B]."""
        camera = self.camera_of[tracklet]
        first = torch.where(ranked < 0, tracklet, ranked)
        own_first = first == tracklet
        own, cross = self.intra_at(tracklet), self._rows(self.cross, tracklet)
        if self.config.anchor_length == "normalised":
            cross = unit(cross)
        cross_first = own_first
        if self.config.cross_case == "cross":  # D^C = D^min: only if both anchors are the same one
            rounding = max(1e-5, torch.finfo(self.cross.dtype).eps)  # of what is stored
            cross_first = own_first & (distance(own, cross) < rounding)
        kind = self.config.distance
        loss = top_push_loss(
            distance(x, own, kind),
            distance(x, cross, kind),
            distance(x, self.intra_at(first), kind),
            own_first,
            camera,
            self.config.margin,
            self.config.lam,
            cross_first,
        )
        return loss, (ranked == tracklet).float().mean()

    @torch.no_grad()
    def place(self, anchors: Tensor) -> None:
        """Set the intra anchors to vectors [k, N, d]; the cross anchors follow as in Eq. (9)."""
        self.intra.copy_(anchors)
        self.intra_scale.copy_(self._scale(self.intra.to(self.intra_scale.dtype)))
        self.cross.copy_(self.intra * self.intra_scale[..., None])
        self.match.fill_(-1)

    @torch.no_grad()
    def update(self, features: Tensor, tracklet: Tensor, warm: bool) -> Tensor:
        """Move the anchors of a batch's tracklets, Eqs. (3), (4) and (9).

        The own camera's anchors are those after the step (t + 1). Those of the other cameras are
        those before it (t), as Eq. (4) has the partner's, or after it (``partner_anchor``): the
        partner is searched among the same anchors of which one is averaged.

        Features and tracklets are those of :meth:`forward`. While ``warm``, the cross anchors
        follow the intra anchors. Returns the share of the batch's tracklets that are cyclically
        consistent.
        """
        moved, own = self._moved(unit(features.detach().transpose(0, 1)), tracklet)
        if warm:
            self._store(moved, tracklet)
            self.cross[:, tracklet] = own.to(self.cross.dtype)
            self.match[:, tracklet] = -1
            return torch.zeros((), device=own.device)
        if self.config.partner_anchor == "after":
            self._store(moved, tracklet)
        there = self.nearest(own, self.camera_of[tracklet], own=False)
        return self._move(moved, own, there, tracklet)

    @torch.no_grad()
    def _move(self, moved: Tensor, own: Tensor, there: Tensor, tracklet: Tensor) -> Tensor:
        """Eqs. (4) and (9): the second half of :meth:`update`, given where the way there leads."""
        partner = self.intra_at(there.clamp_min(0))
        self._store(moved, tracklet)  # now at the latest: the way back ends at t + 1
        match = self._closed(there, partner, tracklet)
        cross = torch.where((match >= 0)[..., None], (own + partner) / 2, own)
        self.cross[:, tracklet] = cross.to(self.cross.dtype)
        self.match[:, tracklet] = match
        return (match >= 0).float().mean()

    def renew(self) -> None:
        """Do nothing at a new epoch: the anchors follow step by step."""

    def _moved(self, x: Tensor, tracklet: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. (3): a - eta (a - x) for the tracklets of unit features x [k, B, d]: [k, B, d].

        Returned as it will be stored, and as it is compared.

        Several frames of a tracklet count by ``repeats``; all of them get the same new anchor.
        """
        old = self._rows(self.intra, tracklet)
        pulled = old if self.config.anchor_difference == "stored" else unit(old)
        step = self.config.eta * (pulled - x.to(old.dtype))
        same = tracklet[:, None] == tracklet
        if self.config.repeats == "mean":
            step = step / same.sum(1)[:, None]
        moved = old - same.to(step.dtype) @ step  # on a GPU index_add_ would add in any order
        moved = moved.to(self.intra.dtype).to(moved.dtype)  # rounded, if it will be
        return moved, moved * self._scale(moved)[..., None]

    def _scale(self, anchors: Tensor) -> Tensor:
        """What anchors [..., d] are multiplied by where they are compared; 0: no direction yet."""
        length = anchors.square().sum(-1).sqrt()
        normalised = self.config.anchor_length == "normalised"
        return torch.where(length > 1e-5, 1 / length if normalised else torch.ones_like(length), 0)

    def _store(self, anchors: Tensor, tracklet: Tensor) -> None:
        """Make anchors [k, B, d] the intra anchors of tracklets [B]; a tracklet has one anchor."""
        self.intra[:, tracklet] = anchors.to(self.intra.dtype)
        self.intra_scale[:, tracklet] = self._scale(anchors)

    def intra_at(self, index: Tensor) -> Tensor:
        """Intra anchors at index [B] or [k, B] as they are compared: [k, B, d].

        Scaled to length 1 or as stored (``anchor_length``); zero if never visited.
        """
        scale = gather(self.intra_scale[..., None], index)
        return self._rows(self.intra, index) * scale

    def _rows(self, anchors: Tensor, index: Tensor) -> Tensor:
        """Stored anchors at index in the type that is computed in; see :func:`gather`."""
        return gather(anchors, index).to(self.intra_scale.dtype)

    def nearest(self, queries: Tensor, camera: Tensor, own: bool | Tensor) -> Tensor:
        """Index of the nearest intra anchor of queries [k, B, d]: [k, B], -1 if none competes.

        Those of the queries' own cameras [B] compete, or those of all others; ``own`` says which,
        for all queries or for each [B, 1], bool. A tracklet not visited yet never competes, or
        counts as a zero vector (``rank_unvisited``).
        """
        visited = self.intra_scale > 0
        if self.config.anchor_length == "normalised":
            offset = (~visited).to(self.intra_scale.dtype) / 2
        else:
            parts = (part.to(self.intra_scale.dtype) for part in self.intra)
            offset = (1 - torch.stack([part.square().sum(-1) for part in parts])) / 2
        if not self.config.rank_unvisited:
            offset = offset.masked_fill(~visited, -torch.inf)
        anchors = self.intra, self.intra_scale, offset
        if self.blocks and queries.device.type == "cpu":
            chosen = (camera[:, None] == torch.arange(len(self.blocks))) == own
            return nearest_by_camera(queries, *anchors, self.blocks, chosen)
        # On a GPU one product is fast, and cutting it up would have to wait for the cameras.
        return nearest(queries, *anchors, (camera[:, None] == self.camera_of) == own)

    def cyclic_match(self, tracklet: Tensor) -> Tensor:
        """The cyclically consistent match of tracklets [B] in any other camera: [k, B], -1 if none.

        From the own anchor to the nearest anchor of all other cameras, and from there back to the
        nearest anchor of the own camera: consistent if that is where it began (section 3.4).
        """
        there = self.nearest(self.intra_at(tracklet), self.camera_of[tracklet], own=False)
        return self._closed(there, self.intra_at(there.clamp_min(0)), tracklet)

    def _closed(self, there: Tensor, partner: Tensor, tracklet: Tensor) -> Tensor:
        """The way back: there [k, B] if its anchor partner [k, B, d] leads to tracklet, else -1."""
        back = self.nearest(partner, self.camera_of[tracklet], own=True)
        return torch.where((there >= 0) & (back == tracklet), there, -1)
