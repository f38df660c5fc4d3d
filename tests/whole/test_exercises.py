"""The exercises at the end of the notebooks: every answer's number is computed here."""

import math
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from scipy import stats

from upm_lib.config import Config
from upm_lib.learning import association, model
from upm_lib.paper import published
from upm_lib.retrieval import activation, evaluation, features

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
ANGLES = (10.0, 60.0, 120.0, 20.0, 75.0, 88.0)  # of the toy world in notebook 2
CAMERAS = torch.tensor([0, 0, 0, 1, 1, 1])


def answer(name: str, number: int) -> list[str]:
    """Return what is set in bold in the answer of an exercise."""
    cells = nbformat.read(NOTEBOOKS / f"{name}.ipynb", 4).cells
    (text,) = [cell.source for cell in cells if cell.source.startswith("## Exercises")]
    folded = re.findall(r"<details><summary>Answer</summary>\n\n(.*?)\n\n</details>", text, re.S)
    return re.findall(r"\*\*(.+?)\*\*", folded[number - 1])


def on_circle(*degrees: float) -> torch.Tensor:
    angles = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def toy(*angles: float, **changes: float) -> association.Association:
    made = association.Association(1, 2, CAMERAS, Config(**changes))
    made.place(on_circle(*angles)[None])
    return made


@pytest.mark.parametrize("name", [f"{path.stem}" for path in sorted(NOTEBOOKS.glob("0*.ipynb"))])
def test_there_are_three_to_five_and_each_has_a_folded_answer(name: str) -> None:
    cells = nbformat.read(NOTEBOOKS / f"{name}.ipynb", 4).cells
    (text,) = [cell.source for cell in cells if cell.source.startswith("## Exercises")]
    count = len(re.findall(r"^\*\*\d\.\*\* ", text, re.M))
    assert 3 <= count <= 5
    assert text.count("<details>") == text.count("</details>") == count


def test_data() -> None:
    assert answer("01_data", 1) == ["1 %", "20 %"]
    error = 100 * math.sqrt(0.82 * 0.18 / 89)
    assert answer("01_data", 2) == [f"{error:.1f} points", f"{error / math.sqrt(10):.1f} points"]
    tracklets = 178 * (1 - (1 - 1 / 178) ** 64)
    assert answer("01_data", 3) == [f"{tracklets:.0f}"]


def test_the_cycle_closes_below_116_degrees() -> None:
    assert answer("02_local", 1) == ["116°"]
    for angle, partner in ((116.5, -1), (115.5, 5)):
        made = toy(*ANGLES[:2], angle, *ANGLES[3:])
        assert made.cyclic_match(torch.tensor([2])).item() == partner


def test_local() -> None:
    assert answer("02_local", 2) == [
        f"{(1 - eta) ** 5:.{n}f}" for eta, n in ((0.1, 2), (0.5, 2), (1, 0))
    ]
    fresh = association.Association(1, 2, CAMERAS, Config(margin=0.3, lam=0.5))
    loss, _ = fresh(on_circle(*ANGLES)[:, None], torch.arange(6))
    assert answer("02_local", 3) == [f"{loss.item():.2f}"]
    places = on_circle(*ANGLES)
    there = [*(3 + (places[:3] @ places[3:].T).argmax(1)), *(places[3:] @ places[:3].T).argmax(1)]
    one_way = {n: int(m) for n, m in enumerate(there) if there[m] != n}
    assert one_way == {2: 5, 5: 1} and there[1] == 4
    assert answer("02_local", 4) == [str(m) for m in one_way.values()]
    assert toy(*ANGLES).cyclic_match(torch.tensor([2])).item() == -1


def test_the_force_on_the_first_frame() -> None:
    made = toy(*ANGLES)
    made.update(on_circle(*ANGLES)[:, None], torch.arange(6), warm=False)
    x = on_circle(40.0, 48.0, 150.0).requires_grad_()
    made(x[:, None], torch.tensor([0, 1, 2]))[0].backward()
    assert answer("02_local", 5) == [f"{x.grad[0].norm().item():.2f}"]
    slopes = [math.cos(math.radians(angle)) for angle in (15, 12.5, 10)]
    assert sum(slopes[:2]) + (2 + 4 / 3) * slopes[2] == pytest.approx(3 * 1.7416, abs=1e-3)


def test_global() -> None:
    head = model.build(Config(branch="global", k=8)).head
    count = sum(p.numel() for p in head.parameters())
    assert answer("03_global", 1) == [f"{count:,}"]
    assert answer("03_global", 2) == [f"{16 / 17:.2f}"]
    assert answer("03_global", 3) == ["none"]


def test_fusion() -> None:
    for scaled, said in zip((False, True), answer("04_fusion", 1), strict=True):
        parts = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 8.0]]])
        fused = features.fuse(*parts, normalise_branches=scaled)[0]
        assert said == f"{100 * fused[3].item() ** 2:.1f} %".replace("50.0", "50")
    ranking = evaluation.Ranking([np.array([1, 2, 4])], 5)
    rules = ("mean_precision", "trapezoid")
    precise = [f"{ranking.average_precision(rule)[0]:.3f}" for rule in rules]
    assert answer("04_fusion", 2) == precise
    frames = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    mean = features.pool_tracklets(frames, np.array([0, 0, 0]), "mean")[0].tolist()
    assert answer("04_fusion", 3) == [f"({mean[0]:.3f}, {mean[1]:.3f})"]
    assert answer("04_fusion", 4) == [f"{k * (1024 + 256):,}" for k in (2, 8)]


def test_activation() -> None:
    f = torch.zeros(1, 2, 8, 4)
    f[0, 0, 2], f[0, 1, 5], f[0, 1, 2] = 1.0, 2.0, -1.0
    assert answer("05_cam", 1) == [f"{activation.activation_map(f)[0, 2, 0].item():.0f}"]
    assert answer("05_cam", 2) == [f"{8 / 32:.2f}"]
    flat = activation.activation_map(torch.ones(1, 3, 8, 4))
    assert answer("05_cam", 3) == [f"{100 * (flat > 0.5).float().mean().item():.0f} %"]


def test_tables() -> None:
    gaps = np.array([3, 5, -1, 4, 4])
    half = stats.t.ppf(0.975, 4) * gaps.std(ddof=1) / math.sqrt(5)
    assert answer("06_tables", 1) == [
        f"{gaps.mean():.1f}",
        f"{gaps.mean() - half:.1f} to {gaps.mean() + half:.1f}",
    ]
    said, share = [], []
    for data in ("PRID2011", "iLIDS-VID"):
        rows = [
            published.value(2, row, "mobilenet_v1", data, "rank1") for row in ("local", "baseline")
        ]
        said.append(f"{rows[0] - rows[1]:.1f}")
        share.append(f"{100 * (rows[0] / rows[1] - 1):+.1f} %")
    assert answer("06_tables", 2) == [*said, *share]
    two = evaluation.Ranking([np.array([1, 3])], 4)
    assert answer("06_tables", 3) == [f"{two.average_precision('trapezoid')[0]:.3f}"]
