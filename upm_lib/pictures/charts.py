"""Charts of data and results: arrays and tables in, a picture out; rates appear in percent."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from upm_lib.pictures.canvas import (
    CYCLE,
    METHOD_MARKERS,
    WIDTH,
    Picture,
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


def lengths(
    frames_per_tracklet: Mapping[Any, Sequence], *, more_than: int | None = None, title: str = ""
) -> Picture:
    """Draw the histogram of tracklet lengths: camera -> [N] frame counts, stacked if over two."""
    looks, x = cameras_in(frames_per_tracklet), "length (frames)"
    pairs = [(camera, n) for camera in looks for n in frames_per_tracklet[camera]]
    table = pd.DataFrame(pairs, columns=["camera", x])
    low, high = table[x].min(), table[x].max()
    style = {"binwidth": (high - low) // 20 + 1, "binrange": (low - 0.5, high + 0.5)}
    style |= {"multiple": "dodge" if len(looks) < 3 else "stack", "ec": "white", "alpha": 1}
    style |= {"hue_order": list(looks), "palette": [look["color"] for look in looks.values()]}
    with panels(5, 2.6) as (fig, ax):
        sns.histplot(table, x=x, hue="camera", ax=ax, **style)
        if more_than is not None:
            low = min(low, more_than)
            ax.axvline(more_than + 0.5, color="black", ls="--", lw=1)
            ax.set_xlabel(f"{x}; right of the dashed line: more than {more_than}")
        fig.alt = f"Histogram of tracklet lengths, {table[x].min()} to {table[x].max()} frames."
        ax.set(ylabel="tracklets", title=title, xlim=(low - 1.5, high + 1.5))
        ax.locator_params(integer=True)
        sns.move_legend(ax, "center left", bbox_to_anchor=(1, 0.5))
    return fig


def histories(history: pd.DataFrame, *, title: str = "") -> Picture:
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
            if "right_share" in history:
                axes[2].plot(100 * rows["right_share"], **{**look, "ls": ":"})
        for ax, name in zip(axes, names, strict=True):
            ax.set(xlabel="step", ylabel="share (%)", title=name, ylim=(-2, 102))
        axes[0].set(ylabel="loss", ylim=(0, 1.05 * max(history["loss"].max(), 1e-9)))
        if "right_share" in history:
            axes[0].plot([], color="0.4", ls=":", label="of these, the correct person")
        legend_below(fig, handles=axes[0].lines)
        fig.suptitle(title)
    return fig


def _sweep(ax: Axes, values: pd.DataFrame, knob: str, name: str) -> str:
    """Draw a line and a band for each method and return the means in words."""
    told = ""
    for method in methods_in(values["method"]):
        rows = values[values["method"] == method]
        means = rows.groupby(knob)["rank1"].mean().round(1).to_dict()
        told += f"{look_of(method)['label']}: Rank-1 in % by {name} {means}. "
        style = {"marker": METHOD_MARKERS.get(method, "o"), "errorbar": ("ci", 95), "seed": 0}
        sns.lineplot(rows, x=knob, y="rank1", ax=ax, legend=False, **style, **look_of(method))
    ax.set_xticks(sorted(values[knob].unique()))
    ax.set(xlabel=name)
    return told


def knobs(turned: Mapping[str, pd.DataFrame]) -> Picture:
    """Draw mean Rank-1 with a 95 % band over the trials, a panel a knob, the others at rest.

    Args:
        turned: knob -> columns of the knob's own name, method, trial, rank1 (%).
    """
    top = 20 * np.ceil(max(values["rank1"].max() for values in turned.values()) / 20)
    with panels(WIDTH, 3, len(turned), sharex=False) as (fig, axes):
        for ax, (knob, values) in zip(np.atleast_1d(axes), turned.items(), strict=True):
            fig.alt += _sweep(ax, values, knob, _KNOB_NAMES.get(knob, knob))
            ax.set(ylim=(0, top), ylabel="")
        np.atleast_1d(axes)[0].set(ylabel="Rank-1 (%)")
        legend_below(fig, handles=np.atleast_1d(axes)[0].get_legend_handles_labels()[0])
    return fig


def cmc_curves(curves: Mapping[str, ArrayLike], *, ranks: int = 20, title: str = "") -> Picture:
    """Draw method -> [trials, R] matching rates 0..1 as mean lines with one standard deviation."""
    with panels(5, 3.4) as (fig, ax):
        for method in methods_in(curves):
            rates, look = 100 * np.atleast_2d(curves[method])[:, :ranks], look_of(method)
            mean, spread, x = rates.mean(0), rates.std(0), np.arange(1, rates.shape[1] + 1)
            fig.alt += f"{look['label']}: {mean[0]:.0f} % at rank 1, {mean[-1]:.0f} % at {x[-1]}. "
            ax.plot(x, mean, marker=METHOD_MARKERS.get(method, "o"), markersize=4, **look)
            ax.fill_between(x, mean - spread, mean + spread, fc=look["color"], alpha=0.15)
        ax.set(xlabel="rank", ylabel="matching rate (%)", title=title, xlim=(0.5, ranks + 0.5))
        ax.set_xticks([1, *range(5, ranks + 1, 5)])
        ax.legend(loc="lower right")
    return fig


def _grouped(ax: Axes, groups: list[Any], cells: Mapping[Any, Any], form: str) -> list[Any]:
    """Draw {(method, group): (value, spread)} as labelled bars and return them by method."""
    methods, made = methods_in(method for method, _ in cells), []
    width, upright = 0.86 / len(methods), 90 * (len(methods) * len(groups) > 16)
    for j, method in enumerate(methods):
        value, spread = np.array([cells.get((method, g), (np.nan, 0)) for g in groups], float).T
        spread = np.where(np.isnan(value + spread), 0, spread)
        x = np.arange(len(groups)) + (j - (len(methods) - 1) / 2) * width
        style = {"yerr": spread, "ecolor": "0.55", **look_of(method)}
        made.append(ax.bar(x, np.nan_to_num(value), 0.92 * width, **style))
        texts = ax.bar_label(made[-1], [""] * len(groups), padding=2, fontsize=8, rotation=upright)
        for text, number, group in zip(texts, value, groups, strict=True):
            text.set_text(format(number, form).replace("-", "\u2212"))
            if np.isnan(number):
                text.set(text="not run" if (method, group) in cells else "", rotation=90)
        told = ", ".join(
            f"{group if isinstance(group, str) else ' '.join(group)} {text.get_text() or 'none'}"
            for group, text in zip(groups, texts, strict=True)
        )
        ax.figure.alt += f"{look_of(method)['label']}: {told}. "
    legend_below(ax.figure, handles=[Patch(**look_of(method)) for method in methods])
    return made


def bars(values: pd.DataFrame, *, ylabel: str = "Rank-1 (%)", title: str = "") -> Picture:
    """Draw bars; columns method, dataset, rank1_mean, rank1_std, in percent; NaN is "not run"."""
    columns = values[["method", "dataset", "rank1_mean", "rank1_std"]]
    cells = {(m, d): pair for m, d, *pair in columns.itertuples(index=False)}
    datasets = list(dict.fromkeys(values["dataset"]))
    with panels(min(WIDTH, 3 + 1.5 * len(datasets)), 3.2) as (fig, ax):
        _grouped(ax, datasets, cells, ".1f")
        ax.set_xticks(range(len(datasets)), datasets)
        ax.set(ylabel=ylabel, title=title, ylim=(0, 112), yticks=range(0, 101, 20))
    return fig


def gain(values: pd.DataFrame, *, title: str = "Gain over the baseline") -> Picture:
    """Draw Rank-1 gains in points; columns dataset, method, gain, kind (counterpart of Fig. 1)."""
    columns = values[["method", "kind", "dataset", "gain"]].itertuples(index=False)
    cells = {(method, (kind, dataset)): (number, 0) for method, kind, dataset, number in columns}
    groups = sorted(dict.fromkeys(g for _, g in cells), key=lambda group: group[0] != "published")
    with panels(min(WIDTH, 3 + 1.5 * len(groups)), 3) as (fig, ax):
        for made in _grouped(ax, groups, cells, "+.1f"):
            for bar, (kind, _) in zip(made, groups, strict=True):
                if kind != "published" and bar.get_height():
                    bar.set(ec="white", hatch="////")
        ax.axhline(0, color="black", lw=0.8)
        ax.set_xticks(range(len(groups)), [f"{dataset}\n{kind}" for kind, dataset in groups])
        ax.set(ylabel="Rank-1 gain (points)", title=title, ymargin=0.15)
    return fig


def distance_matrix(
    d: ArrayLike, title: str = "Distances, correct pairs on the diagonal"
) -> Picture:
    """Draw distances [P, G] between probes and gallery as a heat map."""
    with panels(4.2, 3.5) as (fig, ax):
        image = ax.imshow(np.asarray(d), cmap="viridis", interpolation="nearest", zorder=1)
        fig.colorbar(image, ax=ax, label="Euclidean distance", shrink=0.8)
        own, mean = np.diagonal(d).mean(), np.mean(d)
        fig.alt = f"Heat map of distances: mean {mean:.2f}, of the correct pairs {own:.2f}."
        ax.set(xlabel="gallery tracklet", ylabel="probe tracklet", title=title)
        ax.locator_params(integer=True)
    return fig


def embedding(
    points: Mapping[str, ArrayLike], person: Sequence, camera: Sequence, title: str = ""
) -> Picture:
    """Draw points in the plane, a panel a mapping, coloured by person and marked by camera.

    Args:
        points: title of a panel -> points [n, 2].
        person: [n]; a line joins the points of a person.
        camera: [n].
        title: of the whole figure.
    """
    people, looks = sorted(set(person)), cameras_in(camera)
    colours = CYCLE if len(people) <= 8 else sns.color_palette("husl", len(people))
    with panels(WIDTH if len(points) > 1 else 5, 3.6, len(points), sharex=False) as (fig, axes):
        for ax, (name, places) in zip(np.atleast_1d(axes), points.items(), strict=True):
            places = np.asarray(places)
            for one, colour in zip(people, colours, strict=False):
                mine = places[np.asarray(person) == one]
                ax.plot(*mine.T, color=colour, lw=1, zorder=1)
            for place, one, where in zip(places, person, camera, strict=True):
                style = {"marker": looks[where]["marker"], "ec": "0.2", "s": 42}
                ax.scatter(*place, color=colours[people.index(one)], **style)
            ax.set(title=name, xticks=[], yticks=[], xlabel="component 1", ylabel="component 2")
            fig.alt += f"{name}: {len(people)} people, {_nearest_share(places, person)}. "
        for name, look in looks.items():
            style = {"marker": look["marker"], "color": "white", "ec": "0.2", "s": 42}
            ax.scatter([], [], label=f"camera {name}", **style)
        legend_below(fig, handles=ax.get_legend_handles_labels()[0])
        fig.suptitle(title)
    return fig


def _nearest_share(places: np.ndarray, person: Sequence) -> str:
    """Say how many points have a point of the same person as their nearest one."""
    apart = np.hypot(*(places[:, None] - places).transpose(2, 0, 1))
    np.fill_diagonal(apart, np.inf)
    hits = (np.asarray(person)[apart.argmin(1)] == np.asarray(person)).sum()
    return f"{hits} of {len(places)} points lie nearest to one of the same person"


def pair_shares(table: pd.DataFrame, *, title: str = "") -> Picture:
    """Draw partners found and correct (both %) by k; columns method, k, consistent, correct."""
    names = {"consistent": "tracklets with a partner (%)", "correct": "correct partners (%)"}
    with panels(WIDTH, 2.7, 2) as (fig, axes):
        for method in methods_in(table["method"]):
            rows, look = table[table["method"] == method], look_of(method)
            for ax, column in zip(axes, names, strict=True):
                ax.plot(rows["k"], rows[column], marker=METHOD_MARKERS.get(method, "o"), **look)
            shares = dict(zip(rows["k"], rows["correct"].round().astype(int), strict=True))
            fig.alt += f"{look['label']}: correct partners in % by k {shares}. "
        for ax, column in zip(axes, names, strict=True):
            ax.set_xscale("log", base=2)
            ax.minorticks_off()
            ax.set_xticks(sorted(set(table["k"])), [str(k) for k in sorted(set(table["k"]))])
            ax.set(xlabel="number of parts k", ylabel=names[column], ylim=(0, 100))
        legend_below(fig, handles=axes[0].lines)
        fig.suptitle(title)
    return fig


def part_ranks(
    alone: Mapping[str, ArrayLike], together: Mapping[str, float], *, title: str = ""
) -> Picture:
    """Draw Rank-1 (%) of each part alone, from head to foot, by method [k], and of all together."""
    with panels(5, 3.2) as (fig, ax):
        for method in methods_in(alone):
            values, look = np.asarray(alone[method]), look_of(method)
            ax.plot(values, np.arange(1, len(values) + 1), marker=METHOD_MARKERS[method], **look)
            ax.axvline(together[method], color=look["color"], ls="--", lw=1.2)
            fig.alt += f"{look['label']}: Rank-1 in % of parts 1 to {len(values)} alone "
            fig.alt += f"{', '.join(f'{v:.0f}' for v in values)}; together {together[method]:.0f}. "
        ax.plot([], [], color="0.4", ls="--", lw=1.2, label="all parts together")
        ax.set(xlabel="Rank-1 (%)", ylabel="part (1 is the top)", title=title)
        ax.set(ylim=(len(values) + 0.5, 0.5), yticks=range(1, len(values) + 1), xlim=(0, 100))
        legend_below(fig, handles=ax.get_legend_handles_labels()[0])
    return fig
