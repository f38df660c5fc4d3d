"""The committed study of WARD and the synthetic worlds: baseline, parts and fusion, by trial.

``data_scripts/study.py`` measured it and wrote ``study.csv`` (one line a measurement) and
``study.json`` (configs and versions). WARD's people are real, all others synthetic. Differences
are paired: two methods are compared on the same trial, which has the same people, and then
averaged. A table writes mean ± standard deviation over the trials; of a single trial it writes the
value alone.
"""

from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from upm_lib.config import PARTS, UserError, known
from upm_lib.experiments.measuring import mean_interval, spread
from upm_lib.synthetic.world import WORLDS

Where = Mapping[str, Any]  # column of the study -> its value
# The lines of the main comparison; the variant says what was changed.
METHODS: dict[str, Where] = {m: {"method": m} for m in ("untrained", "baseline", "local", "global")}
METHODS["fusion"] = {"method": "fusion"}
METHODS["fusion, scaled first"] = {"method": "fusion", "variant": "normalise_branches=True"}
# Of every knob, in the clean world that was measured: its boxes had no vertical offset yet.
AT_REST = 0.0
METRICS = {"Rank-1": "rank1", "Rank-5": "rank5", "Rank-20": "rank20", "mAP": "mAP"}
# What the clean world was also measured with.
BACKBONES: dict[str, Where] = {
    "MobileNetV1, ImageNet weights": {"scale": "frozen"},
    "small, random start": {"scale": "demo"},
    "ResNet50, random start": {"scale": "demo", "variant": "backbone=resnet50, steps=60"},
}


@lru_cache(1)
def _rows() -> pd.DataFrame:
    with resources.files("upm_lib.paper").joinpath("study.csv").open(encoding="utf-8") as lines:
        found = pd.read_csv(lines).fillna({"variant": "", "knob": "", "value": 0.0})
    return found.assign(correct_pairs=100 * found["correct_pairs"])


def rows(**wanted: Any) -> pd.DataFrame:
    """Return the lines of the study in which the given columns have the given values.

    Columns: part, dataset, scale, method, k, variant, knob, value (0 where no knob is turned),
    trial, backbone, rank1, rank5, rank20, mAP, mAP_mean_precision, correct_pairs (all in percent),
    seconds. Raises UserError for a column or value that the study does not have.
    """
    found = _rows()
    for name, value in wanted.items():
        known(found.columns, name, "column of the study")
        known(found[name].unique(), str(value), f"{name} beside what else is asked of the study")
        found = found[found[name] == value]
    return found.copy()


def trials(metric: str = "rank1", **wanted: Any) -> pd.Series:
    """Return a metric in percent by trial of one setting.

    What is not given is the usual: k = 8, no variant, no knob turned. The baseline has one part,
    and the local-aware network of one part is the baseline.
    """
    return rows(**_usual(wanted)).set_index("trial")[metric].sort_index()


def found(metric: str = "rank1", **wanted: Any) -> pd.Series:
    """Return what :func:`trials` does, or an empty series of a setting that nobody measured."""
    same = [_rows()[name] == value for name, value in _usual(wanted).items()]
    return _rows()[np.logical_and.reduce(same)].set_index("trial")[metric].sort_index()


def _usual(wanted: Where) -> dict[str, Any]:
    usual = {"scale": "frozen", "k": 8, "variant": "", "knob": ""} | dict(wanted)
    if usual.get("method") == "baseline" or (usual.get("method"), usual["k"]) == ("local", 1):
        usual |= {"method": "baseline", "k": 1}
    return usual


def difference(first: pd.Series, second: pd.Series) -> dict[str, float]:
    """Compare two settings trial by trial: first minus second, in points.

    Returns mean, standard deviation, number of trials, and the 95 % interval of the mean (low,
    high) by Student's t. Raises UserError unless they have the same trials, at least two.
    """
    if list(first.index) != list(second.index) or len(first) < 2:
        raise UserError("a paired difference needs the same trials on both sides, at least two")
    gap = first - second
    mean, low, high = map(float, mean_interval(gap))
    return {"mean": mean, "sd": float(gap.std()), "trials": len(gap), "low": low, "high": high}


def table(
    columns: Mapping[Any, Where], lines: Mapping[Any, Where], metric: str = "rank1", digits: int = 1
) -> pd.DataFrame:
    """Return a metric of the :func:`trials` that meet the conditions of a column and of a line."""
    cells: dict[Any, dict[Any, str]] = {column: {} for column in columns}
    for (column, where), (line, more) in product(columns.items(), lines.items()):
        cells[column][line] = spread(trials(metric, **{**where, **more}), digits)
    return pd.DataFrame(cells)


def switched(usual: str, other: str, lines: Mapping[Any, Where]) -> pd.DataFrame:
    """Return Rank-1 without (usual) and with (other) the variant of each line, and the difference.

    The difference is paired, with the 95 % interval of its mean, in points.
    """
    made = {}
    for name, where in lines.items():
        first, second = trials(**{**where, "variant": ""}), trials(**where)
        gap = difference(second, first)
        made[name] = {usual: spread(first), other: spread(second)}
        made[name]["difference"] = f"{gap['mean']:+.1f}"
        made[name]["95 % interval"] = f"{gap['low']:+.1f} to {gap['high']:+.1f}"
    return pd.DataFrame.from_dict(made, orient="index")


def comparison(metric: str = "rank1") -> pd.DataFrame:
    """Return the main comparison: the methods (rows) in the three worlds."""
    worlds = {name: {"dataset": name} for name in WORLDS}
    return table(worlds, METHODS, metric).rename_axis("method")


def people(variant: str = "") -> pd.DataFrame:
    """Return the main comparison on WARD, real people: mean ± standard deviation over ten trials.

    Columns Rank-1, Rank-5, Rank-20 and mAP in percent, and the paired difference of Rank-1 to the
    baseline in points with its 95 % interval. The variant "tracklet_pool=max" has the maximum over
    a tracklet's frames in place of the mean.
    """
    lines = {}
    base = trials(dataset="ward", method="baseline", variant=variant)
    for name, where in METHODS.items():
        both = [v for v in (where.get("variant", ""), variant if name != "untrained" else "") if v]
        setting = {"dataset": "ward", **where, "variant": ", ".join(both)}
        lines[name] = {
            title: spread(trials(metric, **setting)) for title, metric in METRICS.items()
        }
        gap = difference(trials(**setting), base)
        apart = "{mean:+.1f} [{low:+.1f}, {high:+.1f}]".format(**gap)
        lines[name]["over the baseline"] = "" if name == "baseline" else apart
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("method")


def by_parts(dataset: str) -> pd.DataFrame:
    """Return Rank-1 by k (rows) and method; k = 1 of "local" is the baseline."""
    trained = {name: {"dataset": dataset, **METHODS[name]} for name in list(METHODS)[2:]}
    return table(trained, {k: {"k": k} for k in PARTS}).rename_axis("k")


def backbones() -> pd.DataFrame:
    """Return Rank-1 of the methods on the clean world by backbone (columns)."""
    columns = {name: {"dataset": "synthetic_clean", **where} for name, where in BACKBONES.items()}
    return table(columns, {name: METHODS[name] for name in list(METHODS)[:5]}).rename_axis("method")


def pairs() -> pd.DataFrame:
    """Return the share (%) of cyclically consistent pairs that are one person, by k (columns).

    The line "local" at k = 1 is the baseline. Training never knows this number, the synthetic world
    does.
    """
    lines = {(d, m): {"dataset": d, "method": m} for d in WORLDS for m in ("local", "global")}
    made = table({k: {"k": k} for k in PARTS}, lines, "correct_pairs", digits=0)
    return made.rename_axis(index=["dataset", "method"], columns="k")


def gains() -> pd.DataFrame:
    """Return the paired differences of Rank-1 to the baseline, one line a data set and method.

    Columns: dataset, method, mean, sd, trials, low, high (points; 95 % interval of the mean).
    """
    return pd.DataFrame(
        {"dataset": dataset, "method": name, **gain(name, dataset=dataset)}
        for dataset, name in product(WORLDS, list(METHODS)[2:])
    )


def gain(name: str, **where: Any) -> dict[str, float]:
    """Return the paired difference of Rank-1 between a line of METHODS and the baseline."""
    return difference(trials(**METHODS[name], **where), trials(method="baseline", **where))


def turned(knob: str) -> pd.DataFrame:
    """Return the lines in which one knob of the clean world is turned; a column has its name.

    At AT_REST stands the clean world itself, on the same trials.
    """
    found = rows(knob=knob)
    usual = rows(dataset="synthetic_clean", scale="frozen", knob="", variant="")
    alike = usual.merge(found[["method", "k", "trial"]].drop_duplicates())
    return pd.concat([alike.assign(value=AT_REST), found]).rename(columns={"value": knob})


def turned_gains() -> pd.DataFrame:
    """Return what turned knobs leave of the gains over the baseline in Rank-1.

    Index: knob and its value; first the clean world. Columns: local, global, fusion, each the mean
    of the paired differences and its 95 % interval, in points, as text.
    """
    made: dict[tuple[str, float], dict[str, str]] = {}
    cell = "{mean:+.1f} [{low:+.1f}, {high:+.1f}]"
    clean = rows(dataset="synthetic_clean", scale="frozen")
    settings = sorted(set(zip(clean["knob"], clean["value"], strict=True)))
    for (knob, value), name in product(settings, ("local", "global", "fusion")):
        found = gain(name, dataset="synthetic_clean", knob=knob, value=value)
        made.setdefault((knob or "none", value), {})[name] = cell.format(**found)
    return pd.DataFrame.from_dict(made, orient="index").rename_axis(["knob", "value"])


def pooling() -> pd.DataFrame:
    """Return average and maximum pooling (Table 3), and the paired difference of the two."""
    cells = product(WORLDS, ("baseline", "local", "global", "fusion"))
    lines = {(d, m): {"dataset": d, "method": m, "variant": "pool=gmp"} for d, m in cells}
    return switched("average", "maximum", lines)


def heads() -> pd.DataFrame:
    """Return the global-aware network with another head: left random, or trained at another rate.

    The usual rate of the head is three times the backbone's.
    """
    names = {"left random": "train_global_head=False"}
    names |= {"rate x 1": "head_lr_factor=1.0", "rate x 10": "head_lr_factor=10.0"}
    lines = {
        (name, dataset): {"dataset": dataset, "method": "global", "variant": variant}
        for name, variant in names.items()
        for dataset in rows(scale="frozen", variant=variant)["dataset"].unique()
    }
    return switched("trained, rate x 3", "switched", lines)
