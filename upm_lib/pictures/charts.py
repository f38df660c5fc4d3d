"""Charts of data and results: arrays and tables in, a picture out; rates appear in percent."""

import textwrap
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from upm_lib.pictures import canvas
from upm_lib.pictures.canvas import Picture, Style, panels

_CURVES = {
    "loss": "loss",
    "top_share": "own anchor nearest",
    "cyclic_share": "cyclically consistent",
}
_CURVES["rank1"] = "held-out Rank-1"


def histories(history: pd.DataFrame) -> Picture:
    """Draw loss, shares and Rank-1 by step or epoch, a panel each.

    Columns step or epoch, network, loss, top_share, cyclic_share (0..1), and rank1 (in percent) if
    it was measured.
    """
    x = "step" if "step" in history else "epoch"
    names = {name: title for name, title in _CURVES.items() if name in history}
    percent = {"top_share": 100, "cyclic_share": 100}
    with panels(canvas.WIDTH, 2.7, len(names)) as (fig, axes):
        for network, look in canvas.methods_in(history["network"]).items():
            rows, told = history[history["network"] == network], []
            for ax, (name, title) in zip(axes, names.items(), strict=True):
                values = percent.get(name, 1) * rows[name]
                ax.plot(rows[x], values, marker="." if len(rows) < 40 else "", **look)
                end = np.nan_to_num(values.tail(25 if x == "step" else 1).mean())
                told.append(f"{title} {end:.2f}" if name == "loss" else f"{title} {end:.0f} %")
            fig.alt += f"{look['label']}: in the end {', '.join(told)}. "
        for ax, title in zip(axes, names.values(), strict=True):
            ax.set(xlabel=x, ylabel="%", title=title, ylim=(-2, 102))
        axes[0].set(ylabel="loss", ylim=(0, 1.05 * max(history["loss"].max(), 1e-9)))
        fig.suptitle("")  # keeps room above the panels
        canvas.legend_below(fig)
    return fig


def long_training(curves: pd.DataFrame) -> Picture:
    """Draw mAP by epoch, a panel for each data set; columns dataset, method, epoch, mAP (%)."""
    looks = canvas.methods_in(curves["method"])
    sets = curves.groupby("dataset", sort=False)
    with panels(canvas.WIDTH, 2.7, len(sets)) as (fig, axes):
        for ax, (name, found) in zip(axes, sets, strict=True):
            told = []
            for method, look in looks.items():
                rows = found[found["method"] == method].set_index("epoch")["mAP"]
                marker: Style = {"marker": canvas.METHOD_MARKERS.get(method, "."), "ms": 3.5}
                ax.plot(rows, lw=1.2, **marker, **look)
                best, end = rows.idxmax(), rows.index[-1]
                told.append(
                    f"{look['label']} {rows[best]:.0f} at epoch {best:.0f}, "
                    f"{rows[end]:.0f} at {end:.0f}"
                )
            fig.alt += f"{name}, mAP in %: {'; '.join(told)}. "
            ax.set_xscale("log", base=2)
            ax.minorticks_off()
            ax.set_xticks([1, 4, 16, 60], ["1", "4", "16", "60"])
            world = str(name).removeprefix("synthetic_")
            title = f"{world}, synthetic" if world != name else world.upper()
            ax.set(xlabel="epoch (log scale)", title=title)
        axes[0].set_ylabel("mAP (%) of people held out")
        fig.suptitle("")  # keeps room above the panels
        canvas.legend_below(fig)
    return fig


def _gains(ax: Axes, gains: pd.DataFrame) -> str:
    """Draw means and intervals side by side at each value, in order; return them in words."""
    told, looks = "", canvas.methods_in(gains["method"])
    for n, (method, look) in enumerate(looks.items()):
        rows = gains[gains["method"] == method]
        places = np.arange(len(rows)) + 0.16 * (n - (len(looks) - 1) / 2)
        marker: Style = {"marker": canvas.METHOD_MARKERS.get(method, "o"), "ms": 5}
        half = rows["high"] - rows["mean"]
        ax.errorbar(places, rows["mean"], half, lw=1, capsize=2.5, **marker, **look)
        texts = [f"{v} {_said(m, '{:+.1f}')}" for v, m in rows[["value", "mean"]].to_numpy()]
        told += f"{look['label']}: {', '.join(texts)}. "
    ax.axhline(0, color="black", lw=0.8)
    return told


def misalignment(gains: pd.DataFrame, moved: pd.DataFrame) -> Picture:
    """Draw gains over the baseline by misalignment, and Rank-1 by how far query boxes are moved.

    Gains: columns value (text), method, mean, low, high (points of average precision). Moved:
    columns share (of the height), method, rank1 (%); several trials are averaged; no lines, no
    panel.
    """
    wide = not moved.empty
    with panels(canvas.WIDTH if wide else 4.5, 3.2, 1 + wide, sharex=False) as (fig, axes):
        fig.alt = f"Gain in average precision by misalignment. {_gains(axes[0], gains)}"
        texts = [value.replace(" to ", " to\n") for value in dict.fromkeys(gains["value"])]
        axes[0].set_xticks(range(len(texts)), texts)
        axes[0].set(xlabel="misalignment (% of the height)", ylabel="gain in AP (points)")
        for method, look in canvas.methods_in(moved["method"]).items():
            means = moved[moved["method"] == method].groupby("share")["rank1"].mean()
            marker: Style = {"marker": canvas.METHOD_MARKERS[method], "ms": 5}
            axes[1].plot(100 * means.index, means, **marker, **look)
            axes[1].set(xlabel="queries moved (% of the height; + is down)", ylabel="Rank-1 (%)")
            told = [f"{100 * share:+.0f} % {rank1:.0f}" for share, rank1 in means.items()]
            fig.alt += f"{look['label']}: Rank-1 by shift {', '.join(told)}. "
        canvas.legend_below(fig, axes[-1].get_legend_handles_labels()[0])
    return fig


def cmc_curves(curves: Mapping[str, ArrayLike]) -> Picture:
    """Draw method -> [trials, R] CMC, 0..1, as mean lines with one standard deviation."""
    with panels(5, 3.4) as (fig, (ax,)):
        for method, look in canvas.methods_in(curves).items():
            rates = 100 * np.atleast_2d(curves[method])[:, :20]
            mean, x = rates.mean(0), np.arange(1, rates.shape[1] + 1)
            spread = rates.std(0, ddof=1) if len(rates) > 1 else np.zeros_like(mean)
            fig.alt += f"{look['label']}: {mean[0]:.0f} % at rank 1, {mean[-1]:.0f} % at {x[-1]}. "
            ax.plot(x, mean, marker=canvas.METHOD_MARKERS.get(method, "o"), markersize=4, **look)
            ax.fill_between(x, mean - spread, mean + spread, fc=look["color"], alpha=0.15)
        ax.set(xlabel="rank", ylabel="CMC (%)", xlim=(0.5, 20.5))
        ax.set_xticks([1, 5, 10, 15, 20])
        ax.legend(loc="lower right")
    return fig


def gain(values: pd.DataFrame) -> Picture:
    """Draw Rank-1 gains in points; columns method, dataset, gain, kind (counterpart of Fig. 1).

    With columns low and high the 95 % interval is drawn where they have numbers. A gain that is NaN
    or absent is written "not run"; what was not published is hatched.
    """
    values = values.reindex(columns=["method", "dataset", "gain", "kind", "low", "high"])
    cells = values.pivot(index=["kind", "dataset"], columns="method")
    groups = dict.fromkeys(values[["kind", "dataset"]].itertuples(index=False, name=None))
    cells = cells.loc[sorted(groups, key=lambda group: group[0] != "published")]
    looks = canvas.methods_in(values["method"])
    width, upright = 0.86 / len(looks), 90 * (len(looks) * len(groups) > 16)
    with panels(min(canvas.WIDTH, 3 + 1.5 * len(groups)), 3) as (fig, (ax,)):
        for j, (method, look) in enumerate(looks.items()):
            x = np.arange(len(groups)) + (j - (len(looks) - 1) / 2) * width
            mean = cells["gain"][method]
            half = (cells["high"][method] - mean).fillna(0)
            whisker = {"yerr": half, "error_kw": {"lw": 1.3, "ecolor": "black"}}
            bars = ax.bar(x, mean.fillna(0), 0.92 * width, **whisker, **look)
            for bar, (kind, _) in zip(bars, cells.index, strict=True):
                if kind != "published":
                    bar.set(ec="white", hatch="////")
            texts = [_said(number, "{:+.1f}").replace("-", "\u2212") for number in mean]
            for label in ax.bar_label(bars, texts, padding=2, fontsize=8, rotation=upright):
                label.set_rotation(90 if label.get_text() == "not run" else upright)
            told = [
                " ".join([*group, text]) for group, text in zip(cells.index, texts, strict=True)
            ]
            fig.alt += f"{look['label']}: {', '.join(told)}. "
        ax.axhline(0, color="black", lw=0.8)
        names = [f"{textwrap.fill(dataset, 13)}\n{kind}" for kind, dataset in cells.index]
        ax.set_xticks(range(len(groups)), names)
        margin = 0.3 if upright else 0.15
        ax.set(ylabel="Rank-1 gain (points)", title="Gain over the baseline", ymargin=margin)
        canvas.legend_below(fig, [Patch(**look) for look in looks.values()])
    return fig


def _said(number: float, form: str) -> str:
    return "not run" if np.isnan(number) else form.format(number)


def part_models(changes: pd.DataFrame) -> Picture:
    """Draw Rank-1 of part models alone by k, in percent over the baseline's, as Fig. 1 does.

    Columns dataset, k, change (percent; NaN: not run), kind ("published" or measured).
    """
    with panels(canvas.WIDTH, 3) as (fig, (ax,)):
        for n, ((kind, name), rows) in enumerate(changes.groupby(["kind", "dataset"], sort=False)):
            label = f"{name}, {kind}"
            look = {"color": canvas.CYCLE[n % 8], "marker": "osD^v"[n % 5], "label": label}
            edge: Style = {"mec": "0.2", "mew": 0.6}
            if kind == "published":
                edge = {"ls": "", "mfc": "white", "mew": 1.6}
            ax.plot(rows["k"], rows["change"], **look, **edge)
            texts = rows["change"].map(lambda change: _said(change, "{:+.1f} %"))
            told = [f"k = {k}: {text}" for k, text in zip(rows["k"], texts, strict=True)]
            fig.alt += f"{label}: {', '.join(told)}. "
        ax.axhline(0, color="black", lw=0.8)
        _by_k(ax, changes["k"], "Rank-1 over the baseline (%)")
        ax.set_title("Part models alone, as in Fig. 1")
        if changes["change"].isna().any():
            ax.plot([], [], " ", label="no point: not run")
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def _by_k(ax: Axes, ks: Iterable[int], ylabel: str) -> None:
    """Label axes whose x is the number of parts."""
    ks = sorted(set(ks))
    ax.set_xscale("log", base=2)
    ax.minorticks_off()
    ax.set_xticks(ks, map(str, ks))
    ax.set(xlabel="number of parts k", ylabel=ylabel)


def pair_shares(table: pd.DataFrame) -> Picture:
    """Draw partners found and correct (both %) by k; columns method, k, consistent, correct."""
    names = {"consistent": "tracklets with a partner (%)", "correct": "correct partners (%)"}
    with panels(canvas.WIDTH, 2.7, 2) as (fig, axes):
        for method, look in canvas.methods_in(table["method"]).items():
            rows = table[table["method"] == method]
            for ax, column in zip(axes, names, strict=True):
                ax.plot(
                    rows["k"], rows[column], marker=canvas.METHOD_MARKERS.get(method, "o"), **look
                )
            shares = dict(zip(rows["k"], rows["correct"].round().astype(int), strict=True))
            fig.alt += f"{look['label']}: correct partners in % by k {shares}. "
        for ax, name in zip(axes, names.values(), strict=True):
            _by_k(ax, table["k"], name)
            ax.set_ylim(0, 100)
        fig.suptitle("")  # keeps room above the panels
        canvas.legend_below(fig)
    return fig


def part_ranks(alone: Mapping[str, ArrayLike], together: Mapping[str, float]) -> Picture:
    """Draw Rank-1 (%) of each part alone, from head to foot, by method [k], and of all together."""
    with panels(5, 3.2) as (fig, (ax,)):
        for method, look in canvas.methods_in(alone).items():
            values, marker = np.asarray(alone[method]), canvas.METHOD_MARKERS[method]
            ax.plot(values, range(1, len(values) + 1), marker=marker, **look)
            ax.axvline(together[method], color=look["color"], ls="--", lw=1.2)
            fig.alt += f"{look['label']}: Rank-1 in % of parts 1 to {len(values)} alone "
            fig.alt += f"{', '.join(f'{v:.0f}' for v in values)}; together {together[method]:.0f}. "
        ax.plot([], [], color="0.4", ls="--", lw=1.2, label="all parts together")
        ax.set(xlabel="Rank-1 (%)", ylabel="part (1 is the top)")
        ax.set(ylim=(len(values) + 0.5, 0.5), yticks=range(1, len(values) + 1), xlim=(0, 100))
        canvas.legend_below(fig)
    return fig
