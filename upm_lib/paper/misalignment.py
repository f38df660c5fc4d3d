"""What misaligned boxes do to part models on WARD, from what ``data_scripts/alignment.py`` wrote.

``misaligned.csv`` has a line for each query of each trial, ``moved.csv`` one for each method and
distance by which the boxes of all queries were moved. All of it is measured on real people.
"""

from importlib import resources

import pandas as pd
from scipy import stats

from upm_lib.experiments.measuring import mean_interval


def _read(name: str) -> pd.DataFrame:
    with resources.files(__package__).joinpath(name).open(encoding="utf-8") as lines:
        return pd.read_csv(lines)


def by_offset(groups: int = 4) -> pd.DataFrame:
    """Return what parts gain over the baseline, for queries from well to badly aligned.

    The queries are divided into groups of equal size by how far their boxes and those of their
    true matches are apart. Columns misaligned (mean of the group, percent of the height), queries,
    and for local and global the mean gain in average precision over the baseline with its 95 %
    interval over queries (gain, low, high; points).
    """
    found = _read("misaligned.csv")
    group = pd.qcut(found["misaligned"], groups, labels=False)
    rows = []
    for _, queries in found.groupby(group):
        for method in ("local", "global"):
            gap = 100 * (queries[method] - queries["baseline"])
            mean, low, high = mean_interval(gap)
            row = {"misaligned": 100 * queries["misaligned"].mean(), "queries": len(queries)}
            rows.append(row | {"method": method, "gain": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


def correlation(method: str) -> tuple[float, float]:
    """Return Spearman's correlation of misalignment and a method's gain, and its p-value."""
    found = _read("misaligned.csv")
    result = stats.spearmanr(found["misaligned"], found[method] - found["baseline"])
    return float(result.statistic), float(result.pvalue)


def moved() -> pd.DataFrame:
    """Return Rank-1 when the boxes of all queries are moved: mean over the trials.

    Columns share (percent of the height, positive: the picture moves down in its box), method,
    rank1 and loss (points below the same method's Rank-1 with boxes as they are).
    """
    found = _read("moved.csv").groupby(["method", "share"])["rank1"].mean().reset_index()
    still = found[found["share"] == 0].set_index("method")["rank1"]
    loss = still[found["method"]].to_numpy() - found["rank1"]
    return found.assign(share=100 * found["share"], loss=loss)
