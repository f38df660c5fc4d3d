"""Command line: ``python -m upm_lib demo``, ``train``, ``table``, ``search``.

Each subcommand is one function that registers its arguments and another that does the work; what is
heavy is imported only there, so that ``--help`` answers at once.
"""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from upm_lib import __version__
from upm_lib.command import add_quiet, command, typed
from upm_lib.config import PAPER, PARTS, SCALES, TABLES, UserError, known, preset

if TYPE_CHECKING:
    from upm_lib.experiments.bench import Bench


# Fields of the config that are asked for otherwise on the command line.
ASKED = {
    "branch": "it is METHOD, the first word",
    **{name: f"it is the option --{name}" for name in ("dataset", "root", "splits", "trial")},
}


@command
def main(argv: list[str] | None = None) -> int:
    """Run a command; return the exit code (2: the sentence printed says what to mend)."""
    parser = argparse.ArgumentParser(
        prog="python -m upm_lib",
        description="Unsupervised video person re-identification with part models (uPMnet).",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_add_demo, _add_train, _add_table, _add_search):
        add(commands)
    for subparser in commands.choices.values():
        add_quiet(subparser)
    arguments = parser.parse_args(argv)
    arguments.run(arguments)
    return 0


def _add_demo(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("demo", help="run the six notebooks on the synthetic data")
    parser.add_argument("--dataset", default="synthetic_clean", help="default: %(default)s")
    parser.set_defaults(run=_demo)


def _demo(arguments: argparse.Namespace) -> None:
    from upm_lib.paper import demo  # papermill comes with the notebooks only

    demo.run(arguments.dataset, not arguments.quiet)


def _add_data(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which data are meant, and at which scale."""
    add = parser.add_argument
    add("--dataset", default="synthetic_clean", metavar="NAME", help=", ".join(PAPER))
    add("--root", metavar="DIR", help="folder of the data set")
    usual = "demo for synthetic data sets, paper for the others"
    add("--scale", metavar="NAME", help=f"{', '.join(SCALES)}; default: {usual}")
    lists = "random, or official: the published lists; default: random"
    add("--splits", metavar="NAME", help=lists)


def _scale(arguments: argparse.Namespace) -> str:
    """Return the scale asked for, or the usual one of the data set."""
    synthetic = arguments.dataset.startswith("synthetic_")
    scale = arguments.scale or ("demo" if synthetic else "paper")
    preset(arguments.dataset, scale)  # an unknown name gets its sentence
    return scale


def _add_networks(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which networks are meant, and where they are trained."""
    add = parser.add_argument
    names = "mobilenet_v1, resnet50, resnet50_slim or small; default: the scale's"
    add("--backbone", metavar="NAME", help=names)
    files = "trained weights of the backbone; 'imagenet' downloads them; default: the scale's"
    add("--weights", metavar="FILE", help=files)
    add("--k", type=int, help=f"parts: {', '.join(map(str, PARTS))}; default: 8")
    add("--pool", metavar="NAME", help="of the parts: gap or gmp; default: gap")
    add("--steps", type=int, help="of a training; default: the scale's")
    add("--epochs", type=float, help="of a training, in place of --steps")
    add("--seed", type=int, help="default: 0")
    add("--min-frames", type=int, metavar="N", help="leave out shorter tracklets")
    add("--device", help="cpu or cuda; default: a GPU if there is one")


def _networks(arguments: argparse.Namespace) -> dict[str, Any]:
    names = ("backbone", "weights", "k", "pool", "steps", "epochs", "seed", "min_frames", "device")
    return {name: getattr(arguments, name) for name in names}


def _open(arguments: argparse.Namespace, **more: Any) -> "Bench":
    from upm_lib.experiments.bench import open_bench

    where = {"root": arguments.root, "splits": arguments.splits}
    where["progress"] = not arguments.quiet
    where["trial"] = getattr(arguments, "trial", None)
    options = where | _networks(arguments) | more
    return open_bench(arguments.dataset, _scale(arguments), **options)


def _add_train(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "train",
        help="train a network, or go on with it, and measure it; also under torchrun",
        description="Train a network on one trial, or go on with it, and measure it where people "
        "are known. With several processes: torchrun --nproc-per-node 2 -m upm_lib train ...",
    )
    parser.add_argument("method", choices=("baseline", "local", "global"))
    _add_data(parser)
    parser.add_argument("--trial", type=int, default=1, metavar="N", help="default: %(default)s")
    _add_networks(parser)
    parser.add_argument(
        "-p", nargs=2, action="append", default=[], metavar=("FIELD", "VALUE"), dest="fields",
        help="set any field of the config, as in -p batch 32",
    )  # fmt: skip
    parser.set_defaults(run=_train)


def _train(arguments: argparse.Namespace) -> None:
    from upm_lib import distributed
    from upm_lib.experiments import measuring, networks

    fields = _fields(arguments)
    with distributed.processes():
        first = distributed.rank() == 0
        bench = _open(arguments, progress=first and not arguments.quiet, **fields)
        config = bench.network(arguments.method, arguments.trial)
        networks.find_or_train(bench, config)
        if bench.dataset.identified:
            found = measuring.measure(bench, bench.measurement(arguments.method, arguments.trial))
            text = f"{bench.label}: Rank-1 {found['rank1']:.1f}, mAP {found['mAP']:.1f} %"
        else:
            text = f"{bench.dataset.name} has no identities: trained, not measured"
        if first:
            print(text, networks.folder_of(bench, config), sep="\n")


def _fields(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the fields set by -p; what is asked for otherwise, or contradicts, is refused."""
    fields = typed(arguments.fields)
    for name in fields:
        if name in ASKED:
            raise UserError(f"-p {name} is not for this command: {ASKED[name]}")
        if getattr(arguments, name, None) is not None:
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{option} and -p {name} are the same: give one of them")
    k = fields.get("k", arguments.k)
    if arguments.method == "baseline" and k not in (None, 1):
        raise UserError(f"the baseline has one part, not k = {k}: leave k out, or train local")
    return fields


def _add_table(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "table",
        help="run what a table of the paper needs, and print it with the published values",
        description="Run what a table of the paper needs, and print it with the published values. "
        "What is done is found in the run store; what was interrupted goes on. Tables 1 to 4 are "
        "measured; Tables 5 and 6 are counts and need no data.",
    )
    add = parser.add_argument
    kinds = "1 to 6; beyond: each module at every k, both ways to fuse; all: 1 to 4 and beyond"
    add("table", metavar="TABLE", help=kinds)
    _add_data(parser)
    numbers = "3 (the first three), 1-10 or 1,3,5; default: 1"
    add("--trials", default="1", metavar="N", help=numbers)
    _add_networks(parser)
    add("--dry-run", action="store_true", help="say what would be run, with time and disk")
    parser.set_defaults(run=_table)


def _table(arguments: argparse.Namespace) -> None:
    table = known(TABLES, arguments.table, "table")
    _scale(arguments)  # refuses an unknown name before anything is said
    from upm_lib.paper import tables

    if table in ("5", "6"):
        printed, counted = (of(table).to_string() for of in (tables.printed, tables.counts))
        print(tables.TITLES[table], "published:", printed, "", sep="\n")
        print("counted as the paper counts, and plainly:", counted, sep="\n")
    elif arguments.dataset == "dukemtmc" and arguments.root is None:
        print(tables.UNREAD)
        for one in tables.PAPER_TABLES if table == "all" else (table,):
            print("", tables.TITLES[one], tables.printed(one).to_string(), sep="\n")
    else:
        _run_table(table, arguments)


def _run_table(table: str, arguments: argparse.Namespace) -> None:
    from upm_lib.experiments.measurement import trial_numbers
    from upm_lib.paper import plan, tables

    trials = arguments.trials
    trial_numbers(trials)  # before the data are read
    bench = _open(arguments)
    job = plan.of(bench, table, trials)
    print(*tables.heading(table, bench, trials), *plan.summary(job), "", sep="\n")
    if arguments.dry_run:
        tasks = plan.listing(job).to_string(index_names=False) if job.networks else ""
        print(tasks or "nothing is left to train")
        return
    plan.run(job)
    for one in tables.ACCURACY if table == "all" else (table,):
        print(*[tables.TITLES[one]] * (table == "all"), sep="\n")
        print(tables.accuracy(one, bench, trials).to_string(index_names=False), "", sep="\n")
        print(*tables.notes(one, bench, trials), "", sep="\n")
    if table in ("beyond", "all"):
        print("Rank-1 of each part alone", tables.single_parts(bench, trials).to_string(), sep="\n")


def _add_search(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "search",
        help="find the tracklets of your own cameras that look like one of them",
        description="Find the tracklets of your own cameras that look like one of them. The two "
        "networks are trained on the gallery where that is not done yet, without any label.",
    )
    add = parser.add_argument
    asked = "a tracklet of the gallery such as cam1/0007, or any folder of frames"
    add("--query", required=True, metavar="TRACKLET", help=asked)
    add("--gallery", required=True, metavar="FOLDER", help="with CAMERA/TRACKLET/frames in it")
    add("--top", type=int, default=5, metavar="N", help="default: %(default)s")
    add("--same-camera", action="store_true", help="search the query's own camera too")
    add("--out", metavar="FILE.png", help="of the picture; default: a file in the run store")
    scales = f"{', '.join(SCALES)}; default: frozen"
    add("--scale", default="frozen", metavar="NAME", help=scales)
    _add_networks(parser)
    parser.set_defaults(run=_search)


def _search(arguments: argparse.Namespace) -> None:
    from upm_lib.experiments import search
    from upm_lib.experiments.bench import open_bench

    out = search.picture_path(arguments.out, arguments.query, arguments.gallery)
    where = {"root": arguments.gallery, "progress": not arguments.quiet}
    bench = open_bench("folder", arguments.scale, **where, **_networks(arguments))
    found = search.search(bench, arguments.query, arguments.top, arguments.same_camera)
    print(*search.lines(found), sep="\n")
    print(f"picture: {search.draw(found, out)}")


if __name__ == "__main__":
    sys.exit(main())
