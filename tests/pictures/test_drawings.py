"""Vector drawings: what is drawn is what was handed in."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from picture_files import check_figure

from upm_lib.pictures import drawings, toyworld
from upm_lib.pictures.toyworld import Scene


def angles(*degrees: float) -> np.ndarray:
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], 1)


def scene(**more) -> Scene:
    return Scene(angles(0, 90, 200), "ABA", ["a", "b", "c"], **more)


def parts(k: int) -> tuple:
    anchors = np.broadcast_to(angles(10, 60, 20, 70), (k, 4, 2))
    match = np.tile([2, -1, 0, -1], (k, 1))
    match[-1] = [3, 2, 1, 0]
    return anchors, "AABB", ["x", "y", "x", "y"], match


DRAW = {
    "toy_world": lambda: toyworld.toy_world(scene()),
    "two toy worlds": lambda: toyworld.toy_world(scene(), scene(cross=angles(1)), titles="ab"),
    "anchor_paths": lambda: toyworld.anchor_paths({"t": angles(0, 45), "u": [[0, 0]]}, angles(90)),
    "part_worlds, k = 1": lambda: toyworld.part_worlds(*parts(1)),
    "part_worlds, k = 8": lambda: toyworld.part_worlds(*parts(8)),
    "hinge": lambda: toyworld.hinge(0.5, {"frame 1": 0.2}),
    "architecture": lambda: drawings.architecture("local", "global"),
    "architecture, one network": lambda: drawings.architecture("local"),
    "global_module": drawings.global_module,
    "fusion_diagram": drawings.fusion_diagram,
}


def texts(fig: Figure) -> list[str]:
    return [text.get_text() for ax in fig.axes for text in ax.texts]


@pytest.mark.parametrize("name", DRAW)
def test_drawing_fits_the_page_is_readable_and_leaves_no_state_behind(name):
    check_figure(DRAW[name])


def test_alt_text_names_the_anchors_and_their_directions():
    alt = toyworld.toy_world(scene()).alt
    assert "b at 90\u00b0 (camera B)" in alt


def test_cross_anchors_are_hollow_and_every_panel_has_its_title():
    fig = toyworld.toy_world(scene(), scene(cross=angles(0, 45)), titles=["before", "after"])
    assert [ax.get_title() for ax in fig.axes] == ["before", "after"]
    (hollow,) = [c for c in fig.axes[1].collections if c.get_label() == "cross-camera anchor"]
    assert len(hollow.get_facecolors()) == 0
    assert np.allclose(hollow.get_offsets(), angles(0, 45))


def test_anchor_paths_number_every_place_by_the_steps_that_end_there():
    fig = toyworld.anchor_paths({"t": [[0, 0], [0.5, 0], [0.5, 0], [0, 0.5]]}, angles(0, 90))
    assert [t for t in texts(fig) if t] == ["0", "3", "1, 2"]
    assert len([t for t in fig.axes[0].texts if t.arrow_patch is not None]) == 2
    assert (
        fig.alt
        == "t: the anchor goes through (0.00, 0.00); (0.50, 0.00); (0.50, 0.00); (0.00, 0.50). "
    )


def test_part_worlds_count_right_and_wrong_pairs():
    fig = toyworld.part_worlds(*parts(2))
    assert {"part 1 of 2: 1 of 1 pairs correct", "part 2 of 2: 0 of 2 pairs correct"} <= set(
        texts(fig)
    )
    assert fig.alt == "k = 2: 1 of the 3 cyclic pairs of all parts are correct."
    lines = [line for line in fig.axes[0].lines if line.get_linewidth() > 1.5]
    assert [line.get_linestyle() for line in lines] == ["-", "--", "--"]


def test_hinge_marks_examples_on_the_curve():
    fig = toyworld.hinge(0.5, {"near": -0.9, "far": 0.2})
    assert "near: difference -0.9, loss 0.0" in fig.alt
    spots = [c.get_offsets()[0].tolist() for c in fig.axes[0].collections]
    assert np.allclose(spots, [[-0.9, 0], [0.2, 0.7]])


def test_toy_world_draws_anchors_features_and_labelled_arrows():
    anchors = angles(0, 90, 200)
    arrows = [(anchors[0], anchors[1], "go", "-"), (anchors[1], anchors[0], "back", "--")]
    names = ["$a$", "$b$", "$c$"]
    fig = toyworld.toy_world(Scene(anchors, "ABA", names, features=anchors[:1], arrows=arrows))
    lines = [t.arrow_patch.get_linestyle() for t in fig.axes[0].texts if t.arrow_patch is not None]
    assert lines == ["-", "--"]
    assert {"go", "back", *names} <= set(texts(fig))


@pytest.mark.parametrize("margin", [0.2, 0.5])
def test_hinge_is_zero_until_the_margin_and_equals_it_at_no_difference(margin):
    line = toyworld.hinge(margin).axes[0].lines[0]
    at = np.interp([-1, -margin, 0, 1], *line.get_data())
    assert np.allclose(at, [0, 0, margin, 1 + margin])


@pytest.mark.parametrize(("k", "rows"), [(1, 1), (2, 2), (8, 2)])
def test_global_module_shows_the_first_and_the_last_part(k, rows):
    fig = drawings.global_module(k)
    boxes = [patch for patch in fig.axes[0].patches if isinstance(patch, FancyBboxPatch)]
    assert len(boxes) == 3 + 7 * rows
    assert f"$x_{k}^g$" in texts(fig)


def test_diagrams_state_the_sizes_of_the_method():
    assert "$k$ parts\njoined\n\n$k(c + c')$" in texts(drawings.fusion_diagram())
    both = texts(drawings.architecture("local", "global"))
    assert both.count("DAL on\neach part") == 2 and both.count("$x_0$") == 1
    assert "$x_0$" not in texts(drawings.architecture("local"))


def test_labels_move_apart_no_more_than_they_must() -> None:
    apart = toyworld.apart
    np.testing.assert_allclose(apart(np.array([0.0, 1.0, 3.0]), 1.0), [0, 1, 3])  # far enough
    np.testing.assert_allclose(apart(np.array([2.0, 2.0]), 1.0), [1.5, 2.5])
    np.testing.assert_allclose(apart(np.array([5.0, 0.0, 0.2]), 1.0), [5, -0.4, 0.6])
    rng = np.random.default_rng(0)
    for x in rng.random((20, 6)):
        moved = apart(x, 0.3)
        assert (np.diff(moved[np.argsort(x)]) > 0.3 - 1e-9).all()
        assert moved.mean() == pytest.approx(x.mean())
