"""The paper's Tables 1 to 6 as data, and the numbers that its text makes of them.

``published.csv`` holds every cell as it is printed, with its source. A cell that the paper prints
as "-" and a cell that the paper does not have are different things, and neither is ever filled in
(:class:`Absent`). ``QUOTED`` are the differences that the text quotes and ``ARROWS`` the increases
that Table 5 prints; each can be recomputed from the cells it is made of.

Row names: Tables 1, 5 and 6 have the paper's own, with "uPMnet" for the whole method; Table 2 has
baseline, local, global and both; Tables 3 and 4 are the fused method, so their rows are
"fusion, gap", "fusion, gmp" (both k = 2) and baseline, "fusion, k=2", "fusion, k=4", "fusion, k=8".
"""

from collections.abc import Callable, Iterable
from csv import DictReader
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from enum import Enum
from functools import lru_cache
from importlib import resources
from itertools import product
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


@lru_cache(1)
def _cells() -> dict[Key, Cell]:
    with resources.files(__package__).joinpath("published.csv").open(encoding="utf-8") as lines:
        return {
            Key(int(line["table"]), *(line[name] for name in KEY[1:])): Cell(
                *(line[name] for name in Cell._fields)
            )
            for line in DictReader(lines)
        }


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


# ---------------------------------------------------------------- numbers made of cells

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
        return _mean(self._gain(number(after), number(before)) for after, before in self.pairs)

    def _gain(self, after: Decimal, before: Decimal) -> Decimal:
        return 100 * (after - before) / before if self.relative else after - before

    def of_arrows(self) -> Decimal | None:
        """Return the mean of the increases that Table 5 prints; None for cells without them."""
        arrows = [_cells()[after].increase for after, _ in self.pairs]
        return _mean(map(Decimal, arrows)) if all(arrows) else None

    def as_printed(self, number: Decimal) -> str:
        """Return a number with as many digits as the quoted one, by this number's rounding."""
        return str(number.quantize(Decimal(self.quoted), self.rounding))

    def follows(self) -> bool:
        """Say whether the printed cells give the quoted number to its last digit."""
        return self.as_printed(self.recomputed()) == self.quoted


def _mean(numbers: Iterable[Decimal]) -> Decimal:
    listed = list(numbers)
    return sum(listed, Decimal(0)) / len(listed)


def _best(backbone: str, other: str, dataset: str, metric: str = "rank1") -> tuple[Pair, ...]:
    """Pair uPMnet's cell of Table 1 with that of a competitor, which has ResNet50 throughout."""
    ours = Key(1, "uPMnet", backbone, dataset, metric)
    return ((ours, ours._replace(row=other, backbone="resnet50")),)


_Rows = tuple[tuple[str, str], ...]  # a row and the one it is compared with


def _pairs(
    table: int,
    rows: _Rows,
    backbones: tuple[str, ...],
    datasets: tuple[str, ...] = DATASETS,
    metric: str = "rank1",
) -> tuple[Pair, ...]:
    return tuple(
        (
            Key(table, after, backbone, dataset, metric),
            Key(table, before, backbone, dataset, metric),
        )
        for (after, before), backbone, dataset in product(rows, backbones, datasets)
    )


def _arrow(after: Key) -> Quoted:
    # Cut, not rounded: so are the FLOPs and parameters beside them (complexity.as_printed).
    what = f"{after.row}, {after.dataset}, {after.metric}"
    pairs = ((after, after._replace(row="baseline")),)
    return Quoted("Table 5", what, _cells()[after].increase, pairs, True, ROUND_DOWN)


_MOBILENET, _RESNET = ((backbone,) for backbone in BACKBONES)
_PRID, _ILIDS, _DUKE = DATASETS
_OTHERS = (_PRID, _DUKE)  # section 4.3 sets iLIDS-VID apart
_LOCAL: _Rows = (("local", "baseline"),)
_GLOBAL: _Rows = (("global", "baseline"),)
_WHOLE: _Rows = (("uPMnet", "baseline"),)
_STEPS: _Rows = (
    ("fusion, k=2", "baseline"),
    ("fusion, k=4", "fusion, k=2"),
    ("fusion, k=8", "fusion, k=4"),
)
_EITHER = _LOCAL + _GLOBAL
_FLOPS = "flops_G"

QUOTED = (
    Quoted("1, 4.2, 5", "uPMnet over DAL", "6.7", _best("resnet50", "DAL", _PRID)),
    Quoted("1, 4.2, 5", "uPMnet over UGA", "5.8", _best("resnet50", "UGA", _ILIDS)),
    Quoted("1, 4.2, 5", "uPMnet over NHAC", "0.8", _best("mobilenet_v1", "NHAC", _DUKE)),
    Quoted("4.2", "uPMnet over NHAC, mAP", "0.9", _best("mobilenet_v1", "NHAC", _DUKE, "mAP")),
    Quoted("4.3", "local, MobileNet, two sets", "5.7", _pairs(2, _LOCAL, _MOBILENET, _OTHERS)),
    Quoted("4.3", "local, MobileNet, mAP", "1.3", _pairs(2, _LOCAL, _MOBILENET, (_DUKE,), "mAP")),
    Quoted("4.3", "local, MobileNet, PRID2011", "9.2", _pairs(2, _LOCAL, _MOBILENET, (_PRID,))),
    Quoted("4.3", "local, ResNet50", "3.8", _pairs(2, _LOCAL, _RESNET)),
    Quoted("4.3", "local, ResNet50, mAP", "4.3", _pairs(2, _LOCAL, _RESNET, (_DUKE,), "mAP")),
    Quoted("4.3", "local, ResNet50, iLIDS-VID", "0.7", _pairs(2, _LOCAL, _RESNET, (_ILIDS,))),
    Quoted("4.3", "local, ResNet50, two sets", "5.4", _pairs(2, _LOCAL, _RESNET, _OTHERS)),
    Quoted("4.3", "global, MobileNet", "2.0", _pairs(2, _GLOBAL, _MOBILENET)),
    Quoted("4.3", "global, ResNet50", "2.7", _pairs(2, _GLOBAL, _RESNET)),
    Quoted("4.3", "global, iLIDS-VID", "4.7", _pairs(2, _GLOBAL, BACKBONES, (_ILIDS,))),
    Quoted("4.3", "global, two sets", "1.2", _pairs(2, _GLOBAL, BACKBONES, _OTHERS)),
    Quoted("4.5", "a step of k, Rank-1", "2.2", _pairs(4, _STEPS, _MOBILENET)),
    Quoted("4.5", "a step of k, mAP", "0.9", _pairs(4, _STEPS, _MOBILENET, (_DUKE,), "mAP")),
    Quoted("4.7", "one module, FLOPs", "2.6", _pairs(5, _EITHER, _RESNET, metric=_FLOPS), True),
    Quoted("4.7", "one module, Rank-1", "4.7", _pairs(5, _EITHER, _RESNET), True),
    Quoted("4.7", "uPMnet, FLOPs", "105.1", _pairs(5, _WHOLE, _RESNET, metric=_FLOPS), True),
    Quoted("4.7", "uPMnet, Rank-1", "11.4", _pairs(5, _WHOLE, _RESNET), True),
)
ARROWS = tuple(_arrow(key) for key, cell in _cells().items() if cell.increase)
