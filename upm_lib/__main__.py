"""Command line: ``python -m upm_lib demo``, ``train``, ``table``, ``index``, ``search`` and more.

Each subcommand is one function that registers its arguments and another that does the work; what is
heavy is imported only there, so that ``--help`` answers at once.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import upm_lib
from upm_lib import files
from upm_lib.command import NETWORKS, add_quiet, command, loading, refuse, typed
from upm_lib.config import PAPER, PARTS, SCALES, TABLES, UserError, known, preset

if TYPE_CHECKING:
    from upm_lib.experiments.bench import Bench

# Fields of the config that are asked for otherwise on the command line.
ASKED = {name: f"it is the option --{name}" for name in ("dataset", "root", "splits", "trial")}


@command
def main(argv: list[str] | None = None) -> int:
    """Run a command; return the exit code (2: the sentence printed says what to mend)."""
    parser = argparse.ArgumentParser(
        prog="python -m upm_lib",
        description="Unsupervised video person re-identification with part models (uPMnet).",
    )
    parser.add_argument("--version", action="version", version=upm_lib.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    adds = (_add_demo, _add_train, _add_table, _add_index, _add_search, _add_export, _add_runs)
    for add in adds:
        add(commands)
    for subparser in commands.choices.values():
        add_quiet(subparser)
    arguments = parser.parse_args(argv)
    arguments.parser = commands.choices[arguments.command]
    if arguments.command != "train" and "TORCHELASTIC_RUN_ID" in os.environ:
        raise UserError(f"torchrun is for `train`: run `{arguments.command}` without it")
    if arguments.command != "runs":  # which does without
        loading()
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
    usual = "demo" if synthetic else "paper"
    scale = usual if arguments.scale is None else arguments.scale
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
    add(
        "-p", nargs=2, action="append", default=[], metavar=("FIELD", "VALUE"), dest="fields",
        help="set any field of the config, as in -p batch 32",
    )  # fmt: skip


def _networks(arguments: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in (*NETWORKS, "device")}


def _refuse(arguments: argparse.Namespace, names: Iterable[str], why: str) -> None:
    refuse(arguments.parser, arguments, names, why)


def _open(arguments: argparse.Namespace, **more: Any) -> "Bench":
    from upm_lib.experiments.bench import open_bench

    where = {"root": arguments.root, "splits": arguments.splits}
    where["progress"] = not arguments.quiet
    where["trial"] = getattr(arguments, "trial", None)
    options = where | _networks(arguments) | _fields(arguments) | more
    return open_bench(arguments.dataset, _scale(arguments), **options)


def _add_train(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "train",
        help="train a network or both, or go on, and measure; also under torchrun",
        description="Train a network, or both of the fused feature, on one trial, or go on with "
        "it, and measure it where people are known. With several processes: "
        "torchrun --nproc-per-node 2 -m upm_lib train ...",
    )
    parser.add_argument("method", choices=("baseline", "local", "global", "both"))
    parser.add_argument("--save", metavar="FILE", help="write what was trained as a model file")
    _add_data(parser)
    parser.add_argument("--trial", type=int, default=1, metavar="N", help="default: %(default)s")
    _add_networks(parser)
    parser.set_defaults(run=_train)


def _train(arguments: argparse.Namespace) -> None:
    from upm_lib import distributed
    from upm_lib.experiments import measuring, networks
    from upm_lib.retrieval import model_file

    k = _fields(arguments).get("k", arguments.k)
    if arguments.method == "baseline" and k not in (None, 1):
        raise UserError(f"the baseline has one part, not k = {k}: leave k out, or train local")
    if arguments.save is not None:
        model_file.check_name(arguments.save)  # before anything is trained
    with distributed.processes():
        first = distributed.rank() == 0
        bench = _open(arguments, progress=first and not arguments.quiet)
        method = "fusion" if arguments.method == "both" else arguments.method
        measurement = bench.measurement(method, arguments.trial)
        made = networks.as_model(bench, measurement)
        lines = [str(networks.folder_of(bench, config)) for config in measurement.networks]
        if first and arguments.save is not None:  # first of all: measuring may be refused
            lines.append(f"model: {made.save(arguments.save)}")
        if bench.dataset.identified:
            found = measuring.measure(bench, measurement)
            text = f"{bench.label}: Rank-1 {found['rank1']:.1f}, mAP {found['mAP']:.1f} %"
        else:
            text = f"{bench.dataset.name} has no identities: trained, not measured"
        if first:
            print(text, *lines, sep="\n")


def _fields(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the fields set by -p; what is asked for otherwise, or contradicts, is refused."""
    fields = typed(arguments.fields)
    first = "it is METHOD, the first word" if "method" in arguments else "both are used"
    asked = ASKED | {"branch": first}
    if "gallery" in arguments:
        asked |= dict.fromkeys(("dataset", "root"), "the data are --gallery")
        asked |= dict.fromkeys(("splits", "trial"), "a gallery is not divided")
    if "trials" in arguments:
        asked["trial"] = "it is the option --trials"
    for name in fields:
        if name in asked:
            raise UserError(f"-p {name} is not for this command: {asked[name]}")
        if getattr(arguments, name, None) is not None:
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{option} and -p {name} are the same: give one of them")
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
    kinds = "1 to 6; beyond: each module at every k, both ways to fuse; all: 1 to 4 and beyond; "
    kinds += "transfer: a model from a file on these data"
    add("table", metavar="TABLE", help=kinds)
    _add_data(parser)
    numbers = "3 (the first three), 1-10 or 1,3,5; default: 1"
    add("--trials", default="1", metavar="N", help=numbers)
    _add_networks(parser)
    add("--dry-run", action="store_true", help="say what would be run, with time and disk")
    add("--model", metavar="FILE", help="of the table transfer: what train --save has written")
    parser.set_defaults(run=_table)


def _table(arguments: argparse.Namespace) -> None:
    table = known(TABLES, arguments.table, "table")
    _scale(arguments)  # this and the next refuse what is wrong before anything is said
    _fields(arguments)
    if table == "transfer" and arguments.model is None:
        raise UserError("table transfer measures a model file: give --model FILE")
    if table != "transfer" and arguments.model is not None:
        raise UserError("a model file has a table of its own: `table transfer --model FILE`")
    if table == "transfer":
        _refuse(arguments, ["dry_run"], "a model from a file is measured at once")
    if table in ("5", "6"):
        options = ("dataset", "root", "scale", "splits", "trials", *NETWORKS, "device", "dry_run")
        _refuse(arguments, [*options, "fields"], f"table {table} is counted and needs no data")
    from upm_lib.experiments.measurement import trial_numbers
    from upm_lib.paper import tables

    if table == "transfer":
        trial_numbers(arguments.trials)  # before the data are read
        bench = _open(arguments, model=arguments.model)
        found = tables.transfer(bench, arguments.trials)
        print(*tables.transfer_heading(bench, arguments.trials), "", found.to_string(), sep="\n")
    elif table in ("5", "6"):
        printed, counted = (of(table).to_string() for of in (tables.printed, tables.counts))
        print(tables.TITLES[table], "published:", printed, "", sep="\n")
        print("counted as the paper counts, and plainly:", counted, sep="\n")
    elif arguments.dataset == "dukemtmc" and arguments.root is None and table != "beyond":
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


def _add_index(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "index",
        help="describe the tracklets of your own cameras and keep their vectors, to be searched",
        description="Describe the tracklets of a gallery that are new or changed, and keep their "
        "vectors in an index. The index holds its model: --model is needed to make it.",
    )
    add = parser.add_argument
    add("gallery", nargs="?", metavar="DIR", help="with CAMERA/TRACKLET/frames in it")
    add("--to", required=True, metavar="INDEX", help="a folder such as shop.lance, or s3://...")
    add("--model", metavar="FILE", help="what `train both --save FILE` has written")
    forget = "tracklets to forget, such as cam1/0007: their vectors are wiped from the disk"
    add("--remove", nargs="+", default=[], metavar="TRACKLET", help=forget)
    add("--parquet", metavar="FILE", help="write camera, tracklet, person, vector for elsewhere")
    add("--device", help="cpu or cuda; default: a GPU if there is one")
    parser.set_defaults(run=_index)


def _device(arguments: argparse.Namespace) -> Any:
    """Return the device asked for, checked; None if none is."""
    from upm_lib import distributed

    return None if arguments.device is None else distributed.pick_device(arguments.device)


def _index(arguments: argparse.Namespace) -> None:
    if arguments.gallery is None:
        _refuse(arguments, ["device"], "nothing is described without DIR")
    else:
        files.outside(arguments.to, arguments.gallery)
    if arguments.parquet is not None:
        files.target(arguments.parquet, "the file of vectors")
    from upm_lib.deploy import index

    device = _device(arguments)
    model = None if arguments.model is None else upm_lib.load(arguments.model, device)
    found = index.open_index(arguments.to, model, device)
    if arguments.gallery is not None:
        added = found.add(arguments.gallery, progress=not arguments.quiet)
        for what, names in added._asdict().items():
            print(f"{what}: {len(names)}")
    if arguments.remove:
        names = sorted({*arguments.remove})
        found.remove(names)
        still = "delete their frames, too, or the next look at the gallery finds them again"
        print(f"forgotten: {len(names)} ({still})")
    if arguments.parquet is not None:
        print(f"vectors: {found.to_parquet(arguments.parquet)}")
    print(f"{arguments.to} holds {len(found)} tracklets")


def _add_search(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "search",
        help="find the tracklets of your own cameras that look like one of them",
        description="Find the tracklets of your own cameras that look like one of them, in an "
        "index or in a gallery. Without a model both networks are trained on the gallery where "
        "that is not done yet, without any label. Exit code 0: there is a ranked list; 2: not.",
    )
    add = parser.add_argument
    where, what, how = (
        parser.add_mutually_exclusive_group(required=r) for r in (True, True, False)
    )
    where.add_argument("--index", metavar="INDEX", help="what `index` has made")
    inside = "with CAMERA/TRACKLET/frames in it"
    where.add_argument("--gallery", metavar="FOLDER", help=inside)
    asked = "a tracklet such as cam1/0007, any folder of frames, or a picture"
    what.add_argument("--query", metavar="TRACKLET", help=asked)
    what.add_argument("--queries", metavar="FILE", help="many of them, one a line")
    add(
        "--top", type=int, default=5, metavar="N", help="the picture shows 50; default: %(default)s"
    )
    add("--same-camera", action="store_true", help="search the query's own camera too")
    add("--out", metavar="FILE.png", help="of the picture; default: a file in the run store")
    how.add_argument("--json", action="store_true", help="print a line of JSON a query, no picture")
    how.add_argument("--csv", action="store_true", help="print comma-separated values, no picture")
    add("--model", metavar="FILE", help="for a gallery: what `train both --save FILE` has written")
    scales = f"{', '.join(SCALES)}; default: frozen"
    add("--scale", metavar="NAME", help=scales)
    _add_networks(parser)
    parser.set_defaults(run=_search)


def _search(arguments: argparse.Namespace) -> None:
    trained = ("scale", *NETWORKS, "fields")
    if arguments.index is not None:
        _refuse(arguments, ["model", *trained], "an index holds its model")
    if arguments.model is not None:
        _refuse(arguments, trained, "a model file holds trained networks")
    if arguments.queries is not None:
        _refuse(arguments, ["out"], "only a single --query gets a picture")
    from upm_lib.deploy import index, search

    out = search.picture_path(arguments.out, arguments.query or "", arguments.gallery)
    query = arguments.query
    queries = search.queries(arguments.queries) if query is None else [query]
    for one in queries:
        files.place(one)  # a name that nothing can have, before networks are trained
    device = _device(arguments)
    if arguments.index is not None:
        place = index.open_index(arguments.index, device=device)
    else:
        model = None if arguments.model is None else upm_lib.load(arguments.model, device)
        scale = "frozen" if arguments.scale is None else arguments.scale
        progress = not arguments.quiet
        options = _networks(arguments) | _fields(arguments)
        place = search.of_gallery(arguments.gallery, model, scale, progress, **options)
    found = search.many(place, queries, arguments.top, arguments.same_camera, not arguments.quiet)
    if arguments.csv:
        print(search.as_csv(found))
    for one in () if arguments.csv else found:
        print(
            *([json.dumps(search.as_json(one))] if arguments.json else search.lines(one)), sep="\n"
        )
    if arguments.out or not (arguments.queries or arguments.json or arguments.csv):
        aside = sys.stderr if arguments.json or arguments.csv else None
        print(search.draw(found[0], out, not arguments.quiet), file=aside)


def _add_export(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("export", help="write a model as one ONNX network, for elsewhere")
    what = "what `train both --save FILE` has written"
    parser.add_argument("--model", required=True, metavar="FILE", help=what)
    takes = "takes frames [B, 3, H, W] in [-1, 1], gives fused vectors [B, D]"
    parser.add_argument("--onnx", required=True, metavar="FILE", help=takes)
    parser.set_defaults(run=_export)


def _export(arguments: argparse.Namespace) -> None:
    from upm_lib.deploy import export

    model = upm_lib.load(arguments.model, "cpu")
    print(export.to_onnx(model, arguments.onnx))
    config = model.configs[0]
    pooled = {"max": "maximum", "mean": "mean"}[config.tracklet_pool]
    size = f"{config.height}x{config.width} pixels (height x width)"
    print(f"it takes frames [B, 3, H, W] of {size}, RGB, from -1 to 1 (pixel / 127.5 - 1)")
    print(f"a tracklet's vector is the {pooled} of its frames' vectors, scaled to length 1")


def _add_runs(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("runs", help="list what the run store holds, or remove some of it")
    paths = "what to remove, as it is listed, or a pattern such as 'maps/*'; first only a plan"
    parser.add_argument("--remove", nargs="+", default=[], metavar="PATH", help=paths)
    parser.add_argument("--yes", action="store_true", help="remove what the plan says")
    parser.set_defaults(run=_runs)


def _runs(arguments: argparse.Namespace) -> None:
    if not arguments.remove:
        _refuse(arguments, ["yes"], "without --remove nothing is removed")
    from upm_lib.deploy import shelf

    found = shelf.listing()
    if arguments.remove:
        found = shelf.chosen(found, arguments.remove)
    print(*shelf.lines(found), sep="\n")
    if arguments.remove and not arguments.yes:
        print("nothing is removed yet: give --yes, too, to remove these")
    elif arguments.remove:
        busy = shelf.remove(found)
        print(
            f"removed {len(found) - len(busy)}",
            *(f"in use, left: {what}" for what in busy),
            sep="\n",
        )


if __name__ == "__main__":
    sys.exit(main())
