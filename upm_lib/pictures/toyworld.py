"""Drawings of a world in the plane, small enough to check by hand: anchors, cycles, the loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from numpy.typing import ArrayLike
from scipy.optimize import isotonic_regression

from upm_lib.pictures import canvas
from upm_lib.pictures.canvas import Picture, Style, board, panels, say

_FRAMES: Style = {"s": 45, "c": "k", "marker": "x", "label": "feature of a frame"}


@dataclass(frozen=True)
class Scene:
    """A world in the plane, ready to be drawn."""

    anchors: ArrayLike  # intra-camera anchors [N, 2]
    cameras: Sequence[Any]  # name of each anchor's camera [N]
    labels: Sequence[str]  # of the anchors [N]
    cross: ArrayLike = ()  # cross-camera anchors [N, 2], drawn hollow over the others
    features: ArrayLike = ()  # of frames [M, 2], drawn as crosses
    arrows: Sequence[tuple[np.ndarray, np.ndarray, str, str]] = ()  # start, end, label, line style
    bend: float = 0.25  # curvature of the arrows, 0 is straight and exactly as long as given

    def __str__(self) -> str:
        """Name the anchors, features and arrows by their directions in degrees."""
        rows = zip(self.labels, _degrees(self.anchors), self.cameras, strict=True)
        told = "anchors " + ", ".join(f"{n} at {at} (camera {c})" for n, at, c in rows)
        for name, places in (("cross-camera anchors", self.cross), ("frames", self.features)):
            if len(np.asarray(places)):
                told += f"; {name} at {', '.join(_degrees(places))}"
        for start, end, label, _ in self.arrows:
            told += f"; arrow from {' to '.join(_degrees(np.stack([start, end])))} {label}".rstrip()
        return told


def _degrees(places: ArrayLike) -> list[str]:
    """Say the directions of points of the plane [n, 2]."""
    x, y = np.asarray(places, float).T
    return [f"{angle:.0f}\u00b0" for angle in np.degrees(np.arctan2(y, x))]


def toy_world(*scenes: Scene, titles: Sequence[str] = ("",)) -> Picture:
    """Draw one scene, or two or three side by side, each under its title."""
    width = 4.4 if len(scenes) == 1 else canvas.WIDTH
    with panels(width, 3.0 + 1.2 / len(scenes), len(scenes)) as (fig, axes):
        for ax, scene, title in zip(axes, scenes, titles, strict=True):
            _plane(ax, title)
            _draw_scene(ax, scene)
            fig.alt += f"{title or 'Toy world'}: {scene}. "
        canvas.legend_below(fig)
    return fig


def _plane(ax: Axes, title: str) -> None:
    """Prepare axes: the unit circle and its centre; the view need not hold all of it."""
    ax.add_artist(Circle((0, 0), 1, fill=False, ec="0.75"))
    ax.scatter(0, 0, marker="+", color="0.6", lw=1)
    ax.set(aspect="equal", adjustable="datalim", xmargin=0.15, ymargin=0.15, title=title)
    ax.set_axis_off()


def _draw_scene(ax: Axes, scene: Scene) -> None:
    looks, edge = canvas.cameras_in(scene.cameras), Style(ec="black", lw=0.8)
    for name, look in looks.items():
        ax.scatter([], [], s=50, label=f"camera {name}", **(edge | look))
    rows = zip(np.asarray(scene.anchors), scene.cameras, scene.labels, strict=True)
    for point, camera, label in rows:
        ax.scatter(point[0], point[1], s=70, zorder=3, **(edge | looks[camera]))
        _beside(ax, label, point, 15 * point / max(np.hypot(*point), 1e-9))
    cross, features = np.asarray(scene.cross), np.asarray(scene.features)
    if len(cross):
        hollow: Style = {"s": 150, "fc": "none", "ec": "black", "marker": "D"}
        ax.scatter(*cross.T, zorder=4, label="cross-camera anchor", **hollow)
    if len(features):
        ax.scatter(*features.T, zorder=5, **_FRAMES)
    for start, end, label, line in scene.arrows:
        # Between anchors an arrow bends and leaves room; a straight one is as long as it says.
        _arrow(ax, start, end, line, scene.bend, gap=5 if scene.bend else 0)
        _label_arrow(ax, start, end, label, scene.bend)


def _arrow(
    ax: Axes, start: np.ndarray, end: np.ndarray, line: str, bend: float, gap: float
) -> None:
    """Draw an arrow that leaves a gap, in typographic points, at both ends."""
    style: Style = {"arrowstyle": "-|>", "connectionstyle": f"arc3,rad={bend}"}
    style |= {"shrinkA": gap, "shrinkB": gap, "ls": line, "color": "0.25", "lw": 1.1}
    ax.annotate("", tuple(end), tuple(start), arrowprops=style)
    ax.update_datalim([start, end])


def _label_arrow(ax: Axes, start: np.ndarray, end: np.ndarray, label: str, bend: float) -> None:
    """Write a label beside the outer side of an arrow's bow."""
    side = np.subtract(end, start)[::-1] * (1, -1)
    middle, side = (start + end) / 2 + bend / 2 * side, side / max(np.hypot(*side), 1e-9)
    ha = "center" if abs(side[0]) < 0.3 else ("left" if side[0] > 0 else "right")
    _beside(ax, label, middle, 8 * side, ha=ha, fontsize=8)


def _beside(ax: Axes, text: str, point: np.ndarray, offset: ArrayLike, **style: Any) -> None:
    """Write text beside a point [2], moved by an offset [2] in typographic points."""
    place: Style = {"textcoords": "offset points", "ha": "center", "va": "center"}
    ax.annotate(text, tuple(point), tuple(np.asarray(offset)), **{**place, **style})


def anchor_paths(paths: Mapping[str, ArrayLike], features: ArrayLike) -> Picture:
    """Draw how an anchor moves: a panel a path, title -> the anchor at each step [T + 1, 2].

    The features of the frames that pulled it [M, 2] are the same in all panels. A place has the
    numbers of the steps after which the anchor stands there, 0 for the start.
    """
    walks, pulling = {name: np.asarray(p) for name, p in paths.items()}, np.asarray(features)
    seen = np.concatenate([pulling, [[0, 0]], *walks.values()])
    (left, low), (right, high) = seen.min(0) - 0.15, seen.max(0) + 0.15
    dot = {"s": 40, "color": canvas.COLOURS["A"], "ec": "black", "lw": 0.8, "zorder": 3}
    with panels(canvas.WIDTH, 2.6, len(paths)) as (fig, axes):
        for ax, (title, path) in zip(axes, walks.items(), strict=True):
            _plane(ax, title)
            ax.set(xlim=(left, right), ylim=(low, high), adjustable="box")
            ax.scatter(*pulling.T, **_FRAMES)
            ax.scatter(*path.T, label="anchor", **dot)
            for start, end in pairwise(path):
                if np.hypot(*(end - start)) > 0.02:
                    _arrow(ax, start, end, "-", bend=0, gap=4)
            for place in np.unique(path.round(2), axis=0):
                steps = np.flatnonzero(np.isclose(path, place, atol=0.01).all(1))
                _beside(ax, ", ".join(map(str, steps)), place, (-10, -11), fontsize=8)
            places = "; ".join(f"({x:.2f}, {y:.2f})" for x, y in path)
            fig.alt += f"{title}: the anchor goes through {places}. "
        canvas.legend_below(fig)
    return fig


def part_worlds(
    anchors: ArrayLike, cameras: Sequence[Any], people: Sequence[str], match: np.ndarray
) -> Picture:
    """Draw each part's anchors by their direction, and its cyclic pairs as lines between cameras.

    Anchors of the N tracklets of two cameras are [k, N, 2]; match [k, N] is the tracklet that each
    one is paired with, -1 for none.
    """
    k, names, found = len(match), np.asarray(people), match >= 0
    correct = (names[match.clip(0)] == names) & found
    columns, (x, y) = min(k, 2), np.moveaxis(np.asarray(anchors), -1, 0)
    width, degrees = (canvas.WIDTH - 0.3) / columns - 0.3, np.degrees(np.arctan2(y, x))
    with board(canvas.WIDTH, 0.15 + 1.05 * (-(-k // columns)) + 0.3) as (fig, ax):
        pairs = f"{correct.sum() // 2} of the {found.sum() // 2} cyclic pairs of all parts"
        fig.alt = f"k = {k}: {pairs} are correct."
        for i in range(k):
            left, top = 0.3 + i % columns * (width + 0.3), 0.15 + i // columns * 1.05
            counts = f"{correct[i].sum() // 2} of {found[i].sum() // 2} pairs correct"
            say(ax, left, top, f"part {i + 1} of {k}: {counts}", ha="left")
            for row in (top + 0.32, top + 0.77):
                ax.plot([left, left + width], [row, row], color="0.85", lw=1, zorder=0)
            _strip(ax, left + width * (1 - degrees[i] / 180), top, cameras, names, match[i])
        for name, look in canvas.cameras_in(cameras).items():
            ax.plot([], [], lw=0, mec="black", label=f"camera {name}", **look)
        for kind in (canvas.CORRECT, canvas.WRONG):
            ax.plot([], [], color=kind["ec"], ls=kind["ls"], label=f"{kind['label']} pair")
        ax.legend(loc="lower center", ncols=4, borderaxespad=0.1)
    return fig


def _strip(
    ax: Axes,
    x: np.ndarray,
    top: float,
    cameras: Sequence[Any],
    people: np.ndarray,
    match: np.ndarray,
) -> None:
    """Draw one part: its anchors at x, a line a camera, and the pairs between the lines."""
    looks = canvas.cameras_in(cameras)
    height = {name: top + 0.32 + 0.45 * row for row, name in enumerate(looks)}
    y = [height[camera] for camera in cameras]
    for j, other in enumerate(match):
        if j < other:
            kind = canvas.CORRECT if people[j] == people[other] else canvas.WRONG
            ends = [x[j], x[other]], [y[j], y[other]]
            ax.plot(*ends, zorder=1, color=kind["ec"], ls=kind["ls"], lw=1.8)
    for row, (camera, look) in enumerate(looks.items()):
        own = [j for j, c in enumerate(cameras) if c == camera]
        ax.scatter(x[own], [height[camera]] * len(own), s=32, ec="black", lw=0.6, zorder=3, **look)
        for j, at in zip(own, apart(x[own], 0.11), strict=True):
            say(ax, at, height[camera] + (0.14 if row else -0.13), people[j])


def apart(x: np.ndarray, gap: float) -> np.ndarray:
    """Move places [n] as little as it takes (least squares) to have neighbours `gap` apart."""
    order, shift = np.argsort(x, kind="stable"), gap * np.arange(len(x))
    moved = np.empty(len(x))
    moved[order] = isotonic_regression(x[order] - shift).x + shift
    return moved


def hinge(margin: float, examples: Mapping[str, float] | None = None) -> Picture:
    """Draw the top-push hinge of margin m against the difference of the two distances.

    Examples on it: name -> its difference, own minus the one to beat.
    """
    with panels(4.2, 2.6) as (fig, (ax,)):
        ax.plot([-1, -margin, 1], [0, 0, 1 + margin], color="0.3")
        ax.plot([0, 0], [0, margin], color="0.5", lw=1, ls="--")
        ax.text(0.04, 0, f"m = {margin:g}", ha="left", va="bottom")
        fig.alt = f"The hinge is zero up to a difference of -{margin:g} and rises with slope 1."
        for name, at in (examples or {}).items():
            value = max(at + margin, 0)
            ax.scatter(at, value, s=36, color=canvas.COLOURS["B"], zorder=3)
            ax.annotate(name, (at, value), (-7, 2), ha="right", textcoords="offset points")
            fig.alt += f" {name}: difference {at:.1f}, loss {value:.1f}."
        ax.set(xlabel="own distance minus the one to beat", ylabel="loss", xlim=(-1, 1))
        ax.set_title("The hinge of Eqs. (5) and (6)")
    return fig
