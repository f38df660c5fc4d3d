"""The paper's Tables 1 to 6 as data.

``published.csv`` holds every cell as it is printed, with its source. A cell that the paper prints
as "-" and a cell that the paper does not have are different things, and neither is ever filled in
(:class:`Absent`).

Row names: Tables 1, 5 and 6 have the paper's own, with "uPMnet" for the whole method; Table 2 has
baseline, local, global and both; Tables 3 and 4 are the fused method, so their rows are
"fusion, gap", "fusion, gmp" (both k = 2) and baseline, "fusion, k=2", "fusion, k=4", "fusion, k=8".
"""

from enum import Enum
from functools import lru_cache

import numpy as np
import pandas as pd

from upm_lib.config import known
from upm_lib.paper import committed

TABLES = range(1, 7)
DATASETS = ("PRID2011", "iLIDS-VID", "DukeMTMC-VideoReID")
BACKBONES = ("mobilenet_v1", "resnet50")  # "unstated" for the supervised method of Table 1
METRICS = ("rank1", "rank5", "rank20", "mAP", "flops_G", "params_M")  # percent; 1e9; 1e6
KEY = ["table", "row", "backbone", "dataset", "metric"]  # what identifies a cell


class Absent(Enum):
    """Why there is no number for a cell; the value is what to show in its place."""

    NOT_REPORTED = "-"  # the paper prints "-": nobody reported a result
    NOT_IN_PAPER = "not in the paper"  # no table of the paper has such a cell


@lru_cache(1)
def _cells() -> pd.DataFrame:
    cells = committed.table("published", dtype=str, keep_default_na=False).astype({"table": int})
    cells["increase"] = cells["increase"].replace("", "nan").astype(float)
    cells.insert(len(KEY), "value", cells["printed"].replace("-", "nan").astype(float))
    return cells


def published(table: int | None = None) -> pd.DataFrame:
    """Return the cells of one table, or of all.

    Columns: KEY; value (percent, G or M; NaN where not reported); printed (text without unit);
    increase (the arrow of Table 5, percent of the baseline; NaN elsewhere); note (what a mark
    beside the row or the value says; "" without a mark); source (the table; for a competitor also
    the reference and where it appeared). Raises UserError for a table that the paper does not have.
    """
    cells = _cells()
    if table is not None:
        cells = cells[cells["table"] == int(known(TABLES, str(table), "table"))]
    return cells.reset_index(drop=True)


def value(table: int, row: str, backbone: str, dataset: str, metric: str) -> float | Absent:
    """Return one cell in percent, G or M, or why it has no number.

    Raises UserError for a table or metric that the paper does not have; a row, backbone or data set
    that the table does not have is NOT_IN_PAPER.
    """
    known(METRICS, metric, "metric")
    cells = published(table).set_index(KEY[1:])["value"]
    if (row, backbone, dataset, metric) not in cells.index:
        return Absent.NOT_IN_PAPER
    number = float(cells[row, backbone, dataset, metric])
    return Absent.NOT_REPORTED if np.isnan(number) else number
