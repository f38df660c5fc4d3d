"""A model file: what it says is what was trained, and a stranger's file does no harm."""

import json
import pickle
import resource
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from imagenet_weights import WEIGHTS, needs_weights
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_model import bench_of, model_of

import upm_lib
from upm_lib import runs
from upm_lib.config import Config, UserError
from upm_lib.experiments import measuring
from upm_lib.experiments.bench import Bench
from upm_lib.learning import model as networks_code
from upm_lib.retrieval import features, model_file
from upm_lib.retrieval.model_file import Model, Origin


@pytest.fixture
def bench(run_store: Path, tiny_root: Path) -> Bench:
    return bench_of(tiny_root / "multi_shot")


@pytest.fixture
def saved(tiny_model: Model, tmp_path: Path) -> Path:
    return tiny_model.save(tmp_path / "new folder" / "model.safetensors")


# ---------------------------------------------------------------- describing


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_it_describes_a_tracklet_as_measuring_does(
    run_store: Path, tiny_root: Path, tmp_path: Path, one_thread: None, pool: str
) -> None:
    bench = bench_of(tiny_root / "multi_shot", tracklet_pool=pool)
    saved = model_of(bench).save(tmp_path / "model.safetensors")
    measured = measuring.vectors(bench, bench.measurement("fusion"), np.arange(16)).numpy()
    loaded = upm_lib.load(str(saved), "cpu")
    many = loaded.describe_many([bench.clip(t) for t in range(16)])
    assert np.abs(many - measured).max() < 1e-6
    one = loaded.describe(bench.clip(3))
    assert one.shape == (loaded.dim,) == (measured.shape[1],) and one.dtype == np.float32
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-6)
    assert np.abs(one - measured[3]).max() < 1e-6
    assert np.linalg.norm(measured[3] - measured[4]) > 0.01


def test_frames_of_another_size_are_resized_as_packing_does(tmp_path: Path, bench: Bench) -> None:
    root = shutil.copytree(bench.dataset.root, tmp_path / "large")
    large = [cv2.resize(frame, (80, 160)) for frame in bench.clip(0)]
    for file, frame in zip(sorted((root / "cam_a/person_0001").iterdir()), large, strict=True):
        cv2.imwrite(str(file), frame[..., ::-1])
    mixed, model = bench_of(root), model_of(bench)
    assert mixed.frames.pixels.shape[1:3] == (128, 64), "the majority's size"
    packed = model.describe(mixed.clip(0))
    assert np.abs(model.describe(np.stack(large)) - packed).max() < 1e-6
    assert np.abs(model.describe(bench.clip(0)) - packed).max() > 1e-5


@needs_weights
def test_frozen_blocks_are_described_from_the_frames_themselves(
    run_store: Path, tiny_root: Path, tmp_path: Path
) -> None:
    frozen = dict(backbone="mobilenet_v1", weights=str(WEIGHTS), freeze=11, bn_momentum=0.1)
    bench = bench_of(tiny_root / "multi_shot", **frozen)
    path = model_of(bench).save(tmp_path / "model.safetensors")
    assert str(WEIGHTS.parent).encode() not in path.read_bytes()
    measured = measuring.vectors(bench, bench.measurement("fusion"), np.arange(4)).numpy()
    found = upm_lib.load(str(path)).describe_many([bench.clip(t) for t in range(4)])
    # Training and measuring read the frozen blocks' output in half precision.
    assert np.linalg.norm(found - measured, axis=1).max() < 2e-3


@pytest.mark.parametrize("height", [128, 256])
def test_mobilenet_is_built_without_timm_and_gives_the_same_bits(
    height: int, tmp_path: Path, one_thread: None
) -> None:
    settings = [Config(branch=b, height=height, width=height // 2) for b in ("local", "global")]
    networks = [networks_code.build(config).eval() for config in settings]
    generator = torch.Generator().manual_seed(0)
    for norm in (m for n in networks for m in n.modules() if hasattr(m, "running_var")):
        norm.running_mean.normal_(0, 0.3, generator=generator)
        norm.running_var.uniform_(0.2, 3, generator=generator)
    origin = Origin("none", 1, 2, 0, 0, "", "", (128, 64))
    path = Model(tuple(networks), tuple(settings), origin, {}).save(tmp_path / "m.safetensors")
    loaded = model_file.load(path, "cpu").networks
    assert not [m for n in loaded for m in n.modules() if type(m).__module__.startswith("timm")]
    images = torch.rand(2, 3, height, height // 2, generator=generator) * 2 - 1
    with torch.inference_mode():
        for ours, timms in zip(loaded, networks, strict=True):
            assert list(ours.state_dict()) == list(timms.state_dict())
            found = ours(images), features.folded(ours)(images)
            timms = networks_code.channels_last(timms)
            wanted = timms(images), features.folded(timms)(images)
            assert all(map(torch.equal, found, wanted)) and wanted[0].std() > 0.01


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_no_damage(bench: Bench, tmp_path: Path, device: str) -> None:
    path = model_of(bench, "global").save(tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"unknown device 'gpu'|device 'cuda:99' is not available"):
        model_file.load(path, device)


def test_a_model_of_one_network_works_alike(bench: Bench, tmp_path: Path) -> None:
    path = model_of(bench, "global").save(tmp_path / "model.safetensors")
    measured = measuring.vectors(bench, bench.measurement("global"), np.arange(2)).numpy()
    found = upm_lib.load(str(path)).describe_many([bench.clip(0), bench.clip(1)])
    assert np.abs(found - measured).max() < 1e-6


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 8, 4, 3), np.float32),
        np.zeros((8, 4, 3), np.uint8),
        np.zeros((2, 8, 4, 1), np.uint8),
        np.zeros((0, 8, 4, 3), np.uint8),
        np.zeros((2, 0, 4, 3), np.uint8),
    ],
    ids=lambda frames: f"{frames.dtype}-{frames.shape}",
)
def test_what_are_no_frames_get_a_sentence(tiny_model: Model, frames: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"a tracklet is uint8 \[T, H, W, 3\], RGB"):
        tiny_model.describe(frames)
    assert tiny_model.describe_many([]).shape == (0, tiny_model.dim)


# ---------------------------------------------------------------- the file


def test_what_is_loaded_is_what_was_saved(tiny_model: Model, saved: Path, tmp_path: Path) -> None:
    loaded = model_file.load(saved)
    assert (loaded.configs, loaded.origin) == (tiny_model.configs, tiny_model.origin)
    assert loaded.versions == tiny_model.versions and "torch" in loaded.versions
    assert loaded.digest == tiny_model.digest
    for ours, theirs in zip(loaded.networks, tiny_model.networks, strict=True):
        state = theirs.state_dict()
        assert {n for n, t in ours.state_dict().items() if not torch.equal(t, state[n])} == set()
    again = loaded.save(tmp_path / "again.safetensors")
    assert again.read_bytes() == saved.read_bytes()


def test_it_says_what_it_was_trained_on_and_names_neither_people_nor_places(
    tiny_model: Model, saved: Path, tiny_root: Path
) -> None:
    origin = tiny_model.origin
    assert (origin.dataset, origin.trial, origin.cameras) == ("folder", 1, 2)
    assert (origin.tracklets, origin.frames, origin.size) == (16, 64, (128, 64))
    with safe_open(saved, "pt") as file:
        text = json.dumps(file.metadata())
    assert origin.digest in text
    assert str(tiny_root) not in text and "person_" not in text and "cam_a" not in text


@pytest.mark.parametrize("name", ["model.pth", "model", "folder.safetensors"])
def test_a_name_that_no_model_can_have_gets_a_sentence(
    tiny_model: Model, tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(UserError, match=r"give the name of a file that ends in \.safetensors"):
        tiny_model.save(tmp_path / name)


def test_a_full_disk_gets_a_sentence_and_leaves_nothing(tiny_model: Model, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(runs.NotWritten, match=r"m\.safetensors cannot be written .*too large"):
            tiny_model.save(tmp_path / "m.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- files that are none


def rewritten(path: Path, **changes: object) -> None:
    """Change what a model file says of itself, and keep its tensors."""
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()[model_file.KEY])
    tensors = load_file(path)
    about |= changes
    about["sha256"] = model_file._digest(tensors, about)
    save_file(tensors, path, {model_file.KEY: json.dumps(about)})


@pytest.mark.parametrize("place", [20, 4000, 100_000, -1])
def test_a_flipped_byte_gets_a_sentence(saved: Path, place: int) -> None:
    content = bytearray(saved.read_bytes())
    content[place] ^= 1
    saved.write_bytes(content)
    with pytest.raises(UserError, match="is damaged, or no model file"):
        model_file.load(saved)


@pytest.mark.parametrize(
    "content",
    [b"", b"text", pickle.dumps([1]), b"\xff" * 100, b"\x02\0\0\0\0\0\0\0{}"],
    ids=["empty", "text", "pickle", "bytes", "no tensors"],
)
def test_another_kind_of_file_gets_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="no model file"):
        model_file.load(path)


def test_half_a_file_weights_and_no_file_get_a_sentence(saved: Path, tmp_path: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(UserError, match="is damaged, or no model file"):
        model_file.load(saved)
    save_file({"x": torch.zeros(2)}, tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match="is no model file: its header does not say 'upmnet'"):
        model_file.load(tmp_path / "weights.safetensors")
    for nothing in ("nowhere.safetensors", "."):
        with pytest.raises(UserError, match=r"there is no model file .*train both --save"):
            model_file.load(tmp_path / nothing)


HOSTILE = {
    "a field too many": lambda configs: configs[0].update(evil=1),
    "another type": lambda configs: configs[0].update(k="8"),
    "a network of terabytes": lambda configs: configs[1].update(c_reduced=10**9),
    "another backbone": lambda configs: configs[0].update(backbone="mobilenet_v1"),
    "frozen blocks": lambda configs: configs[0].update(freeze=3, weights="imagenet"),
    "three networks": lambda configs: configs.append(configs[0]),
    "no list": lambda configs: configs.__setitem__(0, 7),
    "no network": lambda configs: configs.clear(),
    "other frames for the second": lambda configs: configs[1].update(height=256, width=128),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_stranger_s_settings_get_a_sentence(saved: Path, tiny_model: Model, change) -> None:
    configs = json.loads(json.dumps(tiny_model._about()["configs"]))
    change(configs)
    rewritten(saved, configs=configs)
    with pytest.raises(UserError) as caught:
        model_file.load(saved)
    assert "\n" not in str(caught.value)


def test_another_version_gets_its_own_sentence(saved: Path) -> None:
    rewritten(saved, version=model_file.VERSION + 1)
    with pytest.raises(UserError, match="a model file of version 3, and this program reads 2"):
        model_file.load(saved)


@pytest.mark.parametrize("size", [[0, 0], [128], [50_000, 50_000], ["a", "b"], [128.0, 64.0]])
def test_frames_of_no_size_get_a_sentence(saved: Path, tiny_model: Model, size: list) -> None:
    rewritten(saved, origin=tiny_model._about()["origin"] | {"size": size})
    with pytest.raises(UserError, match="is damaged, or no model file"):
        model_file.load(saved)


@pytest.mark.parametrize(
    "change",
    [torch.Tensor.double, torch.Tensor.half, lambda t: t * torch.nan],
    ids=["double", "half", "NaN"],
)
def test_tensors_of_another_type_or_without_numbers_get_a_sentence(saved: Path, change) -> None:
    with safe_open(saved, framework="pt") as file:
        about = json.loads(file.metadata()[model_file.KEY])
    tensors = load_file(saved)
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 4)
    tensors[name] = change(tensors[name])
    about["sha256"] = model_file._digest(tensors, about)
    save_file(tensors, saved, {model_file.KEY: json.dumps(about)})
    with pytest.raises(UserError, match="is damaged, or no model file"):
        model_file.load(saved)


def test_what_is_no_path_gets_a_sentence() -> None:
    with pytest.raises(UserError, match="3 is no path: give the name of a file"):
        model_file.load(3)
