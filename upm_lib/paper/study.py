"""The committed study of the synthetic worlds: baseline, parts and fusion, trial by trial.

``data_scripts/study.py`` measured it and wrote ``study.csv`` (one line a measurement) and
``study.json`` (configs and versions). All of it is synthetic. Differences are paired: two methods
are compared on the same trial, which has the same people, and then averaged.
"""

import json
from functools import lru_cache
from importlib import resources
from typing import Any

import pandas as pd
from scipy import stats

from upm_lib.config import UserError, known

# (name, method, variant) of the rows of the main comparison; the variant is what was changed.
METHODS = (
    ("untrained", "untrained", ""),
    ("baseline", "baseline", ""),
    ("local", "local", ""),
    ("global", "global", ""),
    ("fusion", "fusion", ""),
    ("fusion, scaled first", "fusion", "normalise_branches=True"),
)
# What the clean world was also measured with: (scale, variant).
BACKBONES = {
    "MobileNetV1, ImageNet weights": ("frozen", ""),
    "small, random start": ("demo", ""),
    "ResNet50, random start": ("demo", "backbone=resnet50, steps=60"),
}
KEY = ["dataset", "scale", "method", "k", "variant", "knob", "value", "trial"]


@lru_cache(1)
def _rows() -> pd.DataFrame:
    with resources.files("upm_lib.paper").joinpath("study.csv").open(encoding="utf-8") as lines:
        return pd.read_csv(lines, keep_default_na=True).fillna({"variant": "", "knob": ""})


def about() -> dict[str, Any]:
    """Return the config and versions of each part of the study."""
    text = resources.files("upm_lib.paper").joinpath("study.json").read_text(encoding="utf-8")
    return json.loads(text)


def rows(**wanted: Any) -> pd.DataFrame:
    """Return the lines of the study in which the given columns have the given values.

    Columns: part, dataset, scale, method, k, variant, knob, value, trial, backbone, rank1, rank5,
    rank20, mAP, mAP_mean_precision (percent), correct_pairs (0..1), seconds.
    Raises UserError for a column or value that the study does not have.
    """
    found = _rows()
    for name, value in wanted.items():
        known(found.columns, name, "column of the study")
        kept = found[found[name] == value]
        if kept.empty:
            raise UserError(
                f"the study has no line with {name} = {value!r} among those asked for: it has "
                f"{', '.join(map(str, found[name].unique()))}"
            )
        found = kept
    return found.copy()


def trials(metric: str = "rank1", **wanted: Any) -> pd.Series:
    """Return a metric in percent by trial of one setting.

    What is not given is the usual: k = 8 (1 for the baseline), no variant, no knob turned.
    """
    usual = {"k": 1 if wanted.get("method") == "baseline" else 8, "variant": "", "knob": ""}
    if wanted.get("method") == "histogram":
        usual.pop("k")
    return rows(**usual | wanted).set_index("trial")[metric].sort_index()


def difference(first: pd.Series, second: pd.Series) -> dict[str, float]:
    """Compare two settings trial by trial: first minus second, in points.

    Returns mean, standard deviation, number of trials, and the 95 % interval of the mean (low,
    high) by Student's t. Raises UserError unless they have the same trials, at least two.
    """
    if list(first.index) != list(second.index) or len(first) < 2:
        raise UserError("a paired difference needs the same trials on both sides, at least two")
    gap = first - second
    mean, spread, count = float(gap.mean()), float(gap.std()), len(gap)
    half = float(stats.t.ppf(0.975, count - 1)) * spread / count**0.5
    return {"mean": mean, "sd": spread, "trials": count, "low": mean - half, "high": mean + half}


def comparison(scale: str = "frozen", metric: str = "rank1", **wanted: Any) -> pd.DataFrame:
    """Return the main comparison: mean ± standard deviation over the trials, data sets as columns.

    Args:
        scale: "frozen" (ImageNet backbone) or "demo" (small backbone, random start).
        metric: a column of :func:`rows`, in percent.
        wanted: further conditions on the trained rows, such as k.
    """
    table = {}
    for dataset in dict.fromkeys(rows(scale=scale, knob="")["dataset"]):
        for name, method, variant in METHODS:
            given = {} if method in ("baseline", "untrained") else wanted
            values = trials(
                metric, dataset=dataset, scale=scale, method=method, variant=variant, **given
            )
            table.setdefault(dataset, {})[name] = f"{values.mean():.1f} ± {values.std():.1f}"
    return pd.DataFrame(table).rename_axis("method")


def gains(scale: str = "frozen", metric: str = "rank1") -> pd.DataFrame:
    """Return the paired differences to the baseline, one line a data set and method.

    Columns: dataset, method, mean, sd, trials, low, high (points; 95 % interval of the mean).
    """
    lines = []
    for dataset in dict.fromkeys(rows(scale=scale, knob="")["dataset"]):
        base = trials(metric, dataset=dataset, scale=scale, method="baseline")
        for name, method, variant in METHODS[2:]:
            ours = trials(metric, dataset=dataset, scale=scale, method=method, variant=variant)
            lines.append({"dataset": dataset, "method": name} | difference(ours, base))
    return pd.DataFrame(lines)


def by_parts(dataset: str, metric: str = "rank1") -> pd.DataFrame:
    """Return mean ± standard deviation by k (rows) and method; k = 1 of "local" is the baseline."""
    table = {}
    for k in (1, 2, 4, 8):
        for name, method, variant in METHODS[2:]:
            method = "baseline" if (method, k) == ("local", 1) else method
            values = trials(
                metric, dataset=dataset, scale="frozen", method=method, k=k, variant=variant
            )
            table.setdefault(name, {})[k] = f"{values.mean():.1f} ± {values.std():.1f}"
    return pd.DataFrame(table).rename_axis("k")


def pairs(scale: str = "frozen") -> pd.DataFrame:
    """Return the share (%) of cyclically consistent pairs that are one person, by k (columns).

    Mean ± standard deviation over the trials; the line "local" at k = 1 is the baseline. Training
    never knows this number, the synthetic world does.
    """
    found = rows(scale=scale, knob="", variant="").dropna(subset="correct_pairs")
    found["method"] = found["method"].replace("baseline", "local")
    cells = 100 * found.set_index(["dataset", "method", "k"])["correct_pairs"]
    cells = cells.groupby(level=[0, 1, 2], sort=False).agg(["mean", "std"])
    return cells.apply(lambda c: f"{c['mean']:.0f} ± {c['std']:.0f}", axis=1).unstack("k")


def turned(knob: str) -> pd.DataFrame:
    """Return the lines in which one knob of the clean world is turned; a column has its name.

    At its usual value stands the clean world itself, on the same trials.
    """
    found = rows(knob=knob)
    usual = rows(dataset="synthetic_clean", scale="frozen", knob="", variant="")
    wanted = usual["method"].isin(found["method"].unique()) & usual["trial"].isin(found["trial"])
    usual = usual[wanted & ((usual["k"] == 8) | (usual["method"] == "baseline"))]
    both = pd.concat([usual.assign(value=0.0), found])
    return both.rename(columns={"value": knob}).drop(columns="knob").reset_index(drop=True)


def turned_gains() -> pd.DataFrame:
    """Return what turned knobs leave of the gains over the baseline in Rank-1.

    Index: knob and its value; first the clean world. Columns: local, global, fusion, each the mean
    of the paired differences and its 95 % interval, in points, as text.
    """
    usual, table = {"dataset": "synthetic_clean", "scale": "frozen"}, {}
    knobs = rows().query("knob != ''").groupby(["knob", "value"]).groups
    settings = [("none", 0.0, usual)]
    settings += [(knob, value, usual | {"knob": knob, "value": value}) for knob, value in knobs]
    for knob, value, where in settings:
        base = trials(method="baseline", **where)
        line = {
            m: difference(trials(method=m, **where), base) for m in ("local", "global", "fusion")
        }
        table[knob, value] = {
            m: f"{d['mean']:+.1f} [{d['low']:+.1f}, {d['high']:+.1f}]" for m, d in line.items()
        }
    return pd.DataFrame.from_dict(table, orient="index").rename_axis(["knob", "value"])


def backbones(metric: str = "rank1") -> pd.DataFrame:
    """Return the methods on the clean world by backbone (columns), mean ± standard deviation."""
    table = {}
    for backbone, (scale, variant) in BACKBONES.items():
        for method in ("untrained", "baseline", "local", "global", "fusion"):
            where = {"dataset": "synthetic_clean", "scale": scale, "method": method}
            values = trials(metric, variant=variant, **where)
            spread = f" ± {values.std():.1f}" if len(values) > 1 else ""
            table.setdefault(backbone, {})[method] = f"{values.mean():.1f}{spread}"
    return pd.DataFrame(table).rename_axis("method")


def pooling(metric: str = "rank1") -> pd.DataFrame:
    """Return average and maximum pooling (Table 3), and the paired difference of the two."""
    lines = {}
    for dataset in dict.fromkeys(rows(variant="pool=gmp")["dataset"]):
        for method in ("baseline", "local", "global", "fusion"):
            where = {"dataset": dataset, "scale": "frozen", "method": method}
            gap, gmp = (trials(metric, variant=v, **where) for v in ("", "pool=gmp"))
            lines[dataset, method] = _against("average", gap, "maximum", gmp)
    return pd.DataFrame.from_dict(lines, orient="index")


def heads(metric: str = "rank1") -> pd.DataFrame:
    """Return the global-aware network with another head: left random, or trained at another rate.

    The usual rate of the head is three times the backbone's.
    """
    switches = {
        "left random": "train_global_head=False",
        "rate x 1": "head_lr_factor=1.0",
        "rate x 10": "head_lr_factor=10.0",
    }
    lines, found = {}, rows(scale="frozen", method="global")
    for name, variant in switches.items():
        for dataset in dict.fromkeys(found[found["variant"] == variant]["dataset"]):
            where = {"dataset": dataset, "scale": "frozen", "method": "global"}
            usual, other = (trials(metric, variant=v, **where) for v in ("", variant))
            lines[name, dataset] = _against("trained, rate x 3", usual, "switched", other)
    return pd.DataFrame.from_dict(lines, orient="index")


def _against(one: str, first: pd.Series, other: str, second: pd.Series) -> dict[str, str]:
    gap = difference(second, first)
    return {
        one: f"{first.mean():.1f} ± {first.std():.1f}",
        other: f"{second.mean():.1f} ± {second.std():.1f}",
        "difference": f"{gap['mean']:+.1f}",
        "95 % interval": f"{gap['low']:+.1f} to {gap['high']:+.1f}",
    }
