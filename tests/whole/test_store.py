"""Every file of the run store: damaged, cut short or gone, it is noticed once and made anew."""

import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from upm_lib import runs
from upm_lib.config import Caution, Config
from upm_lib.experiments import measuring, networks
from upm_lib.experiments.bench import open_bench
from upm_lib.learning import frozen, model
from upm_lib.paper import plan
from upm_lib.synthetic import world


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights of a small backbone: a frozen block needs a file."""
    backbone = model.build(Config(backbone="small", height=128, width=64)).backbone
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file({n: t.contiguous() for n, t in backbone.state_dict().items()}, path)
    return str(path)


def whole_road(weights: str) -> None:
    """Use everything that the store keeps: drawn data, pack, maps, runs, records, speeds."""
    bench = open_bench(
        weights=weights, freeze=2, k=1, batch=4, steps=1, device="cpu", progress=False
    )
    frozen.FrozenMaps(bench.frames, bench.config, torch.device("cpu"))
    networks.find_or_train(bench, bench.network("local"))
    measuring.measure(bench, bench.measurement("local"))
    plan.summary(plan.of(bench, "2"))


def contents(store: Path) -> dict[str, bytes]:
    """All files but locks and those that hold times."""
    timed = ("speed.json", "index.json")
    found = (p for p in store.rglob("*") if p.is_file() and p.suffix != ".lock")
    return {
        p.relative_to(store).as_posix(): p.read_bytes()
        for p in found
        if p.name not in ("lock", *timed) and p.parts[-3] != "results"
    }


@pytest.fixture(scope="module")
def template(weights: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which everything has been done once."""
    folder = tmp_path_factory.mktemp("store") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        tiny(patch, folder)
        whole_road(weights)
    return folder


def tiny(patch: pytest.MonkeyPatch, store: Path) -> None:
    small = world.World(identities=4, cameras=2, frames=2)
    patch.setitem(world.WORLDS, "synthetic_clean", small)
    patch.setenv("UPM_RUNS", str(store))
    patch.setattr(plan, "timed_step", lambda *_: 0.5)


@pytest.fixture
def store(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the store that a test may damage, in use."""
    copy = shutil.copytree(template, tmp_path / "runs")
    tiny(monkeypatch, copy)
    return copy


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[random.Random(path.name).randrange(len(content))] ^= 4
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replaced(path: Path) -> None:
    other = sorted(path.parent.iterdir())[-1]
    shutil.copy(other, path)


def remove_person(path: Path) -> None:
    shutil.rmtree(path.parent)


def add(path: Path) -> None:
    shutil.copy(path, path.with_name("0009.png"))


FRAME = "data/synthetic_clean-*/multi_shot/cam_a/person_0002/0001.png"
KINDS = {
    "drawn data": "data/synthetic_clean-*/content.json",
    "pack": "packed/*/frames.npy",
    "index of a pack": "packed/*/index.json",
    "maps": "maps/*.npy",
    "checkpoint": "training/*/*/step-*",
    "config": "training/*/*/config.json",
    "speed": "training/*/*/speed.json",
    "record": "results/*/*.json",
}
CASES = [(where, act) for where in KINDS.values() for act in (flip, cut, empty)]
CASES += [(FRAME, act) for act in (flip, replaced, remove_person, add)]


@pytest.mark.parametrize(("where", "act"), CASES, ids=lambda v: getattr(v, "__name__", str(v)))
def test_damage_is_told_of_once_and_mended(
    store: Path,
    template: Path,
    weights: str,
    where: str,
    act: Callable[[Path], None],
) -> None:
    (path,) = store.glob(where)
    act(path)
    with pytest.warns(Caution) as told:
        whole_road(weights)
    assert len(told) == 1, [str(warning.message) for warning in told]
    assert contents(store) == contents(template)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole_road(weights)


def test_a_record_of_a_later_version_is_passed_over(store: Path, weights: str) -> None:
    (path,) = store.glob(KINDS["config"])
    runs.write_json(path, runs.read_json(path) | {"a_field_of_tomorrow": 1})
    (speed,) = store.glob(KINDS["speed"])
    before = speed.read_bytes()
    whole_road(weights)
    assert speed.read_bytes() == before, "the later version can read it"


def test_a_store_without_a_record_of_speed_still_plans(store: Path, weights: str) -> None:
    for path in store.glob(KINDS["speed"]):
        path.unlink()
    whole_road(weights)


def test_a_full_disk_while_maps_are_written_is_an_error_and_no_crash(
    store: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(store / "maps")

    def full(*_: object, **__: object) -> np.ndarray:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "ascontiguousarray", full)
    with pytest.raises(runs.NotWritten, match="No space left on device"):
        whole_road(weights)
    assert [p for p in (store / "maps").iterdir() if p.suffix != ".lock"] == []
