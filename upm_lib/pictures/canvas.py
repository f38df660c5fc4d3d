"""What every picture is drawn on: size, style, one palette, alt text, and how it is saved."""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from upm_lib import runs

Style = dict[str, Any]  # what matplotlib takes as keywords

METHOD_NAMES: dict[str, str] = {"untrained": "untrained", "histogram": "colour histogram"}
METHOD_NAMES |= {"baseline": "baseline (k = 1)", "local": "local-aware"}
METHOD_NAMES |= {"global": "global-aware", "fusion": "fusion"}
# Okabe and Ito's colours, with grey added: distinct in all common kinds of colour vision.
_PALETTE = ["#999999", "#CC79A7", "#000000", "#E69F00", "#0072B2", "#009E73"]  # of methods
CYCLE = ["#56B4E9", "#D55E00", "#F0E442", *_PALETTE[1:]]  # of people, cameras
COLOURS: dict[str, str] = dict(zip(METHOD_NAMES, _PALETTE, strict=True), A=CYCLE[0], B=CYCLE[1])
METHOD_MARKERS = dict(zip(METHOD_NAMES, "XPs^vo", strict=True))
CORRECT: Style = {"ec": "#009E73", "ls": "-", "label": "correct"}
WRONG: Style = {"ec": "#D55E00", "ls": (0, (2.5, 1.2)), "label": "wrong"}
WIDTH = 7.0  # inches, the widest figure
_SIZES = {"font.size": 9, "axes.titlesize": 10, "figure.titlesize": 10, "legend.fontsize": 8}
_PLAIN = {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
_BEHIND = {"axes.grid": True, "axes.grid.axis": "y", "axes.axisbelow": True}
_STYLE: dict[Any, Any] = {**_SIZES, **_PLAIN, **_BEHIND, "figure.facecolor": "white"}


class Picture(Figure):
    """A figure that Jupyter can show although pyplot does not know it.

    Drawings are shown as PNG, photographs as JPEG, which keeps notebooks small. ``alt`` says in
    words what is to be seen: it is the picture's plain text, and goes into the output's metadata,
    where converters to HTML find it.
    """

    photographic = False
    alt = ""

    def __repr__(self) -> str:
        return f"<Picture: {self.alt.strip()}>"

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, bytes], dict[str, dict[str, str]]]:
        """Return its bytes and what is told of them, each under the mime type of the picture."""
        drawn, shown = io.BytesIO(), io.BytesIO()
        self.savefig(drawn, format="png")
        pixels = Image.open(drawn).convert("RGB")
        if self.photographic:
            pixels.save(shown, "jpeg", quality=88)
        else:  # with 128 colours a third of the bytes
            few = pixels.quantize(128, dither=Image.Dither.NONE)
            few.save(shown, "png", optimize=True)
        mime = "image/jpeg" if self.photographic else "image/png"
        return {mime: shown.getvalue()}, {mime: {"alt": self.alt.strip()}}


def save(fig: Figure, name: str, folder: Path | None) -> Path | None:
    """Write `folder/name.png` at 200 dpi in one step and return its path; no folder, no file."""
    if folder is None:
        return None
    path = Path(folder) / f"{name}.png"
    with runs.replacing(path) as temporary, matplotlib.rc_context({"savefig.bbox": None}):
        fig.savefig(temporary, format="png", dpi=200, metadata={"Software": None})
    return path


@contextmanager
def panels(
    width: float, height: float, columns: int = 1, sharex: bool = True
) -> Iterator[tuple[Picture, Any]]:
    """Give a figure (inches) and the array of its axes, and hold the house style meanwhile."""
    with matplotlib.rc_context(_STYLE):
        fig = Picture(figsize=(width, height), dpi=100, layout="constrained")
        yield fig, fig.subplots(1, columns, sharex=sharex, squeeze=False)[0]
    for ax in fig.axes:  # ticks are made when drawn, after the style is gone
        ax.tick_params(labelsize=8, grid_color="0.9", grid_linewidth=0.6)


@contextmanager
def board(width: float, height: float, title: str = "") -> Iterator[tuple[Picture, Axes]]:
    """Give a figure and its empty axes, measured in inches from the top left corner."""
    top = 0.3 if title else 0.0
    with panels(width, height + top) as (fig, (ax,)):
        fig.set_layout_engine("none")
        ax.set(position=(0, 0, 1, 1), xlim=(0, width), ylim=(height, -top))
        ax.set_axis_off()
        say(ax, width / 2, -0.12, title, fontsize=10)
        yield fig, ax


def put(ax: Axes, image: np.ndarray, x: float, y: float, w: float, h: float, **style: Any) -> None:
    """Place an image with its top left corner at (x, y) of a board."""
    ax.imshow(image, extent=(x, x + w, y + h, y), aspect="auto", **style)


def say(ax: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Write text centred at (x, y)."""
    ax.text(x, y, text, **{"fontsize": 8, "ha": "center", "va": "center", **style})


def plain(text: str) -> str:
    """Return a name as text that can be drawn: no formula, whatever its signs, and no raw bytes."""
    return text.encode(errors="backslashreplace").decode().replace("$", r"\$")


def methods_in(found: Iterable[str]) -> dict[str, Style]:
    """Return colour and label of each method found, in the order of METHOD_NAMES.

    Unknown ones come last, dark grey and under their own name.
    """
    found = dict.fromkeys(found)
    names = [m for m in METHOD_NAMES if m in found] + [m for m in found if m not in METHOD_NAMES]
    return {m: {"color": COLOURS.get(m, "#555555"), "label": METHOD_NAMES.get(m, m)} for m in names}


def cameras_in(found: Iterable[Any]) -> dict[Any, Style]:
    """Return colour and marker of each camera, in sorted order."""
    looks = {}
    for i, name in enumerate(sorted(set(found))):
        looks[name] = {"color": COLOURS.get(str(name), CYCLE[i % 8]), "marker": "o^sDvP*X"[i % 8]}
    return looks


def legend_below(fig: Figure, handles: Sequence[Any] | None = None) -> None:
    """Put one legend under all panels of a figure; without handles, of what the first one shows."""
    shown = handles or fig.axes[0].get_legend_handles_labels()[0]
    style = {"ncols": int(fig.get_figwidth()) - 1, "columnspacing": 1.4, "handlelength": 1.6}
    fig.legend(handles=shown, loc="outside lower center", **style)
