"""Misaligned boxes on WARD: what they cost part models and the baseline, measured query by query.

``data_scripts/alignment.py`` measured it and wrote ``misaligned.csv`` (one line a query: how far
its box is from those of its true matches, average precision by method) and ``moved.csv`` (one line
a trial, shift and method: the boxes of all queries moved). Differences are paired: methods are
compared on the same queries, or trials; the intervals are over the trials.
"""

import pandas as pd

from upm_lib.experiments.measuring import mean_interval
from upm_lib.paper import committed, study

_PARTS = ("local", "global")


def by_query() -> pd.DataFrame:
    """Return one line a query that has a true match.

    Columns trial, query (its tracklet's number), misaligned (mean absolute vertical offset to the
    true matches, in percent of the height), and what local-aware and global-aware parts gain over
    the baseline in average precision (local, global; in points).
    """
    found = committed.table("misaligned").dropna()
    gained = {method: 100 * (found[method] - found["baseline"]) for method in _PARTS}
    return found.assign(misaligned=100 * found["misaligned"], **gained)[
        ["trial", "query", "misaligned", *_PARTS]
    ]


def by_person() -> pd.DataFrame:
    """Return the mean gain of each person over all trials that search him (local, global; points).

    WARD's tracklets are numbered camera by camera, and each camera has all 70 people in order.
    """
    found = by_query()
    return found.groupby(found["query"] % 70)[list(_PARTS)].mean()


def moved() -> pd.DataFrame:
    """Return Rank-1 and mAP (both %) by trial, share of the height, and method."""
    return committed.table("moved")


def binned(count: int = 4) -> pd.DataFrame:
    """Return the gains over the baseline by how misaligned a query is, in bins of equal size.

    Columns value (the bin, in percent of the height), queries, method, mean, low, high (points of
    average precision; 95 % interval over the means of the trials).
    """
    found, lines = by_query(), []
    bins = pd.qcut(found["misaligned"], count)
    for interval, rows in found.groupby(bins, observed=True):
        value = f"{interval.left:.2f} to {interval.right:.2f}"
        by_trial = rows.groupby("trial")[list(_PARTS)].mean()
        for method in _PARTS:
            mean, low, high = mean_interval(by_trial[method])
            lines.append((value, len(rows), method, mean, low, high))
    return pd.DataFrame(lines, columns=["value", "queries", "method", "mean", "low", "high"])


def slopes() -> pd.DataFrame:
    """Return how a gain changes where boxes are one percent of the height further apart.

    Lines local and global; columns mean, low, high: the least-squares slope in points of average
    precision, and its 95 % interval over the trials.
    """
    shared = by_query().groupby("trial").cov().xs("misaligned", level=1)
    made = {method: mean_interval(shared[method] / shared["misaligned"]) for method in _PARTS}
    return pd.DataFrame(made, index=["mean", "low", "high"]).T


def costs() -> pd.DataFrame:
    """Return Rank-1 by how far the boxes of all queries are moved (share of the height, rows).

    Columns: each method's mean over the trials, and for local and global what they lose beyond the
    baseline's loss, paired by trial, with its 95 % interval (points; negative: they lose more), or
    "not measured" of fewer than two trials.
    """
    found = moved().pivot(index="trial", columns=["share", "method"], values="rank1")
    lines = {}
    for share in sorted(found.columns.unique("share")):
        both = found[[0.0, share]].dropna()
        lost = both[share] - both[0.0]
        line = {method: f"{found[share][method].mean():.1f}" for method in ("baseline", *_PARTS)}
        for method in _PARTS:
            several = share and len(lost) > 1
            gap = study.difference(lost[method], lost["baseline"]) if several else None
            line[f"{method}, beyond the baseline"] = study.told(gap) if share else ""
        lines[f"{100 * share:+.0f} %"] = line
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("boxes moved by")
