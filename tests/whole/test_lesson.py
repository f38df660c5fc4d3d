"""What a reader can count on: every equation with a call, pictures in words, questions answered."""

import ast
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from upm_lib.__main__ import main
from upm_lib.experiments.measuring import mean_interval
from upm_lib.paper import committed, demo, misalignment, published, study, verdict

ROOT = Path(__file__).resolve().parents[2]
EQUATIONS = {1: "02_local", 2: "03_global", **dict.fromkeys(range(3, 10), "02_local")}
# What a reader should be able to answer, and the bold words or heading that lead to the answer.
QUESTIONS = {
    "01_data": ["Why is there no person id in a batch?"],
    "02_local": [
        r"What does $\eta$ do?",
        "When is a pair cyclically consistent?",
        "what happens when every tracklet ranks itself first?",
        "Why squared distances",
        "Why is the loss flat while Rank-1 rises?",
        "What would change with 8 cameras?",
    ],
    "03_global": ["Why do parts find wrong partners?", "What does $x_0$ add?"],
    "04_fusion": ["why the maximum over frames?", "What is junk in a CMC?"],
    "06_tables": [
        "How long does it take?",
        "What would I change first for my own cameras?",
        "What is the one thing to conclude?",
        "When should I not use parts?",
        "Which claims did not hold?",
        "What differs between the paper and its code, and does it matter?",
        "Which claims held?",
    ],
}
PICTURES = ("image/png", "image/jpeg")
CLEAN_AND_CLUTTERED = ("synthetic_clean", "synthetic_cluttered")


@cache
def cells(name: str) -> list[nbformat.NotebookNode]:
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells


@pytest.mark.parametrize("number", EQUATIONS)
def test_every_equation_is_followed_by_a_call_of_the_library(number: int) -> None:
    found = cells(EQUATIONS[number])
    (at,) = (i for i, cell in enumerate(found) if rf"\tag{{{number}}}" in cell.source)
    assert found[at].cell_type == "markdown"
    after = next(cell for cell in found[at + 1 :] if cell.cell_type == "code")
    names = {n.value.id for n in ast.walk(ast.parse(after.source)) if is_attribute_of_name(n)}
    assert names & {"association", "model", "drawings", "toyworld", "toy"}


def texts(name: str) -> list[str]:
    """What a page of the project says, or the cells of a notebook."""
    page = ROOT / f"{name}.md"
    return [page.read_text("utf-8")] if page.exists() else [cell.source for cell in cells(name)]


def is_attribute_of_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)


@pytest.mark.parametrize("name", demo.NOTEBOOKS)
def test_every_picture_is_told_in_words(name: str) -> None:
    for cell in cells(name):
        for output in cell.get("outputs", []):
            for mime in PICTURES:
                if mime in output.get("data", {}):
                    alt = output.metadata[mime]["alt"]
                    assert alt.endswith(".") and len(alt) > 20
                    assert output.data["text/plain"] == f"<Picture: {alt}>"


@pytest.mark.parametrize("name", demo.NOTEBOOKS)
def test_every_picture_is_kept_at_print_size_under_the_number_of_its_notebook(name: str) -> None:
    for cell in cells(name):
        pictures = [o for o in cell.get("outputs", []) if set(PICTURES) & set(o.get("data", {}))]
        if pictures and not cell.source.startswith("sliders."):
            assert re.search(rf'bench\.keep\(.*"{name[:2]}_\w+"\s*\)', cell.source, re.DOTALL)


@pytest.mark.parametrize(("name", "question"), [(n, q) for n, qs in QUESTIONS.items() for q in qs])
def test_the_questions_of_a_newcomer_are_answered_where_they_arise(
    name: str, question: str
) -> None:
    (cell,) = (c for c in cells(name) if c.cell_type == "markdown" and question in c.source)
    answer = cell.source.partition(question)[2]
    assert len(answer.split()) >= 40


def test_the_interactive_cell_has_a_still_picture_and_is_not_compared() -> None:
    (alive,) = (cell for cell in cells("04_fusion") if cell.source.startswith("sliders."))
    assert "nbval-ignore-output" in alive.metadata.tags
    (output,) = alive.outputs
    assert set(output.data) & set(PICTURES)


def of_longer() -> Iterator[tuple[str, str]]:
    """What is said of 16 epochs in the clean world, from the study."""
    where = {"dataset": "synthetic_clean", "variant": study.LONGER}
    local, whole, fused = (study.gain(m, **where) for m in ("local", "global", "fusion"))
    less, out = "{:.1f} points ({:.1f} to {:.1f}) below", "{:.1f} ({:.1f} to {:.1f})"
    numbers = [(-gap["mean"], -gap["high"], -gap["low"]) for gap in (local, whole, fused)]
    yield "06_tables", f"parts are {less.format(*numbers[0])} the baseline, global-aware ones"
    yield "06_tables", f"global-aware ones {out.format(*numbers[1])}, and the fusion"
    lost = "the fusion {:.1f}, which is no longer clear of zero ({:.1f} to {:.1f})"
    yield "06_tables", lost.format(*numbers[2])
    assert fused["low"] < 0 < fused["high"] and max(local["high"], whole["high"]) < 0
    said = "{mean:.1f} points, {low:.1f} to {high:.1f}".format(**fused)
    yield "06_tables", f"the fusion's no longer is: {said})"
    rises = [float(text.split()[0]) for text in study.longer()["difference"]]
    assert min(rises) > 3.5 and max(rises) < 4.5, "about four points"
    cells_of = study.longer()["16 epochs"].loc["synthetic_clean"]
    means = cells_of.str.split().str[0].astype(float)
    behind = (means["baseline"] - means).drop("baseline")
    yield "README", f"as well, by {behind.min():.1f} to {behind.max():.1f} points, though"
    line = "baseline {baseline}, local-aware {local}, global-aware {global}, fusion {fusion} %"
    yield "EXPERIMENTS", line.format(**cells_of)


def test_what_is_said_of_sixteen_epochs_is_what_was_measured() -> None:
    for name, words in of_longer():
        assert any(words in text for text in texts(name)), words


def of_worlds() -> Iterator[tuple[str, str]]:
    """What notebooks 2, 3 and 6 say of the synthetic worlds, with the numbers of the study."""
    clean, cluttered = (
        {m: study.gain(m, dataset=f"synthetic_{world}") for m in ("local", "global", "fusion")}
        for world in ("clean", "cluttered")
    )
    below = {m: "{:.1f}".format(-gap["mean"]) for m, gap in clean.items()}
    within = {m: "{:.1f} to {:.1f}".format(-gap["high"], -gap["low"]) for m, gap in clean.items()}
    yield "06_tables", f"local-aware by {below['local']} points (95 % interval {within['local']})"
    yield "06_tables", f"global-aware by {below['global']} ({within['global']})"
    yield "06_tables", f"the fusion by {below['fusion']} ({within['fusion']})"
    yield "03_global", f"{below['global']} points below the baseline in the clean world"
    yield "03_global", f"(95 % interval {within['global']})"
    mean = {
        m: study.trials(dataset="synthetic_clean", method=m).mean() for m in ("baseline", "local")
    }
    yield "02_local", "ahead: {baseline:.1f} against {local:.1f}".format(**mean)
    whole = cluttered["global"]
    yield "03_global", "and {:.1f} below it".format(-whole["mean"])
    yield "03_global", "({:.1f} to {:.1f})".format(-whole["high"], -whole["low"])
    for world in ("clean", "cluttered"):
        setting = {"dataset": f"synthetic_{world}"}
        both, local = ({"method": m, **setting} for m in ("fusion", "local"))
        text = "{mean:.1f}{} ({low:.1f} to {high:.1f})"
        gap = study.paired(both, local)
        yield "06_tables", text.format(" points" if world == "cluttered" else "", **gap)
    yield "03_global", "{mean:.1f} points above local-aware parts alone".format(**gap)
    most = {"dataset": "synthetic_eight", "variant": "tracklet_pool=max"}
    gap = study.paired({"method": "fusion", **most}, {"method": "baseline", **most})
    gone = "cameras that of the fusion ({mean:+.1f} points, {low:.1f} to {high:.1f})"
    yield "06_tables", gone.format(**gap)
    eight = {"dataset": "synthetic_eight"}
    gap = study.paired({"method": "fusion", **eight}, {"method": "local", **eight})
    yield "06_tables", "and by {mean:.1f} ({low:.1f} to {high:.1f}) with eight".format(**gap)
    yield "03_global", "and with eight cameras {mean:.1f} ({low:.1f} to {high:.1f})".format(**gap)
    text = "{mean:.1f} points ({low:.1f} to {high:.1f}) above the baseline, and local"
    yield "06_tables", text.format(**study.gain("fusion", **eight))
    text = "gain nothing ({mean:.1f} points, {low:.1f} to {high:.1f})"
    yield "06_tables", text.format(**study.gain("local", **eight))
    share = study.pairs()[8].str.split().str[0].unstack(0)
    of_local, of_whole = (
        (share.loc[m, "synthetic_clean"], share.loc[m, "synthetic_cluttered"])
        for m in ("local", "global")
    )
    yield "06_tables", "{} % (clean) and {} % (cluttered)".format(*of_local)
    yield "06_tables", "with global-aware parts {} and {} %".format(*of_whole)


def of_parts() -> Iterator[str]:
    """What notebook 6 says of the number of parts on WARD, with the numbers of the study."""
    base = {"dataset": "ward", "method": "baseline"}
    local, both = ({"dataset": "ward", "method": m} for m in ("local", "fusion"))
    two, four = (study.paired({**local, "k": k}, base) for k in (2, 4))
    yield "{mean:.1f} points over the baseline ({low:.1f} to {high:.1f}) with k = 2".format(**two)
    yield "{mean:.1f} ({low:.1f} to {high:.1f}) with k = 4".format(**four)
    one, other = (study.paired(method, {**method, "k": 2}) for method in (local, both))
    yield "8 minus 2 parts is {mean:+.1f} points ({low:.1f} to {high:.1f})".format(**one)
    yield "as the paper says, by {mean:.1f} points ({low:.1f} to {high:.1f})".format(**other)
    two, four = (study.paired({**both, "k": k}, base) for k in (2, 4))
    text = "k = 2 it gains {mean:.1f} points ({low:.1f} to {high:.1f})".format(**two)
    yield text + ", with k = 4 {mean:.1f} ({low:.1f} to {high:.1f})".format(**four)
    gap = study.paired(both, {**both, "k": 4})
    yield "no better than 4 ({mean:.1f} points, {low:.1f} to {high:.1f})".format(**gap)
    pooled = study.pooling()["difference"].loc["ward"].str.split().str[0].str.lstrip("-")
    text = (
        "the baseline loses {} points, local-aware parts {}, global-aware parts {}, the fusion {}."
    )
    yield text.format(*pooled)


def test_what_is_said_of_the_number_of_parts_and_their_pooling_is_what_was_measured() -> None:
    for words in of_parts():
        assert any(words in cell.source for cell in cells("06_tables")), words
    assert set(study.by_parts().loc["ward", "trials"]) == {10}
    means = study.by_parts().loc["ward"].map(lambda cell: float(str(cell).split()[0]))
    assert means["global"].max() < means.loc[1, "local"], "below the baseline whatever k is"
    assert all(", -" in text for text in study.pooling()["difference"].loc["ward"])


def test_what_is_said_of_the_width_of_the_intervals_is_what_the_study_has() -> None:
    (said,) = (cell.source for cell in cells("06_tables") if "Bengio (2003)" in cell.source)
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    clear = []
    for claim, (name, where) in product(verdict.CLAIMS, verdict.COLUMNS.items()):
        sides = (study.varied({"dataset": where[0], **s}, where[1]) for s in claim.settings)
        gap = study.paired(*sides)
        if gap and name.startswith("ward"):
            wider = (gap["high"] - gap["mean"]) * math.sqrt(1 + 10)
            clear += [(claim.text, name)] * (wider < abs(gap["mean"]))
    lead = "fusion beats global-aware parts alone"
    assert clear == [(lead, f"ward, four blocks{more}") for more in ("", ", maximum")]
    assert f"{math.sqrt(1 + 10):.1f} times" in said and f"({math.sqrt(1 + 5):.1f} times" in said
    people = misalignment.by_person()["local"]
    trials = misalignment.by_query().groupby("trial")["local"].mean()
    for text in (said, page):
        assert f"{len(people)} people" in text
        for gains in (people, trials):
            assert "{:.1f} ({:.1f} to {:.1f})".format(*mean_interval(gains)) in text.replace(
                " points of average precision over the baseline", ""
            )


def of_lengths() -> Iterator[tuple[str, str]]:
    """What is said of averages of length 1 (section 3.1), with the numbers of the study."""
    short, signed = "{mean:.1f} ({low:.1f} to {high:.1f})", "{mean:+.1f} [{low:+.1f}, {high:+.1f}]"
    most, scaled = {"variant": study.MAXIMUM}, {"variant": "normalise_branches=True"}
    fusion, whole = {"method": "fusion"}, {"method": "global"}
    base, local = {"method": "baseline"}, {"method": "local"}

    def unit(where: Mapping[str, str], *more: str) -> dict[str, str]:
        for variant in (*more, study.UNIT):
            where = study.varied(where, variant)
        return dict(where)

    mean, largest = over(unit(whole), whole), over(unit(whole, study.MAXIMUM), whole | most)
    fused = over(unit(fusion), fusion)
    lost = "{:.1f} points ({:.1f} to {:.1f})".format(*(-fused[n] for n in ("mean", "high", "low")))
    first = over(unit(fusion | scaled, study.MAXIMUM), base | most)
    level = over(unit(whole), base), over(unit(whole, study.MAXIMUM), base | most)
    again = over(unit(local), base)
    yield "03_global", f"gains {short.format(**largest)} points with the maximum"
    yield "03_global", f"contains zero ({short.format(**mean)}; in mAP"
    ends = "({} with the mean, {} with the maximum), not".format(
        *(short.format(**g) for g in level)
    )
    yield "03_global", f"level with the baseline {ends} better"
    yield "03_global", f"The fusion loses {lost} with the mean"
    yield "03_global", f"with the maximum as well ({short.format(**first)})"
    yield "06_tables", f"it loses {lost} with the mean"
    yield (
        "06_tables",
        f"{short.format(**over(unit(fusion | scaled), base))} points above the baseline",
    )
    yield "06_tables", f"fusion's gain is, {short.format(**first)} points, table 6"
    worst = over(unit(fusion, study.MAXIMUM), fusion | most)
    told = [signed.format(**gap) for gap in (mean, fused, largest, worst)]
    line = "global {}, fusion {}; with the maximum {}, {} |".format(*told)
    yield "06_tables", f"the paper's way, WARD: {line}"
    yield "FIDELITY", f"by {told[0]} points with the mean over the frames and {told[2]} with"
    yield "FIDELITY", f"they differ by {signed.format(**over(unit(local), local))}"
    yield "EXPERIMENTS", f"alone gains {short.format(**mean)} points of Rank-1"
    yield "README", f"better, by {short.format(**largest)} points with the maximum"
    yield "README", f"with the maximum, by {short.format(**first)}."
    lead = "{mean:.1f} points ({low:.1f} to {high:.1f})".format(**again)
    yield "README", f"{lead}, in mAP"
    yield "06_tables", f"their lead is then {lead}, and in mAP"
    yield "01_data", "trained once more, {mean:.1f}, {low:.1f} to {high:.1f})".format(**again)


def test_what_is_said_of_averages_of_length_1_is_what_was_measured() -> None:
    for name, words in of_lengths():
        assert any(words in text for text in texts(name)), words
    where = {"dataset": "ward", "metric": "mAP"}
    base, local = (study.found(**where, method=m) for m in ("baseline", "local"))
    again = study.found(**where, method="local", variant=study.UNIT)
    short = "{mean:.1f} ({low:.1f} to {high:.1f})"
    gaps = [short.format(**study.difference(side, base)) for side in (again, local)]
    for source in (
        *texts("README"),
        *(c.source for c in cells("06_tables") if "once more" in c.source),
    ):
        assert "{} where it was {}".format(*gaps) in source
    whole = [study.found(**where, method="global", variant=v) for v in (study.UNIT, "")]
    said = "in mAP it does not: {mean:.1f}, {low:.1f} to {high:.1f})"
    (found,) = (c.source for c in cells("03_global") if "in mAP it does not" in c.source)
    assert said.format(**study.difference(*whole)) in found


def test_what_is_said_of_the_queries_that_parts_lose_is_what_was_measured() -> None:
    found = misalignment.by_query()
    won, lost = found[found["local"] > 0], found[found["local"] < 0]
    apart = lost.groupby("trial")["misaligned"].mean() - won.groupby("trial")["misaligned"].mean()
    said = f"of the {len(found):,} queries local-aware parts find {len(won)} better"
    further = (
        f"({lost['misaligned'].mean():.2f} % of the height, and {won['misaligned'].mean():.2f}"
    )
    by_trial = "{:.2f} more, {:.2f} to {:.2f})".format(*mean_interval(apart))
    for words in (said, f"and {len(lost)} worse", further, by_trial):
        assert any(words in cell.source for cell in cells("04_fusion")), words


def curves(dataset: str, metric: str = "mAP") -> pd.DataFrame:
    """A metric of held-out people: a line an epoch, a column a method."""
    found = study.curves()
    return found[found["dataset"] == dataset].pivot_table(metric, "epoch", "method").round(1)


def test_what_is_said_of_long_training_is_what_the_curves_show() -> None:
    mean, rows = curves("ward"), curves("ward", "rank1")
    local, base = (mean.loc[[12, 60], m].tolist() for m in ("local", "baseline"))
    said = f"from {base[0]} % mAP (epoch 12) to {base[1]}, and the local-aware network keeps its"
    drawn = {name: curves(f"synthetic_{name}")["baseline"] for name in ("clean", "cluttered")}
    words = [f"{said} level ({local[0]} and {local[1]})"]
    words += ["({}, and {} at epoch 10)".format(*mean["global"].loc[[8, 10]])]
    behind = mean.max() - mean.loc[8]
    assert behind.pop("global") > 2 >= behind.max(), "within two points, but for one network"
    early, late = (curves("synthetic_clean").loc[epoch] for epoch in (8, 16))
    assert (late > early).all(), "every network of the clean world is better at epoch 16 than at 8"
    for sentence in words:
        assert any(sentence in cell.source for cell in cells("06_tables")), sentence
    text = (ROOT / "EXPERIMENTS.md").read_text(encoding="utf-8")
    for epoch, line in mean.iterrows():
        assert f"| {epoch:g} | {rows.loc[epoch, 'baseline']:.1f} / {line['baseline']:.1f} |" in text
    worlds = [curves(f"synthetic_{name}") for name in (*drawn, "eight")]
    for epoch in (2, 4, 6, 8, 10, 12, 16, 20, 30, 60):
        names = ("baseline", "local", "global", "fusion", "fusion, scaled first")
        line = [" / ".join(f"{world.loc[epoch, m]:.1f}" for world in worlds) for m in names]
        assert f"| {epoch} | {' | '.join(line)} |" in text


def test_the_curve_of_four_trained_blocks_is_the_one_that_was_measured() -> None:
    text = (ROOT / "EXPERIMENTS.md").read_text(encoding="utf-8")
    two, found = curves("ward"), study._curves(study.DEEPER)
    four = found.pivot_table("mAP", "epoch", "method").round(1)
    for epoch in (3, 4, 5, 6, 8, 10, 12, 16, 20, 30, 40, 60):
        line = [table.loc[epoch, m] for m in ("baseline", "local") for table in (two, four)]
        assert f"| {epoch} | {' | '.join(map(str, line))} |" in text
    assert four["baseline"].idxmax() == 4 and four["local"].max() == four.loc[8, "local"]


def of_stopping() -> Iterator[tuple[str, str]]:
    """What notebook 2 and EXPERIMENTS.md say of signals without labels, from the curves."""
    cost = study.stopping()
    loss, share = (cost.loc[name] for name in ("smallest loss", list(study.SIGNALS)[-1]))
    least, fixed = share[["mean", "largest"]], cost.loc["epoch 10", ["mean", "largest"]]
    yield "02_local", "costs least: {:.1f} points on average and {:.1f} at most".format(*least)
    yield "02_local", "after 10 epochs costs {:.1f} and {:.1f}.".format(*fixed)
    yield "02_local", f"it costs up to {loss['largest']:.1f} points"
    yield "EXPERIMENTS", f"To stop there would cost {loss['ward']:.1f} points of the best mAP"
    yield "EXPERIMENTS", "({:.1f} points, at most {:.1f}; ".format(*least)
    yield "EXPERIMENTS", "after 10 epochs {:.1f} and {:.1f})".format(*fixed)
    yield "EXPERIMENTS", f"where it is largest would cost {share['ward']:.1f} points"
    worlds = [name for name in study.SETS if name != "ward"]
    three = "{:.1f}, {:.1f} and {:.1f} points (mean".format(*share[worlds])
    yield "EXPERIMENTS", f"choose each other would cost {three}"
    names = [(world, m) for world in worlds for m in ("baseline", "local", "global")]
    ends = study.stops().xs("default", level="variant").xs(1, level="trial")["smallest loss"]
    each = ["{:.1f}, {:.1f} and {:.1f}".format(*ends[names[i : i + 3]]) for i in (0, 3, 6)]
    yield "EXPERIMENTS", f"would cost {each[0]}, then {each[1]}, then {each[2]} points"


def test_what_is_said_of_stopping_is_what_the_curves_show() -> None:
    text = {"EXPERIMENTS": (ROOT / "EXPERIMENTS.md").read_text(encoding="utf-8")}
    text["02_local"] = "\n".join(cell.source for cell in cells("02_local"))
    for name, words in of_stopping():
        assert words in text[name], words
    base, drawn = curves("ward")["baseline"], curves("synthetic_cluttered")["baseline"]
    assert f"from {base[12]} % (epoch 12) to {base[60]}" in text["02_local"]
    assert f"({drawn[6]} at epoch 6, {drawn[60]} at epoch 60)" in text["02_local"]
    eight = curves("synthetic_eight")
    assert (eight.max() - eight.loc[8]).max() <= 3
    assert (eight.max() - eight.loc[60]).min() >= 2.9 and (eight.max() - eight.loc[60]).max() <= 6
    assert (eight["fusion"] > eight["baseline"]).all()


def test_what_is_said_of_training_without_the_cross_camera_term_is_what_was_measured() -> None:
    found = study._curves().query("dataset == 'ward' and method == 'baseline' and length == 60")
    mean = found.pivot_table("mAP", "trial", ["cross_until", "epoch"]).loc[[2, 3, 4]]
    told = mean[[(12.0, 12.0), (60.0, 60.0), (12.0, 60.0)]].set_axis(range(3), axis=1)
    text = (ROOT / "EXPERIMENTS.md").read_text(encoding="utf-8")
    for trial, line in told.iterrows():
        assert f"| {trial} | {' | '.join(f'{value:.1f}' for value in line)} |" in text
    lost = told[0] - told[1]
    assert lost[lost > 1].index.tolist() == [2, 4] and lost[[2, 4]].between(6, 10).all()
    without = told[0] - told[2]
    assert without[2] < 1 and without[4] > lost[4], "as notebook 2 says: keeps its level, falls"
    pulls = found.dropna(subset="pull_intra").query("cross_until == 60 and epoch >= 8")
    assert (pulls["pull_intra"] <= pulls["pull_cross"] / 10).all()
    assert pulls["pull_intra"].median() == 0 and pulls["pull_cross"].min() > 0.04


def test_what_is_said_of_the_demos_length_is_what_was_measured() -> None:
    rows = study.rows(part="synthetic_clean-demo").set_index(["method", "variant"])["rank1"]
    text = (ROOT / "EXPERIMENTS.md").read_text(encoding="utf-8")
    for name, longer in (("400", ""), ("800", "steps=800"), ("1,600", "steps=1600")):
        scaled = ", ".join(filter(None, ("normalise_branches=True", longer)))
        line = [rows[m, longer] for m in ("baseline", "local", "global", "fusion")]
        assert f"| {name} | {' | '.join(map(str, [*line, rows['fusion', scaled]]))} |" in text
    leads = [rows["local", longer] - rows["baseline", longer] for longer in ("", "steps=1600")]
    assert "grows from {:.0f} points to {:.0f}".format(*leads) in text
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"becomes {leads[1]:.0f} points" in page
    alone = f"loses {rows['baseline', ''] - rows['baseline', 'steps=1600']:.0f} points"
    assert alone in page and any(alone in cell.source for cell in cells("02_local"))


def test_what_is_said_of_a_head_left_random_is_what_was_measured() -> None:
    gaps = study.heads()["difference"]["ward"]
    said = f"WARD: global {gaps['global']}, fusion {gaps['fusion']}"
    assert any(said in cell.source for cell in cells("06_tables"))
    page = (ROOT / "FIDELITY.md").read_text(encoding="utf-8")
    assert f"{gaps['global']} points of Rank-1 for the global-aware network" in page
    assert f"and {gaps['fusion']} for the fusion." in page
    random = {"variant": "train_global_head=False"}
    one, other = (over({"method": m, **random}, {"method": m}) for m in ("global", "fusion"))
    said = "{mean:.1f} points ({low:.1f} to {high:.1f}) for the global-aware network, ".format(
        **one
    )
    said += "{mean:+.1f} ({low:.1f} to {high:.1f}) for the fusion".format(**other)
    assert any(said in cell.source for cell in cells("06_tables"))
    left = {"dataset": "ward", "method": "global", "variant": "train_global_head=False"}
    assert len(study.trials(**left)) == 10


def of_objectives() -> Iterator[str]:
    """What notebook 6 says of cluster contrast, with the numbers of the study."""
    variant, sets = study.OBJECTIVES["cluster contrast"], ("ward", *CLEAN_AND_CLUTTERED)

    def rank1(method: str, dataset: str, how: str = variant) -> pd.Series:
        return study.trials(dataset=dataset, method=method, variant=how)

    def gained(method: str, dataset: str = "ward", of_base: str = "") -> str:
        base = rank1("baseline", dataset, variant + of_base)
        gap = study.difference(rank1(method, dataset), base)
        return "{mean:.1f} points ({low:.1f} to {high:.1f})".format(**gap)

    yield f"local-aware parts gain {gained('local')}, global-aware parts {gained('global')}"
    ward, clean, cluttered = (gained("fusion", name) for name in sets)
    yield f"and the fusion {ward}"
    yield f"the fusion gains {clean} in the clean one and {cluttered} in the cluttered one"
    cooler = ", temperature=0.1"
    levels = [rank1("baseline", name, variant + cooler) for name in sets]
    ward, clean, cluttered = (f"{level.mean():.1f} ± {level.std():.1f}" for level in levels)
    yield f"suits the baseline better: {ward} on WARD, {clean} and {cluttered} in the worlds"
    ward, clean, cluttered = (gained("fusion", name, cooler) for name in sets)
    yield f"still gains {ward} on WARD and {cluttered} in the cluttered world"
    yield f"in the clean one it is {clean} above it, and the interval just contains zero"
    yield f"its gain of {gained('global', of_base=cooler)} is not clear"
    gaps = [
        study.difference(rank1("fusion", name), rank1("fusion", name, "")[: len(levels[0])])
        for name in sets
    ]
    ward, clean, cluttered = (
        "{mean:.1f} points ({low:.1f} to {high:.1f})".format(**g) for g in gaps
    )
    yield f"is {ward} on WARD, {clean} in the clean world and {cluttered} in"
    yield f"than that of association learning ({ward.replace(' (', ', ').rstrip(')')})"
    plain = {
        m: rank1(m, "ward", "objective=cluster") for m in ("baseline", "local", "global", "fusion")
    }
    cells = [f"{values.mean():.1f} ± {values.std():.1f}" for values in plain.values()]
    untrained = rank1("untrained", "ward", "")[plain["baseline"].index]
    yield f"is {cells[0]} for the baseline, {cells[1]} for local-aware parts, {cells[2]} for"
    yield f"ones and {cells[3]} for the fusion (five trials, a processor with AVX-512)"
    yield f"the untrained network has {untrained.mean():.1f} ± {untrained.std():.1f}."
    gap = study.difference(plain.pop("global"), untrained)
    assert gap["low"] < 0 < gap["mean"], "above, and not clearly"
    assert all(values.mean() < untrained.mean() for values in plain.values())
    for name in sets:
        means = {m: rank1(m, name).mean() for m in ("baseline", "local", "global", "fusion")}
        assert min(means, key=means.__getitem__) == "baseline", "every module is above it"
        assert max(means, key=means.__getitem__) == "fusion", "the fusion is best"


def of_pairs() -> Iterator[str]:
    """What notebook 6 says of the pairs of cameras, with the numbers of the study."""
    found = pd.read_csv(ROOT / "upm_lib" / "paper" / "camera_pairs.csv")
    found = found[found["probe"] < found["gallery"]]
    rank1 = found.pivot_table("rank1", ["probe", "gallery", "trial"], "method")
    pairs = [rank1.loc[pair] for pair in (("C1", "C2"), ("C1", "C3"), ("C2", "C3"))]
    level = [pair["untrained"].mean() for pair in pairs]
    yield f"local-aware network already has {min(level):.1f} to {max(level):.1f} %"
    gaps = [study.difference(pair["local"], pair["untrained"]) for pair in pairs]
    text = [
        f"{{mean:.1f}}{word} ({{low:.1f}} to {{high:.1f}})"
        for word in (" points from C1 to C2", " from C1 to C3", " from C2 to C3")
    ]
    first, second, third = (t.format(**gap) for t, gap in zip(text, gaps, strict=True))
    yield f"gain {first}, {second} and {third}."
    gaps = [study.difference(pair["local"], pair["baseline"]) for pair in pairs]
    text = [f"{{mean:.1f}}{word} ({{low:.1f}} to {{high:.1f}})" for word in (" points", "", "")]
    first, second, third = (t.format(**gap) for t, gap in zip(text, gaps, strict=True))
    yield f"the baseline in each pair, by {first}, {second} and {third}."


def test_what_is_said_of_the_pairs_of_cameras_is_what_was_measured() -> None:
    for words in of_pairs():
        assert any(words in cell.source for cell in cells("06_tables")), words


def test_what_is_said_of_the_second_objective_is_what_was_measured() -> None:
    for words in of_objectives():
        assert any(words in cell.source for cell in cells("06_tables")), words


def test_what_is_said_of_the_worlds_is_what_was_measured() -> None:
    for name, words in of_worlds():
        assert any(words in cell.source for cell in cells(name)), words
    gains = study.gains().query("dataset == 'synthetic_cluttered'")
    assert ((gains["low"] < 0) & (gains["high"] > 0)).all(), "no gain is clear of zero"


def test_what_is_said_of_ward_is_what_was_measured() -> None:
    gaps = {
        (method, variant): study.difference(
            study.trials(
                dataset="ward",
                method=method.removesuffix(", scaled first"),
                variant=", ".join(
                    v
                    for v in ("normalise_branches=True" if "scaled" in method else "", variant)
                    if v
                ),
            ),
            study.trials(dataset="ward", method="baseline", variant=variant),
        )
        for method in ("local", "global", "fusion", "fusion, scaled first")
        for variant in ("", "tracklet_pool=max")
    }
    better = {where for where, gap in gaps.items() if gap["low"] > 0}
    assert better == {("local", ""), ("fusion", ""), ("fusion, scaled first", "")}
    assert all(2.5 < gaps[where]["mean"] < 3.5 for where in better), "about three points"
    assert gaps["global", ""]["low"] < 0 < gaps["global", ""]["high"]
    assert gaps["global", "tracklet_pool=max"]["high"] < 0
    pooled = [
        study.trials(dataset="ward", method="local", variant=v) for v in ("", "tracklet_pool=max")
    ]
    assert round((pooled[0] - pooled[1]).mean()) == 5
    for name, words in of_ward(gaps):
        assert any(words in cell.source for cell in cells(name)), words
    (said,) = (
        c.source for c in cells("06_tables") if c.source.startswith("**What this says.** With")
    )
    assert "both fusions are about three points above" in said
    assert "local-aware parts lose five points" in said


def of_ward(gaps: Mapping[tuple[str, str], Mapping[str, float]]) -> Iterator[tuple[str, str]]:
    """What notebooks 1 to 3 say of the gains on WARD, with the numbers of the study."""
    found = {m: study.trials(dataset="ward", method=m) for m in ("baseline", "local", "global")}
    level = {m: f"{rank1.mean():.1f} ± {rank1.std():.1f}" for m, rank1 in found.items()}
    yield "01_data", f"and {found['baseline'].mean():.1f} % for the trained baseline"
    local, both, whole = (gaps[method, ""] for method in ("local", "fusion", "global"))
    yield "01_data", "add {mean:.1f} points ({low:.1f} to {high:.1f}; trained".format(**local)
    yield "01_data", "the fusion {mean:.1f} ({low:.1f} to {high:.1f});".format(**both)
    yield "02_local", "gain {mean:.1f} points".format(**local)
    yield "02_local", f"({level['local']} against {level['baseline']}; 95 % interval"
    yield "02_local", "of the difference {low:.1f} to {high:.1f})".format(**local)
    yield "03_global", f"({level['global']} against {level['baseline']}; difference"
    yield "03_global", "{mean:.1f}, 95 % interval {low:.1f} to {high:.1f})".format(**whole)


def rank1(dataset: str, backbone: str = "mobilenet_v1") -> dict[str, float]:
    """Table 2's Rank-1 of a data set and backbone by method."""
    rows = ("baseline", "local", "global", "both")
    return {row: published.value(2, row, backbone, dataset, "rank1") for row in rows}


def test_published_numbers_in_the_text_are_those_of_table_2() -> None:
    prid, ilids = (rank1(name) for name in ("PRID2011", "iLIDS-VID"))
    deep_prid, deep = (rank1(name, "resnet50") for name in ("PRID2011", "iLIDS-VID"))
    gained = f"{deep['local'] - deep['baseline']:.1f}"
    up, down = (f"{r['baseline']} to {r['local']}" for r in (prid, ilids))
    wider = [f"{r['baseline']} to {r['global']}" for r in (ilids, deep, prid)]
    said = {
        "01_data": [
            f"PRID2011 from {up} and lower it on iLIDS-VID from {down}",
            f"with ResNet50 they gain {gained} points there too (published)",
        ],
        "03_global": [
            f"Rank-1 {wider[0]} with MobileNet, {wider[1]} with ResNet50",
            f"({wider[2]} and {deep_prid['baseline']} to {deep_prid['global']}; all published)",
            f"({up} with MobileNet, published)",
        ],
        "04_fusion": [f"MobileNet ({prid['both']} against {prid['local']}, published)"],
    }
    for name, sentences in said.items():
        for words in sentences:
            assert any(words in cell.source for cell in cells(name)), words


def following(name: str, start: str) -> list[list[list[str]]]:
    """The tables, row by row, that a code cell shows."""
    (cell,) = (c for c in cells(name) if c.cell_type == "code" and c.source.startswith(start))
    shown = [o.data["text/html"] for o in cell.outputs if "data" in o]
    lines = [BeautifulSoup(html, "html.parser").find_all("tr") for html in shown]
    return [[[box.get_text() for box in line.find_all(["th", "td"])] for line in t] for t in lines]


def test_the_order_of_a_line_follows_from_its_numbers() -> None:
    names = [(data, b) for data in published.DATASETS for b in published.BACKBONES]
    best = {name: max(rank1(*name), key=rank1(*name).__getitem__) for name in names}
    assert best.pop(("PRID2011", "mobilenet_v1")) == "local"
    assert set(best.values()) == {"both"}
    (table,) = following("04_fusion", "rows = {")
    methods = table[0][1:-1]
    for _, *numbers, order in table[1:]:
        found = dict(zip(methods, map(float, numbers), strict=True))
        ranked = [[found[method] for method in same.split(" = ")] for same in order.split(" > ")]
        assert all(len(set(same)) == 1 for same in ranked)
        assert ranked == sorted(ranked, reverse=True) and sum(map(len, ranked)) == 4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("02_local", "Rank-1 is {baseline} for the baseline and {local} for local-aware"),
        ("03_global", "Rank-1 is {global}, against {baseline} for the baseline and {local} for"),
    ],
)
def test_what_is_said_of_the_demo_is_what_the_notebook_shows(name: str, words: str) -> None:
    (table,) = following(name, "results = ")
    found = {row[0]: f"{float(row[1]):.0f}" for row in table[2:]}
    assert any(words.format(**found) in cell.source for cell in cells(name)), found


def test_what_is_said_of_scaling_first_is_what_the_notebook_shows() -> None:
    (table,) = following("04_fusion", "ways = ")
    published_way, first = (float(row[1]) for row in table[2:])
    words = f"scaling first gains {first - published_way:.0f} points in the trial above"
    assert any(words in cell.source for cell in cells("04_fusion"))


WARD = {"dataset": "ward"}


def over(first: dict[str, str], second: dict[str, str]) -> dict[str, float]:
    """Paired difference of two settings on WARD."""
    return study.paired({**WARD, **first}, {**WARD, **second})


def of_leads() -> dict[str, list[dict[str, float]]]:
    """Local-aware parts with four blocks over three baselines: four blocks (8, 4 epochs), two."""
    found = {}
    for name, metric, pooled in (
        ("mean", "rank1", ""),
        ("maximum", "rank1", study.MAXIMUM),
        ("mAP", "mAP", ""),
    ):
        local, *bases = (
            study.trials(metric, **study.varied({**WARD, "method": method, "variant": v}, pooled))
            for method, v in (
                ("local", study.DEEPER),
                ("baseline", study.DEEPER),
                ("baseline", study.SHORTER),
                ("baseline", ""),
            )
        )
        found[name] = [study.difference(local, base) for base in bases]
    return found


def of_blocks() -> Iterator[tuple[str, str]]:
    """What notebooks 1 and 6 and the README say of four trained blocks, from the study."""
    four = {"variant": study.DEEPER}
    both = {"variant": f"{study.DEEPER}, {study.MAXIMUM}"}
    local, fused, base, whole = ({"method": m} for m in ("local", "fusion", "baseline", "global"))
    text = "{mean:.1f} points ({low:.1f} to {high:.1f})"
    short, inside = text.replace(" points", ""), "{mean:.1f}, {low:.1f} to {high:.1f}"
    better, also = over(local | four, local), over(fused | four, fused)
    said = f"{text.format(**better).replace('points', 'points better')} and the fusion"
    yield "06_tables", f"{said} {short.format(**also)};"
    changed = (over(method | four, method) for method in (base, whole))
    said = [inside.format(**gap) for gap in changed]
    yield "06_tables", f"becomes no better ({said[0]}), the global-aware network worse ({said[1]})."
    gap, worst = over(local | four, base | four), over(local | both, base | both)
    mean, largest = short.format(**gap), short.format(**worst)
    yield "06_tables", f"{gap['mean']:.1f} points above the baseline {mean[mean.index('(') :]} with"
    yield "06_tables", f"with the mean, and {largest} with the maximum, where two"
    yield "06_tables", f"with four {text.format(**gap)}, or"
    ends = [f"({g['low']:.1f} to {g['high']:.1f})" for g in (gap, worst)]
    first = f"{gap['mean']:.1f} points with the mean {ends[0]} and {worst['mean']:.1f} with the"
    yield "01_data", f"four blocks: local-aware parts add {first} maximum {ends[1]}."
    leads = of_leads()
    most_of = [short.format(**lead) for lead in leads["maximum"]]
    first, early, best = [short.format(**lead) for lead in leads["mean"]]
    said = "{mean:.1f} points above it ({low:.1f} to {high:.1f}), with".format(**leads["mean"][1])
    yield "06_tables", f"are {said} the maximum {most_of[1]}."
    two = text.format(**leads["mean"][2])
    yield "06_tables", f"two blocks they are {two} with the mean and {most_of[2]} with"
    yield "06_tables", f"or {early} above a baseline that learnt for 4 epochs"
    yield "06_tables", f"and {best} above the baseline of two blocks;"
    yield "01_data", f"these are {early} and {most_of[1]}."
    kept = study._cell(study.trials(**WARD, method="baseline", variant=study.SHORTER))
    yield "README", f"{gap['mean']:.1f} points above the baseline. For this baseline 8 epochs"
    gap = over(base | {"variant": study.SHORTER}, base | four)
    yield (
        "06_tables",
        f"({inside.format(**gap).replace(', ', ' points more than after 8, ', 1)}), and",
    )
    rise = "{mean:.1f} points better than after 8 epochs, which ten trials cannot tell from zero"
    yield "EXPERIMENTS", (rise + " ({low:.1f} to {high:.1f})").format(**gap)
    yield "README", f"after 4 it has {kept}. Local-aware parts are {early} points above that one"
    yield "README", f"and {best} above the baseline of two blocks"
    yield "README", f"leads are {most_of[0]}, {most_of[1]} and {most_of[2]}, so"
    yield "06_tables", f"it has {kept} with the mean ("
    yield "EXPERIMENTS", f"that one has {kept}, and local-aware parts are"
    yield "EXPERIMENTS", text.format(**leads["mean"][1]).replace(" (", " above it (")
    means = "{:.1f}, {:.1f} and {:.1f}".format(*(lead["mean"] for lead in leads["mAP"]))
    yield "README", f"In mAP, with the mean, they are {means}, and clear of zero even"
    yield "06_tables", f"In mAP, with the mean, they are {means} points above these three baselines"
    corrected = [
        lead["mean"] - math.sqrt(1 + 10) * (lead["high"] - lead["mean"]) for lead in leads["mAP"]
    ]
    assert min(corrected) > 0
    yield "06_tables", "({:.1f}, {:.1f} and {:.1f} at least)".format(*corrected)
    said = [inside.format(**over(fused | variant, local | variant)) for variant in ({}, four)]
    said = [f"({words.replace(', ', ' points, ', 1)})" for words in said]
    yield "06_tables", f"alone, neither with two blocks {said[0]} nor with four {said[1]}."
    gap = over(whole | four, base | four)
    yield "06_tables", f"with four blocks it is below it ({inside.format(**gap)})"


def test_what_is_said_of_four_trained_blocks_is_what_was_measured() -> None:
    for name, words in of_blocks():
        assert any(words in text for text in texts(name)), words
    (page,) = texts("README")
    deeper = study.measured("ward", study.DEEPER).drop(index=["colour histogram", "untrained"])
    for name, cells_of in (*study.measured("ward").iterrows(), *deeper.iterrows()):
        assert f"| {name} | {' | '.join(cells_of)} |" in page


def test_what_the_fusion_and_the_pooling_are_worth_on_ward() -> None:
    most = {"variant": "tracklet_pool=max"}
    methods = ("baseline", "local", "global", "fusion")
    costs = {m: over({"method": m, **most}, {"method": m}) for m in methods}
    means = [-cost["mean"] for cost in costs.values()]
    scaled = over({"method": "fusion", "variant": "normalise_branches=True"}, {"method": "fusion"})
    alone = over({"method": "fusion"}, {"method": "local"})
    gone = over({"method": "local", **most}, {"method": "baseline", **most})
    whole = over({"method": "global"}, {"method": "baseline"})
    said = {
        "04_fusion": [
            f"for every network, by {min(means):.1f} to {max(means):.1f} points",
            "scaling first is {mean:.1f} points better, with an interval from {low:.1f} to "
            "{high:.1f}".format(**scaled),
        ],
        "06_tables": [
            f"local {study.told(costs['local'])}, fusion {study.told(costs['fusion'])}",
            f"scaling first is {study.told(scaled)}",
            "({mean:.1f} points, {low:.1f} to {high:.1f})".format(**alone),
            "({mean:.1f} points, 95 % interval {low:.1f} to {high:.1f})".format(**gone),
            "({mean:.1f} points, {low:.1f} to {high:.1f})".format(**whole),
        ],
    }
    for name, sentences in said.items():
        for words in sentences:
            assert any(words in cell.source for cell in cells(name)), words


def test_what_else_is_said_of_ward_is_what_was_measured() -> None:
    most, text = {"variant": "tracklet_pool=max"}, "{mean:.1f} points, {low:.1f} to {high:.1f}"
    sides = [study.trials("mAP", **WARD, method=method) for method in ("global", "baseline")]
    both = over({"method": "fusion", **most}, {"method": "local", **most})
    gmp = {"k": 2, "variant": "pool=gmp"}
    gains = [over({"method": m, **gmp}, {"method": "baseline", **gmp}) for m in ("local", "fusion")]
    two = over({"method": "local", "k": 2, **most}, {"method": "baseline", **most})
    said = [
        f"({text.format(**study.difference(*sides))})",
        "by {mean:.1f} points ({low:.1f} to {high:.1f})".format(**both),
        "local-aware parts {mean:.1f} points ({low:.1f} to {high:.1f})".format(**gains[0]),
        "the fusion {mean:.1f} ({low:.1f} to {high:.1f})".format(**gains[1]),
        "**Not clearly**: {mean:.1f} points ({low:.1f} to {high:.1f}) in place of".format(**two),
    ]
    for words in said:
        assert any(words in cell.source for cell in cells("06_tables")), words
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "{mean:.1f} points better than local-aware parts alone ({low:.1f}".format(**both) in page


def test_the_slope_rests_on_the_worst_aligned_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    every = misalignment.by_query()
    fewer = every[every["misaligned"] <= every["misaligned"].quantile(0.95)]
    monkeypatch.setattr(misalignment, "by_query", lambda: fewer)
    mean, low, high = (-misalignment.slopes().loc["local", n] for n in ("mean", "high", "low"))
    words = f"it is {mean:.1f} points for each percent, and its interval contains zero ({low:.1f}"
    assert any(f"{words} to {high:.1f})" in cell.source for cell in cells("04_fusion")), words


def test_what_misaligned_boxes_cost_on_ward() -> None:
    gains, slopes = misalignment.binned(), misalignment.slopes()
    half, worst = misalignment.by_query()["misaligned"].quantile([0.5, 1]).round(2)
    mean, low, high = (-slopes.loc["local", name].round(1) for name in ("mean", "high", "low"))
    said = [
        ("04_fusion", f"half of the queries are less than {half} % of the height apart"),
        ("04_fusion", f"and the worst {worst} %"),
        ("04_fusion", f"by {mean} points of AP for each percent of the height"),
        ("04_fusion", f"(95 % interval {low} to {high})"),
        ("06_tables", f"fell by {mean} points for each percent of the height"),
        ("06_tables", f"({low} to {high}; they were at most {worst:.1f} % apart;"),
    ]
    for name, words in said:
        assert any(words in cell.source for cell in cells(name)), words
    local = gains[gains["method"] == "local"]
    assert local["mean"].idxmin() == local.index[-1] and (local["low"] > 0).all()
    assert local["mean"].iloc[0] < local["mean"].iloc[1:3].min(), "they do not fall in order"
    assert slopes.loc["global", "low"] < 0 < slopes.loc["global", "mean"]


def test_what_moved_boxes_cost_on_ward() -> None:
    costs = misalignment.costs()
    mean = {share: costs.loc[share] for share in ("-10 %", "+0 %", "+10 %")}
    pairs = {share: f"{line['local']} against {line['baseline']}" for share, line in mean.items()}
    lost = [mean[share]["local, beyond the baseline"] for share in ("-10 %", "+10 %")]
    by = misalignment.moved().pivot(index=["share", "trial"], columns="method", values="rank1")
    ahead = by["local"] > by["baseline"]
    assert ahead[0.0].all() and not ahead[-0.1].any() and not ahead[0.1].any()
    points = [float(text.split()[0]) for text in lost]
    most = min(float(t.split()[0]) for t in costs["global, beyond the baseline"] if t)
    (said,) = (c.source for c in cells("04_fusion") if c.source.startswith("**What this shows.**"))
    for words in (
        f"({pairs['+0 %']})",
        f"{pairs['-10 %']} upwards, {pairs['+10 %']} downwards",
        f"lose {-points[0]} and {-points[1]} points more than the baseline",
        f"at most {-most} points more than the baseline",
    ):
        assert words in said, words
    assert sum("-" in text.split(", ")[1] for text in lost) == 1, "one interval is below zero"


def test_what_is_said_of_the_turned_knob_is_what_was_measured() -> None:
    table = study.turned("vertical_sd")
    shown = following("04_fusion", 'for knob in ("vertical_sd", "clutter", "occlusion")')
    for knob, lines in zip(("vertical_sd", "clutter", "occlusion"), shown, strict=True):
        assert [row[1:] for row in lines[2:]] == study.turned(knob).to_numpy().tolist()
    gaps = [re.findall(r"[-+.\d]+", text) for text in table["local over the baseline"]]
    behind = [
        f"{mean[1:]} points behind ({high[1:]} to {low[1:]})" for mean, low, high in gaps[2:3]
    ]
    behind += [f"{mean[1:]} ({high[1:]} to {low[1:]})" for mean, low, high in gaps[3:]]
    exact = "({} points, {} to {})".format(*(text.lstrip("+") for text in gaps[0]))
    base = [text.split()[0] for text in table["baseline"]]
    words = [exact, *behind, f"({base[0]}, {base[2]} and {base[3]} %)"]
    for said in words:
        assert any(said in cell.source for cell in cells("04_fusion")), said
    points = gaps[2][0][1:]
    assert any(f"they are {points} points behind it" in c.source for c in cells("06_tables"))
    assert any(f"parts are {points} points behind the base" in c.source for c in cells("04_fusion"))


def test_what_is_said_of_tighter_boxes_is_what_was_measured() -> None:
    (shown,) = following("04_fusion", 'study.turned("tighter")')
    assert [row[1:] for row in shown[2:]] == study.turned("tighter").to_numpy().tolist()
    rank1 = {
        value: pd.DataFrame(
            {
                method: study.trials(dataset="ward", method=method, knob="tighter", value=value)
                for method in ("baseline", "local", "global", "fusion")
            }
        )
        for value in (0.0, 0.1)
    }
    assert [*rank1[0.1].index] == [5, 6, 8]
    lost = (rank1[0.0] - rank1[0.1]).mean()
    said = "baseline {:.1f} points, local-aware parts {:.1f}, global-aware ones {:.1f}, the fusion"
    moved = rank1[0.1].sub(rank1[0.1]["baseline"], axis=0)["local"]
    gap = study.difference(moved, (rank1[0.0]["local"] - rank1[0.0]["baseline"]))
    words = [said.format(*lost) + f" {lost['fusion']:.1f}."]
    words += ["moves by {mean:+.1f} points ({low:.1f} to {high:.1f})".format(**gap)]
    for sentence in words:
        assert any(sentence in cell.source for cell in cells("04_fusion")), sentence


def of_clutter() -> Iterator[str]:
    """What notebook 4 says of clutter turned up alone, with the numbers of the study."""

    def rank1(method: str, knob: str = "", value: float = 0.0) -> pd.Series:
        where = {"knob": knob, "value": value} if knob else {}
        return study.trials(dataset="synthetic_clean", method=method, **where)

    def lost(method: str, knob: str = "clutter") -> dict[str, float]:
        most = rank1(method, knob, 0.8)
        return study.difference(rank1(method)[most.index], most)

    def rise(method: str, knob: str, value: float) -> dict[str, float]:
        turned = rank1(method, knob, value) - rank1("baseline", knob, value)
        return study.difference(turned, (rank1(method) - rank1("baseline"))[turned.index])

    def ahead(value: float) -> dict[str, float]:
        return study.difference(*(rank1(m, "occlusion", value) for m in ("fusion", "baseline")))

    interval = "{mean:.1f} points ({low:.1f} to {high:.1f})"
    of_both = [lost(method, "occlusion")["mean"] for method in ("baseline", "local")]
    yield "baseline loses {:.1f} points and local-aware parts {:.1f}.".format(*of_both)
    most, half = (rise("local", "occlusion", value) for value in (0.8, 0.4))
    yield f"rises by {interval.format(**most)}, and the fusion"
    assert half["low"] > 0 < most["low"] and abs(half["mean"] - most["mean"]) < 1, "much the same"
    yield f"by {interval.format(**ahead(0.8))}, while"
    assert ahead(0.4)["low"] > 0
    most, half = (rise("local", "clutter", value) for value in (0.8, 0.4))
    yield f"leave it open: {interval.format(**most)} at 80 %."
    assert half["low"] < 0 > most["low"], "open"
    worlds = [(knob, value) for knob in ("clutter", "occlusion") for value in (0.4, 0.8)]
    less = [rise("global", *where) for where in worlds]
    means = [gap["mean"] for gap in less]
    yield f"loses {min(means):.1f} to {max(means):.1f} points less than the baseline in these four"
    assert sum(gap["low"] > 0 for gap in less) == 1, "one is clear of zero"
    for where in worlds:
        assert rank1("global", *where).mean() < rank1("baseline", *where).mean(), "below it in each"
    exact = {m: rank1(m, "vertical_sd", 0.0) for m in ("global", "baseline")}
    more = [
        study.difference(*(exact[m] - rank1(m, "vertical_sd", value) for m in exact))
        for value in (0.06, 0.12)
    ]
    yield "with 0.06 ({mean:.1f} points more, {low:.1f} to {high:.1f})".format(**more[0])
    yield "{mean:.1f} points more with 0.12 ({low:.1f} to {high:.1f}), counted".format(**more[1])


def test_what_is_said_of_the_processors_is_what_the_study_has() -> None:
    found = study.rows().groupby("part")["cpu"].unique().map(sorted)
    new = {"ward-cluster", "ward-parts", "ward-pooling", "synthetic_eight", "synthetic_clean-demo"}
    new |= {part for part in found.index if part.startswith("knob-")}
    new |= {"ward-tighter", "ward-deeper", "ward-deeper-shorter", "synthetic_clean-longer"}
    assert all(found[part] == ["AVX512"] for part in new)
    assert all(found[part] == ["AVX2"] for part in found.index.difference([*new, "ward-head"]))
    random = study.rows(part="ward-head").groupby("trial")["cpu"].first()
    assert (random == "AVX512").sum() == 7 and len(random) == 10


def test_what_is_said_of_clutter_is_what_was_measured() -> None:
    for words in of_clutter():
        assert any(words in cell.source for cell in cells("04_fusion")), words


def switch_gap(method: str, switch: str, metric: str = "rank1") -> dict[str, float]:
    """A switch against the default, over the ten trials of WARD that switches.csv holds."""
    rows = committed.table("switches").set_index(["method", "switch", "trial"])[metric].sort_index()
    return study.difference(rows[method, switch], rows[method, "default"])


def test_what_the_published_code_changes_is_what_was_measured() -> None:
    text = (ROOT / "FIDELITY.md").read_text(encoding="utf-8")
    (told,) = (c.source for c in cells("06_tables") if "| question | paper | published" in c.source)
    switches = {
        "distance = squared": "Which distance?",
        "anchor_difference = normalised": "What does the update pull at?",
        "repeats = accumulate": "A tracklet several times in a batch?",
        "head_activation = relu6": "Activation in Eq. (2)?",
        "partner_anchor = after": "From which step is the partner's anchor?",
        "rank_unvisited = True": "May a tracklet not seen yet be nearest?",
        "cross_case = cross": "Which distance decides the case of Eq. (6)?",
        "anchor_length = stored": "Are anchors scaled to length 1?",
    }
    for switch, question in switches.items():
        (line,) = (line for line in told.splitlines() if question in line)
        method = "global" if switch.startswith("head") else "local"
        assert f"WARD: {study.told(switch_gap(method, switch))}" in line, switch
    both = f"both as printed: {study.told(switch_gap('local', 'both of these, as printed'))}"
    assert both in told
    every = "all of these, as published"
    local, whole = (study.told(switch_gap(method, every)) for method in ("local", "global"))
    assert f"WARD: local {local}, global {whole} |" in told
    (row,) = (line for line in text.splitlines() if "| `resize = legacy` |" in line)
    assert f"3 trials: {row.split('|')[5].strip()} |" in told


def of_switches() -> Iterator[str]:
    """What FIDELITY.md says of the switches below their table."""
    every, said = "all of these, as published", "({low:.1f} to {high:.1f})"
    minus = {"low": "high", "high": "low"}
    gaps = [switch_gap("local", "partner_anchor = after", metric) for metric in ("rank1", "mAP")]
    costs = [{name: -gap[minus.get(name, name)] for name in ("mean", *minus)} for gap in gaps]
    first, second = (f"{cost['mean']:.1f} {{}} {said.format(**cost)}" for cost in costs)
    yield f"{first.format('points of Rank-1')} and {second.format('of mAP')}"
    pull = switch_gap("local", "anchor_difference = normalised")
    yield "can tell ({low:.1f} to {high:+.1f})".format(**pull)
    gap = switch_gap("local", every)
    lost = {**gap, "mean": -gap["mean"]}
    yield "{mean:.1f} points of Rank-1 less ({low:.1f} to {high:+.1f})".format(**lost)
    rank1, ap = (switch_gap("global", every, metric) for metric in ("rank1", "mAP"))
    yield f"{ap['mean']:+.1f} points of mAP {said.format(**ap)}"
    yield f"{rank1['mean']:+.1f} of Rank-1 {said.format(**rank1)}"
    whole = committed.table("switches").query("method == 'global'").set_index(["switch", "trial"])
    base = study.trials("mAP", **WARD, method="baseline")
    gap = study.difference(whole["mAP"][every].sort_index(), base)
    yield "notebook 6 (mAP {mean:+.1f}, {low:.1f} to {high:.1f})".format(**gap)
    gap = switch_gap("local", "anchor_length = stored", "mAP")
    yield f"{gap['mean']:.1f} points of mAP more {said.format(**gap)}"
    gap = switch_gap("local", "both of these, as printed", "mAP")
    yield f"both readings together {gap['mean']:.1f} {said.format(**gap)}"
    random = {"dataset": "ward", "method": "global", "metric": "mAP"}
    pair = (study.trials(**random, variant=v) for v in ("train_global_head=False", ""))
    yield "(mAP {mean:+.1f}, {low:.1f} to {high:.1f})".format(**study.difference(*pair))


def test_what_is_said_of_a_lower_rate_is_what_was_measured() -> None:
    page = (ROOT / "EXPERIMENTS.md").read_text(encoding="utf-8")
    found = committed.table("curves").query("dataset == 'ward' and method == 'baseline'")
    found = found.query("people == 12 and cross_until == 60").set_index(["variant", "trial"])
    losses: dict[str, list[float]] = {}
    for trial, (variant, rate) in product((1, 2), {"default": "1e-3", "lr=0.0003": "3e-4"}.items()):
        ap = found.loc[(variant, trial)].set_index("epoch")["mAP"]
        losses.setdefault(variant, []).append(ap.max() - ap[60])
        line = f"| {trial} | {rate} | {ap.max():.1f}, epoch {ap.idxmax():.0f} "
        assert f"{line}| {ap[8]:.1f} | {ap[60]:.1f} |" in page
    first, second = ("{:.1f} and {:.1f}".format(*lost) for lost in losses.values())
    assert f"it loses {second} points in place of {first}." in page
    said = f"it loses {second} points of mAP from its best to epoch 60, in place of {first}"
    assert any(said in cell.source for cell in cells("02_local"))


def test_what_is_said_of_a_third_training_is_what_was_measured() -> None:
    third = committed.table("switches").query("method == 'local' and switch == 'default'")
    gaps = [
        study.difference(third.set_index("trial")[m], study.trials(m, **WARD, method="baseline"))
        for m in ("rank1", "mAP")
    ]
    said = " and ".join("{mean:.1f} ({low:.1f} to {high:.1f})".format(**gap) for gap in gaps)
    assert f"[FIDELITY.md](FIDELITY.md), {said}." in (ROOT / "README.md").read_text("utf-8")
    assert any(f"a third time {said}." in cell.source for cell in cells("06_tables"))


def test_what_fidelity_says_of_the_switches_is_what_was_measured() -> None:
    text = (ROOT / "FIDELITY.md").read_text(encoding="utf-8")
    for words in of_switches():
        assert words in text, words
    rows = committed.table("switches")
    lines = rows[rows["switch"] != "default"][["method", "switch"]].drop_duplicates()
    pairs = [(*line, m) for line in lines.itertuples(index=False) for m in ("rank1", "mAP")]
    gaps = {pair: switch_gap(*pair) for pair in pairs}
    clear = [pair for pair, gap in gaps.items() if gap["low"] > 0 or gap["high"] < 0]
    assert len(pairs) == 22 and len(clear) == 4
    assert [pair[1] for pair in clear if pair[2] == "rank1"] == ["partner_anchor = after"]
    gap, told = gaps["global", "all of these, as published", "mAP"], "{low:.1f} to {high:.1f}"
    said = f"gains {gap['mean']:.1f} points ({told.format(**gap)}) for the global-aware network"
    gap = gaps["local", "all of these, as published", "mAP"]
    also = f"clear ({gap['mean']:.1f}, {told.format(**gap)}) for the local-aware one"
    for words in (said, also):
        assert any(words in cell.source for cell in cells("06_tables")), words


@pytest.mark.parametrize("name", demo.NOTEBOOKS)
def test_every_command_in_the_text_is_one_that_the_program_knows(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "\n".join(cell.source for cell in cells(name) if cell.cell_type == "markdown")
    for command, rest in re.findall(r"python -m upm_lib (\w+)([^`\n]*)", text):
        with pytest.raises(SystemExit) as done:
            main([command, "--help"])
        options = set(re.findall(r"--[a-z][\w-]*", rest))
        assert done.value.code == 0
        assert options <= set(re.findall(r"--[a-z][\w-]*", capsys.readouterr().out)), rest


def test_the_product_page_is_short() -> None:
    assert len(cells("06_tables")) <= 30


def test_what_the_text_says_of_the_activation_maps_is_what_the_tables_show() -> None:
    means, gaps = following("05_cam", "known = ")
    names = means[0][1:]
    found = {
        line[0]: dict(zip(names, (float(text.split()[0]) for text in line[1:]), strict=True))
        for line in means[2:]
    }
    base = found["baseline"]
    assert base["head"] < 0.75, "well below that of an even map"
    assert base["head"] < min(base["torso"], base["legs"])
    assert all(0.75 < line["background"] < 1.05 for line in found.values()), "most of its share"
    signs, method = {}, ""
    for line in gaps[2:]:
        method = line[0] if len(line) == 5 else method  # a method stands in its first line only
        signs[method, line[-4]] = float(line[-2]) > 0, float(line[-1]) < 0  # all above, all below
    assert signs["local", "breadth"] == (False, True)
    assert signs["local", "above_half"] == (True, False), "the two measures disagree"
    assert signs["global", "above_half"] == signs["global", "breadth"] == (True, False)
