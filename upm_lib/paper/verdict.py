"""What the paper claims, and what our own measurements say of it.

A claim is that one setting has a higher Rank-1 than another. Beside the published difference stands
the measured one, paired by trial, with the 95 % interval of its mean; the verdict on a data set
follows from the interval alone. Frames are pooled by their mean; on WARD also by their maximum,
since the paper names both (sections 4.1 and 3.5). The last two blocks of the backbone learn; on
WARD also the last four.
"""

from typing import NamedTuple

import pandas as pd

from upm_lib.paper import published, study
from upm_lib.paper.study import Where


class Claim(NamedTuple):
    """One setting is said to be better than another."""

    text: str
    table: int  # of the paper
    rows: tuple[str, str]  # of that table, the better one first
    settings: tuple[Where, Where]  # of the study, in the same order


_BASELINE, _LOCAL, _GLOBAL, _FUSED = (
    {"method": method} for method in ("baseline", "local", "global", "fusion")
)
_TWO = {"method": "fusion", "k": 2}
CLAIMS = (
    Claim("fusion beats the baseline", 2, ("both", "baseline"), (_FUSED, _BASELINE)),
    Claim("local-aware parts beat the baseline", 2, ("local", "baseline"), (_LOCAL, _BASELINE)),
    Claim("global-aware parts beat the baseline", 2, ("global", "baseline"), (_GLOBAL, _BASELINE)),
    Claim("fusion beats local-aware parts alone", 2, ("both", "local"), (_FUSED, _LOCAL)),
    Claim("fusion beats global-aware parts alone", 2, ("both", "global"), (_FUSED, _GLOBAL)),
    Claim(
        "average pooling beats maximum pooling (fusion, k = 2)",
        3,
        ("fusion, gap", "fusion, gmp"),
        (_TWO, {**_TWO, "variant": "pool=gmp"}),
    ),
    Claim("8 parts beat 2 (fusion)", 4, ("fusion, k=8", "fusion, k=2"), (_FUSED, _TWO)),
)
# Where, and with which variant.
COLUMNS = {name: ("ward", variant) for name, variant in study.WARD.items()}
COLUMNS |= {name: (name, "") for name in study.SETS if name != "ward"}


def printed(claim: Claim) -> str:
    """Return the published differences of a claim in points, MobileNet, in the sets' order."""
    gaps = []
    for data in published.DATASETS:
        cells = [
            published.value(claim.table, row, "mobilenet_v1", data, "rank1") for row in claim.rows
        ]
        numbers = [cell for cell in cells if isinstance(cell, float)]
        gaps.append(f"{numbers[0] - numbers[1]:+.1f}" if len(numbers) == 2 else "-")
    return " / ".join(gaps)


def judged(gap: dict[str, float]) -> str:
    """Return what an interval says: "confirmed", "contradicted", or "not confirmed" (has zero)."""
    if gap["low"] > 0:
        return "confirmed"
    return "contradicted" if gap["high"] < 0 else "not confirmed"


def table() -> pd.DataFrame:
    """Return all claims: published, then for each of COLUMNS the difference and the verdict."""
    lines = {}
    for claim in CLAIMS:
        line = {"published": printed(claim)}
        for name, (dataset, variant) in COLUMNS.items():
            better, worse = (
                study.varied({"dataset": dataset, **setting}, variant) for setting in claim.settings
            )
            gap = study.paired(better, worse)
            line[name] = study.told(gap) + (f", {judged(gap)}" if gap else "")
        lines[claim.text] = line
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("claim")
