"""The committed study of WARD and the synthetic worlds: baseline, parts and fusion, by trial.

``data_scripts/study.py`` measured it and wrote ``study.csv`` (one line a measurement) and
``study.json`` (config and versions of each part). WARD's people are real, all others synthetic.
Differences are paired: two methods are compared on the same trial, which has the same people, and
then averaged. A table writes mean ± standard deviation over the trials; of a single trial it writes
the value alone, and of a setting without a trial "not measured".
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from upm_lib.config import PARTS, UserError, known
from upm_lib.experiments.measuring import mean_interval, spread
from upm_lib.paper import committed
from upm_lib.synthetic.world import WORLDS

Where = Mapping[str, Any]  # column of the study -> its value
SETS = ("ward", *WORLDS)
# The lines of the main comparison; the variant says what was changed.
TRAINED: dict[str, Where] = {m: {"method": m} for m in ("local", "global", "fusion")}
TRAINED["fusion, scaled first"] = {"method": "fusion", "variant": "normalise_branches=True"}
METHODS: dict[str, Where] = {"colour histogram": {"method": "histogram"}}
METHODS |= {m: {"method": m} for m in ("untrained", "baseline")} | TRAINED
RANKS = {"Rank-1": "rank1", "Rank-5": "rank5", "Rank-20": "rank20"}
METRICS = RANKS | {"mAP": "mAP", "mAP, mean precision": "mAP_mean_precision"}
MAXIMUM = "tracklet_pool=max"  # the variant: the maximum over the frames in place of their mean
DEEPER = "freeze=9"  # the variant: the last four blocks of the backbone learn in place of two
SHORTER = f"epochs=4, {DEEPER}"  # the variant: four blocks learn for 4 epochs in place of 8
LONGER = "epochs=16"  # the variant: the clean world's networks learn for 16 epochs in place of 8
UNIT = "part_length=normalised"  # the variant: x_0 .. x_k have length 1 (section 3.1)
# How WARD was measured: the names of the columns of verdict and tables, and the variant of each.
WARD = {"ward": "", "ward, maximum": MAXIMUM, "ward, four blocks": DEEPER}
WARD["ward, four blocks, maximum"] = f"{DEEPER}, {MAXIMUM}"
NOT_MEASURED = "not measured"
# What tells without labels how a training goes: column of the curves, and whether more is better.
SIGNALS = {
    "smallest loss": ("loss", -1),
    "most frames rank their own tracklet first": ("top_share", 1),
    "most training tracklets have a partner": ("cyclic_share", 1),
    "most searched tracklets choose each other": ("mutual", 1),
}
# Of the curves: how many epochs, and how many people of the training half were held out.
EPOCHS = 60.0
HELD_OUT = dict.fromkeys(WORLDS, 40) | {"ward": 12}


@lru_cache(1)
def _rows() -> pd.DataFrame:
    found = committed.table("study", dtype={"variant": str, "knob": str})
    found = found.fillna({"variant": "", "knob": "", "value": 0.0})
    return found.assign(correct_pairs=100 * found["correct_pairs"])


def rows(**wanted: Any) -> pd.DataFrame:
    """Return the lines of the study in which the given columns have the given values.

    Columns: part, dataset, scale, method, k, variant, knob, value (0 where no knob is turned),
    trial, backbone, rank1, rank5, rank20, mAP, mAP_mean_precision, correct_pairs (all in percent),
    seconds, cpu (AVX2 or AVX512, which round differently). Raises UserError for a column or value
    that the study does not have.
    """
    found = _rows()
    for name, value in wanted.items():
        known(found.columns, name, "column of the study")
        if not (same := found[name] == value).any():
            what = f"{name} beside what else is asked of the study"
            known(found[name].unique(), str(value), what)
        found = found[same]
    return found.copy()


def trials(metric: str = "rank1", **wanted: Any) -> pd.Series:
    """Return a metric in percent by trial of one setting.

    What is not given is the usual: k = 8, no variant, no knob turned. The baseline has one part,
    and the local-aware network of one part is the baseline. Its one vector is scaled to length 1
    wherever it is compared, so it was not measured with the variant :data:`UNIT`.
    """
    return rows(**_usual(wanted)).set_index("trial")[metric].sort_index()


def found(metric: str = "rank1", **wanted: Any) -> pd.Series:
    """Return what :func:`trials` does, or an empty series of a setting that nobody measured."""
    same = [_rows()[name] == value for name, value in _usual(wanted).items()]
    return _rows()[np.logical_and.reduce(same)].set_index("trial")[metric].sort_index()


def _usual(wanted: Where) -> dict[str, Any]:
    usual: dict[str, Any] = {"scale": "frozen", "k": 8, "variant": "", "knob": ""} | dict(wanted)
    if usual.get("method") == "baseline" or (usual.get("method"), usual["k"]) == ("local", 1):
        kept = [change for change in usual["variant"].split(", ") if change != UNIT]
        usual |= {"method": "baseline", "k": 1, "variant": ", ".join(kept)}
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


def paired(first: Where, second: Where) -> dict[str, float] | None:
    """Compare Rank-1 of two settings (:func:`difference`) on the trials that both have.

    None if there are fewer than two.
    """
    sides = [found(**where) for where in (first, second)]
    both = sides[0].index.intersection(sides[1].index)
    return difference(sides[0][both], sides[1][both]) if len(both) > 1 else None


def told(gap: Mapping[str, float] | None) -> str:
    """Return a paired difference with its interval as text, in points."""
    return "{mean:+.1f} [{low:+.1f}, {high:+.1f}]".format(**gap) if gap else NOT_MEASURED


def varied(setting: Where, variant: str) -> Where:
    """Return a setting of the study with one more variant, in the study's order; "" adds none."""
    both = [name for name in (setting.get("variant", ""), variant) if name]
    return {**setting, "variant": ", ".join(sorted(", ".join(both).split(", ")))}


def _cell(values: pd.Series, digits: int = 1) -> str:
    return spread(values, digits) if len(values) else NOT_MEASURED


def table(
    columns: Mapping[Any, Where], lines: Mapping[Any, Where], metric: str = "rank1", digits: int = 1
) -> pd.DataFrame:
    """Return a metric of what was :func:`found` for the conditions of a column and of a line."""
    cells: dict[Any, dict[Any, str]] = {column: {} for column in columns}
    for (column, where), (line, more) in product(columns.items(), lines.items()):
        cells[column][line] = _cell(found(metric, **{**where, **more}), digits)
    return pd.DataFrame(cells)


def _measured_only(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out the lines in which nothing was measured."""
    return table[(table != NOT_MEASURED).any(axis=1)]


def comparison(metric: str = "rank1", sets: Iterable[str] = SETS) -> pd.DataFrame:
    """Return the main comparison: a metric of the methods (rows) on each data set."""
    return table({name: {"dataset": name} for name in sets}, METHODS, metric).rename_axis("method")


def measured(dataset: str, variant: str = "") -> pd.DataFrame:
    """Return the main comparison on one data set: mean ± standard deviation over the trials.

    Columns Rank-1, Rank-5, Rank-20, mAP by the paper's trapezoid and by the mean of precisions, as
    toolboxes have it, all in percent; and the paired difference of Rank-1 to the baseline in points
    with its 95 % interval. The variant "tracklet_pool=max" has the maximum over a tracklet's
    frames in place of the mean, "freeze=9" four trained blocks in place of two,
    "part_length=normalised" parts and whole of length 1 before Eqs. (1) and (2).
    """
    lines: dict[str, dict[str, str]] = {}
    base: Where = {"dataset": dataset, "method": "baseline", "variant": variant}
    for name, where in METHODS.items():
        setting = varied({"dataset": dataset, **where}, variant)
        lines[name] = {title: _cell(found(m, **setting)) for title, m in METRICS.items()}
        apart = "" if name == "baseline" else told(paired(setting, base))
        lines[name]["over the baseline"] = apart
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("method")


def _by_k(dataset: str) -> dict[tuple[int, str], pd.Series]:
    """Return Rank-1 by (k, method), all on the trials that everything measured of a set has."""
    cells = {
        (k, name): found(dataset=dataset, k=k, **where)
        for k, (name, where) in product(PARTS, TRAINED.items())
    }
    measured = {cell: values for cell, values in cells.items() if len(values)}
    same = pd.concat(measured, axis=1).dropna().index if measured else ()
    return {cell: values[same] for cell, values in measured.items()}


def by_parts() -> pd.DataFrame:
    """Return Rank-1 by data set, k (rows) and method; k = 1 of "local" is the baseline.

    All numbers of a data set are of the same trials; the first column counts them.
    """
    lines: dict[tuple[str, int], dict[str, Any]] = {}
    for name in SETS:
        for (k, method), values in _by_k(name).items():
            lines.setdefault((name, k), {"trials": len(values)})[method] = _cell(values)
    made = pd.DataFrame.from_dict(lines, orient="index").fillna(NOT_MEASURED)
    return made.rename_axis(index=["data set", "k"])


def part_models() -> pd.DataFrame:
    """Return what Fig. 1 draws: Rank-1 of part models alone by k, in percent over the baseline's.

    Columns dataset, k, change (percent of the baseline; NaN where not measured), kind; data sets of
    which nothing was measured are left out. The trials are those of :func:`by_parts`.
    """
    lines = []
    for name in SETS:
        mean = {cell: values.mean() for cell, values in _by_k(name).items()}
        for k in PARTS[1:]:
            local, base = mean.get((k, "local"), np.nan), mean.get((1, "local"), np.nan)
            change = 100 * (local / base - 1)
            lines.append((name, k, change, _kind(name)))
    made = pd.DataFrame(lines, columns=["dataset", "k", "change", "kind"])
    return made.groupby("dataset", sort=False).filter(lambda one: one["change"].notna().any())


def pairs() -> pd.DataFrame:
    """Return the share (%) of cyclically consistent pairs that are one person, by k (columns).

    The line "local" at k = 1 is the baseline. Training never knows this number; who the people are
    is known for the evaluation.
    """
    lines = {(d, m): {"dataset": d, "method": m} for d in SETS for m in ("local", "global")}
    made = _measured_only(table({k: {"k": k} for k in PARTS}, lines, "correct_pairs", digits=0))
    return made.rename_axis(index=["data set", "method"], columns="k")


def gain(name: str, **where: Any) -> dict[str, float] | None:
    """Return the paired difference of Rank-1 between a line of METHODS and the baseline."""
    return paired({**METHODS[name], **where}, {"method": "baseline", **where})


def gains() -> pd.DataFrame:
    """Return the paired differences of Rank-1 to the baseline that were measured.

    One line a data set and method; columns dataset, method, kind, gain, sd, trials, low, high
    (points; 95 % interval of the mean), for :func:`upm_lib.pictures.charts.gain`.
    """
    every = {(d, m): gain(m, dataset=d) for d, m in product(SETS, TRAINED)}
    made = [
        {"dataset": d, "method": m, "kind": _kind(d), **gap} for (d, m), gap in every.items() if gap
    ]
    return pd.DataFrame(made).rename(columns={"mean": "gain"})


def camera_pairs() -> pd.DataFrame:
    """Return what the literature of WARD reports, by method (rows) and pair of cameras (columns).

    Rank-1, Rank-5 and Rank-20 in percent, mean ± standard deviation over the trials. The queries of
    the first camera are searched in the gallery of the second; each trial has 35 of them.
    ``data_scripts/study.py --pairs`` measured it, with the networks of WARD's main comparison.
    """
    found = committed.table("camera_pairs")
    found = found[found["probe"] < found["gallery"]]
    made = found.assign(pair=found["probe"] + " in " + found["gallery"])
    made = made.rename(columns={metric: name for name, metric in RANKS.items()})
    cells = made.pivot_table([*RANKS], "method", "pair", aggfunc=spread, sort=False)
    return cells.swaplevel(axis=1)[list(product(made["pair"].unique(), RANKS))]


def curves() -> pd.DataFrame:
    """Return what networks of 60 epochs knew on the way, by data set, method and epoch.

    Columns dataset, method, epoch, rank1, mAP (in percent, of people held out of the training
    half), mutual, loss, shares of pairs (0..1); all of trial 1. ``data_scripts/curves.py`` measured
    it.
    """
    found = _curves()
    found = found[(found["trial"] == 1) & (found["cross_until"] == found["length"])]
    return found.sort_values("dataset", key=lambda names: names.map(SETS.index), kind="stable")


def _curves(variant: str = "default") -> pd.DataFrame:
    """Return the curves that are ours: ``curves.py --write`` may have put others beside them."""
    found = committed.table("curves")
    usual = found["people"] == found["dataset"].map(HELD_OUT)  # no other data set has a number
    return found[usual & (found["length"] == EPOCHS) & (found["variant"] == variant)]


def stops() -> pd.DataFrame:
    """Return what it costs to end a long training where a signal without labels is best.

    In points of mAP below the best epoch of the same training, from epoch 3 on (after the warm-up).
    A line a training to epoch 60 (variant, dataset, method, trial) of a baseline, local-aware or
    global-aware network; a column a signal of :data:`SIGNALS`, then fixed epochs.
    """
    found = pd.concat([_curves(), _curves(DEEPER)]).query("epoch >= 3 and cross_until == length")
    found = found[found["method"].isin(["baseline", "local", "global"])]
    names = ["variant", "dataset", "method", "trial"]
    lines = {name: _stopped(rows.set_index("epoch")) for name, rows in found.groupby(names)}
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis(names)


def stopping() -> pd.DataFrame:
    """Return :func:`stops` by data set (mean), then the mean and the largest of all trainings."""
    every = stops()
    whole, deeper = (every.xs(variant, level="variant") for variant in ("default", DEEPER))
    found = whole.groupby("dataset").mean().T[[*SETS]]
    found.insert(1, "ward, four blocks", deeper.mean())
    return found.assign(mean=every.mean(), largest=every.max())


def _stopped(rows: pd.DataFrame) -> dict[str, float]:
    ends = {name: (sign * rows[column]).idxmax() for name, (column, sign) in SIGNALS.items()}
    ends |= {f"epoch {epoch}": epoch for epoch in (8, 10, 60)}
    lost = rows["mAP"].max() - rows["mAP"].reindex([*ends.values()])
    return dict(zip(ends, lost, strict=True))


def _kind(dataset: str) -> str:
    return f"measured ({'synthetic' if dataset in WORLDS else 'real'})"


def switched(usual: str, other: str, change: str, lines: Mapping[Any, Where]) -> pd.DataFrame:
    """Return Rank-1 of each line as it is (usual) and with a change (other), and the difference.

    All are of the trials that both have. The difference is paired, with the 95 % interval of its
    mean, in points. Lines that lack one of the two are left out.
    """
    made = {}
    for name, where in lines.items():
        sides = pd.DataFrame({usual: found(**where), other: found(**varied(where, change))})
        sides = sides.dropna()
        if len(sides) > 1:
            gap = difference(sides[other], sides[usual])
            cells = {column: _cell(values) for column, values in sides.items()}
            made[name] = {**cells, "difference": told(gap)}
    index = pd.MultiIndex.from_tuples(made, names=["data set", "method"])
    return pd.DataFrame([*made.values()], index, [usual, other, "difference"])


def pooling() -> pd.DataFrame:
    """Return average and maximum pooling at k = 2 (Table 3), and the paired difference of both."""
    cells = product(SETS, ("baseline", "local", "global", "fusion"))
    lines = {(d, m): {"dataset": d, "method": m, "k": 2} for d, m in cells}
    return switched("average", "maximum", "pool=gmp", lines)


def heads() -> pd.DataFrame:
    """Return what it changes to leave the global-aware head as it was drawn, as its code does."""
    lines = {(d, m): {"dataset": d, "method": m} for d, m in product(SETS, ("global", "fusion"))}
    return switched("trained", "left random", "train_global_head=False", lines)


def deeper() -> pd.DataFrame:
    """Return what it changes to train four blocks of the backbone in place of two."""
    cells = product(SETS, ("baseline", "local", "global", "fusion"))
    lines = {(d, m): {"dataset": d, "method": m} for d, m in cells}
    return switched("two blocks", "four blocks", DEEPER, lines)


def longer() -> pd.DataFrame:
    """Return what it changes in the clean world to learn for 16 epochs in place of 8."""
    world = "synthetic_clean"
    lines = {(world, m): {"dataset": world, **METHODS[m]} for m in ("baseline", *TRAINED)}
    return switched("8 epochs", "16 epochs", LONGER, lines)


def lengths() -> pd.DataFrame:
    """Return what it changes to scale x_0 .. x_k to length 1, as section 3.1 says, on WARD."""
    lines = {
        (name, method): varied({"dataset": "ward", **where}, variant)
        for (name, variant), (method, where) in product(WARD.items(), TRAINED.items())
        if method != "local"
    }
    return switched("as pooled", "length 1", UNIT, lines)


def turned(knob: str) -> pd.DataFrame:
    """Return Rank-1 by the value of a knob that was turned, and by method.

    Knobs of the clean world, whose own value is among them, and "tighter": the share of WARD's
    pictures that was cut off at each side. All numbers are of the trials that every value has. The
    last columns are what local-aware parts and the fusion gain over the baseline, with the 95 %
    interval of the mean, in points.
    """
    measured = rows(knob=knob)
    (dataset,) = measured["dataset"].unique()
    where: dict[float, Where] = {v: {"knob": knob, "value": v} for v in measured["value"].unique()}
    if dataset in WORLDS:
        where[getattr(WORLDS[dataset], knob)] = {}
    cells = {
        (value, method): found(dataset=dataset, method=method, **how)
        for value, how in where.items()
        for method in ("baseline", "local", "global", "fusion")
    }
    rank1 = pd.concat(cells, axis=1).dropna()
    lines: dict[float, dict[str, str]] = {}
    for value, method in rank1:
        lines.setdefault(value, {})[method] = _cell(rank1[value, method])
    for value, line in lines.items():
        for method in ("local", "fusion"):
            gap = difference(rank1[value, method], rank1[value, "baseline"])
            line[f"{method} over the baseline"] = told(gap)
    return pd.DataFrame.from_dict(lines, orient="index").sort_index().rename_axis(knob)


OBJECTIVES = {"association": "", "cluster contrast": "centres=camera, objective=cluster"}


def objectives() -> pd.DataFrame:
    """Return Rank-1 under both objectives, and what each method gains over its own baseline.

    Cluster contrast has camera-aware centres. Both on the trials that both have: mean ± standard
    deviation in percent; gains in points with the 95 % interval of their mean.
    """
    lines: dict[tuple[str, str], dict[str, str]] = {}
    methods = ("baseline", "local", "global", "fusion")
    for dataset in SETS:
        rank1 = pd.DataFrame(
            {
                (objective, method): found(dataset=dataset, method=method, variant=variant)
                for objective, variant in OBJECTIVES.items()
                for method in methods
            }
        ).dropna()
        for objective, method in rank1 if len(rank1) > 1 else ():
            gap = difference(rank1[objective, method], rank1[objective, "baseline"])
            line = lines.setdefault((dataset, method), {})
            line[objective] = _cell(rank1[objective, method])
            line[f"{objective}: gain"] = "" if method == "baseline" else told(gap)
    index = pd.MultiIndex.from_tuples(lines, names=["data set", "method"])
    return pd.DataFrame([*lines.values()], index)
