"""What can be measured: one method on one trial, with everything that decides the result."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from upm_lib.config import EVALUATION_FIELDS, Config, UserError, known

# The branches whose networks a method trains: "local" is Eq. (1), "global" Eq. (2), "fusion" both.
BRANCHES: dict[str, tuple[str, ...]] = {
    "baseline": ("local",),
    "local": ("local",),
    "global": ("global",),
    "fusion": ("local", "global"),
}
METHODS = ("histogram", "untrained", *BRANCHES)
_AS_TRAINED = {name: getattr(Config(), name) for name in EVALUATION_FIELDS}


@dataclass(frozen=True)
class Measurement:
    """One method on one trial: what is trained, described and ranked to give one record.

    It is made once, by :func:`of`, and handed on. The config is whole: data set, trial and every
    change are in it.
    """

    method: str
    config: Config

    @cached_property
    def networks(self) -> tuple[Config, ...]:
        """Configs of the trained networks it rests on: two for "fusion", none for a control.

        Fields that only matter when vectors are made are at their default, so that measurements
        that share a network name it alike.
        """
        branches = BRANCHES.get(self.method, ())
        return tuple(self.config.replace(branch=branch, **_AS_TRAINED) for branch in branches)


def of(config: Config, method: str, trial: int = 1, **changes: Any) -> Measurement:
    """Return a method on a trial of a config's data set, with some fields of the config changed.

    The baseline is the local-aware network with k = 1.
    Raises UserError for an unknown method or field.
    """
    known(METHODS, method, "method")
    if method == "baseline":
        changes = {**changes, "k": 1}
    branch = BRANCHES.get(method, ("local",))[0]
    return Measurement(method, config.replace(**{"branch": branch, "trial": trial} | changes))


def trial_numbers(trials: int | str) -> list[int]:
    """Return the numbers of the trials asked for: 3 and "3" mean 1 to 3, else "1-10" or "1,3,5".

    Raises UserError for anything else.
    """
    text = str(trials) if isinstance(trials, int | str) else ""
    pieces = [re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part.strip()) for part in text.split(",")]
    spans = [(int(p[1]), int(p[2] or p[1])) if p else (0, 0) for p in pieces]
    if not all(1 <= first <= last for first, last in spans) or isinstance(trials, bool):
        raise UserError(
            f"trials must be a whole number from 1, a range such as 1-10 or a list such as 1,3,5, "
            f"not {trials!r}"
        )
    if text.strip().isdecimal():
        return list(range(1, spans[0][1] + 1))
    return sorted({trial for first, last in spans for trial in range(first, last + 1)})


def trials_text(numbers: list[int]) -> str:
    """Return trial numbers as short as they can be asked for: "1", "1-10", "5-5" or "1,3,5"."""
    whole = numbers != [1] and numbers == list(range(numbers[0], numbers[-1] + 1))
    return f"{numbers[0]}-{numbers[-1]}" if whole else ",".join(map(str, numbers))
