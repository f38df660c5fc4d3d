"""Tables that are committed: what is measured anew takes its place, and all other lines stay."""

from pathlib import Path

import pandas as pd

from upm_lib import runs


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
