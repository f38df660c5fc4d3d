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


def architecture(*networks: str) -> Picture:
    """Draw the "local"-aware (Eq. 1) or the "global"-aware (Eq. 2) network, or both (Fig. 3)."""
    tall = {"local": 1.75, "global": 2.35}
    told = {
        "local": "Local-aware: the part features go to association learning as they are.",
        "global": "Global-aware: parts and the average of the whole map are reduced to c' "
        "channels, each part is joined with the whole, mixed by a 1x1 convolution, batch "
        "normalisation and ReLU, and the whole is added.",
    }
    with board(WIDTH, sum(tall[key] for key in networks)) as (fig, ax):
        fig.alt = "Boxes and arrows: frame I, backbone, map f of 8 x 4 x c, average pooling. "
        fig.alt += " ".join(told[key] for key in networks)
        bottom = 0.0
        for key in networks:
            bottom += tall[key]
            _network(ax, bottom - 0.95, key)
            title = f"{key}-aware network (Eq. {1 + (key == 'global')})"
            say(ax, 0.12, bottom - tall[key] + 0.13, title, fontsize=10, ha="left")
    return fig


def _network(ax: Axes, y: float, key: str) -> None:
    """Draw one network from the frame to association learning, its parts at the height y."""
    _chain(ax, y, 0.13, 0.14, key, ("$I$", 0.4), ("backbone", 0.66))
    bands = np.repeat(np.arange(8)[:, None] // 2 % 2, 4, 1)
    tints = ListedColormap([to_rgba(COLOURS[key], alpha) for alpha in (0.2, 0.5)])
    edges = 1.5 + 0.12 * np.arange(5), y - 0.48 + 0.12 * np.arange(9)
    ax.pcolormesh(*edges, bands, cmap=tints, ec="white", lw=0.8)
    say(ax, 1.74, y + 0.58, r"$f: 8 \times 4 \times c$")
    say(ax, 2.55, y + 0.58, "average of\neach stripe", va="top")
    for start, end in ((1.33, 1.49), (1.99, 2.38), (2.72, 2.92)):
        _arrow(ax, (start, y), (end, y))
    for i, part in enumerate(["$x_1$", "\u22ee", "$x_k$"]):
        _box(ax, 2.55, y + 0.3 * (i - 1), 0.34, 0.25, part, key)
    dal = "DAL on\neach part", 0.65
    if key == "local":
        _chain(ax, y, 2.92, 2.4, key, ("$x_i^l = x_i$", 0.8), dal)
        return
    tail = (_REDUCE, 0.62), (_PAIR.format("i"), 0.52), (_MIX, 0.62), ("$+$", 0.38)
    at = _chain(ax, y, 2.92, 0.18, key, *tail, ("$x_i^g$", 0.32), dal)
    whole = y - 0.8
    say(ax, 1.74, whole, "average of\nthe whole map")
    _arrow(ax, (1.99, y - 0.4), (2.38, whole + 0.08))
    _box(ax, 2.55, whole, 0.34, 0.25, "$x_0$")
    _arrow(ax, (2.72, whole), (2.92, whole))
    _box(ax, at[0], whole, 0.62, 0.5, _REDUCE)
    ax.plot([at[0] + 0.31, at[1], at[3]], [whole] * 3, "o-", c="0.2", lw=1, ms=4, markevery=(1, 1))
    say(ax, at[0] + 0.42, whole - 0.14, r"$\hat{x}_0$")
    for x in (at[1], at[3]):
        _arrow(ax, (x, whole), (x, y - 0.25))


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
    last = ("max over\nthe frames", 0.8), ("L2", 0.4), ("tracklet\n$k(c + c')$", 0.9)
    with board(WIDTH, 2.5) as (fig, ax):
        fig.alt = (
            "Fusion: for each frame and each part, the local-aware and the global-aware vector "
            "are joined to c + c' numbers and scaled to length 1; the k parts are joined; then "
            "the maximum over the frames and scaling to length 1 give the tracklet's vector."
        )
        ax.add_patch(Rectangle((0.05, 0.3), 3.85, 2.15, fill=False, ec="0.5", ls="--"))
        say(ax, 0.1, 0.15, "each frame of a tracklet", ha="left")
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
