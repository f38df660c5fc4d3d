"""Misaligned boxes and part models: how far boxes are apart, and what that costs each method."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from upm_lib.config import Config
from upm_lib.data.packing import Source
from upm_lib.experiments import measuring, networks
from upm_lib.experiments.bench import Bench
from upm_lib.learning.association import unit
from upm_lib.learning.model import UPMNet
from upm_lib.retrieval import features
from upm_lib.retrieval.offsets import vertical_offsets

METHODS = ("baseline", "local", "global")


def rows_of(bench: Bench, tracklets: np.ndarray) -> Tensor:
    """Return the rows of some tracklets' frozen maps [T, R, c]: means over frames and columns.

    The bench's config must freeze blocks of the backbone: their maps are finer than the last ones.
    """
    source = networks.source_of(bench, bench.config)
    return torch.stack(
        [
            source.batch(source.of([tracklet]), bench.config, "cpu").mean((0, 3)).T
            for tracklet in tracklets
        ]
    )


def offset_pairs(bench: Bench, trial: int = 1) -> pd.DataFrame:
    """Return how far the boxes of each query and of its true matches are apart vertically.

    Columns query and gallery (numbers of the tracklets) and offset (share of the boxes' height,
    positive where the match stands lower in its box).
    """
    halves = measuring.searched(bench, trial)
    shown = np.unique(np.r_[halves.probe, halves.gallery])
    people, cameras = bench.people(shown), bench.cameras(shown)
    rows = rows_of(bench, shown)
    first = np.searchsorted(shown, halves.probe)
    same = (people[first][:, None] == people) & (cameras[first][:, None] != cameras)
    query, match = first[np.nonzero(same)[0]], np.nonzero(same)[1]
    found = vertical_offsets(rows[query], rows[match]).numpy()
    return pd.DataFrame({"query": shown[query], "gallery": shown[match], "offset": found})


def by_query(bench: Bench, trial: int = 1) -> pd.DataFrame:
    """Return, for each query of a trial, how misaligned it is and how well each method finds it.

    Columns trial, query, misaligned (mean of the absolute offsets to its true matches, share of
    the height) and the average precision by baseline, local and global (mean precision, in 0..1).
    """
    halves = measuring.searched(bench, trial)
    made = {"trial": trial, "query": halves.probe}
    for method in METHODS:
        measurement = bench.measurement(method, trial)
        pair = measuring.trial_vectors(bench, measurement)
        ranking = measuring.rank(bench, halves, pair, measurement.config.probes)
        made[method] = ranking.average_precision("mean_precision")
    apart = offset_pairs(bench, trial).assign(misaligned=lambda pairs: pairs["offset"].abs())
    return pd.DataFrame(made).join(apart.groupby("query")["misaligned"].mean(), on="query")


class Shifted(Source):
    """Frames of which each is moved down by a share of its height, then put through some blocks."""

    def __init__(self, frames: Source, share: float, blocks: nn.Module) -> None:
        self.frames, self.share, self.blocks = frames, share, blocks
        self.tracklet = frames.tracklet

    @torch.inference_mode()
    def batch(self, index: np.ndarray, config: Config, device: torch.device | str) -> Tensor:
        """Return moved frames [B, 3, H, W], or what the blocks make of them."""
        images = self.frames.batch(index, config, device)
        return self.blocks(shifted(images, round(self.share * images.shape[2])))


def shifted(images: Tensor, pixels: int) -> Tensor:
    """Move images [B, c, H, W] down by some pixels (up if negative); edge rows fill the gap."""
    rows = torch.arange(images.shape[2], device=images.device) - pixels
    return images[:, :, rows.clamp(0, images.shape[2] - 1)]


def cost_of_shift(bench: Bench, shares: list[float], trial: int = 1) -> pd.DataFrame:
    """Return what each method still finds when the boxes of the queries are moved.

    The networks are those of :func:`measuring.measure`, and the gallery stays as it is. Columns
    trial, share (of the height, positive: down), method, rank1 and mAP (in percent).
    """
    halves, rows = measuring.searched(bench, trial), []
    made = [bench.measurement(method, trial) for method in METHODS]
    found = [networks.of(bench, measurement)[0] for measurement in made]
    galleries = [measuring.trial_vectors(bench, measurement)[1] for measurement in made]
    for share in shares:
        moved = Shifted(bench.frames, share, found[0].frozen)  # the same blocks in all of them
        queries = _vectors(found, moved, halves.probe, made[0].config)
        for method, query, gallery in zip(METHODS, queries, galleries, strict=True):
            ranking = measuring.rank(bench, halves, (query, gallery), made[0].config.probes)
            row = {"trial": trial, "share": share, "method": method}
            metrics = measuring.metrics(ranking)
            rows.append(row | {name: metrics[name] for name in ("rank1", "mAP")})
    return pd.DataFrame(rows)


def _vectors(
    found: list[UPMNet], source: Source, tracklets: np.ndarray, config: Config
) -> list[Tensor]:
    """Return each network's own vectors of some tracklets [T, D]; frames are read once for all."""
    row = source.rows(tracklets)
    pool, sizes = config.tracklet_pool, [network.k * network.dim for network in found]
    vectors = [torch.full((len(tracklets), size), features.POOLS[pool][1]) for size in sizes]
    for place, parts in features.blocks(found, source, source.of(tracklets), config):
        for own, part in zip(vectors, parts, strict=True):
            features.pool_into(own, features.fuse(part), row[place], pool)
    return [unit(own) for own in vectors]
