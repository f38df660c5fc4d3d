"""Draw the project's pictures: arrays and tables in, `matplotlib.figure.Figure` out.

Nothing is computed, trained or shown here, and pyplot is never asked to keep a figure. Shares and
curves come in as 0..1 and are drawn in percent; Rank-1 values come in as percent, as in tables.
"""

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
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyBboxPatch, Patch, Rectangle
from numpy.typing import ArrayLike

Images = Sequence[np.ndarray]
Arrow = tuple[ArrayLike, ArrayLike, str, str]  # start [2], end [2], label, line style

METHOD_NAMES: dict[str, str] = {
    "untrained": "untrained",
    "histogram": "colour histogram",
    "baseline": "baseline (k = 1)",
    "local": "local-aware",
    "global": "global-aware",
    "fusion": "fused",
}
# Okabe and Ito's colours, with grey added: distinct in all common kinds of colour vision.
_PALETTE = "#999999 #CC79A7 #000000 #E69F00 #0072B2 #009E73 #56B4E9 #D55E00 #F0E442".split()
COLOURS: dict[str, str] = dict(zip([*METHOD_NAMES, "A", "B"], _PALETTE[:8], strict=True))
_CYCLE = [*_PALETTE[6:], *_PALETTE[1:6]]  # people, and cameras that are not called A or B
_METHOD_MARKERS = dict(zip(METHOD_NAMES, "XPs^vo", strict=True))
_CAMERA_MARKERS = "o^sDvP*X"
_FRAMES = {True: {"ec": "#009E73", "ls": "-"}, False: {"ec": "#D55E00", "ls": (0, (2.5, 1.2))}}
_WIDTH = 7.0  # inches, the widest figure
_REDUCE, _MIX = "$1{\\times}1$ conv\n$c \\to c'$", "$1{\\times}1$ conv\nBN, ReLU"
_PAIR = "$[\\hat{{x}}_{0} ; \\hat{{x}}_0]$\n$2c'$"
_SIZES = {"font.size": 9, "axes.titlesize": 10, "figure.titlesize": 10, "legend.fontsize": 8}
_PLAIN = {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
_STYLE = {**_SIZES, **_PLAIN, "axes.axisbelow": True, "figure.facecolor": "white"}


class Picture(Figure):
    """A figure that Jupyter can show although pyplot does not know it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
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
    with matplotlib.rc_context(_STYLE):
        fig = Picture(figsize=(width, height + top), dpi=100)
        ax = fig.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, -top))
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
    for i, camera in enumerate(sorted(set(found))):
        colour = COLOURS.get(str(camera), _CYCLE[i % 8])
        looks[camera] = {"color": colour, "marker": _CAMERA_MARKERS[i % 8]}
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
    frames_per_tracklet: Mapping[Any, Sequence[int]], *, more_than: int | None = None, title: str = ""
) -> Figure:
    """Draw the histogram of tracklet lengths: camera -> [N] frame counts; above two, stacked."""
    looks, x = _cameras(frames_per_tracklet), "length (frames)"
    pairs = [(camera, n) for camera in looks for n in frames_per_tracklet[camera]]
    table = pd.DataFrame(pairs, columns=["camera", x])
    low, high = table[x].min(), table[x].max()
    style = {"binwidth": (high - low) // 20 + 1, "binrange": (low - 0.5, high + 0.5)}
    style |= {"multiple": "layer" if len(looks) < 3 else "stack", "element": "step"}
    style |= {"hue_order": list(looks), "palette": [look["color"] for look in looks.values()]}
    with _panels(5, 2.6) as (fig, ax):
        sns.histplot(table, x=x, hue="camera", ax=ax, **style)
        if more_than is not None:
            ax.axvline(more_than + 0.5, color="black", ls="--", lw=1)
            ax.set_xlabel(f"{x}; dashed: more than {more_than} are kept")
        ax.set(ylabel="tracklets", title=title)
        for axis in (ax.xaxis, ax.yaxis):
            axis.get_major_locator().set_params(integer=True)
        sns.move_legend(ax, "center left", bbox_to_anchor=(1, 0.5))
    return fig


def histories(history: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw loss and shares by step; columns step, network, loss, top_share, cyclic_share 0..1."""
    names = ("loss", "own anchor nearest", "cyclically consistent")
    lines = [(0, "loss", 1, "-"), (1, "top_share", 100, "-"), (2, "cyclic_share", 100, "-")]
    handles = [Line2D([], [], **_look(network)) for network in _methods(history["network"])]
    if "right_share" in history:
        lines += [(2, "right_share", 100, ":")]
        handles += [Line2D([], [], color="0.4", ls=":", label="of these, the right person")]
    with _panels(_WIDTH, 2.7, 3) as (fig, axes):
        for ax, name in zip(axes, names, strict=True):
            ax.grid(True, axis="y")
            ax.set(xlabel="step", ylabel="share (%)", title=name, ylim=(-2, 102))
        for network in _methods(history["network"]):
            rows = history[history["network"] == network].sort_values("step")
            for panel, column, scale, line in lines:
                axes[panel].plot(rows["step"], scale * rows[column], ls=line, **_look(network))
        axes[0].set(ylabel="loss", ylim=(0, 1.05 * max(history["loss"].max(), 1e-9)))
        _legend_below(fig, handles=handles)
        fig.suptitle(title)
    return fig


def sweep(values: pd.DataFrame, knob: str, *, xlabel: str = "", title: str = "") -> Figure:
    """Draw mean Rank-1 by `knob` with a 95 % band; columns `knob`, method, rank1 (%), trial."""
    with _panels(5, 3) as (fig, ax):
        for method in _methods(values["method"]):
            rows = values[values["method"] == method]
            band = ("ci", 95) if rows[knob].duplicated().any() else None
            style = {"marker": _METHOD_MARKERS.get(method, "o"), "seed": 0, "errorbar": band}
            sns.lineplot(rows, x=knob, y="rank1", ax=ax, **style, **_look(method))
        if values[knob].nunique() <= 8:
            ax.set_xticks(sorted(values[knob].unique()))
        ax.set(xlabel=xlabel or knob, ylabel="Rank-1 (%)", title=title)
        ax.grid(True, axis="y")
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
        ax.grid(True, axis="y")
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
    ax.grid(True, axis="y")
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
                    full = bar.get_facecolor()
                    bar.set(fc=to_rgba(full, 0.35), ec=full, hatch="////")
        ax.axhline(0, color="black", lw=0.8)
        ax.margins(y=0.12)
        ax.set_xticks(range(len(groups)), [f"{dataset}\n{kind}" for kind, dataset in groups])
        ax.set(ylabel="Rank-1 gain (points)", title=title)
    return fig


def ranked_lists(
    probes: Images,
    galleries: Mapping[str, Sequence[Images]],
    right: Mapping[str, Sequence[Sequence[bool]]],
    *,
    distances: Mapping[str, Sequence[Sequence[float]]] | None = None,
    top: int = 5,
    title: str = "",
) -> Figure:
    """Draw each probe [H, W, 3] and its first gallery images by method, framed (cf. Fig. 7)."""
    methods = _methods(galleries)
    w = min(0.62, (_WIDTH - 0.2 - 0.2 * len(methods)) / (1 + top * len(methods)))
    h = w * probes[0].shape[0] / probes[0].shape[1]
    row, block, size = h + (0.2 if distances else 0.06), top * w + 0.2, (w - 0.08, h - 0.08)
    with _board(0.2 + w + len(methods) * block, 0.55 + len(probes) * row, title) as (fig, ax):
        _say(ax, 0.1, 0.15, "probe", ha="left")
        for m, method in enumerate(methods):
            _say(ax, 0.3 + w + m * block, 0.15, _look(method)["label"], ha="left")
        for (p, probe), (m, method) in np.ndindex
    return fig
