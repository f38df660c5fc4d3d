"""The published counts to the last digit, the printing rule, and the honest count by hand."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from upm_lib.config import Config
from upm_lib.learning import model
from upm_lib.paper import complexity

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "complexity.json").read_text())
CELLS = GOLDEN["cells"]
PROFILED = GOLDEN["measured"] + [
    entry for entry in GOLDEN["other"] if entry["graph"] == "tower" and entry["batch"] == 1
]
BACKBONES = {"resnet_v1_50": "resnet50", "mobilenet_v1": "mobilenet_v1"}


def name(entry: dict) -> str:
    what = entry.get("row") or f"{entry['relation']}-{entry['k']}"
    return f"{entry['model']}-{what}-{entry['dataset']}"


@pytest.mark.parametrize("entry", PROFILED, ids=name)
def test_formula_equals_profiler(entry: dict) -> None:
    size = complexity.TRAINING_SETS[entry["dataset"]]
    network = BACKBONES[entry["model"]], entry["relation"], entry["k"]
    count = complexity.published_convention(*network, size)
    assert (count.flops, count.params) == (entry["flops"], entry["params"])


@pytest.mark.parametrize("cell", CELLS, ids=name)
def test_table_cell_as_printed(cell: dict) -> None:
    where = BACKBONES[cell["model"]], cell["row"], cell["dataset"]
    count = complexity.table_row(*where)
    assert (count.flops, count.params) == (cell["flops"], cell["params"])
    for number, printed in (
        (count.flops / 1e9, cell["paper_flops_G"]),
        (count.params / 1e6, cell["paper_params_M"]),
    ):
        assert complexity.as_printed(number, str(printed)) == printed


def test_there_are_fourteen_cells_and_rounding_would_miss_some() -> None:
    assert len(CELLS) == 14
    missed = 0
    for cell in CELLS:
        count = complexity.table_row(BACKBONES[cell["model"]], cell["row"], cell["dataset"])
        digits = 2 if cell["row"] == "DAL" else 1
        rounded = round(count.flops / 1e9, 1), round(count.params / 1e6, digits)
        missed += rounded != (cell["paper_flops_G"], cell["paper_params_M"])
    assert missed == sum(not cell["rounded_equals_paper"] for cell in CELLS) > 0


def test_local_count_is_linear_in_k() -> None:
    size = complexity.TrainingSet(300, 2)
    flops = [complexity.published_convention("resnet50", "local", k, size).flops for k in (1, 2, 4)]
    assert flops[2] - flops[1] == 2 * (flops[1] - flops[0])


@pytest.mark.parametrize(
    ("value", "like", "expected"),
    [
        (4.673257295, "9.9", 4.6),
        (5.458901, "0.01", 5.45),
        (4.35, "1.00", 4.35),
        (10.0, "9.3", 10.0),
        (-1.29, "0.1", -1.2),
    ],
)
def test_as_printed_truncates(value: float, like: str, expected: float) -> None:
    assert complexity.as_printed(value, like) == expected


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("mobilenet_v1", "global", 4), "k = 8 only, not k = 4"),
        (("resnet18", "local", 8), "unknown backbone 'resnet18'"),
    ],
)
def test_convention_refuses_with_a_sentence(arguments: tuple, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        complexity.published_convention(*arguments, complexity.TrainingSet(178, 2))


def test_other_refusals() -> None:
    with pytest.raises(ValueError, match="unknown row"):
        complexity.table_row("resnet50", "fused", "PRID2011")
    with pytest.raises(ValueError, match="unknown data set"):
        complexity.table_row("resnet50", "local", "MARS")


def tiny() -> nn.Sequential:
    """Two convolutions and a linear layer, small enough to count by hand."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False),  # 8x4 -> 4x2
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False),  # depthwise
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )


def test_honest_count_by_hand() -> None:
    network = tiny()
    network[3].requires_grad_(False)
    network.train()
    network[0].eval()  # each part keeps its own mode
    statistics = network[1].running_mean.clone()
    honest = complexity.honest_count(network, 8, 4)
    assert honest.flops == 2 * (4 * 2 * 4 * 3 * 9 + 4 * 2 * 4 * 9 + 4 * 5)
    assert honest.params == 4 * 3 * 9 + 2 * 4 + 4 * 5 + 5
    assert [m.training for m in network] == [False] + 6 * [True] and network.training
    assert torch.equal(network[1].running_mean, statistics)


def test_anchor_bytes() -> None:
    assert complexity.anchor_bytes(2, 3, 5) == 2 * 2 * 3 * 5 * 4
    duke = complexity.TRAINING_SETS["DukeMTMC-VideoReID"].num_tracklets
    assert complexity.anchor_bytes(8, duke, 2048) == 287_834_112


@pytest.mark.parametrize(
    ("backbone", "multiply_adds", "params"),
    [("mobilenet_v1", 370_753_536, 3_206_976), ("resnet50_slim", 2_272_788_480, 23_508_032)],
)
def test_our_backbones_cost_what_the_published_ones_do(
    backbone: str, multiply_adds: int, params: int
) -> None:
    count = complexity.honest_count(model.build(Config(backbone=backbone, k=1)))
    assert count == complexity.Complexity(2 * multiply_adds, params)


def test_our_global_head_has_the_published_parameters() -> None:
    c, reduced, k = 2048, 256, 8
    network = model.build(Config(backbone="resnet50_slim", branch="global", k=k))
    head = complexity.honest_count(network).params - 23_508_032
    assert head == (k + 1) * (reduced * c + reduced) + k * (2 * reduced * reduced + 2 * reduced)
