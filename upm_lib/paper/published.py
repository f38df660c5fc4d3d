"""The paper's Tables 1 to 6 as data, and the numbers that its text makes of them.

``published.csv`` holds every cell as it is printed, with its source. A cell that the paper prints
as "-" and a cell that the paper does not have are different things, and neither is ever filled in
(:class:`Absent`). ``QUOTED`` (from ``quoted.csv``) are the differences that the text quotes, and
``ARROWS`` the increases that Table 5 prints; each can be recomputed from its cells.

Row names: Tables 1, 5 and 6 have the paper's own, with "uPMnet" for the whole method; Table 2 has
baseline, local, global and both; Tables 3 and 4 are the fused method, so their rows are
"fusion, gap", "fusion, gmp" (both k = 2) and baseline, "fusion, k=2", "fusion, k=4", "fusion, k=8".
"""

from collections.abc import Callable
from csv import DictReader
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from enum import Enum
from functools import lru_cache
from importlib import resources
from itertools import product
from statistics import mean
from typing import NamedTuple

import pandas as pd

from upm_lib.config import known

TABLES = range(1, 7)
DATASETS = ("PRID2011", "iLIDS-VID", "DukeMTMC-VideoReID")
BACKBONES = ("mobilenet_v1", "resnet50")  # "unstated" for the supervised method of Table 1
METRICS = ("rank1", "rank5", "rank20", "mAP", "flops_G", "params_M")  # percent; 1e9; 1e6


class Absent(Enum):
    """Why there is no number for a cell; the value is what to show in its place."""

    NOT_REPORTED = "-"  # the paper prints "-": nobody reported a result
    NOT_IN_PAPER = "not in the paper"  # no table of the paper has such a cell
    UNKNOWN = "?"  # the paper has it, and it was never typed in; no cell is in this state


class Key(NamedTuple):
    """What identifies a cell."""

    table: int
    row: str
    backbone: str
    dataset: str
    metric: str


KEY = list(Key._fields)


class Cell(NamedTuple):
    """A cell as the paper prints it."""

    printed: str  # without unit; "-" for not reported
    increase: str  # the arrow of Table 5, percent of the baseline; "" elsewhere
    note: str  # what a mark beside the row or the value says; "" without a mark
    source: str  # the table; for a competitor also the reference and where it appeared


def _lines(name: str) -> list[dict[str, str]]:
    with resources.files(__package__).joinpath(name).open(encoding="utf-8") as file:
        return list(DictReader(file))


@lru_cache(1)
def _cells() -> dict[Key, Cell]:
    lines = map(dict.values, _lines("published.csv"))
    return {Key(int(table), *rest[:4]): Cell(*rest[4:]) for table, *rest in lines}


def published(table: int | None = None) -> pd.DataFrame:
    """Return the cells of one table, or of all.

    Columns: KEY; value (percent, G or M; NaN where not reported); printed (text); increase (percent
    of the baseline, Table 5; NaN elsewhere); note; source. Raises UserError for a table that the
    paper does not have.
    """
    if table is not None:
        known(TABLES, str(table), "table")
    lines = [(*key, *cell) for key, cell in _cells().items() if table in (None, key.table)]
    cells = pd.DataFrame(lines, columns=[*KEY, *Cell._fields])
    cells.insert(len(KEY), "value", cells["printed"].map(_number))
    return cells.assign(increase=cells["increase"].map(_number))


def _number(text: str) -> float:
    return float("nan") if text in ("", Absent.NOT_REPORTED.value) else float(text)


def value(table: int, row: str, backbone: str, dataset: str, metric: str) -> float | Absent:
    """Return one cell in percent, G or M, or why it has no number.

    Raises UserError for a table or metric that the paper does not have; a row, backbone or data set
    that the table does not have is NOT_IN_PAPER.
    """
    known(TABLES, str(table), "table")
    known(METRICS, metric, "metric")
    cell = _cells().get(Key(table, row, backbone, dataset, metric))
    if cell is None:
        return Absent.NOT_IN_PAPER
    marks = {absent.value: absent for absent in Absent}
    return marks[cell.printed] if cell.printed in marks else float(cell.printed)


Pair = tuple[Key, Key]  # a cell and the one it is compared with


def _printed(key: Key) -> Decimal:
    return Decimal(_cells()[key].printed)


@dataclass(frozen=True)
class Quoted:
    """A number that the paper makes of its tables: the mean of one or more gains.

    A gain is a cell minus the one it is compared with, in points; if ``relative``, it is that
    difference in percent of the second cell.
    """

    section: str  # where it is printed
    what: str
    quoted: str
    pairs: tuple[Pair, ...]
    relative: bool = False
    rounding: str = ROUND_HALF_UP

    def recomputed(self, number: Callable[[Key], Decimal] = _printed) -> Decimal:
        """Return the mean gain, unrounded: of the printed cells, or of other numbers for them."""
        numbers = [(number(after), number(before)) for after, before in self.pairs]
        return mean(100 * (a - b) / b if self.relative else a - b for a, b in numbers)

    def of_arrows(self) -> Decimal | None:
        """Return the mean of the increases that Table 5 prints; None for cells without them."""
        arrows = [_cells()[after].increase for after, _ in self.pairs]
        return mean(map(Decimal, arrows)) if all(arrows) else None

    def as_printed(self, number: Decimal) -> str:
        """Return a number with as many digits as the quoted one, by this number's rounding."""
        return str(number.quantize(Decimal(self.quoted), self.rounding))

    def follows(self) -> bool:
        """Say whether the printed cells give the quoted number to its last digit."""
        return self.as_printed(self.recomputed()) == self.quoted


def _quoted(line: dict[str, str]) -> Quoted:
    """Read a line of quoted.csv: "a > b" compares a with b, "a; b" makes a pair of each."""
    table, options = int(line["table"]), [line[name].split("; ") for name in KEY[1:]]
    pairs = []
    for names in product(*options):
        ends = [name.partition(" > ") for name in names]
        pairs.append(
            (Key(table, *(a for a, *_ in ends)), Key(table, *(b or a for a, _, b in ends)))
        )
    relative = line["relative"] == "relative"
    return Quoted(line["section"], line["what"], line["quoted"], tuple(pairs), relative)


def _arrow(after: Key) -> Quoted:
    # Cut, not rounded: so are the FLOPs and parameters beside them (complexity.as_printed).
    what = f"{after.row}, {after.dataset}, {after.metric}"
    pairs = ((after, after._replace(row="baseline")),)
    return Quoted("Table 5", what, _cells()[after].increase, pairs, True, ROUND_DOWN)


QUOTED = tuple(map(_quoted, _lines("quoted.csv")))
ARROWS = tuple(_arrow(key) for key, cell in _cells().items() if cell.increase)
