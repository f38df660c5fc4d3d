"""The config: what it refuses and how it says so, presets, the official switches, JSON."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from upm_lib import config as configs
from upm_lib.config import Config, UserError, from_json, official, preset, to_json, training_fields

FIELDS = [field.name for field in dataclasses.fields(Config)]
NAN = float("nan")

# For every field, values that are refused and the words that the sentence must hold.
REFUSED: dict[str, list[tuple[Any, tuple[str, ...]]]] = {
    "dataset": [(5, ("text", "5"))],
    "root": [(5, ("text or nothing", "5")), (True, ("text or nothing",))],
    "trial": [
        (0, ("from 1 to", "0")),
        ("1", ("a whole number", "'1'")),
        (1.0, ("a whole number",)),
        (True, ("a whole number",)),
    ],
    "splits": [("offical", ("did you mean 'official'?",)), (1, ("random",))],
    "min_frames": [(0, ("from 1 to",)), ("x", ("a whole number", "'x'"))],
    "height": [("256", ("a whole number",)), (100, ("256x128", "128x64", "100x128"))],
    "width": [(128.0, ("a whole number",)), (64, ("256x128", "128x64", "256x64"))],
    "resize": [("half-pixel", ("did you mean 'half_pixel'?", "legacy")), (None, ("None",))],
    "flip": [("left", ("true or false", "'left'"))],
    "crop": [(-1, ("from 0 to",)), (65, ("from 0 to 64", "65")), (0.1, ("a whole number",))],
    "backbone": [("mobilenetv1", ("did you mean 'mobilenet_v1'?",)), ("vit", ("resnet50",))],
    "weights": [(7, ("text or nothing",))],
    "freeze": [(-1, ("from 0 to",)), (2, ("give weights",)), ("2", ("a whole number",))],
    "restore_bn_statistics": [("yes", ("true or false", "'yes'")), (1, ("true or false",))],
    "branch": [("globl", ("did you mean 'global'?",))],
    "k": [
        (3, ("k = 3 does not divide", "1, 2, 4, 8")),
        (0, ("k = 0", "1, 2, 4, 8")),
        (16, ("k = 16", "1, 2, 4, 8")),
        ("abc", ("k must be a whole number", "'abc'")),
        ("07", ("k must be a whole number", "'07'")),
        (True, ("k must be a whole number", "True")),
        (2.0, ("k must be a whole number", "2.0")),
        (None, ("k must be a whole number", "None")),
    ],
    "pool": [("gem", ("gap", "gmp"))],
    "part_length": [("normal", ("did you mean 'normalised'?",))],
    "c_reduced": [(0, ("from 1 to",)), ("256", ("a whole number",))],
    "head_activation": [("relu7", ("did you mean 'relu",))],
    "train_global_head": [("true", ("true or false", "'true'"))],
    "objective": [("clusters", ("did you mean 'cluster'?",))],
    "centres": [("cameras", ("did you mean 'camera'?",))],
    "centre_momentum": [(1.5, ("from 0 to 1",)), ("0.1", ("a number",))],
    "temperature": [(0, ("from 0.001 to",)), (NAN, ("from 0.001",)), (True, ("a number",))],
    "eta": [
        (1.5, ("from 0 to 1", "1.5")),
        (-0.1, ("from 0 to 1",)),
        (NAN, ("from 0 to 1",)),
        ("a", ("a number",)),
    ],
    "margin": [(-1.0, ("from 0 to", "-1.0")), (True, ("a number",))],
    "lam": [(-1.0, ("from 0 to",)), ("1", ("a number",))],
    "warmup_epochs": [(-1, ("from 0 to",)), (None, ("a number",))],
    "distance": [("euclid", ("did you mean 'euclidean'?",))],
    "anchor_difference": [("normalized", ("did you mean 'normalised'?",))],
    "repeats": [("accumulated", ("did you mean 'accumulate'?",))],
    "partner_anchor": [("befor", ("did you mean 'before'?",))],
    "cross_case": [("intra-camera", ("cross", "intra"))],
    "anchor_length": [("normalized", ("did you mean 'normalised'?",))],
    "rank_unvisited": [(0, ("true or false",))],
    "anchors": [("bfloat16", ("did you mean 'float16'?",))],
    "steps": [
        (0, ("from 1 to",)),
        ("abc", ("a whole number", "'abc'")),
        (1e4, ("a whole number",)),
    ],
    "epochs": [(0, ("above 0", "0")), (NAN, ("above 0",)), ("8", ("a number or nothing", "'8'"))],
    "batch": [(0, ("from 1 to",)), (True, ("a whole number", "True"))],
    "optimiser": [("adamw", ("did you mean 'adam'?",))],
    "lr": [(-0.1, ("from 0 to",)), ("fast", ("a number", "'fast'"))],
    "schedule": [("cosin", ("did you mean 'cosine'?",))],
    "lr_factors": [([1.0], ("two numbers",)), (0.1, ("two numbers",))],
    "head_lr_factor": [("3", ("a number",))],
    "weight_decay": [(-1e-5, ("from 0 to",))],
    "clip": [(-2.0, ("from 0 to",)), ("x", ("a number",))],
    "ema": [(1.01, ("from 0 to 1",)), (-0.5, ("from 0 to 1",))],
    "bn_momentum": [("0.1", ("a number or nothing",))],
    "seed": [("0", ("a whole number",)), (1.5, ("a whole number",)), (True, ("a whole number",))],
    "tracklet_pool": [("maximum", ("max", "mean"))],
    "probes": [("all", ("first", "both")), (None, ("None",))],
    "normalise_branches": [("no", ("true or false",))],
}
UNITED = ("height", "width")  # refused together: their sentence names "the input"


def sentence(changes: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        Config(**changes)
    text = str(caught.value)
    assert "\n" not in text
    assert 10 < len(text) < 200
    return text


def test_every_field_has_a_refused_value() -> None:
    assert list(REFUSED) == FIELDS


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [(name, value, words) for name, cases in REFUSED.items() for value, words in cases],
)
def test_a_wrong_value_gets_one_sentence_with_the_field_and_the_cure(
    name: str, value: Any, words: tuple[str, ...]
) -> None:
    text = sentence({name: value})
    assert name in text or (name in UNITED and "the input" in text)
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),  # numpy's generators take no negative seed
        ("head_lr_factor", -1.0),
        ("bn_momentum", 1.5),
        ("bn_momentum", -0.1),
        ("lr", NAN),
        ("margin", NAN),
        ("clip", NAN),
        ("lr_factors", (1.0,)),
        ("lr_factors", (1.0, 0.5, 0.1)),
        ("lr_factors", ("fast", "slow")),
    ],
)
def test_a_value_that_no_training_can_use_is_refused_at_once(name: str, value: Any) -> None:
    assert name in sentence({name: value})


def test_the_sentence_stands_alone_in_a_notebook() -> None:
    assert UserError("k is wrong")._render_traceback_() == ["UserError: k is wrong"]


def test_an_unknown_option_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(UserError, match="unknown option 'warmup_epoch': did you mean 'warmup_epo"):
        Config().replace(warmup_epoch=3)
    with pytest.raises(UserError, match="unknown option 'zzzzqq': known are dataset, root"):
        Config().replace(zzzzqq=3)


def test_a_config_cannot_be_changed_only_copied() -> None:
    config = Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.k = 4
    assert config.replace(k=4).k == 4
    assert config.k == 8
    assert hash(config) == hash(Config())


def test_a_copy_is_checked_too() -> None:
    with pytest.raises(UserError, match="k = 3 does not divide"):
        Config().replace(k=3)


def test_whole_numbers_do_for_real_ones() -> None:
    config = Config(eta=1, lr=1, warmup_epochs=0, bn_momentum=0, ema=0)
    assert (config.eta, config.lr, config.ema) == (1, 1, 0)


# ---------------------------------------------------------------- presets


@pytest.mark.parametrize("scale", configs.SCALES)
@pytest.mark.parametrize("dataset", configs.PAPER)
def test_every_preset_is_a_valid_config_of_its_data_set(dataset: str, scale: str) -> None:
    assert preset(dataset, scale).dataset == dataset


RMSPROP = dict(optimiser="rmsprop", lr=0.045, schedule="staircase", warmup_epochs=2.0)
SGD = dict(optimiser="sgd", lr=0.01, schedule="halves", warmup_epochs=1.0, steps=25000)


@pytest.mark.parametrize(
    ("dataset", "recipe"),
    [
        ("prid2011", RMSPROP | dict(steps=20000, min_frames=28, probes="first")),
        ("ilids_vid", RMSPROP | dict(steps=15000, min_frames=1, probes="both")),
        ("dukemtmc", SGD | dict(min_frames=1)),
        ("mars", SGD | dict(min_frames=1)),
        ("ward", RMSPROP | dict(steps=20000, min_frames=1, probes="first")),
        ("market1501", SGD | dict(min_frames=1)),
        ("market1501_sequences", SGD | dict(min_frames=1)),
        ("folder", RMSPROP | dict(steps=20000, min_frames=1)),
        ("synthetic_clean", RMSPROP | dict(steps=20000, probes="first")),
        ("synthetic_cluttered", RMSPROP | dict(steps=15000, probes="both")),
        ("synthetic_eight", SGD),
    ],
)
def test_the_paper_preset_has_the_values_of_section_4_1(dataset: str, recipe: dict) -> None:
    config = preset(dataset, "paper")
    expected = recipe | dict(
        height=256, width=128, backbone="mobilenet_v1", weights="imagenet", k=8, c_reduced=256,
        eta=0.5, margin=0.5, lam=1.0, batch=64, ema=0.9999, tracklet_pool="max", freeze=0,
    )  # fmt: skip
    assert {name: getattr(config, name) for name in expected} == expected


def test_every_data_set_has_every_scale() -> None:
    assert len({frozenset(sets) for sets in configs.SCALES.values()}) == 1


def test_without_a_gpu_real_people_are_learnt_on_trained_weights_and_drawn_ones_from_nothing() -> (
    None
):
    for dataset in configs.PAPER:
        drawn = dataset.startswith("synthetic_")
        demo, frozen = preset(dataset), preset(dataset, "frozen")
        assert demo.backbone == ("small" if drawn else "mobilenet_v1")
        assert (frozen.backbone, frozen.weights) == ("mobilenet_v1", "imagenet")
        assert frozen.freeze > 0 and demo.freeze == 0
        assert (demo.length, demo.height) == ("400 steps", 128)
        assert (frozen.length, frozen.height) == ("8 epochs", 256)


def test_none_keeps_what_the_preset_has() -> None:
    plain = preset("synthetic_clean")
    assert preset("synthetic_clean", k=None, steps=None, seed=None, root=None) == plain
    assert preset("synthetic_clean", k=None, steps=7) == plain.replace(steps=7)


def test_a_length_in_epochs_becomes_steps_where_the_frames_are_known() -> None:
    config = preset("ward", "frozen", epochs=2.5, batch=64)
    assert config.in_steps(2400).steps == 94  # 2.5 * 2400 / 64 = 93.75
    assert config.in_steps(2400) == config.replace(steps=94)
    assert config.in_steps(1).steps == 1
    assert config.in_steps(2400).in_steps(7).steps == 94  # a length in steps stays
    assert preset("ward", "frozen", steps=50).length == "50 steps"
    with pytest.raises(UserError, match="in steps or in epochs, not in both"):
        preset("ward", "frozen", steps=50, epochs=2.0)
    with pytest.raises(UserError, match="epochs must be above 0"):
        preset("ward", "frozen", epochs=0.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("synthetic_claen",),
            "unknown data set 'synthetic_claen': did you mean 'synthetic_clean'",
        ),
        (("prid2011", "papr"), "unknown scale 'papr': did you mean 'paper'"),
        (("mnist",), "unknown data set 'mnist': known are prid2011"),
        ((None,), "unknown data set None"),
        (("prid2011", 3), "unknown scale 3"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest_one(
    arguments: tuple[Any, ...], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        preset(*arguments)


@pytest.mark.parametrize("value", [7, None])
def test_a_preset_with_an_unknown_change_is_refused_whatever_its_value(value: int | None) -> None:
    with pytest.raises(UserError, match="unknown option 'stepz': did you mean 'steps'"):
        preset("synthetic_clean", stepz=value)


# ---------------------------------------------------------------- switches


def differing(one: Config, other: Config) -> set[str]:
    return {name for name in FIELDS if getattr(one, name) != getattr(other, name)}


def test_official_changes_the_named_switches_and_nothing_else() -> None:
    as_paper = Config(
        tracklet_pool="mean", normalise_branches=True, cross_case="cross", anchor_length="stored",
        part_length="normalised", k=4, seed=3, root="here",
    )  # fmt: skip
    assert differing(as_paper, official(as_paper)) == set(configs.OFFICIAL)
    assert official(official(as_paper)) == official(as_paper)
    for name, value in configs.OFFICIAL.items():
        assert getattr(official(as_paper), name) == value


def test_training_fields_leave_out_evaluation_and_place_only() -> None:
    config = Config()
    assert set(FIELDS) - set(training_fields(config)) == {*configs.EVALUATION_FIELDS, "root"}
    elsewhere = config.replace(root="there", tracklet_pool="mean", normalise_branches=True)
    assert training_fields(elsewhere) == training_fields(config)
    assert training_fields(config.replace(seed=1)) != training_fields(config)
    json.dumps(training_fields(config))


def test_one_frame_alone_does_not_train_the_global_aware_module() -> None:
    assert Config(batch=1).branch == "local"
    assert Config(batch=2, branch="global").batch == 2
    with pytest.raises(UserError, match=r"batch = 1 leaves .*: choose a batch of at least 2"):
        Config(batch=1).replace(branch="global")


# ---------------------------------------------------------------- JSON


@pytest.mark.parametrize(
    "config",
    [
        Config(),
        official(preset("prid2011", "paper", root="/data", lr_factors=(0.5, 0.25))),
        preset("synthetic_clean", k=2, bn_momentum=0.01),
    ],
    ids=["default", "official", "demo"],
)
def test_json_goes_both_ways(config: Config, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(to_json(config)))
    assert from_json(json.loads(file.read_text())) == config


def test_json_of_another_version_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="unknown option 'parts'"):
        from_json(to_json(Config()) | {"parts": 8})


def test_cluster_contrast_has_centres_by_camera_unless_others_are_asked_for() -> None:
    assert preset("ward", "frozen", objective="cluster").centres == "camera"
    assert preset("ward", "frozen", objective="cluster", centres="cluster").centres == "cluster"
    assert preset("ward", "frozen").centres == Config().centres
