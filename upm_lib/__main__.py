"""Command line: ``python -m upm_lib demo``."""

import argparse
import sys

from upm_lib import __version__
from upm_lib.config import UserError


def main(argv: list[str] | None = None) -> int:
    """Run a command; return the exit code (2: the sentence printed says what to mend)."""
    parser = argparse.ArgumentParser(
        prog="python -m upm_lib",
        description="Unsupervised video person re-identification with part models (uPMnet).",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="run the six notebooks on the embedded synthetic data")
    demo.add_argument("--dataset", default="synthetic_clean", help="default: %(default)s")
    arguments = parser.parse_args(argv)
    try:
        from upm_lib import demo as main_job

        main_job.run(arguments.dataset)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
