"""The paper's Tables 1-6 with published numbers, measured ones, and "not run" where there is none.

A published number comes from ``published``, a measured one from a record in the run store; neither
is ever put in the other's place. Columns say which is which.
"""

import shlex
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pandas as pd

from upm_lib.config import PARTS, Config, preset
from upm_lib.data import splits
from upm_lib.experiments import measuring
from upm_lib.experiments.bench import Bench
from upm_lib.experiments.measurement import Measurement, trial_numbers, trials_text
from upm_lib.learning import model
from upm_lib.paper import complexity, published
from upm_lib.paper.published import Absent

TITLES = {
    1: "Table 1: the whole method",
    2: "Table 2: local-aware and global-aware modules",
    3: "Table 3: average and maximum pooling of the parts",
    4: "Table 4: number of parts k",
    5: "Table 5: complexity, ResNet50",
    6: "Table 6: complexity, MobileNetV1",
}
# The published data set that each of ours is compared with; a synthetic one only stands in for it.
COUNTERPART = {
    "prid2011": "PRID2011",
    "ilids_vid": "iLIDS-VID",
    "dukemtmc": "DukeMTMC-VideoReID",
    "mars": "MARS",
    "synthetic_clean": "PRID2011",
    "synthetic_cluttered": "iLIDS-VID",
    "synthetic_eight": "DukeMTMC-VideoReID",
}
ACCURACY = (1, 2, 3, 4)
NOT_RUN = "not run"
UNREAD = (
    "published only: DukeMTMC was withdrawn by its owners; give --root if you have the right to "
    "use a copy"
)
TABLE_3_K = 2  # the paper's number of parts there; 8 in Tables 1 and 2


@dataclass(frozen=True)
class Row:
    """One row of an accuracy table: its name in the paper, the method, and what it changes."""

    name: str
    method: str
    changes: dict[str, Any] = field(default_factory=dict)

    def on(self, bench: Bench, trial: int) -> Measurement:
        """Return what is measured for this row on a trial of a bench's data."""
        return bench.measurement(self.method, trial, **self.changes)


def rows(table: int) -> list[Row]:
    """Return the rows of Tables 1 to 4."""
    if table == 1:
        return [Row("uPMnet", "fusion")]
    if table == 2:
        names = {"baseline": "baseline", "local": "local", "global": "global", "fusion": "both"}
        return [Row(name, method) for method, name in names.items()]
    methods = ("local", "global", "fusion")
    if table == 3:
        return [Row(f"{m}, {p}", m, {"pool": p}) for p in ("gap", "gmp") for m in methods]
    cells = [Row(f"{m}, k={k}", m, {"k": k}) for k in PARTS for m in methods]
    return [Row(cells[0].name, "baseline"), *cells[1:]]  # one part, local-aware: the baseline


def measurements(table: int, bench: Bench, trials: int | str = 1) -> list[Measurement]:
    """Return what Table 1, 2, 3 or 4 is made of on a bench's data, trial by trial."""
    return [row.on(bench, trial) for trial in trial_numbers(trials) for row in rows(table)]


def accuracy(table: int, bench: Bench, trials: int | str = 1) -> pd.DataFrame:
    """Return Table 1, 2, 3 or 4: published Rank-1 beside what was measured on the bench's data.

    Only records found in the run store count; nothing is trained here. Index: the rows. Columns:
    published Rank-1 with its data set; measured Rank-1/5/20 (and mAP where the protocol has it) as
    mean ± standard deviation over the trials found; on the paper's own data set alone
    (:func:`incomparable`) measured minus published Rank-1, and whether that lies within two
    standard errors of the measured mean; the number of trials; the command that would fill a
    missing row.
    """
    lines, other = {}, incomparable(bench)
    for row in rows(table):
        records = _found(bench, row, trials)
        config = bench.config
        known = _published(table, row, config.dataset, config.backbone, config.k)
        line = {published_column(bench.config.dataset): _cell(known)}
        for metric, title in _metrics(bench).items():
            line[f"{bench.config.dataset}, {title}"] = _mean(records, metric)
        if not other:
            line["difference"], line["within 2 SE"] = difference(known, records)
        line["trials"] = len(records)
        complete = len(records) == len(trial_numbers(trials))
        line["to fill it"] = "" if complete else command(bench, table, trials)
        lines[row.name] = line
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("row")


def _found(bench: Bench, row: Row, trials: int | str) -> pd.DataFrame:
    found = [measuring.find(bench, row.on(bench, trial)) for trial in trial_numbers(trials)]
    return pd.DataFrame([record for record in found if record])


def _metrics(bench: Bench) -> dict[str, str]:
    names = {"rank1": "Rank-1", "rank5": "Rank-5", "rank20": "Rank-20"}
    return names if bench.dataset.protocol == "two cameras" else names | {"mAP": "mAP"}


def incomparable(bench: Bench) -> str:
    """Say why results on the bench's data cannot be held against published ones; "" if they can."""
    name = COUNTERPART.get(bench.config.dataset)
    if name is None:
        return "the paper has no such data set"
    if bench.is_synthetic:
        return "these people are synthetic"
    size = complexity.TRAINING_SETS.get(name)
    tracklets = len(splits.split(bench.dataset, 1).train)
    if size and tracklets != size.num_tracklets:
        return f"{tracklets} tracklets train here, {size.num_tracklets} on the real {name}"
    return ""


def difference(known: float | Absent, records: pd.DataFrame) -> tuple[str, str]:
    """Return measured minus published Rank-1, and whether it lies within two standard errors.

    The standard error is that of the measured mean, s / sqrt(trials); what the published value
    itself would vary by is not known. One trial has no standard error.
    """
    if isinstance(known, Absent) or records.empty:
        return "", ""
    apart = records["rank1"].mean() - known
    if len(records) == 1:
        return f"{apart:+.1f}", "one trial"
    error = records["rank1"].std() / len(records) ** 0.5
    return f"{apart:+.1f}", "yes" if abs(apart) <= 2 * error else "no"


def published_only(table: int, dataset: str, backbone: str = "mobilenet_v1") -> pd.DataFrame:
    """Return the published Rank-1 of Table 1, 2, 3 or 4 on a data set, with the paper's k."""
    found = {row.name: _published(table, row, dataset, backbone, TABLE_3_K) for row in rows(table)}
    lines = {name: _cell(known) for name, known in found.items()}
    return pd.DataFrame({published_column(dataset): lines}).rename_axis("row")


def published_column(dataset: str) -> str:
    """Return the name of the column with what the paper has of a data set or its counterpart."""
    return f"published {COUNTERPART.get(dataset, 'nowhere')}, Rank-1"


def _published(table: int, row: Row, dataset: str, backbone: str, k: int) -> float | Absent:
    if table == 3 and k != TABLE_3_K:
        return Absent.NOT_IN_PAPER
    family = "resnet50" if backbone.startswith("resnet50") else "mobilenet_v1"
    name = "baseline" if row.method == "baseline" else row.name  # Table 4's k = 1
    return published.value(table, name, family, COUNTERPART.get(dataset, ""), "rank1")


def _cell(known: float | Absent) -> str:
    return known.value if isinstance(known, Absent) else f"{known:.1f}"


def _mean(records: pd.DataFrame, metric: str) -> str:
    if records.empty:
        return NOT_RUN
    spread = f" ± {records[metric].std():.1f}" if len(records) > 1 else ""
    return f"{records[metric].mean():.1f}{spread}"


def command(bench: Bench, table: int, trials: int | str = 1) -> str:
    """Return the command that runs a table to the end, with the bench's parameters."""
    usual = preset(bench.config.dataset, bench.scale)
    names = ("root", "backbone", "weights", "k", "pool", "steps", "seed", "min_frames", "splits")
    own = {n: getattr(bench.config, n) for n in names}
    own = {n: value for n, value in own.items() if value != getattr(usual, n)}
    options = {"dataset": bench.config.dataset, "scale": bench.scale, **own, "trials": trials}
    words = [f"--{name.replace('_', '-')} {shlex.quote(str(v))}" for name, v in options.items()]
    return f"python -m upm_lib table {table} {' '.join(words)}"


def heading(table: int, bench: Bench, trials: int | str) -> list[str]:
    """Return the lines that belong above a table: its title, and what was measured how."""
    config, numbers = bench.config, trial_numbers(trials)
    kind = "synthetic data" if bench.is_synthetic else "real data"
    people = len(set(bench.people(splits.split(bench.dataset, numbers[0]).probe)))
    how = [f"scale {bench.scale}", config.backbone, f"{config.steps} steps"]
    how += [] if table == 4 else [f"k = {config.k}"]
    how += [f"trial {numbers[0]}" if len(numbers) == 1 else f"trials {trials_text(numbers)}"]
    what = f"{config.dataset} ({kind}, {people} test people)"
    return [TITLES[table], f"measured on {what}: {', '.join(how)}"]


def gains(bench: Bench, trials: int | str = 1) -> pd.DataFrame:
    """Return Rank-1 over the baseline's, published (Table 2) and measured, as Fig. 1 draws it.

    Columns method, dataset, gain (points; NaN where not run) and kind, for
    :func:`upm_lib.pictures.charts.gain`.
    """
    measured = {r.method: _found(bench, r, trials) for r in rows(2)}
    means = {m: float("nan") if f.empty else f["rank1"].mean() for m, f in measured.items()}
    kind = f"measured ({'synthetic' if bench.is_synthetic else 'real'})"
    lines = [(m, bench.config.dataset, means[m] - means["baseline"], kind) for m in means]
    of_prid = "backbone == 'mobilenet_v1' and dataset == 'PRID2011' and metric == 'rank1'"
    cells = published.published(2).query(of_prid).set_index("row")["value"]
    lines += [
        (r.method, "PRID2011, MobileNet", cells[r.name] - cells["baseline"], "published")
        for r in rows(2)
    ]
    found = pd.DataFrame(lines, columns=["method", "dataset", "gain", "kind"])
    return found[found["method"] != "baseline"]


def notes(bench: Bench) -> list[str]:
    """Return the lines that belong below an accuracy table: what its columns mean."""
    name, other = COUNTERPART.get(bench.config.dataset), incomparable(bench)
    first = f"published: Rank-1 in % on {name}"
    if other:
        why = f"not compared: {other}"
        return [first, why] if name else [why]
    second = "difference: measured - published; within 2 SE: of the measured mean over the trials"
    if bench.scale == "paper":
        return [first, second]
    return [first, second, f"scale {bench.scale} is not the paper's training"]


def text(table: pd.DataFrame) -> str:
    """Return an accuracy table for a terminal: short column names, without the commands."""
    short = {name: name.split(", ")[-1] for name in table.columns}
    short |= {name: "published" for name in table.columns if name.startswith("published ")}
    shown = table.drop(columns="to fill it", errors="ignore").rename(columns=short)
    return shown.to_string(index_names=False)


def counts(table: int) -> pd.DataFrame:
    """Return Table 5 or 6 in three readings.

    "printed": the paper's figures; "convention": recomputed the way the paper counts, cut to the
    printed digits; "honest": multiply-adds of one 256x128 frame at inference, trainable parameters
    and the bytes of the anchors that training needs.
    """
    backbone = "resnet50" if table == 5 else "mobilenet_v1"
    cells = published.published(table)
    cells = cells[(cells["backbone"] == backbone) & cells["row"].isin(complexity.ROWS)]
    wide = cells.pivot(index=["dataset", "row"], columns="metric", values="value")
    lines = []
    for (dataset, row), printed in wide.iterrows():
        flops, params = complexity.printed_row(backbone, row, dataset)
        lines.append(
            {
                "data set": dataset,
                "row": row,
                "FLOPs (G), printed": printed["flops_G"],
                "FLOPs (G), convention": flops,
                "params (M), printed": printed["params_M"],
                "params (M), convention": params,
                **_honest(backbone, row, dataset),
            }
        )
    order = pd.MultiIndex.from_product([complexity.TRAINING_SETS, complexity.ROWS])
    found = pd.DataFrame(lines).set_index(["data set", "row"])
    return found.loc[[place for place in order if place in found.index]]


def _honest(backbone: str, row: str, dataset: str) -> dict[str, float]:
    branches = complexity.ROWS[row]
    tracklets = complexity.TRAINING_SETS[dataset].num_tracklets
    total = {"multiply-adds (G)": 0.0, "trainable (M)": 0.0, "anchors (MB)": 0.0}
    for branch, k in branches:
        count, dim = _network_count(backbone, branch, k)
        total["multiply-adds (G)"] += count.multiply_adds / 1e9
        total["trainable (M)"] += count.trainable_params / 1e6
        total["anchors (MB)"] += complexity.anchor_bytes(k, tracklets, dim) / 1e6
    return {name: round(value, 2) for name, value in total.items()}


@lru_cache
def _network_count(backbone: str, branch: str, k: int) -> tuple[complexity.Honest, int]:
    # The paper's ResNet50 is slim's arrangement, which costs less than torchvision's.
    backbone = "resnet50_slim" if backbone == "resnet50" else backbone
    network = model.build(Config(backbone=backbone, branch=branch, k=k))
    return complexity.honest_count(network), network.dim
