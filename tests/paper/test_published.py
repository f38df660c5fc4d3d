"""The published numbers: whole, as printed, and held against what the paper says of them."""

import re
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from quoted import ARROWS, QUOTED, Key, Quoted

from upm_lib.paper import complexity, published
from upm_lib.paper.published import Absent

CELLS = published.published()
LIMITS = {"rank1": 100, "rank5": 100, "rank20": 100, "mAP": 100, "flops_G": 11, "params_M": 100}
MOBILENET, RESNET = published.BACKBONES
PRID, ILIDS, DUKE = published.DATASETS


# ---------------------------------------------------------------- the cells


def test_every_cell_of_the_six_tables_is_there() -> None:
    assert CELLS["table"].value_counts().to_dict() == {1: 140, 2: 80, 3: 20, 4: 40, 5: 36, 6: 21}
    rows = CELLS[["table", "row", "backbone"]].drop_duplicates()
    assert rows["table"].value_counts().to_dict() == {1: 14, 2: 8, 3: 2, 4: 4, 5: 4, 6: 7}
    lines = Path(published.__file__).with_suffix(".csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) - 1 == len(CELLS) == 337, "no cell is there twice"


@pytest.mark.parametrize("table", [1, 2, 3, 4])
def test_accuracy_rows_have_ten_cells_and_map_on_one_data_set(table: int) -> None:
    wanted = Counter({(dataset, m): 1 for dataset in published.DATASETS for m in LIMITS})
    for dataset, metric in list(wanted):
        if metric in ("flops_G", "params_M") or (metric == "mAP" and dataset != DUKE):
            del wanted[dataset, metric]
    for _, row in published.published(table).groupby(["row", "backbone"]):
        assert Counter(zip(row["dataset"], row["metric"], strict=True)) == wanted


def test_rows_have_the_names_of_the_paper_and_of_the_library() -> None:
    rows = {t: list(dict.fromkeys(published.published(t)["row"])) for t in published.TABLES}
    competitors = ["OIM", "TAUDL", "DAL", "BUC", "UGA", "DBC", "UTAL", "TSSL", "SSL", "NHAC"]
    assert rows == {
        1: [*competitors, "uPMnet", "AGRL"],
        2: ["baseline", "local", "global", "both"],
        3: ["fusion, gap", "fusion, gmp"],
        4: ["baseline", "fusion, k=2", "fusion, k=4", "fusion, k=8"],
        5: ["baseline", "local", "global", "uPMnet"],
        6: ["TAUDL", "DAL", "BUC", "DBC", "uPMnet"],
    }


# Typed from the paper by hand, independently of the file.
BY_HAND = [
    (1, "OIM", RESNET, DUKE, "rank20", 76.2),
    (1, "TAUDL", RESNET, PRID, "rank20", 98.9),
    (1, "DAL", MOBILENET, ILIDS, "rank5", 76.7),
    (1, "DAL", RESNET, ILIDS, "rank1", 56.9),
    (1, "UTAL", RESNET, ILIDS, "rank20", 83.8),
    (1, "SSL", RESNET, DUKE, "mAP", 69.3),
    (1, "uPMnet", RESNET, DUKE, "rank1", 81.3),
    (1, "uPMnet", MOBILENET, PRID, "rank1", 90.2),
    (1, "AGRL", "unstated", ILIDS, "rank5", 96.7),
    (2, "local", MOBILENET, ILIDS, "rank1", 52.4),
    (2, "global", MOBILENET, DUKE, "mAP", 73.9),
    (2, "baseline", RESNET, DUKE, "rank20", 94.8),
    (2, "local", RESNET, ILIDS, "rank20", 92.0),
    (2, "both", RESNET, PRID, "rank20", 100.0),
    (3, "fusion, gap", MOBILENET, ILIDS, "rank5", 78.5),
    (3, "fusion, gmp", MOBILENET, PRID, "rank1", 85.8),
    (4, "baseline", MOBILENET, DUKE, "rank5", 92.5),
    (4, "fusion, k=4", MOBILENET, ILIDS, "rank1", 58.6),
    (4, "fusion, k=8", MOBILENET, DUKE, "rank20", 97.2),
    (5, "local", RESNET, DUKE, "params_M", 59.5),
    (5, "global", RESNET, ILIDS, "rank1", 60.1),
    (5, "uPMnet", RESNET, PRID, "flops_G", 9.4),
    (6, "TAUDL", RESNET, DUKE, "params_M", 34.2),
    (6, "DAL", MOBILENET, DUKE, "params_M", 5.45),
    (6, "DBC", RESNET, DUKE, "flops_G", 5.3),
    (6, "uPMnet", MOBILENET, DUKE, "params_M", 32.3),
]


@pytest.mark.parametrize(("key", "expected"), [(Key(*cell[:5]), cell[5]) for cell in BY_HAND])
def test_cells_typed_by_hand(key: Key, expected: float) -> None:
    assert published.value(*key) == expected
    (line,) = CELLS[(CELLS[published.KEY] == list(key)).all(axis=1)].to_dict("records")
    assert line["value"] == expected


def test_values_are_in_range_and_sourced() -> None:
    assert list(CELLS.columns) == [
        *published.KEY, "value", "printed", "increase", "note", "source"
    ]  # fmt: skip
    known = CELLS[CELLS["value"].notna()]
    assert set(known["metric"]) == set(published.METRICS) == set(LIMITS)
    assert (known["value"] > 0).all()
    assert (known["value"] <= known["metric"].map(LIMITS)).all()
    assert set(CELLS["dataset"]) == set(complexity.TRAINING_SETS)
    named = [f"Table {table}" for table in CELLS["table"]]
    assert all(s.startswith(n) for s, n in zip(CELLS["source"], named, strict=True))
    others = ~CELLS["row"].isin(["uPMnet"]) & CELLS["table"].isin([1, 6])
    assert CELLS.loc[others, "source"].str.contains(r"\[\d+\]").all()


def test_accuracies_of_a_row_rise_with_the_rank() -> None:
    cells = CELLS[CELLS["metric"].str.startswith("rank")]
    wide = cells.pivot_table("value", ["table", "row", "backbone", "dataset"], "metric")
    whole = wide.dropna()
    assert len(whole) == 3 * 14 + 21  # Tables 2 to 4, and Table 1 where all three are reported
    assert (whole["rank1"] < whole["rank5"]).all() and (whole["rank5"] < whole["rank20"]).all()


def test_marks_of_the_tables_are_notes() -> None:
    noted = CELLS[CELLS["note"] != ""]
    found = {
        (table, note): set(part["row"]) for (table, note), part in noted.groupby(["table", "note"])
    }
    assert found == {
        (1, "as reported in [14]"): {"OIM"},
        (1, "supervised, upper bound"): {"AGRL"},
        (6, "produced by the paper's authors"): {"TAUDL", "DAL"},
    }
    stars = noted[noted["table"] == 6]
    assert len(stars) == 3 and set(stars["metric"]) == {"rank1"}


def test_tables_that_print_the_same_network_agree() -> None:
    def cells(table: int, row: str, backbone: str) -> dict[tuple[str, str], float]:
        part = published.published(table).query("row == @row and backbone == @backbone")
        return part.set_index(["dataset", "metric"])["value"].to_dict()

    for backbone in published.BACKBONES:
        assert cells(1, "uPMnet", backbone) == cells(2, "both", backbone)
        whole, six = cells(1, "uPMnet", backbone), cells(6, "uPMnet", backbone)
        assert six[DUKE, "rank1"] == whole[DUKE, "rank1"]
    assert cells(4, "baseline", MOBILENET) == cells(2, "baseline", MOBILENET)
    assert cells(4, "fusion, k=8", MOBILENET) == cells(2, "both", MOBILENET)
    assert cells(4, "fusion, k=2", MOBILENET) == cells(3, "fusion, gap", MOBILENET)
    for row in ("baseline", "local", "global"):
        two = cells(2, row, RESNET)
        five = {k: v for k, v in cells(5, row, RESNET).items() if k[1] == "rank1"}
        assert len(five) == 3 and five.items() <= two.items()
    assert cells(6, "uPMnet", RESNET).items() <= cells(5, "uPMnet", RESNET).items()


@pytest.mark.parametrize(("table", "expected"), [(5, 24), (6, 8)])
def test_complexity_tables_equal_our_count(table: int, expected: int) -> None:
    cells = published.published(table)
    cells = cells[cells["row"].isin(complexity.ROWS) & (cells["metric"] != "rank1")]
    assert len(cells) == expected
    for _, cell in cells.iterrows():
        count = complexity.table_row(cell["backbone"], cell["row"], cell["dataset"])
        number = count.flops / 1e9 if cell["metric"] == "flops_G" else count.params / 1e6
        assert complexity.as_printed(number, cell["printed"]) == cell["value"]


# ---------------------------------------------------------------- no number


def test_what_nobody_reported_is_not_what_the_paper_lacks() -> None:
    assert published.value(1, "OIM", RESNET, PRID, "rank1") is Absent.NOT_REPORTED
    assert published.value(1, "DBC", RESNET, DUKE, "rank20") is Absent.NOT_REPORTED
    for key in (
        Key(1, "OIM", RESNET, PRID, "mAP"),  # mAP is given for one data set
        Key(1, "OIM", MOBILENET, DUKE, "rank1"),
        Key(2, "uPMnet", MOBILENET, PRID, "rank1"),  # its name is "both" there
        Key(4, "local, k=2", MOBILENET, PRID, "rank1"),
        Key(4, "fusion, k=2", RESNET, PRID, "rank1"),
        Key(1, "uPMnet", MOBILENET, "MARS", "rank1"),
    ):
        assert published.value(*key) is Absent.NOT_IN_PAPER


def test_only_competitors_lack_numbers() -> None:
    lacking = CELLS[CELLS["value"].isna()]
    assert len(lacking) == 61 and set(lacking["table"]) == {1}
    assert not {"uPMnet", "AGRL"} & set(lacking["row"])
    assert set(lacking["printed"]) == {Absent.NOT_REPORTED.value}


def test_unknown_table_and_metric_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown table"):
        published.published(7)
    with pytest.raises(ValueError, match="unknown table"):
        published.value(0, "uPMnet", RESNET, PRID, "rank1")
    with pytest.raises(ValueError, match="did you mean 'rank1'"):
        published.value(1, "uPMnet", RESNET, PRID, "rank10")


def test_callers_cannot_change_the_data() -> None:
    cells = published.published()
    cells.loc[0, "printed"] = "never"
    assert published.published()["printed"][0] == "-"


# ---------------------------------------------------------------- numbers made of cells

# Section 4.5's mean step and three of the four means of section 4.7.
UNFOLLOWED = {"2.2": "2.3", "2.6": "3.2", "105.1": "107.2", "11.4": "11.5"}


def counted(key: Key) -> Decimal:
    """FLOPs or parameters as exact counts, where the paper prints two or three digits."""
    count = complexity.table_row(key.backbone, key.row, key.dataset)
    return Decimal(count.flops if key.metric == "flops_G" else count.params)


def is_count(quoted: Quoted) -> bool:
    return quoted.pairs[0][0].metric in ("flops_G", "params_M")


def test_what_the_text_quotes_is_whole() -> None:
    texts = [(q.section, q.quoted) for q in QUOTED]
    assert texts == [
        *(("1, 4.2, 5", n) for n in ("6.7", "5.8", "0.8")),
        ("4.2", "0.9"),
        *(("4.3", n) for n in ("5.7", "1.3", "9.2", "3.8", "4.3", "0.7", "5.4")),
        *(("4.3", n) for n in ("2.0", "2.7", "4.7", "1.2")),
        *(("4.5", n) for n in ("2.2", "0.9")),
        *(("4.7", n) for n in ("2.6", "4.7", "105.1", "11.4")),
    ]


@pytest.mark.parametrize("quoted", QUOTED, ids=lambda q: f"{q.section} {q.what}")
def test_quoted_numbers_follow_from_the_cells_or_are_findings(quoted: Quoted) -> None:
    found = quoted.as_printed(quoted.recomputed())
    assert found == UNFOLLOWED.get(quoted.quoted, quoted.quoted)
    assert quoted.follows() == (quoted.quoted not in UNFOLLOWED)


@pytest.mark.parametrize(
    ("section", "quoted", "expected"),
    [
        ("1, 4.2, 5", "6.7", 92.0 - 85.3),  # the text gives these two operands itself, and so on
        ("1, 4.2, 5", "5.8", 63.1 - 57.3),
        ("1, 4.2, 5", "0.8", 83.6 - 82.8),
        ("4.2", "0.9", 76.9 - 76.0),
        ("4.3", "9.2", 91.5 - 82.3),
        ("4.3", "3.8", (90.4 - 83.9 + 55.5 - 54.8 + 78.4 - 74.2) / 3),
        ("4.3", "1.2", (83.3 - 82.3 + 80.3 - 79.3 + 84.3 - 83.9 + 76.7 - 74.2) / 4),
        ("4.5", "2.2", (90.2 - 82.3 + 62.6 - 54.1 + 83.6 - 79.3) / 9),  # steps between add up
        ("4.7", "11.4", 100 * (92.0 / 83.9 + 63.1 / 54.8 + 81.3 / 74.2 - 3) / 3),
    ],
)
def test_recomputed_numbers_by_hand(section: str, quoted: str, expected: float) -> None:
    (one,) = (q for q in QUOTED if (q.section, q.quoted) == (section, quoted))
    assert float(one.recomputed()) == pytest.approx(expected)


def test_halves_are_rounded_up_as_the_paper_does() -> None:
    halves = {str(q.recomputed()): q.quoted for q in QUOTED}
    assert (halves["5.65"], halves["5.35"]) == ("5.7", "5.4")


def test_no_rounding_of_the_cells_explains_the_step_of_k() -> None:
    (step,) = (q for q in QUOTED if q.quoted == "2.2")
    farthest = Decimal("0.05") * 2 * 3 / 9  # three sums of steps, each the difference of two cells
    assert step.recomputed() == Decimal("2.3")
    assert step.as_printed(step.recomputed() - farthest) == "2.3"


@pytest.mark.parametrize("arrow", ARROWS, ids=lambda q: q.what)
def test_arrows_follow_from_what_they_are_made_of(arrow: Quoted) -> None:
    """Rank-1 from the printed cells, FLOPs and parameters from the exact counts; all are cut."""
    number = arrow.recomputed(counted) if is_count(arrow) else arrow.recomputed()
    expected = "17.8" if arrow.quoted == "17.9" else arrow.quoted
    assert arrow.as_printed(number) == expected


def test_arrows_are_all_there_and_say_nothing_of_the_baseline() -> None:
    assert len(ARROWS) == 27 == int(CELLS["increase"].notna().sum())
    of = {after for arrow in ARROWS for after, _ in arrow.pairs}
    assert {key.table for key in of} == {5} and "baseline" not in {key.row for key in of}
    assert {before.row for arrow in ARROWS for _, before in arrow.pairs} == {"baseline"}


def test_rank1_arrows_are_cut_not_rounded() -> None:
    rank1 = [arrow for arrow in ARROWS if not is_count(arrow)]
    rounded = [f"{arrow.recomputed():.1f}" == arrow.quoted for arrow in rank1]
    assert len(rank1) == 9 and all(arrow.follows() for arrow in rank1)
    assert sum(rounded) == 2
    counts = [arrow for arrow in ARROWS if is_count(arrow)]
    assert [arrow.quoted for arrow in counts if arrow.follows()] == ["10.6", "112.5"]


def test_means_of_arrows() -> None:
    found = {q.quoted: q.of_arrows() for q in QUOTED if q.section == "4.7"}
    one_digit = {quoted: f"{mean:.1f}" for quoted, mean in found.items() if mean}
    assert one_digit == {"2.6": "2.5", "4.7": "4.6", "105.1": "105.1", "11.4": "11.4"}
    assert QUOTED[0].of_arrows() is None


# ---------------------------------------------------------------- FIDELITY.md

HEADING = "## Quoted numbers that do not follow from the tables"


@pytest.fixture(scope="module")
def section() -> str:
    """The section of FIDELITY.md with the findings."""
    path = Path(__file__).resolve().parents[2] / "FIDELITY.md"
    (found,) = re.findall(rf"{HEADING}\n(.*?)(?=\n## |\Z)", path.read_text("utf-8"), re.DOTALL)
    return found


def tables_of(section: str) -> list[list[list[str]]]:
    """The tables of a text, without head and rule: rows of cells."""
    tables = re.findall(r"(?:^\|.*\n?)+", section, re.MULTILINE)
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
        for table in tables
    ]


def test_the_list_of_quoted_numbers_is_the_data(section: str) -> None:
    expected = []
    for quoted in QUOTED:
        if not quoted.follows():
            arrows = quoted.of_arrows()
            expected.append(
                [
                    quoted.section,
                    quoted.what,
                    quoted.quoted,
                    quoted.as_printed(quoted.recomputed()),
                    quoted.as_printed(arrows) if arrows else "",
                    quoted.as_printed(quoted.recomputed(counted)) if is_count(quoted) else "",
                ]
            )
    assert tables_of(section)[0] == expected


def test_the_list_of_arrows_is_the_data(section: str) -> None:
    lines: dict[tuple[str, str], list[str]] = {}
    for arrow in ARROWS:
        key = arrow.pairs[0][0]
        found = [arrow.quoted, arrow.as_printed(arrow.recomputed())]
        found += [arrow.as_printed(arrow.recomputed(counted))] if is_count(arrow) else []
        lines.setdefault((key.row, key.dataset), []).append(" / ".join(found))
    assert tables_of(section)[1] == [[*place, *cells] for place, cells in lines.items()]


def test_the_other_findings_hold(section: str) -> None:
    def of(table: int, row: str, metric: str, backbone: str = RESNET, dataset: str = DUKE) -> float:
        found = published.value(table, row, backbone, dataset, metric)
        assert isinstance(found, float)
        return found

    # One network, two values.
    assert (of(6, "DAL", "rank1"), of(2, "baseline", "rank1")) == (74.4, 74.2)
    assert "74.4" in section and "74.2" in section
    # Second place on DukeMTMC-VideoReID, and on iLIDS-VID by Rank-20.
    for metric in ("rank1", "rank5", "mAP"):
        first, second = of(1, "uPMnet", metric, MOBILENET), of(1, "NHAC", metric)
        assert first > second > of(1, "uPMnet", metric)
    assert of(1, "DAL", "rank20", RESNET, ILIDS) > of(1, "uPMnet", "rank20", MOBILENET, ILIDS)
    # The other numbers of the best competitor are with the other backbone.
    assert of(1, "uPMnet", "rank1") - of(1, "NHAC", "rank1") == pytest.approx(-1.5)
    assert "−1.5" in section
    # The sums of the last row, from printed cells.
    for metric, total in (("flops_G", 9.9), ("params_M", 93.2)):
        assert of(5, "local", metric) + of(5, "global", metric) == pytest.approx(total)
        assert of(5, "uPMnet", metric) == pytest.approx(total + 0.1)
        assert f"{total}" in section
    # Section 4.1 has 4832 tracklets; 178 people before two cameras are twice as many.
    assert f"{4832 / (2 * complexity.TRAINING_SETS[PRID].num_tracklets):.1f} times" in section
    # In points, what section 4.7 gives in percent of the baseline.
    points = [of(2, "both", "rank1", RESNET, d) for d in published.DATASETS]
    points += [-of(2, "baseline", "rank1", RESNET, d) for d in published.DATASETS]
    assert f"{sum(points) / 3:.1f}" == "7.8" and "7.8 points" in section


def test_the_parameters_of_table_5_hold_classifiers_and_no_anchors(section: str) -> None:
    size, k, d = complexity.TRAINING_SETS[DUKE], 8, 2048
    classifiers = k * (size.num_tracklets + 1) * (d + 1)
    anchors = complexity.anchor_bytes(k, size.num_tracklets, d) // 4
    total = complexity.table_row(RESNET, "local", DUKE).params
    assert complexity.as_printed(total / 1e6, "59.5") == 59.5
    backbone = total - classifiers
    assert complexity.as_printed((backbone + anchors) / 1e6, "95.4") == 95.4
    assert complexity.as_printed((backbone + anchors // 2) / 1e6, "59.4") == 59.4, (
        "one kind of anchors"
    )
    for text in ("95.4", "59.4", f"{classifiers / 1e6:.1f}"):
        assert f"{text} M" in section
