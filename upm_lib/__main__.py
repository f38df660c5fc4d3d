"""Command line: ``python -m upm_lib demo``, ``python -m upm_lib train``."""

import argparse
import json
import sys
from typing import Any

from upm_lib import __version__
from upm_lib.config import UserError


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser("demo", help="run the six notebooks on the embedded synthetic data")
    demo.add_argument("--dataset", default="synthetic_clean", help="default: %(default)s")
    demo.set_defaults(run=_demo)


def _demo(arguments: argparse.Namespace) -> None:
    from upm_lib import demo

    demo.run(arguments.dataset)


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="train a network, or go on with it, and measure it; also under torchrun",
        description="Train a network on one trial, or go on with it, and measure it. With several "
        "processes: torchrun --nproc-per-node 2 -m upm_lib train ...",
    )
    train.add_argument("method", choices=("baseline", "local", "global"))
    train.add_argument("--dataset", default="synthetic_clean", help="default: %(default)s")
    train.add_argument("--root", help="folder of the data set")
    train.add_argument("--scale", default="demo", help="demo (default) or paper")
    train.add_argument("--trial", type=int, default=1, help="default: %(default)s")
    train.add_argument("--device", help="cpu or cuda; default: a GPU if there is one")
    train.add_argument(
        "-p", nargs=2, action="append", default=[], metavar=("FIELD", "VALUE"), dest="changes",
        help="set a field of the config, as in -p k 4",
    )  # fmt: skip
    train.set_defaults(run=_train)


def _train(arguments: argparse.Namespace) -> None:
    from upm_lib import distributed, experiments

    changes = {name: _value(text) for name, text in arguments.changes}
    with distributed.processes():
        bench = experiments.open_bench(
            arguments.dataset,
            arguments.scale,
            arguments.device,
            progress=distributed.rank() == 0,
            root=arguments.root,
            **changes,
        )
        result = experiments.measure(bench, arguments.method, arguments.trial)
        if distributed.rank() == 0:
            config = experiments.config_of(bench, arguments.method, arguments.trial)
            print(f"{bench.label}: Rank-1 {result['rank1']:.1f}, mAP {result['mAP']:.1f} percent")
            print(experiments.folder_of(bench, config))


def _value(text: str) -> Any:
    """Read a value as JSON (numbers, true, lists), or else as text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def main(argv: list[str] | None = None) -> int:
    """Run a command; return the exit code (2: the sentence printed says what to mend)."""
    parser = argparse.ArgumentParser(
        prog="python -m upm_lib",
        description="Unsupervised video person re-identification with part models (uPMnet).",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_train(commands)
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
