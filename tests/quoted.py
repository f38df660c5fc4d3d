"""The numbers that the paper's text makes of its tables, each to be recomputed from its cells."""

from collections.abc import Callable
from csv import DictReader
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from itertools import product
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from upm_lib.paper import published

CELLS = published.published()


class Key(NamedTuple):
    """What identifies a cell."""

    table: int
    row: str
    backbone: str
    dataset: str
    metric: str


PRINTED = {Key(*key): text for *key, text in CELLS[[*published.KEY, "printed"]].values}
INCREASE = {Key(*key): x for *key, x in CELLS[[*published.KEY, "increase"]].dropna().values}
Pair = tuple[Key, Key]  # a cell and the one it is compared with


def printed(key: Key) -> Decimal:
    return Decimal(PRINTED[key])


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

    def recomputed(self, number: Callable[[Key], Decimal] = printed) -> Decimal:
        """Return the mean gain, unrounded: of the printed cells, or of other numbers for them."""
        numbers = [(number(after), number(before)) for after, before in self.pairs]
        return mean(100 * (a - b) / b if self.relative else a - b for a, b in numbers)

    def of_arrows(self) -> Decimal | None:
        """Return the mean of the increases that Table 5 prints; None for cells without them."""
        arrows = [INCREASE.get(after) for after, _ in self.pairs]
        return None if None in arrows else mean(Decimal(str(arrow)) for arrow in arrows)

    def as_printed(self, number: Decimal) -> str:
        """Return a number with as many digits as the quoted one, by this number's rounding."""
        return str(number.quantize(Decimal(self.quoted), self.rounding))

    def follows(self) -> bool:
        """Say whether the printed cells give the quoted number to its last digit."""
        return self.as_printed(self.recomputed()) == self.quoted


def _quoted(line: dict[str, str]) -> Quoted:
    """Read a line of quoted.csv: "a > b" compares a with b, "a; b" makes a pair of each."""
    table, options = int(line["table"]), [line[name].split("; ") for name in Key._fields[1:]]
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
    return Quoted("Table 5", what, str(INCREASE[after]), pairs, True, ROUND_DOWN)


with Path(__file__).with_name("quoted.csv").open(encoding="utf-8") as lines:
    QUOTED = tuple(map(_quoted, DictReader(lines)))
ARROWS = tuple(map(_arrow, INCREASE))
