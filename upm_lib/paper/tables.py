"""The paper's Tables 1 to 6 in the paper's form, and what we measure beyond them.

A published number comes from ``published``, a measured one from a record in the run store; neither
is ever put in the other's place. Columns say which is which.
"""

import json
import shlex
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

import pandas as pd

from upm_lib.command import NETWORKS
from upm_lib.config import PARTS, Config, known, preset
from upm_lib.experiments import analysis, measuring, networks
from upm_lib.experiments.bench import Bench
from upm_lib.experiments.measurement import Measurement, trial_numbers, trials_text
from upm_lib.learning import model
from upm_lib.paper import complexity, published
from upm_lib.paper.published import Absent
from upm_lib.synthetic.world import WORLDS

TITLES = {
    "1": "Table 1: the whole method and others",
    "2": "Table 2: local-aware and global-aware modules",
    "3": "Table 3: average and maximum pooling of the parts, fusion, k = 2",
    "4": "Table 4: number of parts k, fusion",
    "5": "Table 5: complexity and Rank-1, ResNet50",
    "6": "Table 6: complexity and Rank-1 on DukeMTMC-VideoReID",
    "beyond": "Beyond the paper: each module at every k, both ways to fuse",
}
PAPER_TABLES = tuple("123456")
ACCURACY = ("1", "2", "3", "4", "beyond")  # "all" is all of these
# The published data set that each of ours is compared with; a synthetic one only stands in for it.
_OURS = ("prid2011", "ilids_vid", "dukemtmc", *WORLDS)
COUNTERPART = dict(zip(_OURS, 2 * published.DATASETS, strict=True))
BACKBONE_NAMES = {"mobilenet_v1": "MobileNet", "resnet50": "ResNet50"}
METRIC_NAMES = {"flops_G": "FLOPs (G)", "params_M": "params (M)"}
METRIC_NAMES |= {"rank1": "Rank-1", "rank5": "Rank-5", "rank20": "Rank-20", "mAP": "mAP"}
METRIC_NAMES |= {"mAP_mean_precision": "mAP, mean precision"}  # as toolboxes count it
PAPER_K = 8  # of Tables 1 and 2
NOT_RUN = "not run"
# Fields for which `python -m upm_lib table` has an option; the others are set by -p.
OPTIONS = ("root", *NETWORKS, "splits")
UNREAD = (
    "published only: DukeMTMC was withdrawn by its owners; give --root if you have the right to "
    "use a copy"
)


@dataclass(frozen=True)
class Row:
    """One row of an accuracy table: its name in the paper, what is measured, and what it changes.

    ``backbone`` is the published one ("": any of ours); without a method the row is not ours.
    """

    name: str
    backbone: str
    method: str = ""
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """The name with that of the backbone, as in :func:`printed`."""
        return self.name, BACKBONE_NAMES.get(self.backbone, "supervised")

    def is_of(self, bench: Bench) -> bool:
        """Whether the row can be measured on the bench; all but ResNet50 count as MobileNet."""
        family = published.BACKBONES[bench.config.backbone.startswith("resnet50")]
        return bool(self.method) and self.backbone in ("", family)

    def on(self, bench: Bench, trial: int) -> Measurement:
        """Return what is measured for this row on a trial of a bench's data."""
        return bench.measurement(self.method, trial, **self.changes)


def rows(table: str) -> list[Row]:
    """Return the rows of an accuracy table, as the paper has them."""
    if table == "1":
        found = published.published(1)[["row", "backbone"]].drop_duplicates().to_numpy()
        return [Row(row, backbone, "fusion" * (row == "uPMnet")) for row, backbone in found]
    if table == "2":
        methods = {"baseline": "baseline", "local": "local", "global": "global", "both": "fusion"}
        return [Row(n, b, m) for b in published.BACKBONES for n, m in methods.items()]
    fused = ("mobilenet_v1", "fusion")
    if table == "3":
        return [Row(f"fusion, {pool}", *fused, {"k": 2, "pool": pool}) for pool in ("gap", "gmp")]
    if table == "4":
        first = Row("baseline", "mobilenet_v1", "baseline")
        return [first, *(Row(f"fusion, k={k}", *fused, {"k": k}) for k in PARTS[1:])]
    local = [Row(f"local, k={k}", "", "local", {"k": k}) for k in PARTS[1:]]
    whole = [Row(f"global, k={k}", "", "global", {"k": k}) for k in PARTS]
    scaled = {"normalise_branches": True}
    both = [Row(f"fusion, scaled first, k={k}", "", "fusion", {"k": k} | scaled) for k in PARTS]
    return [Row("untrained", "", "untrained"), *local, *whole, *both]


def measurements(table: str, bench: Bench, trials: int | str = 1) -> list[Measurement]:
    """Return what a table is made of on a bench's data, trial by trial; "all": all of them.

    Raises UserError for an unknown table.
    """
    known((*ACCURACY, "all"), table, "table to run")
    wanted = [row for t in ACCURACY if table in (t, "all") for row in rows(t) if row.is_of(bench)]
    found = [row.on(bench, trial) for trial in trial_numbers(trials) for row in wanted]
    return list(dict.fromkeys(found))


def printed(table: str) -> pd.DataFrame:
    """Return one of the paper's six tables as it is printed, with the increases of Table 5.

    Index: row and backbone; columns: data set and metric; "-" is not reported.
    Raises UserError for a table that the paper does not have.
    """
    known(PAPER_TABLES, table, "table of the paper")
    cells = published.published(int(table))
    arrows = ["" if pd.isna(percent) else f" (+{percent:g} %)" for percent in cells["increase"]]
    cells["text"] = cells["printed"] + arrows
    cells["metric"] = cells["metric"].map(METRIC_NAMES)
    cells["backbone"] = cells["backbone"].map(BACKBONE_NAMES).fillna("supervised")
    wide = cells.pivot(index=["row", "backbone"], columns=["dataset", "metric"], values="text")
    lines = cells[["row", "backbone"]].drop_duplicates()
    metrics = [name for name in METRIC_NAMES.values() if name in set(cells["metric"])]
    every = pd.MultiIndex.from_product([published.DATASETS, metrics])
    order = [pair for pair in every if pair in wide.columns]
    return wide.loc[pd.MultiIndex.from_frame(lines), order]


def accuracy(table: str, bench: Bench, trials: int | str = 1) -> pd.DataFrame:
    """Return an accuracy table: the published cells beside what was measured on the bench's data.

    Only records found in the run store count; nothing is trained here. Index: the rows. Columns,
    in two levels: published Rank-1/5/20 (and mAP) of the data set's counterpart, or Rank-1 of the
    paper's three where it has none; measured Rank-1/5/20 (and both mAPs where the protocol has
    them) as mean ± standard deviation over the trials found; on the paper's own data alone
    (:func:`incomparable`) measured minus published Rank-1, and whether that lies within two
    standard errors of the measured mean; the number of trials.
    """
    compared = not incomparable(bench, table)
    lines, cells = {}, _published(table, bench.config.dataset)
    for row in rows(table):
        records = found(bench, row, trials)
        line = cells.get(row.key, {}) | _measured(bench, row, records)
        if compared:
            name = COUNTERPART[bench.config.dataset]
            cell = published.value(int(table), row.name, row.backbone, name, "rank1")
            line["difference", ""], line["within 2 SE", ""] = difference(cell, records)
        line["trials", ""] = str(len(records)) if row.is_of(bench) else ""
        lines[", ".join(row.key) if table in ("1", "2") else row.name] = line
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("row")


def found(bench: Bench, row: Row, trials: int | str) -> pd.DataFrame:
    """Return the records of a row that are in the run store, one line a trial."""
    if not row.is_of(bench):
        return pd.DataFrame()
    every = [measuring.find(bench, row.on(bench, trial)) for trial in trial_numbers(trials)]
    return pd.DataFrame([record for record in every if record])


def transfer(bench: Bench, trials: int | str = 1) -> pd.DataFrame:
    """Measure the bench's model on its data, which need not be those it was trained on.

    Rows: the colour histogram, which has learnt nothing, each network of the model, both fused as
    published and each scaled first. Columns: the metrics in %, mean ± standard deviation.
    """
    rows = [measuring.compare(bench, None, trials)]
    if "fusion" in bench.methods:
        scaled = measuring.compare(bench, ["fusion"], trials, normalise_branches=True)
        rows.append(scaled.assign(method="fusion, scaled first"))
    return measuring.summary(pd.concat(rows))


def transfer_heading(bench: Bench, trials: int | str) -> list[str]:
    """Return the lines that belong above :func:`transfer`: which model, measured on what."""
    assert bench.model, "the command line asks for one"
    origin, config = bench.model.origin, bench.config
    people = f"{origin.tracklets} tracklets of {origin.cameras} cameras, {origin.frames} frames"
    how = f"{config.backbone}, {config.length}, k = {config.k}"
    numbers = trials_text(trial_numbers(trials))
    return [
        "Transfer: a model from a file on other data",
        f"trained on {origin.dataset}, trial {origin.trial} ({people}): {how}",
        f"{bench.label}: test halves of trial(s) {numbers}",
    ]


def single_parts(bench: Bench, trials: int | str = 1) -> pd.DataFrame:
    """Return Rank-1 (%) of each part alone, from head to foot, of finished networks.

    Columns: the local-aware and the global-aware network, mean ± standard deviation over the trials
    whose network is in the run store; "not run" where there is none. Nothing is trained here.
    """
    columns = {}
    for method in ("local", "global"):
        made = [bench.network(method, trial) for trial in trial_numbers(trials)]
        done = [c.trial for c in made if networks.steps_done(bench, c) == c.steps]
        alone = pd.DataFrame([analysis.part_rank1(bench, method, trial) for trial in done])
        columns[method] = [measuring.spread(alone[part]) for part in alone] or [
            NOT_RUN
        ] * bench.config.k
    return pd.DataFrame(columns, index=range(1, bench.config.k + 1)).rename_axis("part")


def _published(table: str, dataset: str) -> dict[tuple[str, str], dict[tuple[str, str], str]]:
    """Return the cells beside ours by row: of the counterpart, or Rank-1 of the paper's three."""
    if table == "beyond":
        return {}
    # A table may print 100 beside 100.0; here all have a decimal, as what is measured.
    cells = printed(table).fillna(Absent.NOT_IN_PAPER.value).replace("100", "100.0")
    if name := COUNTERPART.get(dataset):
        beside = cells[[name]].rename(columns={name: f"published, {name}"}, level=0)
    else:
        beside = pd.concat({"published, Rank-1": cells.xs("Rank-1", axis=1, level=1)}, axis=1)
    return beside.to_dict("index")


def _measured(bench: Bench, row: Row, records: pd.DataFrame) -> dict[tuple[str, str], str]:
    two = bench.dataset.protocol == "two cameras"
    metrics = ["rank1", "rank5", "rank20"] + ["mAP", "mAP_mean_precision"] * (not two)
    if records.empty:
        cells = [NOT_RUN if row.is_of(bench) else "", *[""] * (len(metrics) - 1)]
    else:
        cells = [measuring.spread(records[metric]) for metric in metrics]
    top = f"measured, {bench.config.dataset}, {bench.config.backbone}"
    return {(top, METRIC_NAMES[m]): cell for m, cell in zip(metrics, cells, strict=True)}


def incomparable(bench: Bench, table: str = "2") -> str:
    """Say why results on the bench's data cannot be held against published ones; "" if they can."""
    name = COUNTERPART.get(bench.config.dataset)
    if name is None:
        return "the paper has no such data set"
    if table == "beyond":
        return "the paper has no such rows"
    if bench.is_synthetic:
        return "these people are synthetic"
    size = complexity.TRAINING_SETS[name].num_tracklets
    tracklets = len(bench.split(1).train)
    if tracklets != size:
        return f"{tracklets} tracklets train here, {size} on the real {name}"
    if table in ("1", "2") and bench.config.k != PAPER_K:
        return f"k = {bench.config.k} here, {PAPER_K} in the paper"
    return ""


def difference(value: float | Absent, records: pd.DataFrame) -> tuple[str, str]:
    """Return measured minus published Rank-1, and whether it lies within two standard errors.

    The standard error is that of the measured mean, s / sqrt(trials); what the published value
    itself would vary by is not known. One trial has no standard error.
    """
    if isinstance(value, Absent) or records.empty:
        return "", ""
    apart = records["rank1"].mean() - value
    if len(records) == 1:
        return f"{apart:+.1f}", "one trial"
    error = records["rank1"].std() / len(records) ** 0.5
    return f"{apart:+.1f}", "yes" if abs(apart) <= 2 * error else "no"


def heading(table: str, bench: Bench, trials: int | str) -> list[str]:
    """Return the lines that belong above a table: its title, and what was measured how."""
    config, numbers = bench.config, trial_numbers(trials)
    kind = "synthetic data" if bench.is_synthetic else "real data"
    people = bench.searched_people(numbers[0])
    how = [f"scale {bench.scale}", config.backbone, config.length]
    how += [f"k = {config.k}"] if table in ("1", "2") else []
    said = ("dataset", "root", "backbone", "weights", "steps", "epochs", "k")
    how += [f"{name} = {value}" for name, value in changed(bench).items() if name not in said]
    how += [f"trial {numbers[0]}" if len(numbers) == 1 else f"trials {trials_text(numbers)}"]
    place = f", in {bench.folder}" if bench.folder else ""
    what = f"{config.dataset} ({kind}{place}, {people} test people)"
    title = TITLES.get(table, "Tables 1 to 4 and beyond")
    return [title, f"measured on {what}: {', '.join(how)}"]


def notes(table: str, bench: Bench, trials: int | str = 1) -> list[str]:
    """Return the lines that belong below an accuracy table: what it means, what it lacks."""
    lines = [] if table == "beyond" else ['published: in %; "-" is not reported']
    if why := incomparable(bench, table):
        lines.append(f"not compared: {why}")
    else:
        lines.append("difference: Rank-1, measured - published; within 2 SE: of the measured mean")
        if bench.scale != "paper":
            lines.append(f"scale {bench.scale} is not the paper's training")
    ours = [row for row in rows(table) if row.is_of(bench)]
    lacking = [r for r in ours if len(found(bench, r, trials)) < len(trial_numbers(trials))]
    if lacking:
        count = f"{len(lacking)} of {len(ours)} rows are not run on all trials asked for"
        lines.append(f"{count}; this runs them: {command(table, bench, trials)}")
    if any(row.method and not row.is_of(bench) for row in rows(table)):
        lines.append("the rows of the other backbone are measured with --backbone")
    return lines


def command(table: str, bench: Bench, trials: int | str = 1) -> str:
    """Return the command that runs a table to the end, with the bench's parameters."""
    own = changed(bench)
    options: dict[str, Any] = {"dataset": bench.config.dataset, "scale": bench.scale}
    options |= {name: own.pop(name) for name in OPTIONS if name in own}
    options["trials"] = trials
    words = [f"--{name.replace('_', '-')} {shlex.quote(str(v))}" for name, v in options.items()]
    for name, value in own.items():
        text = value if isinstance(value, str) else json.dumps(value)
        words.append(f"-p {name} {shlex.quote(text)}")
    return f"python -m upm_lib table {table} {' '.join(words)}"


def changed(bench: Bench) -> dict[str, Any]:
    """Return the fields whose value is not that of the bench's preset, in the config's order."""
    usual = preset(bench.config.dataset, bench.scale)
    own = {f.name: getattr(bench.config, f.name) for f in fields(Config) if f.name != "trial"}
    return {n: value for n, value in own.items() if value not in (None, getattr(usual, n))}


def published_gains() -> pd.DataFrame:
    """Return Rank-1 over the baseline's in Table 2, MobileNet: columns method, dataset, gain, kind.

    In points, for :func:`upm_lib.pictures.charts.gain`.
    """
    base, *ours = [row for row in rows("2") if row.backbone == "mobilenet_v1"]
    lines = [
        (row.method, name, _number(row, name) - _number(base, name), "published")
        for name in published.DATASETS
        for row in ours
    ]
    return pd.DataFrame(lines, columns=["method", "dataset", "gain", "kind"])


def published_part_models() -> pd.DataFrame:
    """Return what Fig. 1 draws at k = 8, the only k for which the paper has numbers (Table 2).

    Columns dataset, k, change (Rank-1 of local-aware parts, in percent over the baseline's) and
    kind.
    """
    local, base = (Row(name, "mobilenet_v1") for name in ("local", "baseline"))
    lines = [
        (name, PAPER_K, 100 * (_number(local, name) / _number(base, name) - 1), "published")
        for name in published.DATASETS
    ]
    return pd.DataFrame(lines, columns=["dataset", "k", "change", "kind"])


def _number(row: Row, dataset: str) -> float:
    value = published.value(2, row.name, row.backbone, dataset, "rank1")
    assert isinstance(value, float), "Table 2 has no empty cell"
    return value


def counts(table: str) -> pd.DataFrame:
    """Return the method's rows of Table 5 or 6 in three readings.

    "printed": the paper's figures; "convention": recomputed the way the paper counts, cut to the
    printed digits; "honest": multiply-adds of one 256x128 frame at inference, trainable parameters
    and the bytes of the anchors that training needs. Index: data set, row, backbone.
    """
    cells = published.published(int(table))
    cells = cells[cells["row"].isin(complexity.ROWS)]
    lines = {}
    for (dataset, row, backbone), own in cells.groupby(["dataset", "row", "backbone"], sort=False):
        printed = own.set_index("metric")["printed"]
        count = complexity.table_row(backbone, row, dataset)
        flops, params = printed["flops_G"], printed["params_M"]
        lines[dataset, row, BACKBONE_NAMES[backbone]] = {
            "FLOPs (G), printed": float(flops),
            "FLOPs (G), convention": complexity.as_printed(count.flops / 1e9, flops),
            "params (M), printed": float(params),
            "params (M), convention": complexity.as_printed(count.params / 1e6, params),
            **_honest(backbone, row, dataset),
        }
    index = ["data set", "row", "backbone"]
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis(index)


def _honest(backbone: str, row: str, dataset: str) -> dict[str, float]:
    tracklets = complexity.TRAINING_SETS[dataset].num_tracklets
    networks = [(k, *_network_count(backbone, branch, k)) for branch, k in complexity.ROWS[row]]
    anchors = sum(complexity.anchor_bytes(k, tracklets, dim) for k, _, dim in networks)
    return {
        "multiply-adds (G)": round(sum(count.flops for _, count, _ in networks) / 2e9, 2),
        "trainable (M)": round(sum(count.params for _, count, _ in networks) / 1e6, 2),
        "anchors (MB)": round(anchors / 1e6, 2),
    }


@lru_cache
def _network_count(backbone: str, branch: str, k: int) -> tuple[complexity.Complexity, int]:
    # The paper's ResNet50 is slim's arrangement, which costs less than torchvision's.
    backbone = "resnet50_slim" if backbone == "resnet50" else backbone
    network = model.build(Config().replace(backbone=backbone, branch=branch, k=k))
    return complexity.honest_count(network), network.dim
