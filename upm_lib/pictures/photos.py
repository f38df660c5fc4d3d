"""Pictures of people: strips of frames, stripes, ranked lists, activation maps, lookalikes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Patch, Rectangle

from upm_lib.config import PARTS
from upm_lib.pictures import canvas
from upm_lib.pictures.canvas import Picture, Style, board, plain, put, say

Images = Sequence[np.ndarray]
Rows = Mapping[str, Sequence[Sequence[Any]]]  # method -> probe -> rank -> value
# From a clear pane to red: what responds little hides nothing of the frame under it.
_HEAT = LinearSegmentedColormap.from_list(
    "heat", [(1, 0.85, 0, 0), (1, 0.6, 0, 0.35), (0.9, 0.1, 0, 0.75)]
)


def contact_sheet(
    tracklets: Images, labels: Sequence[str], *, per_row: int = 2, frames: int = 8, title: str = ""
) -> Picture:
    """Draw tracklets, each uint8 RGB [T, H, W, 3], as labelled strips of a few frames."""
    strip = (canvas.WIDTH - 0.15 * (per_row + 1)) / per_row
    w = min(0.8, strip / frames)
    h = w * tracklets[0].shape[1] / tracklets[0].shape[2]
    height = -(-len(tracklets) // per_row) * (h + 0.28) + 0.05
    with board(canvas.WIDTH, height, plain(title)) as (fig, ax):
        fig.photographic = True
        fig.alt = f"{len(tracklets)} tracklets as strips of frames: {', '.join(labels)}."
        for n, (tracklet, label) in enumerate(zip(tracklets, labels, strict=True)):
            x, y = 0.15 + n % per_row * (strip + 0.15), n // per_row * (h + 0.28)
            say(ax, x, y + 0.24, plain(label), ha="left", va="bottom")
            chosen = np.linspace(0, len(tracklet) - 1, min(frames, len(tracklet)))
            for j, t in enumerate(chosen.round().astype(int)):
                put(ax, tracklet[t], x + j * w, y + 0.26, w - 0.03, h)
    return fig


def stripes(frame: np.ndarray) -> Picture:
    """Cut one frame, uint8 RGB [H, W, 3], into k equal numbered stripes for each k (Eq. 1)."""
    h, w, gap = 2.6, 2.6 * frame.shape[1] / frame.shape[0], 0.035
    with board(len(PARTS) * (w + 0.4) + 0.15, h + 0.35) as (fig, ax):
        fig.photographic = True
        fig.alt = (
            f"One frame cut into equal horizontal stripes, for k = {', '.join(map(str, PARTS))}."
        )
        for n, k in enumerate(PARTS):
            x, edges = n * (w + 0.4) + 0.4, np.linspace(0, len(frame), k + 1).round().astype(int)
            say(ax, x + w / 2, 0.13, f"$k = {k}$", fontsize=9)
            tall = (h - gap * (k - 1)) / k
            for i in range(k):
                y = 0.26 + i * (tall + gap)
                put(ax, frame[edges[i] : edges[i + 1]], x, y, w, tall)
                ax.add_patch(Rectangle((x, y), w, tall, fill=False, lw=0.8))
                say(ax, x - 0.16, y + tall / 2, f"$x_{i + 1}$", fontsize=9)
    return fig


def ranked_lists(
    probes: Images, galleries: Rows, correct: Rows, *, distances: Rows | None = None
) -> Picture:
    """Draw each probe [H, W, 3] and, by method, its first gallery images, as in Fig. 7."""
    methods = canvas.methods_in(galleries)
    top = max(len(images) for lists in galleries.values() for images in lists)
    w = min(0.62, (canvas.WIDTH - 0.2 - 0.2 * len(methods)) / (1 + top * len(methods)))
    h = w * probes[0].shape[0] / probes[0].shape[1]
    row, block, size = h + (0.2 if distances else 0.06), top * w + 0.2, (w - 0.08, h - 0.08)
    with board(0.2 + w + len(methods) * block, 0.55 + len(probes) * row) as (fig, ax):
        fig.photographic = True
        fig.alt = f"The first {top} gallery images, correct ones framed solid. "
        say(ax, 0.1, 0.15, "probe", ha="left")
        for p, probe in enumerate(probes):
            y = 0.3 + p * row
            put(ax, probe, 0.1, y, *size)
            for m, (method, look) in enumerate(methods.items()):
                hits = (n for n, ok in enumerate(correct[method][p], 1) if ok)
                fig.alt += f"Probe {p + 1}, {look['label']}: "
                fig.alt += f"first correct one {next(hits, 'none')}. "
                left = 0.3 + w + m * block
                say(ax, left, 0.15, look["label"] if p == 0 else "", ha="left")
                for r, image in enumerate(galleries[method][p]):
                    style = canvas.CORRECT if correct[method][p][r] else canvas.WRONG
                    x = left + r * w
                    put(ax, image, x, y, *size)
                    ax.add_patch(Rectangle((x, y), *size, fill=False, lw=2.2, **style))
                    if distances:
                        say(ax, x + size[0] / 2, y + h + 0.03, f"{distances[method][p][r]:.2f}")
        handles = [Patch(fill=False, lw=2, **style) for style in (canvas.CORRECT, canvas.WRONG)]
        ax.legend(handles=handles, loc="lower center", ncols=2, borderaxespad=0.1)
    return fig


def best_matches(
    query: np.ndarray, images: Images, labels: Sequence[str], *, title: str = ""
) -> Picture:
    """Draw a query [h, w, 3] and its matches, nearest first, five a row (cf. Fig. 7)."""
    w, per_row, labels = 1.0, 5, [plain(label) for label in labels]
    h = w * query.shape[0] / query.shape[1]
    width, row = 0.2 + (1 + per_row) * (w + 0.15), h + 0.55
    with board(width, -(-len(images) // per_row) * row + 0.05, plain(title)) as (fig, ax):
        fig.photographic = True
        fig.alt = f"A query and its best matches, nearest first: {'; '.join(labels)}."
        put(ax, query, 0.1, 0.05, w, h)
        say(ax, 0.1 + w / 2, h + 0.1, "query", va="top")
        for n, (image, label) in enumerate(zip(images, labels, strict=True)):
            x, y = 0.1 + (1 + n % per_row) * (w + 0.15), 0.05 + n // per_row * row
            put(ax, image, x, y, w, h)
            say(ax, x + w / 2, y + h + 0.05, label, va="top")
    return fig


def activation_maps(frames: np.ndarray, maps: Mapping[str, np.ndarray]) -> Picture:
    """Draw frames [n, H, W, 3] and, by method, maps [n, h, w] in 0..1 over them (cf. Fig. 8)."""
    labels = {method: look["label"] for method, look in canvas.methods_in(maps).items()}
    left, grey = 1.2, np.repeat(frames.mean(-1, keepdims=True), 3, -1) * 0.65 / 255 + 0.35
    w = min(0.65, (canvas.WIDTH - left - 0.7) / len(frames))
    h = w * frames.shape[1] / frames.shape[2]
    width, tall = left + len(frames) * w + 0.7, len(maps) * h
    heat: Style = dict(cmap=_HEAT, vmin=0, vmax=1, interpolation="bilinear")
    with board(width, h + tall + 0.05) as (fig, ax):
        fig.photographic = True
        names = "; ".join(label.replace("\n", " ") for label in labels.values())
        fig.alt = f"Activation maps over {len(frames)} frames, a row each: {names}."
        for row, label in enumerate(["frames", *labels.values()]):
            say(ax, left - 0.1, (row + 0.5) * h, label, ha="right")
        for n, frame in enumerate(frames):
            x, size = left + n * w, (w - 0.04, h - 0.04)
            put(ax, frame, x, 0.02, *size)
            for row, method in enumerate(labels, 1):
                put(ax, grey[n], x, row * h + 0.02, *size)
                put(ax, maps[method][n], x, row * h + 0.02, *size, **heat)
        high = fig.get_figheight()
        bar = fig.add_axes((1 - 0.6 / width, 0.07 / high, 0.12 / width, (tall - 0.04) / high))
        bar.set(facecolor="0.75", xticks=[], yticks=[0, 0.5, 1])
        bar.imshow(np.linspace(1, 0, 256)[:, None], extent=(0, 1, 0, 1), aspect="auto", **heat)
        bar.yaxis.tick_right()
        bar.grid(False)
        say(ax, width - 0.66, h - 0.1, "activation", ha="left")
    return fig


def lookalikes(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    parts: Iterable[int],
    k: int,
    labels: Sequence[str],
) -> Picture:
    """Draw labelled pairs of frames [H, W, 3], the alike one of k parts framed (cf. Fig. 2)."""
    h, w, per_row = 1.5, 0.75, 4
    with board(canvas.WIDTH, -(-len(pairs) // per_row) * (h + 0.4) + 0.1) as (fig, ax):
        fig.photographic = True
        fig.alt = "Pairs of different people with one part alike. "
        for n, (pair, part, label) in enumerate(zip(pairs, parts, labels, strict=True)):
            x, y = 0.08 + n % per_row * 1.74, 0.06 + n // per_row * (h + 0.4)
            for image, left in zip(pair, (x, x + w + 0.06), strict=True):
                put(ax, image, left, y, w, h)
                stripe = (left, y + (part - 1) * h / k), w, h / k
                ax.add_patch(Rectangle(*stripe, fill=False, lw=2.2, ec="#F0E442"))
            say(ax, x + w + 0.03, y + h + 0.15, f"part {part}: {label}")
            fig.alt += f"Part {part}: {label}. "
    return fig
