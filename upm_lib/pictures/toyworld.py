"""Drawings of a world in the plane, small enough to check by hand: anchors, cycles, the loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from numpy.typing import ArrayLike

from upm_lib.pictures.canvas import (
    COLOURS,
    CORRECT,
    WIDTH,
    WRONG,
    Picture,
    board,
    cameras_in,
    legend_below,
    panels,
    say,
)


@dataclass(frozen=True)
class Scene:
    """A world in the plane, ready to be drawn.

    Attributes:
        anchors: intra-camera anchors [N, 2].
        cameras: name of each anchor's camera [N].
        labels: of the anchors [N].
        cross: cross-camera anchors [N, 2], drawn hollow over the others; None: not drawn.
        features: of frames [M, 2], drawn as crosses; None: not drawn.
        arrows: (start, end, label, line style) each.
        bend: curvature of the arrows, 0 is straight.
    """

    anchors: ArrayLike
    cameras: Sequence[Any]
    labels: Sequence[str]
    cross: ArrayLike | None = None
    features: ArrayLike | None = None
    arrows: Sequence[tuple[ArrayLike, ArrayLike, str, str]] = ()
    bend: float = 0.25

    def __str__(self) -> str:
        """Name the anchors, features and arrows by their directions in degrees."""
        rows = zip(self.labels, self.anchors, self.cameras, strict=True)
        told = "anchors " + ", ".join(f"{n} at {_degrees(at)} (camera {c})" for n, at, c in rows)
        for name, places in (("cross anchors", self.cross), ("frames", self.features)):
            if places is not None:
                told += f"; {name} at {', '.join(map(_degrees, places))}"
        for start, end, label, _ in self.arrows:
            told += f"; arrow from {_degrees(start)} to {_degrees(end)} {label}".rstrip()
        return told


def _degrees(place: ArrayLike) -> str:
    """Say the direction of a point of the plane."""
    x, y = (float(v) for v in place)
    return f"{np.degrees(np.arctan2(y, x)):.0f}\u00b0"


def toy_world(*scenes: Scene, titles: Sequence[str] = ("",)) -> Picture:
    """Draw one scene, or two or three side by side, each under its title."""
    with panels(4.4 if len(scenes) == 1 else WIDTH, 3.0 + 1.2 / len(scenes), len(scenes)) as found:
        fig, axes = found[0], np.atleast_1d(found[1])
        for ax, scene, title in zip(axes, scenes, titles, strict=True):
            _plane(ax, title)
            _draw_scene(ax, scene)
            fig.alt += f"{title or 'Toy world'}: {scene}. "
        legend_below(fig, handles=axes[0].get_legend_handles_labels()[0])
    return fig


def _plane(ax: Axes, title: str) -> None:
    """Prepare axes: the unit circle and its centre; the view need not hold all of it."""
    ax.add_artist(Circle((0, 0), 1, fill=False, ec="0.75"))
    ax.scatter(0, 0, marker="+", color="0.6", lw=1)
    ax.set(aspect="equal", adjustable="datalim", xmargin=0.15, ymargin=0.15, title=title)
    ax.set_axis_off()


def _draw_scene(ax: Axes, scene: Scene) -> None:
    looks = cameras_in(scene.cameras)
    for name, look in looks.items():
        ax.scatter([], [], s=50, ec="black", lw=0.8, label=f"camera {name}", **look)
    rows = zip(np.asarray(scene.anchors), scene.cameras, scene.labels, strict=True)
    for point, camera, label in rows:
        ax.scatter(*point, s=70, ec="black", lw=0.8, zorder=3, **looks[camera])
        away = 15 * point / max(np.hypot(*point), 1e-9)
        ax.annotate(label, point, away, ha="center", va="center", textcoords="offset points")
    if scene.cross is not None:
        hollow = {"s": 150, "fc": "none", "ec": "black", "marker": "D", "label": "cross anchor"}
        ax.scatter(*np.asarray(scene.cross).T, zorder=4, **hollow)
    if scene.features is not None:
        style = {"s": 45, "c": "k", "marker": "x", "label": "feature of a frame"}
        ax.scatter(*np.asarray(scene.features).T, zorder=5, **style)
    for start, end, label, line in scene.arrows:
        _bent_arrow(ax, np.asarray(start), np.asarray(end), label, line, scene.bend)


def _bent_arrow(
    ax: Axes, start: np.ndarray, end: np.ndarray, label: str, line: str, bend: float
) -> None:
    """Draw an arrow and put its label beside the outer side of the bow."""
    style = {"arrowstyle": "-|>", "connectionstyle": f"arc3,rad={bend}", "shrinkA": 5, "shrinkB": 5}
    ax.annotate("", end, start, arrowprops={"ls": line, "color": "0.25", "lw": 1.1, **style})
    ax.update_datalim([start, end])
    side = np.subtract(end, start)[::-1] * (1, -1)
    middle, side = (start + end) / 2 + bend / 2 * side, side / max(np.hypot(*side), 1e-9)
    ha = "center" if abs(side[0]) < 0.3 else ("left" if side[0] > 0 else "right")
    place = {"textcoords": "offset points", "ha": ha, "va": "center"}
    ax.annotate(label, middle, 8 * side, fontsize=8, **place)


def anchor_paths(paths: Mapping[str, ArrayLike], features: ArrayLike) -> Picture:
    """Draw how an anchor moves: one panel a path.

    Args:
        paths: title -> the anchor before and after each step [T + 1, 2].
        features: of the frames that pulled [M, 2], the same in all panels.
    """
    features = np.asarray(features)
    seen = np.concatenate([features, [[0, 0]], *map(np.asarray, paths.values())])
    (left, low), (right, high) = seen.min(0) - 0.15, seen.max(0) + 0.15
    with panels(WIDTH, 2.6, len(paths)) as (fig, axes):
        for ax, (title, path) in zip(np.atleast_1d(axes), paths.items(), strict=True):
            path = np.asarray(path)
            _plane(ax, title)
            ax.set(xlim=(left, right), ylim=(low, high), adjustable="box")
            ax.scatter(*features.T, s=45, c="k", marker="x", label="feature of a frame")
            style = {"s": 40, "color": COLOURS["A"], "ec": "black", "lw": 0.8, "zorder": 3}
            ax.scatter(*path.T, label="anchor", **style)
            for step, (start, end) in enumerate(pairwise(path), 1):
                if np.hypot(*(end - start)) > 0.02:
                    _bent_arrow(ax, start, end, str(step), "-", 0.25)
            places = "; ".join(f"({x:.2f}, {y:.2f})" for x, y in path)
            fig.alt += f"{title}: the anchor goes through {places}. "
        legend_below(fig, handles=np.atleast_1d(axes)[0].get_legend_handles_labels()[0])
    return fig


def part_worlds(
    anchors: ArrayLike, cameras: Sequence[Any], people: Sequence[Any], match: np.ndarray
) -> Picture:
    """Draw each part's anchors by their direction, and its cyclic pairs as lines between cameras.

    Args:
        anchors: intra-camera anchors of k parts in the plane [k, N, 2].
        cameras: of the tracklets [N], two different ones.
        people: of the tracklets [N], written beside the anchors.
        match: tracklet that each one is paired with [k, N], -1 for none.
    """
    k, people, anchors = len(match), np.asarray(people), np.asarray(anchors)
    found, correct = match >= 0, (people[match.clip(0)] == people) & (match >= 0)
    looks, columns = cameras_in(cameras), min(k, 2)
    width, x = (
        (WIDTH - 0.3) / columns - 0.3,
        np.degrees(np.arctan2(anchors[..., 1], anchors[..., 0])),
    )
    with board(WIDTH, 0.15 + 1.05 * (-(-k // columns)) + 0.3) as (fig, ax):
        pairs = f"{correct.sum() // 2} of the {found.sum() // 2} cyclic pairs of all parts"
        fig.alt = f"k = {k}: {pairs} are correct."
        for i in range(k):
            left, top = 0.3 + i % columns * (width + 0.3), 0.15 + i // columns * 1.05
            counts = f"{correct[i].sum() // 2} of {found[i].sum() // 2} pairs correct"
            say(ax, left, top, f"part {i + 1} of {k}: {counts}", ha="left")
            rows = {c: top + 0.32 + 0.45 * n for n, c in enumerate(looks)}
            places = [
                (left + width * (1 - d / 180), rows[c]) for d, c in zip(x[i], cameras, strict=True)
            ]
            _strip(ax, places, rows, (left, width), cameras, people, match[i])
        strokes = [
            Line2D([], [], color=s["ec"], ls=s["ls"], label=f"{s['label']} pair")
            for s in (CORRECT, WRONG)
        ]
        marks = [
            Line2D([], [], lw=0, mec="black", label=f"camera {c}", **look)
            for c, look in looks.items()
        ]
        ax.legend(handles=[*marks, *strokes], loc="lower center", ncols=4, borderaxespad=0.1)
    return fig


def _strip(
    ax: Axes,
    places: Sequence[tuple[float, float]],
    rows: Mapping[Any, float],
    span: tuple[float, float],
    cameras: Sequence[Any],
    people: np.ndarray,
    match: np.ndarray,
) -> None:
    """Draw one part: a line a camera, its anchors, and the pairs between the lines."""
    looks, (upper, lower) = cameras_in(cameras), rows.values()
    for y in (upper, lower):
        ax.plot([span[0], sum(span)], [y, y], color="0.85", lw=1, zorder=0)
    for j, other in enumerate(match):
        if j < other:
            style = CORRECT if people[j] == people[other] else WRONG
            line = {"color": style["ec"], "ls": style["ls"], "lw": 1.8}
            ax.plot(*np.transpose([places[j], places[other]]), zorder=1, **line)
    for camera, y in rows.items():
        own = [j for j, c in enumerate(cameras) if c == camera]
        x = np.array([places[j][0] for j in own])
        ax.scatter(x, np.full(len(x), y), s=32, ec="black", lw=0.6, zorder=3, **looks[camera])
        for j, at in zip(own, apart(x, 0.11), strict=True):
            say(ax, at, y + (-0.13 if y == upper else 0.14), people[j])


def apart(x: np.ndarray, gap: float) -> np.ndarray:
    """Move places [n] as little as it takes (least squares) to have neighbours `gap` apart."""
    order = np.argsort(x, kind="stable")
    crowds: list[list[float]] = []  # neighbours that touch share their mean
    for place in x[order] - gap * np.arange(len(x)):
        crowds.append([place])
        while len(crowds) > 1 and np.mean(crowds[-2]) > np.mean(crowds[-1]):
            crowds[-2:] = [crowds[-2] + crowds[-1]]
    moved = np.empty(len(x))
    moved[order] = np.repeat([np.mean(c) for c in crowds], [len(c) for c in crowds])
    moved[order] += gap * np.arange(len(x))
    return moved


def hinge(margin: float = 0.5, examples: Mapping[str, float] | None = None) -> Picture:
    """Draw the top-push hinge against the difference of the two distances, and examples on it.

    Args:
        margin: m.
        examples: name -> its difference of distances, own minus the one to beat.
    """
    with panels(4.2, 2.6) as (fig, ax):
        ax.plot([-1, -margin, 1], [0, 0, 1 + margin], color="0.3")
        ax.plot([0, 0], [0, margin], color="0.5", lw=1, ls="--")
        ax.text(0.04, 0, f"$m = {margin:g}$", ha="left", va="bottom")
        fig.alt = f"The hinge is zero up to a difference of -{margin:g} and rises with slope 1."
        for name, at in (examples or {}).items():
            value = max(at + margin, 0)
            ax.scatter(at, value, s=36, color=COLOURS["B"], zorder=3)
            ax.annotate(name, (at, value), (-7, 2), ha="right", textcoords="offset points")
            fig.alt += f" {name}: difference {at:.1f}, loss {value:.1f}."
        ax.set(xlabel="$d^+ - d^-$ (own minus the one to beat)", ylabel="loss", xlim=(-1, 1))
        ax.set_title(r"$[\,d^+ - d^- + m\,]_+$")
    return fig
