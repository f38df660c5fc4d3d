"""Pictures: arrays and tables in, `matplotlib.figure.Figure` out; rates 0..1 appear in percent."""

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Patch, Rectangle
from numpy.typing import ArrayLike

Images = Sequence[np.ndarray]
Rows = Mapping[str, Sequence[Sequence[Any]]]  # method -> probe -> rank -> value
Box = tuple[str, float]  # text, width
METHOD_NAMES: dict[str, str] = {"untrained": "untrained", "histogram": "colour histogram"}
METHOD_NAMES |= {"baseline": "baseline (k = 1)", "local": "local-aware"}
METHOD_NAMES |= {"global": "global-aware", "fusion": "fused"}
# Okabe and Ito's colours, with grey added: distinct in all common kinds of colour vision.
_PALETTE = ["#999999", "#CC79A7", "#000000", "#E69F00", "#0072B2", "#009E73"]  # of methods
_CYCLE = ["#56B4E9", "#D55E00", "#F0E442", *_PALETTE[1:]]  # of people, cameras
COLOURS: dict[str, str] = dict(zip(METHOD_NAMES, _PALETTE, strict=True), A=_CYCLE[0], B=_CYCLE[1])
_METHOD_MARKERS = dict(zip(METHOD_NAMES, "XPs^vo", strict=True))
_RIGHT = {"ec": "#009E73", "ls": "-", "label": "right"}
_WRONG = {"ec": "#D55E00", "ls": (0, (2.5, 1.2)), "label": "wrong"}
_WIDTH = 7.0  # inches, the widest figure
_REDUCE, _MIX = "$1{\\times}1$ conv\n$c \\to c'$", "$1{\\times}1$ conv\nBN, ReLU"
_PAIR = "$[\\hat{{x}}_{0} ; \\hat{{x}}_0]$\n$2c'$"
_SIZES = {"font.size": 9, "axes.titlesize": 10, "figure.titlesize": 10, "legend.fontsize": 8}
_PLAIN = {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
_BEHIND = {"axes.grid": True, "axes.grid.axis": "y", "axes.axisbelow": True}
_STYLE = {**_SIZES, **_PLAIN, **_BEHIND, "figure.facecolor": "white"}


class Picture(Figure):
    """A figure that Jupyter can show although pyplot does not know it.

    Drawings are shown as PNG, photographs as JPEG, which keeps notebooks small.
    """

    photographic = False

    def _repr_png_(self) -> bytes | None:
        return None if self.photographic else self._encode("png")

    def _repr_jpeg_(self) -> bytes | None:
        return self._encode("jpeg", pil_kwargs={"quality": 88}) if self.photographic else None

    def _encode(self, kind: str, **options: Any) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format=kind, **options)
        return buffer.getvalue()


def save(fig: Figure, name: str, folder: Path | None) -> Path | None:
    """Write `folder/name.png` at 200 dpi in one step and return its path; no folder, no file."""
    if folder is None:
        return None
    path = Path(folder) / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with matplotlib.rc_context({"savefig.bbox": None}):
            fig.savefig(partial, format="png", dpi=200, metadata={"Software": None})
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


@contextmanager
def _panels(width: float, height: float, columns: int = 1) -> Iterator[tuple[Figure, Any]]:
    """Give a figure (inches) and its axes, one or an array, and hold the house style meanwhile."""
    with matplotlib.rc_context(_STYLE):
        fig = Picture(figsize=(width, height), dpi=100, layout="constrained")
        yield fig, fig.subplots(1, columns, sharex=True)
    for ax in fig.axes:  # ticks are made when drawn, after the style is gone
        ax.tick_params(labelsize=8, grid_color="0.9", grid_linewidth=0.6)


@contextmanager
def _board(width: float, height: float, title: str = "") -> Iterator[tuple[Figure, Axes]]:
    """Give a figure and its empty axes, measured in inches from the top left corner."""
    top = 0.3 if title else 0.0
    with _panels(width, height + top) as (fig, ax):
        fig.set_layout_engine("none")
        ax.set(position=(0, 0, 1, 1), xlim=(0, width), ylim=(height, -top))
        ax.set_axis_off()
        _say(ax, width / 2, -0.12, title, fontsize=10)
        yield fig, ax


def _put(ax: Axes, image: np.ndarray, x: float, y: float, w: float, h: float, **style: Any) -> Any:
    """Place an image with its top left corner at (x, y) of a board."""
    return ax.imshow(image, extent=(x, x + w, y + h, y), aspect="auto", **style)


def _say(ax: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Write text centred at (x, y)."""
    ax.text(x, y, text, **{"fontsize": 8, "ha": "center", "va": "center", **style})


def _methods(found: Iterable[str]) -> list[str]:
    """Return the methods found, known ones first and in the order of METHOD_NAMES."""
    found = list(dict.fromkeys(found))
    return [m for m in METHOD_NAMES if m in found] + [m for m in found if m not in METHOD_NAMES]


def _look(method: str) -> dict[str, Any]:
    """Return colour and label of a method; an unknown one is dark grey under its own name."""
    return {"color": COLOURS.get(method, "#555555"), "label": METHOD_NAMES.get(method, method)}


def _cameras(found: Iterable[Any]) -> dict[Any, dict[str, str]]:
    """Return colour and marker of each camera, in sorted order."""
    looks = {}
    for i, name in enumerate(sorted(set(found))):
        looks[name] = {"color": COLOURS.get(str(name), _CYCLE[i % 8]), "marker": "o^sDvP*X"[i % 8]}
    return looks


def _legend_below(fig: Figure, **entries: Any) -> None:
    """Put one legend under all panels of a figure."""
    style = {"ncols": int(fig.get_figwidth()) - 1, "columnspacing": 1.4, "handlelength": 1.6}
    fig.legend(loc="outside lower center", **style, **entries)


def contact_sheet(
    tracklets: Images, labels: Sequence[str], *, per_row: int = 2, frames: int = 8, title: str = ""
) -> Figure:
    """Draw tracklets, each uint8 RGB [T, H, W, 3], as labelled strips of a few frames."""
    strip = (_WIDTH - 0.15 * (per_row + 1)) / per_row
    w = min(0.8, strip / frames)
    h = w * tracklets[0].shape[1] / tracklets[0].shape[2]
    with _board(_WIDTH, -(-len(tracklets) // per_row) * (h + 0.28) + 0.05, title) as (fig, ax):
        fig.photographic = True
        for n, (tracklet, label) in enumerate(zip(tracklets, labels, strict=True)):
            x, y = 0.15 + n % per_row * (strip + 0.15), n // per_row * (h + 0.28)
            _say(ax, x, y + 0.24, label, ha="left", va="bottom")
            chosen = np.linspace(0, len(tracklet) - 1, min(frames, len(tracklet)))
            for j, t in enumerate(chosen.round().astype(int)):
                _put(ax, tracklet[t], x + j * w, y + 0.26, w - 0.03, h)
    return fig


def stripes(frame: np.ndarray, ks: Sequence[int] = (1, 2, 4, 8), *, title: str = "") -> Figure:
    """Cut one frame, uint8 RGB [H, W, 3], into k equal numbered stripes for each k (Eq. 1)."""
    h, w, gap = 2.6, 2.6 * frame.shape[1] / frame.shape[0], 0.035
    with _board(len(ks) * (w + 0.4) + 0.15, h + 0.35, title) as (fig, ax):
        fig.photographic = True
        for n, k in enumerate(ks):
            x, edges = n * (w + 0.4) + 0.4, np.linspace(0, len(frame), k + 1).round().astype(int)
            _say(ax, x + w / 2, 0.13, f"$k = {k}$", fontsize=9)
            tall = (h - gap * (k - 1)) / k
            for i in range(k):
                y = 0.26 + i * (tall + gap)
                _put(ax, frame[edges[i] : edges[i + 1]], x, y, w, tall)
                ax.add_patch(Rectangle((x, y), w, tall, fill=False, lw=0.8))
                _say(ax, x - 0.16, y + tall / 2, f"$x_{i + 1}$", fontsize=9)
    return fig


def lengths(
    frames_per_tracklet: Mapping[Any, Sequence], *, more_than: int | None = None, title: str = ""
) -> Figure:
    """Draw the histogram of tracklet lengths: camera -> [N] frame counts, stacked if over two."""
    looks, x = _cameras(frames_per_tracklet), "length (frames)"
    pairs = [(camera, n) for camera in looks for n in frames_per_tracklet[camera]]
    table = pd.DataFrame(pairs, columns=["camera", x])
    low, high = table[x].min(), table[x].max()
    style = {"binwidth": (high - low) // 20 + 1, "binrange": (low - 0.5, high + 0.5)}
    style |= {"multiple": "dodge" if len(looks) < 3 else "stack", "ec": "white", "alpha": 1}
    style |= {"hue_order": list(looks), "palette": [look["color"] for look in looks.values()]}
    with _panels(5, 2.6) as (fig, ax):
        sns.histplot(table, x=x, hue="camera", ax=ax, **style)
        if more_than is not None:
            low = min(low, more_than)
            ax.axvline(more_than + 0.5, color="black", ls="--", lw=1)
            ax.set_xlabel(f"{x}; right of the dashed line: more than {more_than}")
        ax.set(ylabel="tracklets", title=title, xlim=(low - 1.5, high + 1.5))
        ax.locator_params(integer=True)
        sns.move_legend(ax, "center left", bbox_to_anchor=(1, 0.5))
    return fig


def histories(history: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw loss and shares by step; columns step, network, loss, top_share, cyclic_share 0..1."""
    names = ("loss", "own anchor nearest", "cyclically consistent")
    with _panels(_WIDTH, 2.7, 3) as (fig, axes):
        for network in _methods(history["network"]):
            rows, look = history[history["network"] == network].set_index("step"), _look(network)
            axes[0].plot(rows["loss"], **look)
            axes[1].plot(100 * rows["top_share"], **look)
            axes[2].plot(100 * rows["cyclic_share"], **look)
            if "right_share" in history:
                axes[2].plot(100 * rows["right_share"], **{**look, "ls": ":"})
        for ax, name in zip(axes, names, strict=True):
            ax.set(xlabel="step", ylabel="share (%)", title=name, ylim=(-2, 102))
        axes[0].set(ylabel="loss", ylim=(0, 1.05 * max(history["loss"].max(), 1e-9)))
        if "right_share" in history:
            axes[0].plot([], color="0.4", ls=":", label="of these, the right person")
        _legend_below(fig, handles=axes[0].lines)
        fig.suptitle(title)
    return fig


def sweep(values: pd.DataFrame, knob: str, *, xlabel: str = "", title: str = "") -> Figure:
    """Draw mean Rank-1 by `knob` with a 95 % band; columns `knob`, method, rank1 (%), trial."""
    with _panels(5, 3) as (fig, ax):
        for method in _methods(values["method"]):
            rows = values[values["method"] == method]
            style = {"marker": _METHOD_MARKERS.get(method, "o"), "errorbar": ("ci", 95), "seed": 0}
            sns.lineplot(rows, x=knob, y="rank1", ax=ax, **style, **_look(method))
        ax.set_xticks(sorted(values[knob].unique()))
        ax.set(xlabel=xlabel or knob, ylabel="Rank-1 (%)", title=title)
        ax.legend()
    return fig


def cmc_curves(curves: Mapping[str, ArrayLike], *, ranks: int = 20, title: str = "") -> Figure:
    """Draw method -> [trials, R] matching rates 0..1 as mean lines with one standard deviation."""
    with _panels(5, 3.4) as (fig, ax):
        for method in _methods(curves):
            rates, look = 100 * np.atleast_2d(curves[method])[:, :ranks], _look(method)
            mean, spread, x = rates.mean(0), rates.std(0), np.arange(1, rates.shape[1] + 1)
            ax.plot(x, mean, marker=_METHOD_MARKERS.get(method, "o"), markersize=4, **look)
            ax.fill_between(x, mean - spread, mean + spread, fc=look["color"], alpha=0.15)
        ax.set(xlabel="rank", ylabel="matching rate (%)", title=title, xlim=(0.5, ranks + 0.5))
        ax.set_xticks([1, *range(5, ranks + 1, 5)])
        ax.legend(loc="lower right")
    return fig


def _grouped(ax: Axes, groups: list[Any], cells: Mapping[Any, Any], form: str) -> list[Any]:
    """Draw {(method, group): (value, spread)} as labelled bars and return them by method."""
    methods, made = _methods(method for method, _ in cells), []
    width, upright = 0.86 / len(methods), 90 * (len(methods) * len(groups) > 16)
    for j, method in enumerate(methods):
        value, spread = np.array([cells.get((method, g), (np.nan, 0)) for g in groups], float).T
        spread = np.where(np.isnan(value + spread), 0, spread)
        x = np.arange(len(groups)) + (j - (len(methods) - 1) / 2) * width
        style = {"yerr": spread, "ecolor": "0.55", **_look(method)}
        made.append(ax.bar(x, np.nan_to_num(value), 0.92 * width, **style))
        texts = ax.bar_label(made[-1], [""] * len(groups), padding=2, fontsize=8, rotation=upright)
        for text, number, group in zip(texts, value, groups, strict=True):
            text.set_text(format(number, form).replace("-", "\u2212"))
            if np.isnan(number):
                text.set(text="not run" if (method, group) in cells else "", rotation=90)
    _legend_below(ax.figure, handles=[Patch(**_look(method)) for method in methods])
    return made


def bars(values: pd.DataFrame, *, ylabel: str = "Rank-1 (%)", title: str = "") -> Figure:
    """Draw bars; columns method, dataset, rank1_mean, rank1_std, in percent; NaN is "not run"."""
    columns = values[["method", "dataset", "rank1_mean", "rank1_std"]]
    cells = {(m, d): pair for m, d, *pair in columns.itertuples(index=False)}
    datasets = list(dict.fromkeys(values["dataset"]))
    with _panels(min(_WIDTH, 3 + 1.5 * len(datasets)), 3.2) as (fig, ax):
        _grouped(ax, datasets, cells, ".1f")
        ax.set_xticks(range(len(datasets)), datasets)
        ax.set(ylabel=ylabel, title=title, ylim=(0, 112), yticks=range(0, 101, 20))
    return fig


def gain(values: pd.DataFrame, *, title: str = "Gain over the baseline") -> Figure:
    """Draw Rank-1 gains in points; columns dataset, method, gain, kind (counterpart of Fig. 1)."""
    columns = values[["method", "kind", "dataset", "gain"]].itertuples(index=False)
    cells = {(method, (kind, dataset)): (number, 0) for method, kind, dataset, number in columns}
    groups = sorted(dict.fromkeys(g for _, g in cells), key=lambda group: group[0] != "published")
    with _panels(min(_WIDTH, 3 + 1.5 * len(groups)), 3) as (fig, ax):
        for made in _grouped(ax, groups, cells, "+.1f"):
            for bar, (kind, _) in zip(made, groups, strict=True):
                if kind != "published" and bar.get_height():
                    bar.set(ec="white", hatch="////")
        ax.axhline(0, color="black", lw=0.8)
        ax.set_xticks(range(len(groups)), [f"{dataset}\n{kind}" for kind, dataset in groups])
        ax.set(ylabel="Rank-1 gain (points)", title=title, ymargin=0.15)
    return fig


def ranked_lists(
    probes: Images, galleries: Rows, right: Rows, *, distances: Rows | None = None, title: str = ""
) -> Figure:
    """Draw each probe [H, W, 3] and, by method, its five first gallery images (cf. Fig. 7)."""
    methods = _methods(galleries)
    w = min(0.62, (_WIDTH - 0.2 - 0.2 * len(methods)) / (1 + 5 * len(methods)))
    h = w * probes[0].shape[0] / probes[0].shape[1]
    row, block, size = h + (0.2 if distances else 0.06), 5 * w + 0.2, (w - 0.08, h - 0.08)
    with _board(0.2 + w + len(methods) * block, 0.55 + len(probes) * row, title) as (fig, ax):
        fig.photographic = True
        _say(ax, 0.1, 0.15, "probe", ha="left")
        for p, probe in enumerate(probes):
            y = 0.3 + p * row
            _put(ax, probe, 0.1, y, *size)
            for m, method in enumerate(methods):
                left = 0.3 + w + m * block
                _say(ax, left, 0.15, _look(method)["label"] if p == 0 else "", ha="left")
                for r, image in enumerate(galleries[method][p][:5]):
                    x, style = left + r * w, _RIGHT if right[method][p][r] else _WRONG
                    _put(ax, image, x, y, *size)
                    ax.add_patch(Rectangle((x, y), *size, fill=False, lw=2.2, **style))
                    if distances:
                        _say(ax, x + size[0] / 2, y + h + 0.03, f"{distances[method][p][r]:.2f}")
        handles = [Patch(fill=False, lw=2, **style) for style in (_RIGHT, _WRONG)]
        ax.legend(handles=handles, loc="lower center", ncols=2, borderaxespad=0.1)
    return fig


def best_matches(
    query: np.ndarray, images: Images, labels: Sequence[str], *, title: str = ""
) -> Figure:
    """Draw a query [h, w, 3] and its matches, nearest first, five a row (cf. Fig. 7)."""
    w, per_row = 1.0, 5
    h = w * query.shape[0] / query.shape[1]
    width, row = 0.2 + (1 + per_row) * (w + 0.15), h + 0.55
    with _board(width, -(-len(images) // per_row) * row + 0.05, title) as (fig, ax):
        fig.photographic = True
        _put(ax, query, 0.1, 0.05, w, h)
        _say(ax, 0.1 + w / 2, h + 0.1, "query", va="top")
        for n, (image, label) in enumerate(zip(images, labels, strict=True)):
            x, y = 0.1 + (1 + n % per_row) * (w + 0.15), 0.05 + n // per_row * row
            _put(ax, image, x, y, w, h)
            _say(ax, x + w / 2, y + h + 0.05, label, va="top")
    return fig


def activation_maps(frames: np.ndarray, maps: Mapping[str, np.ndarray], title: str = "") -> Figure:
    """Draw frames [n, H, W, 3] and, by method, maps [n, h, w] in 0..1 over them (cf. Fig. 8)."""
    methods, left = _methods(maps), 1.2
    w = min(0.65, (_WIDTH - left - 0.7) / len(frames))
    h = w * frames.shape[1] / frames.shape[2]
    width, height = left + len(frames) * w + 0.7, (1 + len(methods)) * h + 0.05
    heat = {"cmap": "inferno", "vmin": 0, "vmax": 1, "alpha": 0.5, "interpolation": "bilinear"}
    with _board(width, height, title) as (fig, ax):
        fig.photographic = True
        for row, method in enumerate(["frames", *methods]):
            _say(ax, left - 0.1, (row + 0.5) * h, _look(method)["label"], ha="right")
            for n, frame in enumerate(frames):
                place = (left + n * w, row * h + 0.02, w - 0.04, h - 0.04)
                grey = np.repeat(frame.mean(-1, keepdims=True).astype(np.uint8), 3, -1)
                image = _put(ax, grey if row else frame, *place)
                if row:
                    image = _put(ax, maps[method][n], *place, **heat)
        high, tall = fig.get_figheight(), h * len(methods) - 0.04
        bar = fig.add_axes((1 - 0.6 / width, 0.07 / high, 0.12 / width, tall / high))
        fig.colorbar(image, cax=bar, ticks=[0, 0.5, 1]).solids.set_alpha(1)
        _say(ax, width - 0.66, h - 0.1, "activation", ha="left")
    return fig


def distance_matrix(d: ArrayLike, title: str = "Distances, right pairs on the diagonal") -> Figure:
    """Draw distances [P, G] between probes and gallery as a heat map."""
    with _panels(4.2, 3.5) as (fig, ax):
        image = ax.imshow(np.asarray(d), cmap="viridis", interpolation="nearest", zorder=1)
        fig.colorbar(image, ax=ax, label="Euclidean distance", shrink=0.8)
        ax.set(xlabel="gallery tracklet", ylabel="probe tracklet", title=title)
        ax.locator_params(integer=True)
    return fig


def embedding(points: np.ndarray, person: Sequence, camera: Sequence, title: str = "") -> Figure:
    """Draw points [n, 2], coloured by person [n] and marked by camera [n]."""
    table = pd.DataFrame(np.asarray(points), columns=["component 1", "component 2"])
    table = table.assign(person=list(person), camera=list(camera))
    people, looks = sorted(set(person)), _cameras(camera)
    colours = _CYCLE if len(people) <= 8 else sns.color_palette("husl", len(people))
    style = {"hue": "person", "hue_order": people, "palette": list(colours[: len(people)])}
    style |= {"style": "camera", "markers": {name: look["marker"] for name, look in looks.items()}}
    with _panels(5, 3.6) as (fig, ax):
        sns.scatterplot(table, x="component 1", y="component 2", ax=ax, ec="0.2", s=36, **style)
        sns.move_legend(ax, "center left", bbox_to_anchor=(1, 0.5), ncols=1 + len(people) // 16)
        ax.set(title=title, xticks=[], yticks=[])
    return fig


def toy_world(
    anchors: np.ndarray,
    cameras: Sequence[Any],
    labels: Sequence[str],
    *,
    features: np.ndarray | None = None,
    arrows: Sequence[tuple[ArrayLike, ArrayLike, str, str]] = (),
    title: str = "",
) -> Figure:
    """Draw anchors [N, 2], features [M, 2] and arrows (start, end, label, line style)."""
    looks, near = _cameras(cameras), {"textcoords": "offset points", "va": "center"}
    bend = {"arrowstyle": "-|>", "connectionstyle": "arc3,rad=0.25", "shrinkA": 5, "shrinkB": 5}
    with _panels(4.4, 4.2) as (fig, ax):
        ax.add_artist(Circle((0, 0), 1, fill=False, ec="0.75"))  # the view need not hold all of it
        ax.scatter(0, 0, marker="+", color="0.6", lw=1)
        for name, look in looks.items():
            ax.scatter([], [], s=50, ec="black", lw=0.8, label=f"camera {name}", **look)
        for point, camera, label in zip(np.asarray(anchors), cameras, labels, strict=True):
            ax.scatter(*point, s=70, ec="black", lw=0.8, zorder=3, **looks[camera])
            away = 15 * point / max(np.hypot(*point), 1e-9)
            ax.annotate(label, point, away, ha="center", **near)
        if features is not None:
            ax.scatter(*np.asarray(features).T, s=45, c="k", marker="x", zorder=3, label="feature")
        for start, end, label, line in arrows:
            ax.annotate("", end, start, arrowprops={"ls": line, "color": "0.25", "lw": 1.1, **bend})
            side = np.subtract(end, start)[::-1] * (1, -1)
            middle, side = np.add(start, end) / 2 + 0.125 * side, side / max(np.hypot(*side), 1e-9)
            ha = "center" if abs(side[0]) < 0.3 else ("left" if side[0] > 0 else "right")
            ax.annotate(label, middle, 8 * side, ha=ha, fontsize=8, **near)
        _legend_below(fig)
        ax.set(aspect="equal", adjustable="datalim", xmargin=0.15, ymargin=0.15, title=title)
        ax.set_axis_off()
    return fig


def hinge(margin: float = 0.5) -> Figure:
    """Draw the top-push hinge loss against the difference of the two distances."""
    with _panels(4.2, 2.6) as (fig, ax):
        ax.plot([-1, -margin, 1], [0, 0, 1 + margin], color=COLOURS["global"])
        ax.plot([0, 0], [0, margin], color="0.5", lw=1, ls="--")
        ax.text(-0.03, margin, f"$m = {margin:g}$", ha="right", va="bottom")
        ax.set(xlabel="$d^+ - d^-$ (own minus nearest other)", ylabel="loss", xlim=(-1, 1))
        ax.set_title(r"$[\,d^+ - d^- + m\,]_+$")
    return fig


def _box(ax: Axes, x: float, y: float, w: float, h: float, text: str, key: str = "") -> None:
    """Draw a box with text, centred at (x, y), tinted in the colour of a method."""
    colour = COLOURS.get(key, "#777777")
    shape = {"boxstyle": "round,pad=0,rounding_size=0.04", "ec": colour, "fc": to_rgba(colour, 0.2)}
    ax.add_patch(FancyBboxPatch((x - w / 2, y - h / 2), w, h, lw=1.1, **shape))
    _say(ax, x, y, text)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow between two points."""
    style = {"arrowstyle": "-|>", "mutation_scale": 8, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", end, start, arrowprops={"color": "0.2", "lw": 1.1, **style})


def _chain(ax: Axes, y: float, x: float, gap: float, key: str, *boxes: Box) -> list[float]:
    """Draw boxes from x to the right, joined by arrows, and return their centres."""
    centres: list[float] = []
    for text, w in boxes:
        if centres:
            _arrow(ax, (x - gap, y), (x, y))
        _box(ax, x + w / 2, y, w, 0.5, text, key)
        centres.append(x + w / 2)
        x += w + gap
    return centres


def architecture() -> Figure:
    """Draw the local-aware (Eq. 1) and the global-aware (Eq. 2) network (cf. Fig. 3)."""
    parts, dal = ["$x_1$", "\u22ee", "$x_k$"], ("DAL on\neach part", 0.65)
    tail = (_REDUCE, 0.62), (_PAIR.format("i"), 0.52), (_MIX, 0.62), ("$+\\,\\hat{x}_0$", 0.38)
    rows = {"local": (0.85, 1, parts, 2.55, [("$x_i^l = x_i$", 0.8), dal])}
    rows["global"] = 2.55, 2, ["$x_0$", *parts], 0.19, [*tail, ("$x_i^g$", 0.32), dal]
    with _board(_WIDTH, 3.3) as (fig, ax):
        for key, (y, eq, vectors, gap, boxes) in rows.items():
            _say(ax, 0.12, y - 0.72, f"{key}-aware network (Eq. {eq})", fontsize=10, ha="left")
            _box(ax, 0.33, y, 0.4, 0.8, "$I$")
            _box(ax, 0.98, y, 0.5, 0.5, "trunk", key)
            bands = np.repeat(np.arange(8)[:, None] // 2 % 2, 4, 1)
            tints = ListedColormap([to_rgba(COLOURS[key], alpha) for alpha in (0.2, 0.5)])
            edges = 1.43 + 0.12 * np.arange(5), y - 0.48 + 0.12 * np.arange(9)
            ax.pcolormesh(*edges, bands, cmap=tints, ec="white", lw=0.8)
            _say(ax, 0.33, y + 0.58, r"$256 \times 128$")
            _say(ax, 1.67, y + 0.58, r"$f: 8 \times 4 \times c$")
            _say(ax, 2.12, y - 0.1, "GAP")
            for a, b in ((0.53, 0.73), (1.23, 1.42), (1.92, 2.33), (2.67, 2.87)):
                _arrow(ax, (a, y), (b, y))
            for i, part in enumerate(vectors):
                _box(ax, 2.5, y + 0.3 * (i - (len(vectors) - 1) / 2), 0.34, 0.25, part, key)
            _chain(ax, y, 2.87, gap, key, *boxes)
    return fig


def global_module(k: int = 2) -> Figure:
    """Draw how x_0..x_k become the k global-aware features of Eq. 2 (cf. Fig. 4)."""
    middle, gap, conv, last = 1.25, 0.42, (_REDUCE, 0.75), ((_MIX, 0.85), ("$+$", 0.3))
    with _board(_WIDTH, 1.55 if k == 1 else 2.5) as (fig, ax):
        _chain(ax, middle, 0.1, gap, "", ("$x_0$", 0.4), conv, ("$\\hat{x}_0$", 0.4))
        for i, y, edge in ((1, 0.35, 0.6), (k, 2.15, 1.9))[: min(k, 2)]:
            first = (f"$x_{i}$", 0.4), conv, (f"$\\hat{{x}}_{i}$", 0.4), (_PAIR.format(i), 0.85)
            xs = _chain(ax, y, 0.1, gap, "global", *first, *last, (f"$x_{i}^g$", 0.4))
            ax.plot([2.49, xs[3], xs[5]], [middle] * 3, "o-", c="0.2", lw=1, ms=4, markevery=(1, 1))
            for x in (xs[3], xs[5]):
                _arrow(ax, (x, middle), (x, edge))
        _say(ax, 6.35, middle, "weights of its own\nfor each part")
    return fig


def fusion_diagram() -> Figure:
    """Draw the fusion of the two networks' features into one vector of size k(c + c')."""
    last = ("max over\n$T$ frames", 0.8), ("L2", 0.4), ("tracklet\n$k(c + c')$", 0.9)
    with _board(_WIDTH, 2.5) as (fig, ax):
        ax.add_patch(Rectangle((0.05, 0.3), 3.85, 2.15, fill=False, ec="0.5", ls="--"))
        _say(ax, 0.1, 0.15, "each frame $t = 1, …, T$", ha="left")
        for y, i in ((0.8, "1"), (1.95, "k")):
            for at, letter, key in ((y - 0.2, "l", "local"), (y + 0.2, "g", "global")):
                _box(ax, 0.4, at, 0.5, 0.32, f"$x_{i}^{letter}$", key)
                _arrow(ax, (0.65, at), (0.9, 0.6 * y + 0.4 * at))
            both = (f"$[x_{i}^l ; x_{i}^g]$\n$c + c'$", 0.95), ("L2", 0.4)
            _chain(ax, y, 0.9, 0.25, "fusion", *both)
            _arrow(ax, (2.5, y), (2.8, y))
        _say(ax, 1.37, 1.375, "\u22ee", fontsize=11)
        _box(ax, 3.3, 1.375, 1, 1.65, "$k$ parts\njoined\n\n$k(c + c')$", "fusion")
        _arrow(ax, (3.8, 1.375), (4.15, 1.375))
        _chain(ax, 1.375, 4.15, 0.3, "fusion", *last)
    return fig
