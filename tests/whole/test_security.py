"""Files from strangers execute nothing and write nothing; the code asks for no shell, no pickle.

Packed frames are in test_packing.py.
"""

import ast
import hashlib
import json
import pickle
import re
import struct
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from imagenet_weights import WEIGHTS, needs_weights
from safetensors import safe_open
from safetensors.torch import save, save_file

from upm_lib.config import Config, UserError, from_json, preset, to_json
from upm_lib.experiments import networks
from upm_lib.experiments.bench import Bench, open_bench
from upm_lib.learning import model, training

ROOT = Path(__file__).parents[2]


# ---------------------------------------------------------------- what the code may not call


ALWAYS_WRONG = {
    *("eval", "exec", "compile", "__import__"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.load", "marshal.loads"),
    *("dill.load", "dill.loads", "joblib.load", "shelve.open", "pandas.read_pickle"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load"),
    *("torch.hub.load", "torch.jit.load", "tempfile.mktemp", "shutil.unpack_archive"),
}
WRONG_WITHOUT = {"torch.load": ("weights_only", True)}
WRONG_WITH = {"shell": False, "allow_pickle": False}  # any other value than this


def imported(tree: ast.AST) -> dict[str, str]:
    """What each imported name stands for: np is numpy."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {a.asname: a.name for a in node.names if a.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return names


def dangers(source: str) -> list[str]:
    """The dangerous calls of a program, as they stand there."""
    tree = ast.parse(source)
    names, found = imported(tree), []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        first, dot, rest = ast.unparse(node.func).partition(".")
        called = names.get(first, first) + dot + rest
        given = {k.arg: getattr(k.value, "value", "unknown") for k in node.keywords}
        wrong = called in ALWAYS_WRONG
        if called in WRONG_WITHOUT:
            name, wanted = WRONG_WITHOUT[called]
            wrong |= given.get(name) is not wanted
        wrong |= any(given.get(name, safe) is not safe for name, safe in WRONG_WITH.items())
        if wrong:
            found.append(ast.unparse(node))
    return found


def programs() -> dict[str, str]:
    """Every Python file of the repository and the code of every notebook."""
    folders = ("upm_lib", "data_scripts", "tests")
    files = [ROOT / "conftest.py", *(f for d in folders for f in (ROOT / d).rglob("*.py"))]
    found = {f.relative_to(ROOT).as_posix(): f.read_text("utf-8") for f in files}
    for file in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(file.read_text("utf-8"))["cells"]
        code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
        lines = [line for cell in code for line in cell.split("\n") if not line.startswith("%")]
        found[file.name] = "\n".join(lines)
    return found


def test_no_program_of_the_repository_asks_for_a_shell_a_pickle_or_code_from_text() -> None:
    found = programs()
    assert len(found) > 50
    assert {name: d for name, source in found.items() if (d := dangers(source))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess as s\ns.run('ls', shell=True)",
        "from subprocess import run\nrun('ls', shell=how)",
        "from os import system\nsystem('ls')",
        "import torch\ntorch.load(f)",
        "import torch as t\nt.load(f, weights_only=False)",
        "import numpy as np\nnp.load(f, allow_pickle=True)",
        "from pickle import loads as read\nread(b'')",
        "import yaml\nyaml.load(f, Loader=yaml.SafeLoader)",
        "eval('1')",
        "def f():\n    import marshal\n    return marshal.loads(b'')",
    ],
)
def test_a_dangerous_call_is_seen(source: str) -> None:
    assert len(dangers(source)) == 1


def test_harmless_calls_are_not_dangers() -> None:
    harmless = (
        "import torch, numpy as np, subprocess, re\nnetwork.eval()\nre.compile('x')\n"
        "torch.load(f, weights_only=True)\nnp.load(f, mmap_mode='r')\n"
        "np.load(f, allow_pickle=False)\nsubprocess.run(['ls'], shell=False)\npickle.dumps(1)"
    )
    assert dangers(harmless) == []


DOWNLOADS = (
    *("hf_hub_download", "snapshot_download", "from_pretrained", "get_state_dict"),
    *("load_state_dict_from_url", "download_url_to_file", "urlopen", "urlretrieve"),
)
HERE = r'(?!f?"http://127\.0\.0\.1)'  # this machine is no place to download from
CHECKED_BY_DIGEST = {
    "upm_lib/learning/model.py",
    "data_scripts/official_splits.py",
    "data_scripts/video_to_tracklets.py",
}  # each has its tests


def test_downloads_come_from_where_they_are_checked_only() -> None:
    calls = re.compile(rf"\b({'|'.join(DOWNLOADS)})\({HERE}|\bimport (requests|httpx|aiohttp)\b")
    places = {n for n, source in programs().items() if n[:5] != "tests" and calls.search(source)}
    assert places == CHECKED_BY_DIGEST


# ---------------------------------------------------------------- weights files


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return Path.touch, (self.file,)


def torch_file(path: Path, thing: Any) -> None:
    torch.save(thing, path)


def old_torch_file(path: Path, thing: Any) -> None:
    torch.save(thing, path, _use_new_zipfile_serialization=False)


def plain_pickle(path: Path, thing: Any) -> None:
    path.write_bytes(pickle.dumps(thing, protocol=2))


SMALL = preset("synthetic_clean", "demo", k=2)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ""])
@pytest.mark.parametrize("write", [torch_file, old_torch_file, plain_pickle])
@pytest.mark.parametrize("where", ["alone", "beside tensors", "as a name"])
def test_weights_that_would_execute_something_get_a_sentence(
    tmp_path: Path, write: Callable, where: str, suffix: str
) -> None:
    touch, path = Touch(tmp_path / "executed"), tmp_path / f"weights{suffix}"
    state = dict(model.build(SMALL).backbone.state_dict())
    things = {"alone": touch, "beside tensors": state | {"x": touch}, "as a name": {touch: 1}}
    write(path, things[where])
    with pytest.raises(UserError, match="is not a readable weights file") as caught:
        model.build(SMALL.replace(weights=str(path)))
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "nothing was executed"


def test_the_trap_works(tmp_path: Path) -> None:
    function, arguments = Touch(tmp_path / "executed").__reduce__()
    function(*arguments)  # what an unpickler that trusts its file does
    assert (tmp_path / "executed").exists()


# ---------------------------------------------------------------- downloads


def test_the_digest_covers_names_shapes_and_values_of_the_backbone() -> None:
    state = {"mobilenet_v1.b": torch.ones(2), "mobilenet_v1.a": torch.tensor([[1.5, 2.0]])}
    text = hashlib.sha256()
    text.update(b"mobilenet_v1.a torch.float32 (1, 2)\n" + np.float32([1.5, 2]).tobytes())
    text.update(b"mobilenet_v1.b torch.float32 (2,)\n" + np.float32([1, 1]).tobytes())
    known = text.hexdigest()
    assert model.pinned(state, known, "here") is state
    free = {"classifier.weight": torch.ones(3), "mobilenet_v1.num_batches_tracked": torch.ones(1)}
    assert model.pinned(state | free, known, "here")
    for change in (
        {"mobilenet_v1.a": torch.tensor([[1.5, 2.0000002]])},
        {"mobilenet_v1.a": torch.tensor([1.5, 2.0])},
        {"mobilenet_v1.b": torch.ones(2, dtype=torch.float64)},
        {"mobilenet_v1.c": torch.ones(1)},
    ):
        with pytest.raises(UserError, match=f"from here are not the known ones .*, not {known}"):
            model.pinned(state | change, known, "here")


def downloading(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: file.open("rb"))


def test_a_download_that_is_not_the_known_one_gets_a_sentence(
    tmp_path: Path, run_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = preset("prid2011", "demo")
    backbone = model.build(config).backbone.state_dict()
    names = model._mobilenet_names(list(backbone))
    file = tmp_path / "model.safetensors"
    save_file({names[name]: value for name, value in backbone.items()}, file)
    downloading(monkeypatch, file)
    with pytest.raises(UserError) as caught:
        model.build(config.replace(weights="imagenet"))
    kept = run_store / "weights" / "mobilenet_v1_1.0_224.safetensors"
    assert str(caught.value).startswith(f"the weights from {kept} are not the known ones")
    assert str(caught.value).endswith("give the path of a file that you trust as weights")
    assert not kept.exists(), "it is fetched anew the next time"
    model.build(config.replace(weights=str(file)))  # as the sentence says


@needs_weights
def test_the_known_download_is_taken(run_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloading(monkeypatch, WEIGHTS)
    config = preset("prid2011", "demo")
    downloaded, local = (
        model.build(config.replace(weights=w)).state_dict() for w in ("imagenet", str(WEIGHTS))
    )
    assert all(torch.equal(downloaded[name], local[name]) for name in local)


def test_without_a_network_the_sentence_names_the_file_and_the_option(
    run_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(UserError) as caught:
        model.build(preset("prid2011", "demo", weights="imagenet"))
    assert model.MOBILENET in str(caught.value)
    assert "--weights FILE" in str(caught.value)
    assert not list(run_store.glob("weights/*"))


def test_a_download_from_torchvision_is_checked_and_reads_tensors_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = {}
    backbone = model.build(preset("prid2011", "demo", backbone="resnet50")).backbone.state_dict()
    weights = SimpleNamespace(
        get_state_dict=lambda **options: asked.update(options) or dict(backbone)
    )
    weights.url = "https://example.org/resnet50.pth"
    names = SimpleNamespace(IMAGENET1K_V1=weights)
    monkeypatch.setattr("torchvision.models.ResNet50_Weights", names)
    model.build(preset("prid2011", "demo", backbone="resnet50", weights="imagenet"))
    assert asked["check_hash"] is True
    assert asked["weights_only"] is True


# ---------------------------------------------------------------- checkpoints


@pytest.fixture
def bench(tiny_root: Path, run_store: Path) -> Bench:
    options = dict(k=2, batch=4, steps=2, device="cpu", progress=False)
    return open_bench("synthetic_clean", root=str(tiny_root), **options)


def put_checkpoint(folder: Path, content: bytes, step: int = 2) -> Path:
    """Write a checkpoint with the right digest in its name: as somebody would who knows how."""
    path = folder / f"step-{step:08d}-{training._digest(content)}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def header(values: Any, length: int | None = None) -> bytes:
    text = values if isinstance(values, bytes) else json.dumps(values).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


A_TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
FILES = {
    "empty": b"",
    "a header longer than the file": header({}, 10**6) + b"x",
    "a header of 2**63 bytes": header({}, 2**63),
    "a header that is no text": header(b"\xff\xfe\x00"),
    "a header nested without end": header(b'{"a":' * 50_000),
    "a tensor of 2**60 numbers": header({"x": A_TENSOR | {"shape": [2**60]}}) + bytes(8),
    "places outside the file": header({"x": A_TENSOR | {"data_offsets": [2**40, 2**40 + 8]}}),
    "places that go backwards": header({"x": A_TENSOR | {"data_offsets": [8, 0]}}) + bytes(8),
    "no metadata": save({"network.x": torch.zeros(2)}),
    "no config": save({"network.x": torch.zeros(2)}, {"step": "2"}),
    "a config that is no JSON": save({}, {"config": "{'k': 2}"}),
    "a config that is a list": save({}, {"config": "[1, 2]"}),
    "a config nested without end": save({}, {"config": "[" * 100_000}),
    "a config without fields": save({}, {"config": "{}"}),
    "a pickle": pickle.dumps(Touch(Path("executed"))),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_is_no_checkpoint_gets_a_sentence(
    bench: Bench, run_store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = put_checkpoint(networks.folder_of(bench, bench.config), FILES[what])
    before = everything(tmp_path)
    with pytest.raises(UserError) as caught:
        networks.find_or_train(bench, bench.config)
    assert re.fullmatch(
        rf"{re.escape(str(path))} is no checkpoint of this program \(\w+\): remove it or its "
        "folder",
        str(caught.value),
    )
    assert everything(tmp_path) == before
    path.unlink()
    assert networks.find_or_train(bench, bench.config).step == 2, "as the sentence says"


def everything(folder: Path) -> dict[Path, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != "lock")
    return {p: p.read_bytes() for p in files}


CHANGES = {  # of the config that a checkpoint holds
    "a field nobody knows": {"command": "touch executed"},
    "a place outside the store": {"dataset": "../../outside"},
    "a field of another type": {"k": "2; touch executed"},
    "another number": {"eta": 0.25},
    "a list for the factors": {"lr_factors": [1, 2, 3]},
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_config_in_a_checkpoint_is_compared_and_never_followed(
    bench: Bench, tmp_path: Path, what: str
) -> None:
    about = {"config": json.dumps(to_json(bench.config) | CHANGES[what])}
    content = save({"network.x": torch.zeros(2)}, about)
    path = put_checkpoint(networks.folder_of(bench, bench.config), content)
    before = everything(tmp_path)
    with pytest.raises(UserError, match=re.escape(str(path))):
        networks.find_or_train(bench, bench.config)
    assert everything(tmp_path) == before


EXTRA = ("network.evil", "objective.evil", "evil", "evil.x", "../../evil", "optimiser.x.y.z", "")


@pytest.mark.parametrize("name", EXTRA)
def test_tensors_that_a_run_does_not_have_are_refused(bench: Bench, name: str) -> None:
    trainer = networks.find_or_train(bench, bench.config)
    folder = networks.folder_of(bench, bench.config)
    (path,) = training.checkpoints(folder)
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    path.unlink()
    tensors = {n: t.contiguous() for n, t in trainer.tensors().items()}
    path = put_checkpoint(folder, save(tensors | {name: torch.zeros(2)}, about))
    with pytest.raises(UserError, match=f"{path.name} belongs to other data"):
        networks.find_or_train(bench, bench.config)


def test_a_config_from_json_takes_known_fields_of_the_right_type_only() -> None:
    values = json.loads(json.dumps(to_json(Config())))
    assert from_json(values) == Config()
    for change in ({"__class__": "x"}, {"replace": 1}, {"__init__": 3}):
        with pytest.raises(UserError, match="unknown option"):
            from_json(values | change)
