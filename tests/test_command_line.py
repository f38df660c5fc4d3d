"""The commands as a user sees them: help, the plan, the table, the ranked list, and sentences."""

import errno
import json
import re
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import save_file

from upm_lib import runs
from upm_lib.__main__ import main
from upm_lib.command import loading, typed
from upm_lib.config import Caution, Config, UserError, preset
from upm_lib.data import catalogue
from upm_lib.learning import model
from upm_lib.paper import plan, tables

SCRIPTS = Path(__file__).resolve().parents[1] / "data_scripts"

FAST = ["--steps", "2", "--device", "cpu"]


@pytest.fixture
def said(capsys: pytest.CaptureFixture, run_store: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a command; return its exit code and what it printed on stdout and stderr."""
    monkeypatch.setattr(plan, "timed_step", lambda bench, config: 0.5)

    def run(*words: object) -> tuple[int, str, str]:
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:  # argparse's own
            code = stop.code
        return (code, *capsys.readouterr())

    return run


@pytest.mark.parametrize("command", ["demo", "table", "index", "search", "export", "runs"])
def test_every_command_explains_itself(said, command: str) -> None:
    code, out, _ = said(command, "--help")
    assert code == 0
    assert out.startswith(f"usage: python -m upm_lib {command} ")
    assert command in said("--help")[1]


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.stem)
def test_no_script_begins_before_it_has_read_its_arguments(script: Path) -> None:
    """Without this, --help would run it; to start each one takes a minute."""
    assert "parse_args(" in script.read_text(encoding="utf-8")


@pytest.mark.parametrize("script", ["check_dataset", "pack", "video_to_tracklets"])
def test_scripts_explain_themselves_without_pytorch(script: str) -> None:
    path = Path(__file__).parents[1] / "data_scripts" / f"{script}.py"
    helped = f"sys.argv = ['x', '--help']; runpy.run_path({str(path)!r}, run_name='__main__')"
    code = f"import runpy, sys\ntry: {helped}\nexcept SystemExit: sys.exit('torch' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0 and process.stdout.startswith("usage:"), process.stderr


# ---------------------------------------------------------------- table


def test_a_dry_run_lists_and_does_nothing(said, tiny_root: Path) -> None:
    code, out, _ = said("table", 4, "--root", tiny_root, "--trials", "1-10", "--dry-run", *FAST)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == tables.TITLES["4"]
    what = f"synthetic_clean (synthetic data, in {tiny_root.name}, 4 test people)"
    assert f"{what}: scale demo, small, 2 steps" in lines[1] and str(tiny_root) not in lines[1]
    assert lines[2] == "40 measurements, 0 of them done"
    assert re.match(r"70 networks to train: about .* on this machine's cpu .* of disk$", lines[3])
    assert sum(line.startswith(("local, k=", "global, k=")) for line in lines) == 7
    assert not (runs.store() / "training").exists()


def test_a_table_runs_to_the_end_and_is_printed(said, tiny_root: Path) -> None:
    words = ("table", 2, "--root", tiny_root, "--trials", 2, "--k", 2, *FAST)
    code, out, _ = said(*words)
    assert code == 0
    assert "network 6 of 6: global, k=2, trial 2; about " in out
    rows = [line.split() for line in out.splitlines() if re.match(r"\w+, MobileNet", line)]
    assert [row[0] for row in rows] == ["baseline,", "local,", "global,", "both,"]
    assert [row[2] for row in rows] == ["82.3", "91.5", "83.3", "90.2"]
    assert all(row[6] == "±" and row[-1] == "2" for row in rows)
    assert tables.NOT_RUN not in out
    assert "not compared: these people are synthetic" in out

    code, again, _ = said(*words)
    assert "8 measurements, 8 of them done" in again and "network 1" not in again
    assert again.splitlines()[-8:] == out.splitlines()[-8:]
    assert "nothing is left to train" in said(*words, "--dry-run")[1]


@pytest.mark.parametrize(("table", "lines"), [(5, 4), (6, 2)])
def test_the_tables_of_counts_need_no_data(said, table: int, lines: int, monkeypatch) -> None:
    monkeypatch.setattr(catalogue, "load", None)
    code, out, _ = said("table", table)
    assert code == 0 and tables.TITLES[str(table)] in out
    assert out.count("uPMnet") == lines


def test_what_may_not_be_read_is_printed_as_published(said) -> None:
    code, out, _ = said("table", 1, "--dataset", "dukemtmc", "--trials", "1-10")
    assert code == 0
    assert "published only" in out and re.search(r"MobileNet +90\.2 .* 83\.6", out)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["2", "--dataset", "prid"], "unknown data set 'prid'"),
        (["2", "--dataset", "prid2011"], "prid2011 is not synthetic: give its folder as root"),
        (["2", "--trials", "0"], "trials must be a whole number from 1, a range such as 1-10"),
        (["2", "--scale", "papr"], "unknown scale 'papr': did you mean 'paper'"),
        (["2", "--k", "3"], "k = 3 does not divide"),
        (["2", "--backbone", "resnet"], "did you mean 'resnet50'"),
        (["2", "--dataset", "prid2011", "--root", "/no/such"], "/no/such does not exist"),
        (["beyond", "--dataset", "dukemtmc"], "dukemtmc is not synthetic: give its folder as root"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_what_does_not_fit_gets_one_sentence_and_code_2(said, words: list, sentence: str) -> None:
    code, out, err = said("table", *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and sentence in err and err.count("\n") == 1


KEPT = "what was finished before is kept, and the same command makes the rest"
STOPS = {
    "Ctrl-C": (lambda: signal.raise_signal(signal.SIGINT), 130, f"stopped: {KEPT}"),
    "SIGTERM": (lambda: signal.raise_signal(signal.SIGTERM), 143, f"stopped: {KEPT}"),
    "Ctrl-C in a training": (KeyboardInterrupt("4 of 9 steps are kept"), 130, "stopped: 4 of 9 st"),
    "a closed pipe": (BrokenPipeError(), 141, "stopped: nobody reads the output any more"),
    "a full disk": (
        OSError(errno.ENOSPC, "No space left on device", "x.png"),
        2,
        "error: [Errno 28] No space left on device: 'x.png'",
    ),
    "no right": (PermissionError(errno.EACCES, "Permission denied", "x"), 2, "error: [Errno 13] "),
    "a sentence of two lines": (UserError("one\ntwo"), 2, "error: one two"),
    "no memory": (MemoryError(), 2, "error: not enough memory: take smaller batches"),
    "torch has no memory": (
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        2,
        "error: not enough memory: take smaller batches",
    ),
}


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let Ctrl-C interrupt, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("what", STOPS)
def test_whatever_stops_a_command_is_one_sentence_and_an_exit_code(
    said, tiny_root: Path, monkeypatch, what: str
) -> None:
    stops, expected, sentence = STOPS[what]

    def stop(*_: object) -> None:
        if isinstance(stops, BaseException):
            raise stops
        stops()

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(plan, "run", stop)
    code, _, err = said("table", 1, "--root", tiny_root, *FAST)
    assert code == expected
    assert err.startswith(sentence) and err.count("\n") == 1
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("what", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_second_signal_does_not_break_into_the_sentence_of_the_first(what: str) -> None:
    code = f"""
import atexit, os, signal, sys
from upm_lib import command
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the tests were started with
signal.signal(signal.SIGHUP, signal.SIG_DFL)
def again(*_): os.kill(os.getpid(), signal.{what})
def main(): again(); again()
atexit.register(again)  # while Python ends
command._said = lambda text, code, said=command._said: (again(), said(text, code))[1]
sys.exit(command.command(main)())
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == (130 if what == "SIGINT" else 143)
    assert process.stderr.startswith("stopped: ") and process.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "mistake", [KeyError("x"), RuntimeError("CUDA error: an illegal memory access was encountered")]
)
def test_a_mistake_of_ours_is_no_sentence(said, tiny_root: Path, monkeypatch, mistake) -> None:
    def fail(*_: object) -> None:
        raise mistake

    monkeypatch.setattr(plan, "run", fail)
    with pytest.raises(type(mistake)):
        said("table", 1, "--root", tiny_root, *FAST)


def test_a_real_pipe_that_closes_is_no_trace() -> None:
    command = [sys.executable, "-m", "upm_lib", "runs"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    with process.stderr as stderr:
        assert stderr.read() == "stopped: nobody reads the output any more\n"
    assert process.wait() == 141


def test_a_warning_is_one_line_without_code(said, tiny_root: Path, tmp_path: Path) -> None:
    root = shutil.copytree(tiny_root, tmp_path / "own")
    (root / "multi_shot" / "cam_a" / "person_0001" / "0001.tif").touch()
    with pytest.warns(Caution, match=r"\(\.tif 1\)"):
        code, _, err = said("table", 1, "--root", root, "--dry-run", "--quiet", *FAST)
    assert (code, err) == (0, ""), "and nothing else is said"
    assert warnings.formatwarning("a\nb", Caution, "x.py", 3) == "warning: a b\n"
    assert "x.py:3" in warnings.formatwarning("a", DeprecationWarning, "x.py", 3, "code")


# ---------------------------------------------------------------- fields


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["local", "-p", "branch", "global"], "-p branch is not for this command: it is METHOD"),
        (["local", "-p", "trial", "3"], "it is the option --trial"),
        (["local", "-p", "root", "/x"], "it is the option --root"),
        (["local", "-p", "dataset", "x"], "it is the option --dataset"),
        (["local", "-p", "splits", "x"], "it is the option --splits"),
        (["local", "-p", "progress", "x"], "unknown option 'progress'"),
        (["local", "-p", "scale", "paper"], "unknown option 'scale'"),
        (["local", "-p", "device", "cpu"], "unknown option 'device'"),
        (["local", "-p", "k", "4", "--k", "2"], "--k and -p k are the same: give one of them"),
        (["local", "-p", "k", "4", "-p", "k", "2"], "-p k is given twice"),
        (["baseline", "-p", "k", "4"], "the baseline has one part, not k = 4"),
        (["baseline", "--k", "4"], "the baseline has one part, not k = 4"),
        (["local", "-p", "weights", "null"], "-p weights null would change nothing: leave it out"),
        (
            ["local", "--scale", "paper", "--backbone", "resnet50_slim"],
            "no public source of weights for resnet50_slim: give a local file",
        ),
        (["local", "-p", "batch", "10000000"], "batch must be from 1 to 8,192, not 10000000"),
        (["local", "--steps", "10000000000"], "steps must be from 1 to 10,000,000"),
        (["local", "--trial", "0"], "trial must be from 1 to 9,999, not 0"),
        (["local", "-p", "lr", "NaN"], "lr must be from 0 to 1,000,000, not nan"),
        (["local", "-p", "lr", "Infinity"], "lr must be from 0 to 1,000,000, not inf"),
        (["local", "-p", "lr", "1e400"], "lr must be from 0 to 1,000,000, not inf"),
        (["local", "-p", "eta", "-0.1"], "eta must be from 0 to 1, not -0.1"),
        (["local", "-p", "lr_factors", "[1, 0.1, 2]"], "lr_factors must be two numbers"),
        (["local", "-p", "lr_factors", "[true, 1]"], "lr_factors must be two numbers"),
        (["local", "-p", "restore_bn_statistics", "yes"], "must be true or false, not 'yes'"),
        (["local", "-p", "k", "[" * 100_000], "k must be a whole number"),
        (["local", "-p", "freeze", "3"], "freeze keeps trained weights as they are"),
        (["local", "--weights", "a\0b"], "holds a zero byte"),
        (["local", "--weights", "/"], "no weights at /"),
        (["local", "--weights", "~nosuchuser/x"], "there is no such user here"),
        (["local", "--root", "/proc/self/mem"], "is a file, not a folder"),
    ],
    ids=lambda value: "-".join(value)[:40] if isinstance(value, list) else "",
)
def test_options_that_do_not_fit_are_refused_before_any_work(
    said, run_store: Path, words: list, sentence: str
) -> None:
    code, out, err = said("train", *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and sentence in err and err.count("\n") == 1
    assert not run_store.exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([2, "-p", "branch", "local"], "-p branch is not for this command: both are used"),
        ([2, "-p", "trial", "3"], "it is the option --trials"),
        ([2, "-p", "k", "4", "--k", "2"], "--k and -p k are the same: give one of them"),
        ([2, "-p", "objective", "x"], "unknown objective 'x'"),
        ([5, "-p", "eta", "0.1"], "table 5 is counted and needs no data: leave out -p"),
    ],
    ids=lambda value: "-".join(map(str, value))[:40] if isinstance(value, list) else "",
)
def test_a_table_takes_fields_as_training_does(said, words: list, sentence: str) -> None:
    code, out, err = said("table", *words)
    assert (code, out) == (2, "") and sentence in err and err.count("\n") == 1


def test_a_field_of_a_table_is_that_of_its_networks(said, tiny_root: Path) -> None:
    words = ("table", 2, "--root", tiny_root, "--k", 2, "--dry-run", *FAST)
    code, out, _ = said(*words, "-p", "objective", "cluster")
    assert (
        code == 0 and "k = 2, objective = cluster, centres = camera, trial 1" in out.splitlines()[1]
    )


def test_a_backbone_of_unknown_speed_gets_no_estimate(
    said, tiny_root: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "small.safetensors"
    drawn = model.build(Config(backbone="small", height=128, width=64))
    save_file(drawn.backbone.state_dict(), weights)
    small = ("--scale", "paper", "--backbone", "small", "-p", "height", 128, "-p", "width", 64)
    words = ("table", 2, "--root", tiny_root, "--dry-run", "--device", "cpu", *small)
    code, out, _ = said(*words, "--weights", weights)
    assert code == 0 and "large GPU" not in out


def test_two_numbers_can_be_typed() -> None:
    assert preset("prid2011", **typed([("lr_factors", "[1, 0.1]")])).lr_factors == (1, 0.1)


def test_own_tracklets_without_identities_have_no_table(said, tiny_root: Path) -> None:
    code, out, err = said(
        "table", 2, "--dataset", "folder", "--root", tiny_root / "multi_shot", "--scale", "demo"
    )
    assert (code, out) == (2, "")
    assert "has no identities" in err


# ---------------------------------------------------------------- a model, an index, a search

SMALL = ["--scale", "demo", "--backbone", "small", "--k", "1", *FAST]


def test_from_training_to_a_search(said, tiny_root: Path, tmp_path: Path) -> None:
    gallery, model = tiny_root / "multi_shot", tmp_path / "shop.safetensors"
    words = ("train", "both", "--dataset", "folder", "--root", gallery, "--save", model)
    code, out, _ = said(*words, *SMALL)
    assert code == 0 and out.endswith(f"model: {model}\n") and model.is_file()

    index = tmp_path / "shop.lance"
    assert "--model" not in said("index", "--to", index)[1]
    code, out, _ = said("index", gallery, "--model", model, "--to", index)
    assert (code, out.splitlines()[0]) == (0, "new: 16")
    assert out.endswith("holds 16 tracklets\n")
    vectors = tmp_path / "v.parquet"
    gone = ("--remove", "cam_a/person_0001", "cam_b/person_0001", "--parquet", vectors)
    code, out, _ = said("index", "--to", index, *gone)
    assert code == 0 and "forgotten: 2" in out and "holds 14 tracklets" in out
    assert vectors.is_file()

    asked = ("search", "--index", index, "--query", "cam_b/person_0002", "--top", 3)
    code, out, _ = said(*asked)
    first, _, *rows, last = out.splitlines()
    assert first == "query cam_b/person_0002: the best of 7 tracklets searched"
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    assert all(row.split()[1].startswith("cam_a/") for row in rows)
    (picture,) = (runs.store() / "search").glob("cam_b-person_0002-*.png")
    assert last == f"picture: {picture}" and picture.stat().st_size > 1000

    (tmp_path / "many.txt").write_text("cam_b/person_0002\ncam_a/person_0003\n")
    many = ("search", "--index", index, "--queries", tmp_path / "many.txt", "--top", 3)
    code, out, _ = said(*many, "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert [one["query"] for one in found] == ["cam_b/person_0002", "cam_a/person_0003"]
    ranked = [f"{row['camera']}/{row['tracklet']}" for row in found[0]["matches"]]
    assert ranked == [row.split()[1] for row in rows]
    assert len(said(*many, "--csv")[1].splitlines()) == 7


def test_a_model_is_saved_although_nobody_can_be_searched(
    said, tiny_root: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(tiny_root / "multi_shot", tmp_path / "own")
    (root / "identities.csv").write_text(
        "camera,tracklet,person\ncam_a,person_0001,Al\ncam_a,person_0002,Bo\n"
    )
    model = tmp_path / "own.safetensors"
    words = ("train", "both", "--dataset", "folder", "--root", root, "--save", model)
    code, _, err = said(*words, *SMALL)
    assert code == 2 and "so nothing can be evaluated" in err and model.is_file()


def test_a_search_in_a_gallery_trains_where_there_is_no_model(
    said, tiny_root: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "ranked.png"
    words = ("--gallery", tiny_root / "multi_shot", "--top", 3, "--out", picture)
    code, out, _ = said("search", "--query", "cam_b/person_0002", *words, *SMALL)
    assert code == 0 and out.endswith(f"picture: {picture}\n")
    assert len(list((runs.store() / "index").iterdir())) == 1


def test_a_model_of_some_data_is_measured_on_others(said, tiny_root: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    words = ("--dataset", "folder", "--root", tiny_root / "multi_shot", "--save", model)
    assert said("train", "both", *words, *SMALL, "--k", 2)[0] == 0
    words = ("table", "transfer", "--root", tiny_root, "--device", "cpu", "--trials", 2)
    code, out, _ = said(*words, "--model", model)
    assert code == 0
    assert "trained on folder, trial 1 (16 tracklets of 2 cameras, 64 frames)" in out
    rows = [line for line in out.splitlines() if "±" in line]
    named = [re.split(r"  +", row)[0] for row in rows]
    assert named == ["histogram", "local", "global", "fusion", "fusion, scaled first"]
    assert "error: table transfer measures a model file: give --model FILE" in said(*words)[2]
    wrong = said("table", "2", "--model", model)[2]
    assert "error: a model file has a table of its own" in wrong


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "search --query a --index nowhere --out a.gif",
            "give the name of a file that ends in .png",
        ),
        ("search --query a --index nowhere", "nowhere does not exist: make it with"),
        ("search --queries nowhere --index .", "nowhere cannot be read"),
        ("index shop --to nowhere", "nowhere does not exist: make it with"),
        ("index shop --to nowhere --model nothing", "there is no model file nothing"),
        ("export --model nothing --onnx a.onnx", "there is no model file nothing"),
        ("train both --save model.pth", "give the name of a file that ends in .safetensors"),
        ("runs --remove nothing", "'nothing' fits nothing in"),
        ("runs --yes", "without --remove nothing is removed: leave out --yes"),
        ("search --index i --query a --model m", "an index holds its model: leave out --model"),
        ("search --index i --query a --scale nonsense", "its model: leave out --scale"),
        ("search --index i --query a --scale frozen", "its model: leave out --scale"),
        ("search --index i --query a --min-frames 3", "its model: leave out --min-frames"),
        ("search --gallery . --model m --query a --scale x", "networks: leave out --scale"),
        ("search --gallery . --model m --query a --seed 0", "networks: leave out --seed"),
        ("search --index i --query a -p k 2", "an index holds its model: leave out -p"),
        ("search --gallery . --model m --query a -p k 2", "trained networks: leave out -p"),
        ("search --gallery . --query a -p nonsense 2", "unknown option 'nonsense'"),
        ("search --gallery . --query a -p root x", "not for this command: the data are --gallery"),
        ("search --gallery . --query a --scale nonsense", "unknown scale 'nonsense'"),
        ("search --index i --queries q --out a.png", "gets a picture: leave out --out"),
        ("index --to i --device cpu", "nothing is described without DIR: leave out --device"),
        ("table 5 --k 4", "table 5 is counted and needs no data: leave out --k"),
        ("table 6 --dry-run", "table 6 is counted and needs no data: leave out --dry-run"),
        ("index . --to gallery.lance", "lies in the gallery and would become a part"),
        ("index --to i --parquet /dev/full", "cannot be the file of vectors: it is there already"),
        ("index --to i --parquet .", "cannot be the file of vectors: it is there already, and no"),
        ("search --index i --query a --out /dev/null/x.png", "nobody may write to /dev/null"),
        ("export --model m --onnx /proc/self/fd/1.onnx", "there is no model file m"),
        ("table transfer --model m --dry-run", "is measured at once: leave out --dry-run"),
    ],
)
def test_what_does_not_fit_the_road_gets_one_sentence(
    said, tmp_path: Path, monkeypatch, words: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = said(*words.split())
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and sentence in err and err.count("\n") == 1
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "words",
    [
        "search --index= --query a",
        "search --gallery= --query a",
        "search --gallery . --query=",
        "search --gallery . --queries=",
        "search --gallery . --query a --model=",
        "search --gallery . --query a --out=",
        "index --to= --remove a",
        "index --to i --parquet=",
        "train local --weights=",
        "train local --root=",
        "train both --save=",
        "table transfer --model=",
    ],
)
def test_an_empty_name_as_of_an_unset_variable_is_never_the_folder_one_is_in(
    said, tiny_root: Path, monkeypatch, words: str
) -> None:
    monkeypatch.chdir(tiny_root / "multi_shot")
    code, out, err = said(*words.split())
    assert (code, out) == (2, "")
    assert "an empty name is no path: give the name of a file or a folder" in err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_trace(tmp_path: Path, closed: str) -> None:
    command = f"'{sys.executable}' -m upm_lib runs {closed}"
    process = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, "")


def test_the_store_is_listed_and_cleaned_after_a_plan(said, run_store: Path) -> None:
    (run_store / "maps").mkdir(parents=True)
    (run_store / "maps" / "ward-1.npy").write_bytes(b"x" * 2_000_000)
    assert "maps/ward-1.npy" in said("runs")[1]
    code, out, _ = said("runs", "--remove", "maps/*")
    assert code == 0 and "1 thing, 2.0 MB" in out and "nothing is removed yet: give --yes" in out
    assert said("runs", "--remove", "maps/*", "--yes")[1].endswith("removed 1\n")
    assert list((run_store / "maps").iterdir()) == []


def test_it_is_said_that_pytorch_is_loading(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loading()
    assert caplog.messages == []
    monkeypatch.delitem(sys.modules, "torch")
    loading()
    assert caplog.messages == ["loading PyTorch"]
