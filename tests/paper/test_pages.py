"""The demo's pages show formulas, and ask the network for nothing."""

import re
from functools import cache
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from math_core import LatexError

from upm_lib.paper import demo

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
FORMULA = re.compile(r"\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$]+)\$", re.DOTALL)
# What makes a browser fetch something: these attributes, and url() and @import in CSS.
LOADING = ("src", "srcset", "poster", "data", "background", "action")

pages = pytest.mark.parametrize("name", demo.NOTEBOOKS)


@cache
def notebook(name: str) -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


@cache
def read(name: str) -> BeautifulSoup:
    return BeautifulSoup(demo.page(notebook(name), name, "../notebooks"), "html.parser")


def formulas(name: str) -> list[re.Match[str]]:
    """The formulas in the Markdown cells of a committed notebook."""
    markdown = [cell.source for cell in notebook(name).cells if cell.cell_type == "markdown"]
    prose = [re.sub(r"`[^`]*`", "", text) for text in markdown]
    return [formula for text in prose for formula in FORMULA.finditer(text)]


def of_one_cell(text: str) -> BeautifulSoup:
    cell = nbformat.v4.new_markdown_cell(text)
    made = nbformat.v4.new_notebook(cells=[cell])
    return BeautifulSoup(demo.page(made, "one", "../notebooks"), "html.parser")


@pages
def test_every_formula_is_mathml(name: str) -> None:
    found = read(name).find_all("math")
    assert len(found) == len(formulas(name))
    blocks = [math for math in found if math.get("display") == "block"]
    assert len(blocks) == sum(bool(formula["block"]) for formula in formulas(name))
    assert not any(re.search(r"[\\$]", math.get_text()) for math in found)


@pages
def test_every_relative_link_leads_to_a_page_or_to_a_file_of_the_checkout(name: str) -> None:
    links = [a["href"] for a in read(name).find_all("a") if ":" not in a["href"]]
    links = [link for link in links if not link.startswith("#")]
    pages = {f"{other}.html" for other in demo.NOTEBOOKS}
    assert links and all(
        link in pages or (NOTEBOOKS.parent / link.removeprefix("../")).is_file() for link in links
    ), links


def test_the_lesson_has_formulas() -> None:
    assert len(formulas("02_local")) > 50 and len(formulas("03_global")) > 10


@pages
def test_no_raw_formula_is_left(name: str) -> None:
    for cell in read(name).select(".jp-RenderedMarkdown"):
        assert not re.search(r"\$|\\[a-z]+", cell.get_text()), cell.get_text()
    assert read(name).select(".jp-RenderedLatex") == []


@pages
def test_every_number_of_an_equation_is_shown(name: str) -> None:
    tags = [tag for f in formulas(name) for tag in re.findall(r"\\tag\{(.+?)\}", f[0])]
    shown = [math.find_all("mtext")[-1].get_text() for math in read(name).select("math:has(mtext)")]
    assert [f"({tag})" for tag in tags] == [text for text in shown if re.fullmatch(r"\(.+\)", text)]


@pages
def test_the_page_loads_nothing(name: str) -> None:
    page = read(name)
    assert page.find_all(["script", "link", "iframe", "base"]) == []
    sources = [e[key] for key in LOADING for e in page.find_all(attrs={key: True})]
    assert [source[:80] for source in sources if not source.startswith("data:")] == []
    styles = [style.string for style in page.find_all("style")]
    styles += [element["style"] for element in page.find_all(style=True)]
    css = re.sub(r"/\*.*?\*/", "", "\n".join(styles), flags=re.DOTALL)
    assert "@import" not in css
    assert set(re.findall(r"url\(\s*['\"]?(\w+:|.)", css)) <= {"data:"}


@pages
def test_the_page_has_its_name_and_its_pictures(name: str) -> None:
    assert read(name).title.get_text() == name
    outputs = [output for cell in notebook(name).cells for output in cell.get("outputs", [])]
    kinds = ("image/png", "image/jpeg")
    drawn = [o for o in outputs if any(kind in o.get("data", {}) for kind in kinds)]
    assert len(read(name).select(".jp-OutputArea-output img")) == len(drawn)


def test_a_formula_in_a_page_is_the_one_of_the_notebook() -> None:
    page = of_one_cell(r"$$c_j = \begin{cases} a & x < 1\\ b\end{cases} \tag{4}$$")
    (math,) = page.select("math")
    assert [e.get_text() for e in math.select("mi")] == ["c", "j", "a", "x", "b"]
    assert [e.get_text() for e in math.select("mo")][:3] == ["=", "{", "<"]
    assert math.find_all("mtext")[-1].get_text() == "(4)"


def test_what_is_no_formula_stays() -> None:
    assert of_one_cell("`$x$` costs 5 $").select_one("p").get_text() == "$x$ costs 5 $"


def test_a_formula_that_cannot_be_shown_stops_the_page() -> None:
    with pytest.raises(LatexError, match="foo"):
        of_one_cell(r"$\foo$")


def test_a_progress_bar_goes_and_a_picture_with_a_slider_stays() -> None:
    live = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}
    bar, picture = (
        nbformat.v4.new_output("display_data", {**live, "text/plain": "one", **more})
        for more in ({}, {"image/png": "aGk="})
    )
    cell = nbformat.v4.new_code_cell("x", outputs=[bar, picture])
    made = demo.drop_widgets(nbformat.v4.new_notebook(cells=[cell]))
    (left,) = made.cells[0].outputs
    assert set(left.data) == {"text/plain", "image/png"}
