"""What only a controlled world can show: correct pairs, single parts, regions of the body.

Everything here looks at finished networks with the true identities at hand; training has neither.
Shapes: F frames, N tracklets, P probe and G gallery tracklets, k parts, c or d numbers a feature.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from upm_lib.config import MAP_ROWS, PARTS, Config, UserError
from upm_lib.experiments import measuring, networks
from upm_lib.experiments.bench import Bench
from upm_lib.learning import model
from upm_lib.learning.association import Association, unit
from upm_lib.retrieval import activation, evaluation, features
from upm_lib.synthetic import world

LOOKED_AT = 300  # probes in which people who look alike are searched
REGIONS = ("background", "head", "torso", "legs")  # by the labels of world.regions


def row_features(bench: Bench, network: model.UPMNet, tracklets: np.ndarray) -> Tensor:
    """Mean over a tracklet's frames of the mean of each row of the backbone's map: [N, 8, c]."""
    c = next(reversed(list(network.backbone.parameters()))).shape[0]  # of the last batch norm
    by_row = model.UPMNet(network.backbone, model.LocalAware(c, MAP_ROWS), network.frozen)
    source = networks.source_of(bench, bench.config)
    index, owner = bench.frames.of(tracklets), bench.frames.rows(tracklets)
    count = np.bincount(owner)
    total = torch.zeros(len(tracklets), MAP_ROWS * c)
    for place, (rows,) in features.blocks([by_row], source, index, bench.config):
        total.index_add_(0, torch.from_numpy(owner[place]), rows.flatten(1))
    return (total / torch.from_numpy(count)[:, None]).unflatten(1, (MAP_ROWS, c))


def stripe_features(rows: Tensor, k: int) -> Tensor:
    """Average the 8 rows [N, 8, c] in k stripes and scale to length 1: [k, N, c]."""
    return unit(rows.unflatten(1, (k, rows.shape[1] // k)).mean(2)).transpose(0, 1)


def cyclic_pairs(anchors: Tensor, cameras: np.ndarray, config: Config) -> np.ndarray:
    """Return the cyclically consistent partner of each tracklet [k, N], -1 for none.

    Their anchors are [k, N, d], their cameras [N] integers from 0.
    """
    k, n, d = anchors.shape
    objective = Association(k, d, torch.as_tensor(cameras), config)
    objective.place(anchors)
    return objective.cyclic_match(torch.arange(n)).numpy()


def pair_shares(
    bench: Bench, network: model.UPMNet, ks: Sequence[int] = PARTS, trial: int = 1
) -> pd.DataFrame:
    """Pair the training tracklets of a finished network by k stripes, for several k.

    The network stays the same; only the stripes over which its map is averaged change. Columns k,
    consistent and correct: in percent, the share of tracklets and parts that find a partner, and
    the share of these partners that are the same person, where both are known.
    """
    tracklets = bench.split(trial).train
    people, cameras = bench.people(tracklets), bench.cameras(tracklets)
    rows, table = row_features(bench, network, tracklets), []
    for k in ks:
        match = cyclic_pairs(stripe_features(rows, k), cameras, bench.config)
        shares = (match >= 0).mean(), networks.share_of_one_person(match, people)
        table.append({"k": k, "consistent": 100 * shares[0], "correct": 100 * shares[1]})
    return pd.DataFrame(table)


def part_vectors(bench: Bench, method: str, trial: int = 1) -> list[Tensor]:
    """Unit vectors of every single part of one network: of probes [k, P, d], gallery [k, G, d]."""
    (network,) = networks.of(bench, bench.measurement(method, trial))
    halves, source = measuring.searched(bench, trial), networks.source_of(bench, bench.config)
    found = []
    for side in (halves.probe, halves.gallery):
        whole = features.tracklet_features([network], source, side, bench.config)
        found.append(unit(whole.unflatten(1, (network.k, network.dim))).transpose(0, 1))
    return found


def part_rank1(bench: Bench, method: str, trial: int = 1) -> np.ndarray:
    """Rank-1 in percent of each part alone [k], top part first."""
    halves = bench.split(trial)
    sides = zip(*part_vectors(bench, method, trial), strict=True)
    found = [measuring.rank(bench, halves, pair, bench.config.probes) for pair in sides]
    return np.array([100 * ranking.cmc(1)[0] for ranking in found])


def lookalikes(bench: Bench, method: str, trial: int = 1) -> pd.DataFrame:
    """Return, for each part, two different test people whose part is most alike.

    Of a large test half the first ``LOOKED_AT`` probes are searched. A person appears once: parts
    are served in the order in which their nearest pair is found, and some get none where there are
    fewer people than two a part. One row a part, top part first; columns part (from 1), probe and
    gallery (tracklets), distance (of the part) and whole (of all parts together), both in 0..2.
    """
    halves = bench.split(trial)
    probes, galleries = part_vectors(bench, method, trial)
    pairs = zip(probes[:, :LOOKED_AT], galleries, strict=True)
    apart = torch.stack([evaluation.distances(*pair) for pair in pairs]).numpy()  # [k, P, G]
    whole = np.sqrt((apart**2).mean(0))
    first, second = bench.people(halves.probe[:LOOKED_AT]), bench.people(halves.gallery)
    left = np.where(first[:, None] == second, np.inf, apart)
    table: list[dict[str, Any]] = []
    for _ in apart:
        part, p, g = np.unravel_index(left.argmin(), left.shape)
        if not np.isfinite(left[part, p, g]):
            break
        row = {"part": part + 1, "probe": halves.probe[p], "gallery": halves.gallery[g]}
        table.append(row | {"distance": apart[part, p, g], "whole": whole[p, g]})
        left[part] = np.inf
        shown = (first[p], second[g])
        left[:, np.isin(first, shown)] = left[:, :, np.isin(second, shown)] = np.inf
    columns = ["part", "probe", "gallery", "distance", "whole"]
    return pd.DataFrame(table, columns=columns).sort_values("part", ignore_index=True)


def body_regions(bench: Bench, tracklet: int) -> np.ndarray:
    """Return what each pixel of a tracklet's frames shows, as places in REGIONS: uint8 [T, h, w].

    Raises UserError unless the people were drawn here.
    """
    if not bench.is_synthetic or bench.config.root is not None:
        raise UserError(
            f"nobody knows where head and legs are in the pictures of {bench.dataset.root}: open a "
            f"synthetic data set ({', '.join(world.WORLDS)}) without root"
        )
    drawn = bench.dataset.tracklets[tracklet]
    return world.regions(world.WORLDS[bench.config.dataset], drawn.person, drawn.camera)


def activation_by_region(
    bench: Bench, methods: Sequence[str] = ("baseline", "local", "global"), trial: int = 1
) -> pd.DataFrame:
    """Say in numbers where activation maps respond, for the test people of a trial (section 4.6).

    Each number is the mean over all frames of a person's probe and gallery tracklets. Index method
    and person. One column for each of REGIONS: its share of the activation over its share of the
    area, 1 for an even map, over the frames that show it; above_half: share of the picture whose
    activation is at least half of the maximum; breadth: as in ``activation``; both in percent.

    Raises UserError unless the people were drawn here.
    """
    halves, rows = measuring.searched(bench, trial), []
    tracklets = np.r_[halves.probe, halves.gallery]
    regions = [body_regions(bench, tracklet) for tracklet in tracklets]
    for method in methods:
        (network,) = networks.of(bench, bench.measurement(method, trial))
        for tracklet, labels in zip(tracklets, regions, strict=True):
            index = bench.frames.of([tracklet])
            maps = activation.activation_maps(network, bench.frames, index, bench.config)
            share, area = activation.region_shares(maps, labels, len(REGIONS))
            found = pd.DataFrame(share / np.where(area > 0, area, np.nan), columns=list(REGIONS))
            found["above_half"] = 100 * (maps >= 0.5).mean((1, 2))
            found["breadth"] = 100 * activation.breadth(maps)
            person = bench.dataset.tracklets[tracklet].person
            rows.append(found.assign(method=method, person=person))
    return pd.concat(rows).groupby(["method", "person"], sort=False).mean()


def paired_differences(found: pd.DataFrame, base: str = "baseline") -> pd.DataFrame:
    """Compare the methods of :func:`activation_by_region` with one of them, person by person.

    Index method and measure; columns mean, low and high: the mean difference and its 95 % interval
    by Student's t, over people, for these networks.
    """
    made = {}
    for method in found.index.unique("method").drop(base):
        gap = measuring.mean_interval(found.loc[method] - found.loc[base])
        made[method] = pd.DataFrame(dict(zip(("mean", "low", "high"), gap, strict=True)))
    return pd.concat(made, names=["method", "measure"])


def toy_parts(k: int, people: int = 6, seed: int = 0) -> Tensor:
    """Anchors in the plane of toy people seen by two cameras, for k stripes: [k, 2 people, 2].

    Each of a person's 8 rows has one of four colours, which are directions in the plane; a camera
    sees every row turned by a few degrees of noise. A stripe is the average over its rows.
    """
    draw = np.random.default_rng(seed)
    colours = np.radians(draw.choice([20, 65, 110, 155], (people, MAP_ROWS)))
    seen = np.concatenate([colours, colours]) + np.radians(draw.normal(0, 6, (2 * people, 8)))
    rows = torch.from_numpy(np.stack([np.cos(seen), np.sin(seen)], -1)).float()
    return stripe_features(rows, k)
