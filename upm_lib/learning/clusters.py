"""Cluster contrast on part features: a second objective, without or with the cameras.

Once an epoch the tracklets are clustered, part by part; a memory holds a cluster's centres, and
the loss asks of each frame that its own cluster's centre is the nearest (Dai et al., Cluster
Contrast for Unsupervised Person Re-Identification, ACCV 2022; here with tracklets in the place of
pictures). Section 3.4 calls part models a general scheme into which such a method fits: it has the
interface of :class:`~upm_lib.learning.association.Association`.

Shapes: B frames, k parts, d numbers a feature, N tracklets of all cameras. A cluster is named by
its first tracklet, which is also the place of its centre.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from upm_lib.config import Config
from upm_lib.learning.association import unit


def first_of(group: Tensor) -> Tensor:
    """Index of the first member of each one's group, for group numbers [N]: [N]."""
    return (group[:, None] == group).int().argmax(1)


def clustered(points: Tensor) -> Tensor:
    """Cluster vectors [N, d] by HDBSCAN; each one's cluster is given by its first member [N].

    The leaves of the tree are taken, since people are small clusters: two tracklets are enough. A
    vector that joins none is a cluster of its own.
    """
    lone = torch.arange(len(points), device=points.device)
    if len(points) < 2:
        return lone
    from sklearn.cluster import HDBSCAN  # takes a second, which other objectives need not wait

    # Trees only slow it down in so many dimensions: quadratic either way, with 30 times the factor.
    way = {"algorithm": "brute", "copy": True}
    method = HDBSCAN(min_cluster_size=2, cluster_selection_method="leaf", **way)
    found = torch.from_numpy(method.fit_predict(points.cpu().numpy())).to(lone)
    return first_of(torch.where(found < 0, len(points) + lone, found))


def contrast_loss(
    x: Tensor, centres: Tensor, positive: Tensor, group: Tensor, groups: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """InfoNCE of unit features x [k, B, d] against centres [k, N, d]: a scalar, and a share.

    A centre of zeros does not count. A centre's rivals are those of its ``group`` [N], a number in
    0..groups - 1. A frame's loss is the mean of -log softmax, each among the rivals, over its
    ``positive`` centres [k, B, N]; it is 0 where there is none. The share is that of the frames
    whose most similar centre is positive.
    """
    used = (centres != 0).any(-1)[:, None]
    lowest = torch.finfo(x.dtype).min
    similar = torch.bmm(x, centres.transpose(1, 2)).div(temperature).masked_fill(~used, lowest)
    rivals = [similar.masked_fill(group != g, lowest).logsumexp(-1) for g in range(groups)]
    chance = similar - torch.stack(rivals, -1)[..., group]
    positive = positive & used
    held = torch.where(positive, chance, 0).sum(-1)
    top = positive.gather(2, similar.argmax(-1, keepdim=True))
    return -(held / positive.sum(-1).clamp_min(1)).mean(), top.float().mean()


class Clusters(nn.Module):
    """The clusters, their memory, and the rules that move them; an objective for ``training``.

    Buffers: ``mean`` [k, N, d] moving averages of each tracklet's unit features, ``centre``
    [k, N, d] the memory, ``cluster`` and ``place`` [k, N] each tracklet's cluster and the place of
    its centre, ``visited`` [N], ``camera_of`` [N], ``match`` [k, N] the nearest tracklet of another
    camera in the same cluster (-1: none), which training itself does not use. During the warm-up
    every tracklet is its own cluster. With ``centres="camera"`` a cluster has a centre for each of
    its cameras; all of them are positive, and each is weighed against its camera's centres only, so
    a person whom clustering has not joined across cameras is not pushed apart.
    """

    group: Tensor
    mean: Tensor
    centre: Tensor
    cluster: Tensor
    place: Tensor
    visited: Tensor
    camera_of: Tensor
    match: Tensor

    def __init__(self, k: int, dim: int, camera_of: Tensor, config: Config) -> None:
        super().__init__()
        n = len(camera_of)
        self.config = config
        by_camera = config.centres == "camera"
        self.groups = int(camera_of.max()) + 1 if by_camera and n else 1
        self.register_buffer("group", camera_of.long() * by_camera, persistent=False)
        self.register_buffer("mean", torch.zeros(k, n, dim))
        self.register_buffer("centre", torch.zeros(k, n, dim))
        self.register_buffer("cluster", torch.arange(n).repeat(k, 1))
        self.register_buffer("place", torch.arange(n).repeat(k, 1))
        self.register_buffer("visited", torch.zeros(n, dtype=torch.bool))
        self.register_buffer("camera_of", camera_of.long())
        self.register_buffer("match", torch.full((k, n), -1))

    def forward(self, features: Tensor, tracklet: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of a batch from the memory as it stands.

        Part features [B, k, d], of any length, and the index of each frame's tracklet [B] give the
        loss and the share of frames whose own cluster ranks first.
        """
        x = unit(features.transpose(0, 1))
        own = self.cluster[:, tracklet]
        positive = own[..., None] == self.cluster[:, None]
        return contrast_loss(
            x, self.centre, positive, self.group, self.groups, self.config.temperature
        )

    def step(
        self, features: Tensor, tracklet: Tensor, warm: bool
    ) -> tuple[Tensor, Tensor, Callable[[], Tensor]]:
        """Loss and share of :meth:`forward`, and :meth:`update` as a call still to be made."""
        return *self(features, tracklet), partial(self.update, features, tracklet)

    @torch.no_grad()
    def update(self, features: Tensor, tracklet: Tensor) -> Tensor:
        """Move the tracklets' averages and their clusters' centres towards a batch's features.

        Several frames of a tracklet, or of a cluster, count by their mean. Returns the share of the
        batch's tracklets that have a match in another camera.
        """
        x = unit(features.detach().transpose(0, 1)).to(self.mean.dtype)
        for part, frames in enumerate(x):
            self._pull(self.mean[part], tracklet, frames, self.config.eta)
            place = self.place[part, tracklet]
            self._pull(self.centre[part], place, frames, 1 - self.config.centre_momentum)
            self.centre[part, place] = unit(self.centre[part, place])
        self.visited[tracklet] = True
        return (self.match[:, tracklet] >= 0).float().mean()

    @staticmethod
    def _pull(vectors: Tensor, index: Tensor, frames: Tensor, rate: float) -> None:
        """Pull vectors [N, d] at index [B] by a rate to the mean of their frames [B, d]."""
        same = (index[:, None] == index).to(frames.dtype)
        vectors[index] = vectors[index].lerp(same @ frames / same.sum(1, keepdim=True), rate)

    @torch.no_grad()
    def renew(self) -> None:
        """Cluster the tracklets that have been visited; their centres are the means of members."""
        seen = self.visited.nonzero().squeeze(1)
        if not len(seen):
            return
        vectors, cameras = unit(self.mean[:, seen]), self.camera_of[seen]
        self.centre.zero_()
        for part, points in enumerate(vectors):
            cluster = clustered(points)
            place = cluster
            if self.config.centres == "camera":
                place = first_of(cluster * (int(cameras.max()) + 1) + cameras)
            self.cluster[part, seen], self.place[part, seen] = seen[cluster], seen[place]
            # On the CPU, since a GPU adds in an order that changes from run to run.
            sums = torch.zeros_like(points, device="cpu").index_add_(0, place.cpu(), points.cpu())
            self.centre[part, seen] = unit(sums.to(points))
            alike = (points @ points.T).masked_fill(
                (cluster[:, None] != cluster) | (cameras[:, None] == cameras), -torch.inf
            )
            best, nearest = alike.max(1)
            self.match[part, seen] = torch.where(best > -torch.inf, seen[nearest], -1)
