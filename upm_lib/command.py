"""The one way out of every command and script, and what their command lines have in common.

Whatever stops a command ends in one sentence on stderr and an exit code:

2 for a UserError and where the system refuses (no right, no room, no memory), 130 for Ctrl-C, 143
for SIGTERM and for a terminal that closes, 141 where nobody reads the output any more. A warning is
one line. Bars and notes about waiting go to stderr, and ``--quiet`` silences them.
"""

import argparse
import atexit
import contextlib
import dataclasses
import functools
import io
import json
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from upm_lib.config import Config, UserError, known, one_line

FULL = re.compile("out of memory|allocate memory|not enough memory")  # as torch says it
# Fields of the config that are options of every command which trains.
NETWORKS = ("backbone", "weights", "k", "pool", "steps", "epochs", "seed", "min_frames")
STOPS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class Terminated(KeyboardInterrupt):
    """The system asks the program to end (SIGTERM), or its terminal is closed (SIGHUP)."""


def command(main: Callable[..., int | None]) -> Callable[..., int]:
    """Make a function a command: whatever stops it ends in one sentence and an exit code."""

    @functools.wraps(main)
    def run(*arguments: Any) -> int:
        with _prepared():
            try:
                code = main(*arguments) or 0
                sys.stdout.flush()
                return code
            except BrokenPipeError:
                with contextlib.suppress(OSError):  # a stream without a file
                    # Python flushes once more when it ends, and would complain.
                    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return _said("stopped: nobody reads the output any more", 141)
            except (UserError, OSError) as error:
                return _said(f"error: {error}", 2)
            except KeyboardInterrupt as stop:
                _deafen()
                kept = "what was finished before is kept, and the same command makes the rest"
                code = 143 if isinstance(stop, Terminated) else 130
                return _said(f"stopped: {str(stop) or kept}", code)
            except (MemoryError, RuntimeError) as error:
                if not isinstance(error, MemoryError) and not FULL.search(str(error)):
                    raise
                return _said("error: not enough memory: take smaller batches", 2)

    return run


@contextlib.contextmanager
def _prepared() -> Iterator[None]:
    """Print any name and one line a warning; let SIGTERM, SIGHUP end a command as Ctrl-C does."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed: the next file to be opened would be taken for it
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name need not be text of the terminal's kind
            stream.reconfigure(errors="backslashreplace")
    notes = logging.getLogger("upm_lib")
    level = notes.level
    usual, first = warnings.formatwarning, threading.current_thread() is threading.main_thread()
    warnings.formatwarning = one_line(Warning, usual)
    before = {number: signal.getsignal(number) for number in STOPS} if first else {}
    for number in before.keys() - {signal.SIGINT}:
        if before[number] is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _terminate)
    try:
        yield
    finally:
        warnings.formatwarning = usual
        notes.setLevel(level)  # as it was before --quiet
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminate(*_: Any) -> None:
    raise Terminated


def _deafen() -> None:
    """Let no second Ctrl-C come between the first one's sentence and the end of the process."""
    if threading.current_thread() is threading.main_thread():
        for number in STOPS:
            signal.signal(number, signal.SIG_IGN)
            atexit.register(signal.signal, number, signal.SIG_IGN)  # where _prepared undoes it


def _said(text: str, code: int) -> int:
    with contextlib.suppress(OSError):  # where nobody reads stderr either, the code must do
        print(" ".join(text.split()), file=sys.stderr, flush=True)
    return code


def loading() -> None:
    """Say why the next seconds pass in silence: PyTorch is imported, unless it is already."""
    if "torch" not in sys.modules:
        logging.getLogger("upm_lib").warning("loading PyTorch")


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add ``--quiet``: results, warnings and errors are printed, bars and notes are not."""
    parser.add_argument(
        "--quiet", action=_Quiet, nargs=0, default=False, help="show no bars and no notes"
    )


class _Quiet(argparse.Action):
    """Silences notes; bars are the affair of who reads ``quiet``."""

    def __call__(self, parser: Any, found: argparse.Namespace, *_: Any) -> None:
        logging.getLogger("upm_lib").setLevel(logging.ERROR)
        found.quiet = True


def refuse(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, names: Iterable[str], why: str
) -> None:
    """Raise UserError if one of some options, which mean nothing beside others, is given."""
    for name in names:
        if getattr(arguments, name) != parser.get_default(name):
            option = "-p" if name == "fields" else f"--{name.replace('_', '-')}"
            raise UserError(f"{why}: leave out {option}")


def typed(pairs: Iterable[Sequence[str]]) -> dict[str, Any]:
    """Return fields typed as NAME VALUE: values are JSON (numbers, true, lists), or else text.

    Raises UserError for a name that is no field of a config, or that is given twice, and for null,
    which would mean what the preset has.
    """
    found: dict[str, Any] = {}
    for name, text in pairs:
        known([f.name for f in dataclasses.fields(Config)], name, "option")
        if name in found:
            raise UserError(f"-p {name} is given twice: give it once")
        try:
            found[name] = json.loads(text)
        except (ValueError, RecursionError):
            found[name] = text
        if found[name] is None:
            raise UserError(f"-p {name} null would change nothing: leave it out")
    return found
