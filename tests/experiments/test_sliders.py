"""Pictures with sliders: alive with ipywidgets, a picture without."""

import builtins

import pytest

from upm_lib.experiments import measuring, sliders
from upm_lib.experiments.bench import open_bench
from upm_lib.experiments.sliders import Explorer
from upm_lib.pictures.canvas import Picture
from upm_lib.pictures.toyworld import hinge

WIDGET = "application/vnd.jupyter.widget-view+json"


def test_an_explorer_offers_the_widget_and_the_first_picture() -> None:
    data, about = Explorer(hinge, margin=[0.5, 0.2])._repr_mimebundle_()
    assert set(data) == {WIDGET, "image/png", "text/plain"}
    assert data["image/png"].startswith(b"\x89PNG")
    assert data["text/plain"] == repr(hinge(0.5))
    assert about == {"image/png": {"alt": hinge(0.5).alt}}


def test_without_ipywidgets_the_picture_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = builtins.__import__

    def importer(name: str, *rest: object) -> object:
        if name == "ipywidgets":
            raise ImportError(name)
        return genuine(name, *rest)

    monkeypatch.setattr(builtins, "__import__", importer)
    data, _ = Explorer(hinge, margin=[0.5, 0.2])._repr_mimebundle_()
    assert set(data) == {"image/png", "text/plain"}


def test_moving_a_slider_draws_its_value_with_alt_text() -> None:
    slider, view = Explorer(hinge, margin=[0.5, 0.2]).widget().children
    before = view.value
    slider.value = 0.2
    assert view.value != before
    assert f'alt="{hinge(0.2).alt}"' in view.value
    assert view.value.count("data:image/png;base64,") == 1


def test_k_in_the_toy_world_begins_at_eight_parts_and_fewer_parts_are_more_often_right(
    tiny_root: object, run_store: object
) -> None:
    bench = open_bench(root=str(tiny_root), progress=False, device="cpu")
    explorer = sliders.toy_parts(bench)
    assert explorer.choices == {"k": [8, 4, 2, 1]}
    assert "k = 8: 22 of the 37" in explorer.first().alt
    assert "k = 2: 9 of the 9" in explorer.draw(k=2).alt


def test_a_probe_is_picked_and_its_list_is_the_ranking(
    tiny_root: object, run_store: object
) -> None:
    bench = open_bench(root=str(tiny_root), progress=False, device="cpu")
    explorer = sliders.ranked_list(bench, ["histogram"], first=2)
    assert explorer.choices == {"probe": [2, 3, 0, 1]}
    for probe in range(4):
        picture = explorer.draw(probe=probe)
        _, (correct,), _ = measuring.ranked(bench, bench.measurement("histogram"), [probe])
        first = correct.index(True) + 1 if True in correct else "none"
        assert isinstance(picture, Picture)
        assert f"colour histogram: first correct one {first}" in picture.alt
