"""Figures: arrays in, a styled figure out, nothing left behind in pyplot or in rcParams."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from picture_files import check_figure

from upm_lib.experiments.measuring import spread
from upm_lib.pictures import canvas, charts, photos

RNG = np.random.default_rng(0)
METHODS = ("baseline", "local", "fusion")
ONE = {"method": ["fusion"], "dataset": ["synthetic"]}


def frames(n: int, height: int = 16, width: int = 8) -> np.ndarray:
    return RNG.integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def history(networks: tuple[str, ...] = ("local", "global")) -> pd.DataFrame:
    rows = [(t, n, 1 / (t + 1), t / 4, np.nan) for n in networks for t in range(4)]
    return pd.DataFrame(rows, columns=["step", "network", "loss", "top_share", "cyclic_share"])


def followed() -> pd.DataFrame:
    return history(("local",)).rename(columns={"step": "epoch"}).assign(rank1=[4.0, 8, 20, 44])


def gains() -> pd.DataFrame:
    rows = [(v, m, 1.0, -1.0, 3.0) for v in ("0-2", "2-9") for m in ("local", "global")]
    return pd.DataFrame(rows, columns=["value", "method", "mean", "low", "high"])


def long_curves() -> pd.DataFrame:
    rows = [(d, m, e, 90 - e / 10) for d in ("a", "b") for m in METHODS for e in (1.0, 8.0, 60.0)]
    return pd.DataFrame(rows, columns=["dataset", "method", "epoch", "mAP"])


def moved() -> pd.DataFrame:
    rows = [(s, m, 90 + 150 * s + t) for s in (-0.1, 0.0) for m in METHODS for t in (-1, 1)]
    return pd.DataFrame(rows, columns=["share", "method", "rank1"])


def ranked() -> tuple:
    galleries = {m: [list(frames(7)) for _ in range(2)] for m in METHODS}
    correct = {m: [[True, False, False, True, False, False, False]] * 2 for m in METHODS}
    return list(frames(2)), galleries, correct


def shares() -> pd.DataFrame:
    rows = [(m, k, 60.0 - k, 70.0 - 2 * k) for m in ("local", "global") for k in (1, 2, 4, 8)]
    return pd.DataFrame(rows, columns=["method", "k", "consistent", "correct"])


DRAW = {
    "contact_sheet": lambda: photos.contact_sheet([frames(9), frames(2)], ["a", "b"], title="t"),
    "stripes": lambda: photos.stripes(frames(1)[0]),
    "histories": lambda: charts.histories(history()),
    "histories with Rank-1": lambda: charts.histories(followed()),
    "long_training": lambda: charts.long_training(long_curves()),
    "misalignment": lambda: charts.misalignment(gains(), moved()),
    "cmc_curves": lambda: charts.cmc_curves({m: RNG.random((10, 30)) for m in METHODS}),
    "gain": lambda: charts.gain(pd.DataFrame(ONE | {"kind": "published", "gain": -1.0})),
    "ranked_lists": lambda: photos.ranked_lists(*ranked()),
    "activation_maps": lambda: photos.activation_maps(frames(2), {"local": RNG.random((2, 8, 4))}),
    "pair_shares": lambda: charts.pair_shares(shares()),
    "part_ranks": lambda: charts.part_ranks({"local": [10, 50]}, {"local": 60.0}),
    "lookalikes": lambda: photos.lookalikes([frames(2)] * 8, range(1, 9), 8, ["0.1"] * 8),
}


PLAIN = DRAW["pair_shares"]


def texts(fig: Figure) -> list[str]:
    return [text.get_text() for ax in fig.axes for text in ax.texts]


@pytest.mark.parametrize("name", DRAW)
def test_figure_fits_the_page_is_readable_and_leaves_no_state_behind(name):
    check_figure(DRAW[name])


def test_jupyter_can_show_a_figure_without_pyplot():
    ((mime, content),) = PLAIN()._repr_mimebundle_()[0].items()
    assert mime == "image/png" and content.startswith(b"\x89PNG")


def test_save_without_folder_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert canvas.save(PLAIN(), "plain", None) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("draw", ["histories", "part_ranks", "contact_sheet"])
def test_saving_twice_gives_the_same_bytes_and_no_other_file(tmp_path, draw):
    fig = DRAW[draw]()
    first = canvas.save(fig, draw, tmp_path / "new" / "folder").read_bytes()
    path = canvas.save(fig, draw, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / f"{draw}.png"
    assert path.read_bytes() == first
    assert list(path.parent.iterdir()) == [path]
    assert b"Software" not in first and b"tEXt" not in first


def test_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = canvas.save(PLAIN(), "plain", tmp_path)
    old = path.read_bytes()

    def broken(self, file, **_):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", broken)
    with pytest.raises(OSError, match="disk full"):
        canvas.save(PLAIN(), "plain", tmp_path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == old


def test_every_method_and_camera_has_its_own_colour_and_name():
    assert set(canvas.COLOURS) == {*canvas.METHOD_NAMES, "A", "B"}
    assert len(set(canvas.COLOURS.values())) == 8
    assert canvas.METHOD_NAMES["baseline"] == "baseline (k = 1)"


def test_contact_sheet_shows_all_frames_of_a_short_tracklet_and_a_few_of_a_long_one():
    (ax,) = photos.contact_sheet([frames(30), frames(2)], ["long", "short"], frames=5).axes
    assert len(ax.images) == 5 + 2
    assert {"long", "short"} <= set(texts(ax.figure))


def test_stripes_cut_the_frame_without_loss():
    frame = frames(1, height=17)[0]
    (ax,) = photos.stripes(frame).axes
    assert len(ax.images) == 1 + 2 + 4 + 8
    assert np.array_equal(np.concatenate([image.get_array() for image in ax.images[3:7]]), frame)
    names = [f"$x_{i}$" for k in (1, 2, 4, 8) for i in range(1, k + 1)]
    assert names == [t for t in texts(ax.figure) if "x_" in t]


def test_histories_draw_one_line_a_network_and_shares_in_percent():
    loss, top, cyclic = charts.histories(history()).axes
    assert len(loss.lines) == len(top.lines) == len(cyclic.lines) == 2
    assert top.lines[0].get_ydata().max() == 75
    assert to_hex(loss.lines[0].get_color()).upper() == canvas.COLOURS["local"]


def test_histories_show_the_rank1_of_people_held_out_where_it_was_measured():
    fig = charts.histories(followed())
    assert fig.axes[3].lines[0].get_ydata().tolist() == [4, 8, 20, 44]
    assert {ax.get_xlabel() for ax in fig.axes} == {"epoch"}
    assert fig.alt.endswith("held-out Rank-1 44 %. ")


def test_misalignment_has_the_gains_on_the_left_and_the_means_of_the_trials_on_the_right():
    fig = DRAW["misalignment"]()
    left, right = fig.axes
    assert [text.get_text() for text in left.get_xticklabels()] == ["0-2", "2-9"]
    assert right.lines[0].get_xdata().tolist() == [-10.0, 0.0]
    assert right.lines[0].get_ydata().tolist() == [75.0, 90.0]
    assert "baseline (k = 1): Rank-1 by shift -10 % 75, +0 % 90." in fig.alt
    assert len(charts.misalignment(gains(), moved()[:0]).axes) == 1


@pytest.mark.parametrize("shape", [(10, 30), (1, 30), (30,), (2, 5)])
def test_cmc_curves_stop_at_rank_twenty_or_earlier(shape):
    (ax,) = charts.cmc_curves({"local": np.full(shape, 0.5), "new method": np.ones(shape)}).axes
    assert [line.get_label() for line in ax.lines] == ["local-aware", "new method"]
    assert len(ax.lines[0].get_xdata()) == min(20, shape[-1])
    assert set(ax.lines[0].get_ydata()) == {50}


def test_gain_hatches_what_was_measured_and_signs_the_numbers():
    kinds = ["measured (synthetic)", "published", "published"]
    table = pd.DataFrame({"method": ["local", "local", "fusion"], "kind": kinds})
    table = table.assign(dataset=["synthetic", "iLIDS-VID", "iLIDS-VID"], gain=[4.0, -2.5, 1.0])
    (ax,) = charts.gain(table).axes
    assert sorted(texts(ax.figure)) == ["+1.0", "+4.0", "not run", "\u22122.5"]
    assert {bar.get_height() for bar in ax.patches if bar.get_hatch()} == {0.0, 4.0}
    assert ax.get_xticklabels()[0].get_text() == "iLIDS-VID\npublished"


def test_gain_draws_the_interval_where_there_is_one():
    table = pd.DataFrame({"method": ["local"] * 2, "kind": ["measured", "published"]})
    table = table.assign(dataset=["a", "b"], gain=[4.0, 2.0], low=[1.0, np.nan], high=[7.0, np.nan])
    (bars,) = [c for c in charts.gain(table).axes[0].containers if getattr(c, "errorbar", None)]
    ends = [line[:, 1].tolist() for line in bars.errorbar[2][0].get_segments()]
    assert ends == [[2.0, 2.0], [1.0, 7.0]]


def test_right_and_wrong_matches_differ_in_line_style_not_only_in_colour():
    probes, galleries, correct = ranked()
    (ax,) = photos.ranked_lists(probes, galleries, correct).axes
    boxes = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    styles = [(to_hex(box.get_edgecolor()), str(box.get_linestyle())) for box in boxes]
    assert len(boxes) == 2 * 7 * len(METHODS)
    assert len(set(styles)) == 2 and len({line for _, line in styles}) == 2
    flags = [flag for p in range(2) for m in METHODS for flag in correct[m][p]]
    assert {s for s, flag in zip(styles, flags, strict=True) if flag} == {("#009e73", "-")}


def test_ranked_lists_print_distances_when_given():
    probes, galleries, correct = ranked()
    distances = {m: [[0.125] * 7] * 2 for m in METHODS}
    shown = texts(photos.ranked_lists(probes, galleries, correct, distances=distances))
    assert shown.count("0.12") == 2 * 7 * len(METHODS)


def test_ranked_lists_show_as_many_images_as_they_get():
    probes, galleries, correct = ranked()
    short = {m: [row[:3] for row in rows] for m, rows in galleries.items()}
    flags = {m: [row[:3] for row in rows] for m, rows in correct.items()}
    for given, shown, top in ((galleries, correct, 7), (short, flags, 3)):
        fig = photos.ranked_lists(probes, given, shown)
        assert len(fig.axes[0].images) == 2 * (1 + top * len(METHODS))
        assert f"The first {top} gallery images" in fig.alt


def test_activation_maps_lay_one_map_over_each_frame():
    maps = {"local": RNG.random((3, 8, 4)), "fusion": RNG.random((3, 8, 4))}
    board, bar = photos.activation_maps(frames(3), maps).axes
    assert len(board.images) == 3 + 2 * 2 * 3
    laid = [image for image in board.images if image.get_array().ndim == 2]
    assert [image.get_clim() for image in laid] == [(0, 1)] * 6
    for ends, hidden in ((0.0, 0.0), (1.0, 0.75)):  # what responds little hides nothing
        assert laid[0].cmap(ends)[3] == hidden
    assert bar.get_ylim() == (0, 1) and bar.images[0].cmap is laid[0].cmap


def test_pair_shares_draw_both_shares_against_k():
    found, correct = charts.pair_shares(shares()).axes
    assert [line.get_ydata().tolist() for line in correct.lines] == [[68, 66, 62, 54]] * 2
    assert found.lines[0].get_ydata().tolist() == [59, 58, 56, 52]
    assert [t.get_text() for t in found.get_xticklabels()] == ["1", "2", "4", "8"]


def test_part_ranks_run_from_head_to_foot():
    fig = charts.part_ranks({"local": [10, 50], "global": [30, 35]}, {"local": 60.0, "global": 55})
    (ax,) = fig.axes
    assert ax.yaxis_inverted()
    assert ax.lines[0].get_xydata().tolist() == [[10, 1], [50, 2]]
    assert set(ax.lines[1].get_xdata()) == {60}


def test_lookalikes_frame_the_same_stripe_in_both_pictures():
    (ax,) = photos.lookalikes([frames(2), frames(2)], [1, 4], 4, ["0.1", "0.2"]).axes
    first, same, last, _ = [p for p in ax.patches if isinstance(p, Rectangle)]
    assert first.get_y() == same.get_y()
    picture = ax.images[0].get_extent()  # left, correct, bottom, top in a board's downward inches
    assert first.get_height() == pytest.approx((picture[2] - picture[3]) / 4)
    assert last.get_y() - first.get_y() == pytest.approx(3 * first.get_height())
    assert {"part 1: 0.1", "part 4: 0.2"} <= set(texts(ax.figure))


def test_alt_text_is_the_plain_text_and_the_metadata_of_the_picture():
    drawing, photograph = PLAIN(), DRAW["stripes"]()
    assert repr(drawing) == f"<Picture: {drawing.alt.strip()}>"
    assert drawing._repr_mimebundle_()[1] == {"image/png": {"alt": drawing.alt.strip()}}
    assert photograph._repr_mimebundle_()[1] == {"image/jpeg": {"alt": photograph.alt}}
    assert photograph.alt == "One frame cut into equal horizontal stripes, for k = 1, 2, 4, 8."


def test_alt_text_tells_the_numbers():
    assert "local-aware: in the end loss 0.52" in charts.histories(history()).alt
    gain = charts.gain(pd.DataFrame(ONE | {"kind": "published", "gain": -1.0}))
    assert gain.alt == "fusion: published synthetic \u22121.0. "
    missing = charts.gain(pd.DataFrame(ONE | {"kind": "published", "gain": np.nan}))
    assert missing.alt == "fusion: published synthetic not run. " and texts(missing) == ["not run"]
    curve = charts.cmc_curves({"local": [0.25, 0.5, 1.0]})
    assert curve.alt == "local-aware: 25 % at rank 1, 100 % at 3. "


def test_the_band_of_a_cmc_is_the_standard_deviation_of_the_tables() -> None:
    (ax,) = charts.cmc_curves({"local": [[0.2], [0.4], [0.6]]}).axes
    (band,) = ax.collections
    assert np.unique(band.get_paths()[0].vertices[:, 1].round(6)).tolist() == [20, 60]
    assert spread(pd.Series([20.0, 40.0, 60.0])) == "40.0 ± 20.0"


def test_names_with_signs_of_a_formula_are_drawn_as_they_are() -> None:
    check_figure(lambda: photos.contact_sheet([frames(2)], ["cam a$_$"], title="$_$"))


def test_part_models_are_drawn_by_k_and_published_ones_hollow() -> None:
    lines = [("ours", 2, 5.0, "measured (synthetic)"), ("ours", 8, np.nan, "measured (synthetic)")]
    lines += [("PRID2011", 8, 11.2, "published")]
    fig = charts.part_models(pd.DataFrame(lines, columns=["dataset", "k", "change", "kind"]))
    measured, published = fig.axes[0].lines[:2]
    assert measured.get_xdata().tolist() == [2, 8] and published.get_ydata().tolist() == [11.2]
    assert published.get_markerfacecolor() == "white"
    assert "ours, measured (synthetic): k = 2: +5.0 %, k = 8: not run. " in fig.alt
    assert "PRID2011, published: k = 8: +11.2 %. " in fig.alt
