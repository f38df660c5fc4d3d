"""Charts of data and results: arrays and tables in, a picture out; rates appear in percent."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from upm_lib.pictures.canvas import (
    CYCLE,
    METHOD_MARKERS,
    WIDTH,
    Picture,
    Style,
    cameras_in,
    legend_below,
    look_of,
    methods_in,
    panels,
)

_KNOB_NAMES = {
    "clutter": "clutter (share of tracklets)",
    "occlusion": "occlusion (share of tracklets)",
    "vertical_sd": "vertical shift (sd, of height)",
}


def lengths(frames_per_tracklet: Mapping[Any, Sequence[int]], *, more_than: int) -> Picture:
    """Draw the histogram of tracklet lengths: camera -> [N] frame counts, stacked if over two."""
    looks, x = cameras_in(frames_per_tracklet), "length (frames)"
    pairs = [(camera, n) for camera in looks for n in frames_per_tracklet[camera]]
    table = pd.DataFrame(pairs, columns=["camera", x])
    low, high = table[x].min(), table[x].max()
    style: Style = {"binwidth": (high - low) // 20 + 1, "ec": "white", "alpha": 1}
    style |= {"multiple": "dodge" if len(looks) < 3 else "stack", "hue_order": list(looks)}
    style |= {"palette": [look["color"] for look in looks.values()]}
    with panels(5, 2.6) as (fig, (ax,)):
        sns.histplot(table, x=x, hue="camera", ax=ax, binrange=(low - 0.5, high + 0.5), **style)
        ax.axvline(more_than + 0.5, color="black", ls="--", lw=1)
        ax.set_xlabel(f"{x}; right of the dashed line: more than {more_than}")
        fig.alt = f"Histogram of tracklet lengths, {low} to {high} frames."
        ax.set(ylabel="tracklets", xlim=(min(low, more_than) - 1.5, high + 1.5))
        ax.locator_params(integer=True)
        sns.move_legend(ax, "center left", bbox_to_anchor=(1, 0.5))
    return fig


def histories(history: pd.DataFrame) -> Picture:
    """Draw loss and shares by step; columns step, network, loss, top_share, cyclic_share 0..1."""
    names = ("loss", "own anchor nearest", "cyclically consistent")
    with panels(WIDTH, 2.7, 3) as (fig, axes):
        for network in methods_in(history["network"]):
            rows, look = history[history["network"] == network].set_index("step"), look_of(network)
            last = rows.tail(25).mean(numeric_only=True).fillna(0)
            fig.alt += f"{look['label']}: in the end loss {last['loss']:.2f}, "
            fig.alt += f"own anchor nearest {100 * last['top_share']:.0f} %, "
            fig.alt += f"cyclically consistent {100 * last['cyclic_share']:.0f} %. "
            axes[0].plot(rows["loss"], **look)
            axes[1].plot(100 * rows["top_share"], **look)
            axes[2].plot(100 * rows["cyclic_share"], **look)
        for ax, name in zip(axes, names, strict=True):
            ax.set(xlabel="step", ylabel="share (%)", title=name, ylim=(-2, 102))
        axes[0].set(ylabel="loss", ylim=(0, 1.05 * max(history["loss"].max(), 1e-9)))
        fig.suptitle("")  # keeps room above the panels
        legend_below(fig)
    return fig


def knobs(turned: Mapping[str, pd.DataFrame]) -> Picture:
    """Draw mean Rank-1 with a 95 % band over the trials, a panel a knob, the others at rest.

    Each knob has a table with columns of the knob's own name, method, trial, rank1 (%).
    """
    top = 20 * np.ceil(max(values["rank1"].max() for values in turned.values()) / 20)
    band: Style = {"errorbar": ("ci", 95), "seed": 0, "legend": False}
    with panels(WIDTH, 3, len(turned), sharex=False) as (fig, axes):
        for ax, (knob, values) in zip(axes, turned.items(), strict=True):
            name = _KNOB_NAMES.get(knob, knob)
            for method in methods_in(values["method"]):
                rows, look = values[values["method"] == method], look_of(method)
                means = rows.groupby(knob)["rank1"].mean().round(1).to_dict()
                fig.alt += f"{look['label']}: Rank-1 in % by {name} {means}. "
                marker = METHOD_MARKERS.get(method, "o")
                sns.lineplot(rows, x=knob, y="rank1", ax=ax, marker=marker, **band, **look)
            ax.set_xticks(sorted(values[knob].unique()))
            ax.set(xlabel=name, ylabel="", ylim=(0, top))
        axes[0].set(ylabel="Rank-1 (%)")
        legend_below(fig)
    return fig


def cmc_curves(curves: Mapping[str, ArrayLike], *, ranks: int = 20) -> Picture:
    """Draw method -> [trials, R] matching rates 0..1 as mean lines with one standard deviation."""
    with panels(5, 3.4) as (fig, (ax,)):
        for method in methods_in(curves):
            rates, look = 100 * np.atleast_2d(curves[method])[:, :ranks], look_of(method)
            mean, spread, x = rates.mean(0), rates.std(0), np.arange(1, rates.shape[1] + 1)
            fig.alt += f"{look['label']}: {mean[0]:.0f} % at rank 1, {mean[-1]:.0f} % at {x[-1]}. "
            ax.plot(x, mean, marker=METHOD_MARKERS.get(method, "o"), markersize=4, **look)
            ax.fill_between(x, mean - spread, mean + spread, fc=look["color"], alpha=0.15)
        ax.set(xlabel="rank", ylabel="matching rate (%)", xlim=(0.5, ranks + 0.5))
        ax.set_xticks([1, *range(5, ranks + 1, 5)])
        ax.legend(loc="lower right")
    return fig


def gain(values: pd.DataFrame) -> Picture:
    """Draw Rank-1 gains in points; columns dataset, method, gain, kind (counterpart of Fig. 1).

    A gain that is NaN is written "not run"; what was not published is hatched.
    """
    columns = values[["method", "kind", "dataset", "gain"]].itertuples(index=False)
    cells = {(method, (kind, dataset)): number for method, kind, dataset, number in columns}
    groups = sorted(dict.fromkeys(g for _, g in cells), key=lambda group: group[0] != "published")
    methods = methods_in(values["method"])
    width, upright = 0.86 / len(methods), 90 * (len(methods) * len(groups) > 16)
    with panels(min(WIDTH, 3 + 1.5 * len(groups)), 3) as (fig, (ax,)):
        for j, method in enumerate(methods):
            numbers = np.array([cells.get((method, group), np.nan) for group in groups], float)
            x = np.arange(len(groups)) + (j - (len(methods) - 1) / 2) * width
            bars = ax.bar(x, np.nan_to_num(numbers), 0.92 * width, **look_of(method))
            texts = [f"{number:+.1f}".replace("-", "\u2212") for number in numbers]
            for i, group in enumerate(groups):
                if np.isnan(numbers[i]):
                    texts[i] = "not run" if (method, group) in cells else ""
                elif numbers[i] and group[0] != "published":
                    bars[i].set(ec="white", hatch="////")
            for label in ax.bar_label(bars, texts, padding=2, fontsize=8, rotation=upright):
                label.set_rotation(90 if label.get_text() == "not run" else upright)
            told = (
                f"{' '.join(g)} {text or 'none'}" for g, text in zip(groups, texts, strict=True)
            )
            fig.alt += f"{look_of(method)['label']}: {', '.join(told)}. "
        ax.axhline(0, color="black", lw=0.8)
        ax.set_xticks(range(len(groups)), [f"{dataset}\n{kind}" for kind, dataset in groups])
        ax.set(ylabel="Rank-1 gain (points)", title="Gain over the baseline", ymargin=0.15)
        legend_below(fig, [Patch(**look_of(method)) for method in methods])
    return fig


def part_models(changes: pd.DataFrame) -> Picture:
    """Draw Rank-1 of part models alone by k, in percent over the baseline's, as Fig. 1 does.

    Columns dataset, k, change (percent; NaN: not run), kind ("published" or measured).
    """
    with panels(WIDTH, 3) as (fig, (ax,)):
        for n, ((kind, name), rows) in enumerate(changes.groupby(["kind", "dataset"], sort=False)):
            label, hollow = f"{name}, {kind}", kind == "published"
            look = {"color": CYCLE[n % len(CYCLE)], "marker": "osD^v"[n % 5], "label": label}
            face = {"mfc": "white", "mew": 1.6} if hollow else {}
            ax.plot(rows["k"], rows["change"], ls="" if hollow else "-", **look, **face)
            told = {
                k: "not run" if np.isnan(change) else f"{change:+.1f} %"
                for k, change in zip(rows["k"], rows["change"], strict=True)
            }
            fig.alt += f"{label}: {', '.join(f'k = {k}: {text}' for k, text in told.items())}. "
        ax.axhline(0, color="black", lw=0.8)
        _by_k(ax, changes["k"], "Rank-1 over the baseline (%)")
        ax.set_title("Part models alone, as in Fig. 1")
        if lacking := sorted(set(changes.loc[changes["change"].isna(), "k"])):
            ax.plot([], [], " ", label=f"not run: k = {', '.join(map(str, lacking))}")
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def _by_k(ax: Axes, ks: Iterable[int], ylabel: str) -> None:
    """Label axes whose x is the number of parts."""
    ks = sorted(set(ks))
    ax.set_xscale("log", base=2)
    ax.minorticks_off()
    ax.set_xticks(ks, map(str, ks))
    ax.set(xlabel="number of parts k", ylabel=ylabel)


def distance_matrix(distances: ArrayLike) -> Picture:
    """Draw distances [P, G] between probes and gallery as a heat map."""
    d = np.asarray(distances)
    with panels(4.2, 3.5) as (fig, (ax,)):
        image = ax.imshow(d, cmap="viridis", interpolation="nearest", zorder=1)
        fig.colorbar(image, ax=ax, label="Euclidean distance", shrink=0.8)
        own, mean = np.diagonal(d).mean(), d.mean()
        fig.alt = f"Heat map of distances: mean {mean:.2f}, of the correct pairs {own:.2f}."
        title = "Distances, correct pairs on the diagonal"
        ax.set(xlabel="gallery tracklet", ylabel="probe tracklet", title=title)
        ax.locator_params(integer=True)
    return fig


def embedding(
    points: Mapping[str, ArrayLike], person: Sequence[Any], camera: Sequence[Any]
) -> Picture:
    """Draw points in the plane, title of a panel -> [n, 2], coloured by person, marked by camera.

    A line joins the points of a person.
    """
    people, looks, owner = sorted(set(person)), cameras_in(camera), np.asarray(person)
    colours = CYCLE if len(people) <= 8 else sns.color_palette("husl", len(people))
    mark = {"ec": "0.2", "s": 42}
    with panels(WIDTH, 3.6, len(points), sharex=False) as (fig, axes):
        for ax, (name, mapped) in zip(axes, points.items(), strict=True):
            places = np.asarray(mapped)
            for one, colour in zip(people, colours, strict=False):
                ax.plot(*places[owner == one].T, color=colour, lw=1, zorder=1)
            for place, one, where in zip(places, person, camera, strict=True):
                colour = colours[people.index(one)]
                ax.scatter(*place, color=colour, marker=looks[where]["marker"], **mark)
            ax.set(title=name, xticks=[], yticks=[], xlabel="component 1", ylabel="component 2")
            apart = cdist(places, places)
            np.fill_diagonal(apart, np.inf)
            hits = (owner[apart.argmin(1)] == owner).sum()
            fig.alt += f"{name}: {len(people)} people, {hits} of {len(places)} points lie nearest "
            fig.alt += "to one of the same person. "
        for name, look in looks.items():
            style = {"marker": look["marker"], "color": "white", **mark}
            axes[0].scatter([], [], label=f"camera {name}", **style)
        fig.suptitle("")  # keeps room above the panels
        legend_below(fig)
    return fig


def pair_shares(table: pd.DataFrame) -> Picture:
    """Draw partners found and correct (both %) by k; columns method, k, consistent, correct."""
    names = {"consistent": "tracklets with a partner (%)", "correct": "correct partners (%)"}
    with panels(WIDTH, 2.7, 2) as (fig, axes):
        for method in methods_in(table["method"]):
            rows, look = table[table["method"] == method], look_of(method)
            for ax, column in zip(axes, names, strict=True):
                ax.plot(rows["k"], rows[column], marker=METHOD_MARKERS.get(method, "o"), **look)
            shares = dict(zip(rows["k"], rows["correct"].round().astype(int), strict=True))
            fig.alt += f"{look['label']}: correct partners in % by k {shares}. "
        for ax, name in zip(axes, names.values(), strict=True):
            _by_k(ax, table["k"], name)
            ax.set_ylim(0, 100)
        fig.suptitle("")  # keeps room above the panels
        legend_below(fig)
    return fig


def part_ranks(alone: Mapping[str, ArrayLike], together: Mapping[str, float]) -> Picture:
    """Draw Rank-1 (%) of each part alone, from head to foot, by method [k], and of all together."""
    with panels(5, 3.2) as (fig, (ax,)):
        for method in methods_in(alone):
            values, look = np.asarray(alone[method]), look_of(method)
            ax.plot(values, np.arange(1, len(values) + 1), marker=METHOD_MARKERS[method], **look)
            ax.axvline(together[method], color=look["color"], ls="--", lw=1.2)
            fig.alt += f"{look['label']}: Rank-1 in % of parts 1 to {len(values)} alone "
            fig.alt += f"{', '.join(f'{v:.0f}' for v in values)}; together {together[method]:.0f}. "
        ax.plot([], [], color="0.4", ls="--", lw=1.2, label="all parts together")
        ax.set(xlabel="Rank-1 (%)", ylabel="part (1 is the top)")
        ax.set(ylim=(len(values) + 0.5, 0.5), yticks=range(1, len(values) + 1), xlim=(0, 100))
        legend_below(fig)
    return fig
