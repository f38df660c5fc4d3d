"""Tables that are committed: what is measured anew takes its place, and all other lines stay.

What is written must have been measured by the code as it is: a store may hold older results.
"""

from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd

from upm_lib import runs
from upm_lib.config import UserError


def code() -> str:
    """Return a digest of the code that trains and measures."""
    return runs.code_digest(*runs.TRAINING_CODE, *runs.MEASURING_CODE)


def read(file: Path) -> dict[str, Any]:
    """Return what a study kept in the run store; raise UserError if other code measured it."""
    kept = runs.read_json(file)
    if kept.get("code") != code():
        raise UserError(f"{file} was measured by other code: measure it again, or remove it")
    return kept


def table(name: str, **how: Any) -> pd.DataFrame:
    """Return a table that lies beside this file; ``how`` is what ``pandas.read_csv`` takes."""
    with resources.files(__package__).joinpath(f"{name}.csv").open(encoding="utf-8") as lines:
        return pd.read_csv(lines, **how)


def keep(lines: pd.DataFrame, path: Path, name: list[str]) -> pd.DataFrame:
    """Put lines into the table of a CSV file, sorted by the columns that name a line; return it.

    They replace the lines of the same name, of which there may be several.
    """
    old = pd.read_csv(path)
    stays = ~pd.MultiIndex.from_frame(old[name]).isin(pd.MultiIndex.from_frame(lines[name]))
    table = pd.concat([old[stays], lines]).sort_values(name, kind="stable", ignore_index=True)
    with runs.replacing(path) as temporary:
        table.to_csv(temporary, index=False)
    return table
