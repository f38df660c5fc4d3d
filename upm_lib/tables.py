"""The paper's Tables 1-6 with published numbers, measured ones, and "not run" where there is none.

A published number comes from :mod:`upm_lib.published`, a measured one from a record in the run
store; neither is ever put in the other's place. Columns say which is which.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pandas as pd

from upm_lib import complexity, experiments, model, published
from upm_lib.config import PARTS, Config, preset
from upm_lib.experiments import Bench

TITLES = {
    1: "Table 1: the whole method",
    2: "Table 2: local-aware and global-aware modules",
    3: "Table 3: average and maximum pooling of the parts",
    4: "Table 4: number of parts k",
    5: "Table 5: complexity, ResNet50",
    6: "Table 6: complexity, MobileNetV1",
}
# The published data set that each of ours is compared with; the drawn ones only stand in for it.
COUNTERPART = {
    "prid2011": "PRID2011",
    "synthetic_clean": "PRID2011",
    "synthetic_cluttered": "iLIDS-VID",
}
NOT_RUN = "not run"
UNKNOWN = "?"  # a published cell without a source at hand


@dataclass(frozen=True)
class Row:
    """One row of an accuracy table: its name in the paper, the method, and what it changes."""

    name: str
    method: str
    changes: dict[str, Any] = field(default_factory=dict)


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


def accuracy(table: int, bench: Bench, trials: int = 1) -> pd.DataFrame:
    """Return Table 1, 2, 3 or 4: published Rank-1 beside what was measured on the bench's data.

    Only records found in the run store count; nothing is trained here. Index: the rows. Columns:
    published Rank-1 with its data set, measured Rank-1/5/20 as mean ± standard deviation over the
    trials found, the number of trials, and the command that would fill a missing row.
    """
    counterpart = COUNTERPART[bench.config.dataset]
    lines = {}
    for row in rows(table):
        found = [
            experiments.find(bench, row.method, trial, **row.changes)
            for trial in range(1, trials + 1)
        ]
        records = pd.DataFrame([record for record in found if record])
        line = {f"published {counterpart}, Rank-1": _published(table, row, bench.config)}
        for metric, title in (("rank1", "Rank-1"), ("rank5", "Rank-5"), ("rank20", "Rank-20")):
            line[f"{bench.config.dataset}, {title}"] = _mean(records, metric)
        line["trials"] = len(records)
        line["to fill it"] = "" if len(records) == trials else command(bench, row, trials)
        lines[row.name] = line
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("row")


def _published(table: int, row: Row, config: Config) -> str:
    backbone = config.backbone if config.backbone == "resnet50" else "mobilenet_v1"
    if table == 1:
        backbone = published.UNSTATED
    dataset = COUNTERPART[config.dataset]
    value = published.value(table, row.name, backbone, dataset, "rank1")
    return UNKNOWN if value is None else f"{value:.1f}"


def _mean(records: pd.DataFrame, metric: str) -> str:
    if records.empty:
        return NOT_RUN
    spread = f" ± {records[metric].std():.1f}" if len(records) > 1 else ""
    return f"{records[metric].mean():.1f}{spread}"


def command(bench: Bench, row: Row, trials: int = 1) -> str:
    """Return the command that measures a row on the bench's data, with the bench's parameters."""
    usual = preset(bench.config.dataset, bench.scale)
    names = ("root", "backbone", "weights", "k", "pool", "steps", "seed")
    own = {n: getattr(bench.config, n) for n in names}
    own = {n: value for n, value in own.items() if value != getattr(usual, n)}
    parameters = {"dataset": bench.config.dataset, **own, **row.changes, "trials": trials}
    if bench.scale != "demo":
        parameters["scale"] = bench.scale
    flags = " ".join(f"-p {name} {value}" for name, value in parameters.items())
    return f"papermill notebooks/04_fusion.ipynb out.ipynb {flags}"


def counts(table: int) -> pd.DataFrame:
    """Return Table 5 or 6 in three readings.

    "printed": the paper's figures; "convention": recomputed the way the paper counts, cut to the
    printed digits; "honest": multiply-adds of one 256x128 frame at inference, trainable parameters
    and the bytes of the anchors that training needs.
    """
    cells = published.published(table)
    wide = cells.pivot(index=["dataset", "row"], columns="metric", values="value")
    backbone = cells["backbone"].iloc[0]
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
