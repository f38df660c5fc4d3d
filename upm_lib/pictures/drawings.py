"""The networks as boxes and arrows: architecture, global-aware module, fusion (Figs. 3-5)."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.patches import FancyBboxPatch, Rectangle

from upm_lib.pictures.canvas import COLOURS, WIDTH, Picture, Style, board, say

Box = tuple[str, float]  # text, width
_REDUCE, _MIX = "$1{\\times}1$ conv\n$c \\to c'$", "$1{\\times}1$ conv\nBN, ReLU"
_PAIR = "$[\\hat{{x}}_{0} ; \\hat{{x}}_0]$\n$2c'$"


def _box(ax: Axes, x: float, y: float, w: float, h: float, text: str, key: str = "") -> None:
    """Draw a box with text, centred at (x, y), tinted in the colour of a method."""
    colour = COLOURS.get(key, "#777777")
    shape: Style = {"boxstyle": "round,pad=0,rounding_size=0.04", "lw": 1.1}
    shape |= {"ec": colour, "fc": to_rgba(colour, 0.2)}
    ax.add_patch(FancyBboxPatch((x - w / 2, y - h / 2), w, h, **shape))
    say(ax, x, y, text)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow between two points."""
    style: Style = {"arrowstyle": "-|>", "mutation_scale": 8, "shrinkA": 0, "shrinkB": 0}
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


def architecture() -> Picture:
    """Draw the local-aware (Eq. 1) and the global-aware (Eq. 2) network (cf. Fig. 3)."""
    parts, dal = ["$x_1$", "\u22ee", "$x_k$"], ("DAL on\neach part", 0.65)
    tail = (_REDUCE, 0.62), (_PAIR.format("i"), 0.52), (_MIX, 0.62), ("$+\\,\\hat{x}_0$", 0.38)
    rows = {"local": (0.85, 1, parts, 2.55, [("$x_i^l = x_i$", 0.8), dal])}
    rows["global"] = 2.55, 2, ["$x_0$", *parts], 0.19, [*tail, ("$x_i^g$", 0.32), dal]
    with board(WIDTH, 3.3) as (fig, ax):
        fig.alt = (
            "Two networks as chains of boxes. Both: frame I, backbone, map f of 8 x 4 x c, average "
            "pooling of k stripes. Local-aware: the part features go to association learning as "
            "they are. Global-aware: parts and whole are reduced to c' channels, each part is "
            "joined with the whole, mixed by a 1x1 convolution, batch normalisation and ReLU, and "
            "the whole is added."
        )
        for key, (y, eq, vectors, gap, boxes) in rows.items():
            say(ax, 0.12, y - 0.72, f"{key}-aware network (Eq. {eq})", fontsize=10, ha="left")
            _box(ax, 0.33, y, 0.4, 0.8, "$I$")
            _box(ax, 0.98, y, 0.5, 0.5, "backbone", key)
            bands = np.repeat(np.arange(8)[:, None] // 2 % 2, 4, 1)
            tints = ListedColormap([to_rgba(COLOURS[key], alpha) for alpha in (0.2, 0.5)])
            edges = 1.43 + 0.12 * np.arange(5), y - 0.48 + 0.12 * np.arange(9)
            ax.pcolormesh(*edges, bands, cmap=tints, ec="white", lw=0.8)
            say(ax, 0.33, y + 0.58, r"$256 \times 128$")
            say(ax, 1.67, y + 0.58, r"$f: 8 \times 4 \times c$")
            say(ax, 2.12, y - 0.1, "GAP")
            for a, b in ((0.53, 0.73), (1.23, 1.42), (1.92, 2.33), (2.67, 2.87)):
                _arrow(ax, (a, y), (b, y))
            for i, part in enumerate(vectors):
                _box(ax, 2.5, y + 0.3 * (i - (len(vectors) - 1) / 2), 0.34, 0.25, part, key)
            _chain(ax, y, 2.87, gap, key, *boxes)
    return fig


def global_module(k: int = 2) -> Picture:
    """Draw how x_0..x_k become the k global-aware features of Eq. 2 (cf. Fig. 4)."""
    middle, gap, conv, last = 1.25, 0.42, (_REDUCE, 0.75), ((_MIX, 0.85), ("$+$", 0.3))
    with board(WIDTH, 1.55 if k == 1 else 2.5) as (fig, ax):
        fig.alt = (
            f"The global-aware module for parts 1 to {k}: each part is reduced by a 1x1 "
            "convolution of its own, joined with the reduced whole x_0, mixed by a 1x1 "
            "convolution, batch normalisation and ReLU, and x_0 is added."
        )
        _chain(ax, middle, 0.1, gap, "", ("$x_0$", 0.4), conv, ("$\\hat{x}_0$", 0.4))
        for i, y, edge in ((1, 0.35, 0.6), (k, 2.15, 1.9))[: min(k, 2)]:
            first = (f"$x_{i}$", 0.4), conv, (f"$\\hat{{x}}_{i}$", 0.4), (_PAIR.format(i), 0.85)
            xs = _chain(ax, y, 0.1, gap, "global", *first, *last, (f"$x_{i}^g$", 0.4))
            ax.plot([2.49, xs[3], xs[5]], [middle] * 3, "o-", c="0.2", lw=1, ms=4, markevery=(1, 1))
            for x in (xs[3], xs[5]):
                _arrow(ax, (x, middle), (x, edge))
        say(ax, 6.35, middle, "weights of its own\nfor each part")
    return fig


def fusion_diagram() -> Picture:
    """Draw the fusion of the two networks' features into one vector of size k(c + c')."""
    last = ("max over\n$T$ frames", 0.8), ("L2", 0.4), ("tracklet\n$k(c + c')$", 0.9)
    with board(WIDTH, 2.5) as (fig, ax):
        fig.alt = (
            "Fusion: for each frame and each part, the local-aware and the global-aware vector "
            "are joined to c + c' numbers and scaled to length 1; the k parts are joined; then "
            "the maximum over the frames and scaling to length 1 give the tracklet's vector."
        )
        ax.add_patch(Rectangle((0.05, 0.3), 3.85, 2.15, fill=False, ec="0.5", ls="--"))
        say(ax, 0.1, 0.15, "each frame $t = 1, …, T$", ha="left")
        for y, i in ((0.8, "1"), (1.95, "k")):
            for at, letter, key in ((y - 0.2, "l", "local"), (y + 0.2, "g", "global")):
                _box(ax, 0.4, at, 0.5, 0.32, f"$x_{i}^{letter}$", key)
                _arrow(ax, (0.65, at), (0.9, 0.6 * y + 0.4 * at))
            both = (f"$[x_{i}^l ; x_{i}^g]$\n$c + c'$", 0.95), ("L2", 0.4)
            _chain(ax, y, 0.9, 0.25, "fusion", *both)
            _arrow(ax, (2.5, y), (2.8, y))
        say(ax, 1.37, 1.375, "\u22ee", fontsize=11)
        _box(ax, 3.3, 1.375, 1, 1.65, "$k$ parts\njoined\n\n$k(c + c')$", "fusion")
        _arrow(ax, (3.8, 1.375), (4.15, 1.375))
        _chain(ax, 1.375, 4.15, 0.3, "fusion", *last)
    return fig
