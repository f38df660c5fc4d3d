"""The paper's printed numbers as data, each with its source, and the deltas its text quotes.

Only cells with a source at hand are in ``published.csv``. The paper's full text was not at hand, so
Tables 1 to 4 are partial or absent. A cell that is not there is not known here: it is never filled
in from memory, from a neighbouring cell or from a run of our own.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import pandas as pd

from upm_lib.config import known

KEY = ["table", "row", "backbone", "dataset", "metric"]
METRICS = ("rank1", "rank5", "rank20", "mAP", "flops_G", "params_M")  # percent; 1e9; 1e6

TABLES = range(1, 7)
COMPLETE = (5, 6)  # every cell is here
PARTIAL = (1, 2)  # some Rank-1 only
ABSENT = (3, 4)

# The README of the published code gives uPMnet's Rank-1 and names no backbone or table. Filing
# its three cells under Table 1 is our choice: it is the whole method, without an ablation.
UNSTATED = "unstated"


@dataclass(frozen=True)
class QuotedDelta:
    """A difference the paper's text states, and the two cells (keys as in KEY) it is made of."""

    quoted: float
    section: str
    minuend: tuple[int, str, str, str, str]
    subtrahend: tuple[int, str, str, str, str]

    def recomputed(self) -> float | None:
        """Minuend minus subtrahend from the table, or None where a cell is absent."""
        first, second = value(*self.minuend), value(*self.subtrahend)
        return None if first is None or second is None else first - second


QUOTED_DELTAS = (
    QuotedDelta(
        9.2,
        "4.3",
        (2, "local", "mobilenet_v1", "PRID2011", "rank1"),
        (2, "baseline", "mobilenet_v1", "PRID2011", "rank1"),
    ),
)
# Also quoted in sections 4.2-4.7, but the cells they are made of are not known here. The list is
# itself not complete.
UNCHECKED_DELTAS = (5.7, 3.8, 4.3, 0.7, 5.4, 2.0, 2.7, 4.7, 1.2, 2.2, 0.9, 2.6, 4.7, 105.1, 11.4)


@lru_cache(1)
def _cells() -> pd.DataFrame:
    text = resources.files("upm_lib.paper").joinpath("published.csv")
    with text.open(encoding="utf-8") as lines:
        return pd.read_csv(lines)


def published(table: int | None = None) -> pd.DataFrame:
    """Return the published cells of one table, or of all: columns KEY, value and source.

    Accuracy is in percent, FLOPs in G, parameters in M. A table without known cells is an empty
    frame. Raises UserError for a table the paper does not have.
    """
    cells = _cells()
    if table is not None:
        known(TABLES, str(table), "table")
        cells = cells[cells["table"] == int(table)]
    return cells.reset_index(drop=True)


def value(table: int, row: str, backbone: str, dataset: str, metric: str) -> float | None:
    """Return one published cell, or None where it is not known.

    Raises UserError for a table or metric the paper does not have.
    """
    known(METRICS, metric, "metric")
    cells = published(table)
    for name, wanted in zip(KEY[1:], (row, backbone, dataset, metric), strict=True):
        cells = cells[cells[name] == wanted]
    return None if cells.empty else float(cells["value"].iloc[0])


def coverage(table: int) -> str:
    """Say how much of a table is known: "complete", "partial" or "absent".

    Raises UserError for a table the paper does not have.
    """
    known(TABLES, str(table), "table")
    named = {"complete": COMPLETE, "partial": PARTIAL, "absent": ABSENT}
    return next(name for name, tables in named.items() if int(table) in tables)
