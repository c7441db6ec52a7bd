"""The book as readers meet it: what a page shows first, how long a verdict is, what every picture says, what fits."""

import json
import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from bs4 import BeautifulSoup, Tag
from conftest import Book

from replication import paths
from replication.claims import CLAIMS, registry
from replication.commands import deviations
from replication.report import cards

NAMES = sorted(path.stem for path in paths.NOTEBOOKS.glob("*.ipynb"))
RESULTS = sorted({claim.page for claim in CLAIMS.values()})  # pages with a card
LIVE = ("tutorial", "prune_your_own")
BROWSER = Path(__file__).parent / "browser"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FIRST = ".card-claim, svg.drawn, table.dataframe"


@pytest.fixture(scope="module")
def articles(book: Book) -> dict[str, Tag]:
    """The article of every page for readers, by its path without ending."""
    pages = book.pages()
    found = {str(path.relative_to(book.html).with_suffix("")): page.article for path, page in pages.items()}
    return {name: article for name, article in found.items() if article and name not in ("genindex", "search")}


def words_before(article: Tag, element: Tag) -> int:
    return len(" ".join(text for text in element.find_all_previous(string=True) if article in text.parents).split())


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LIVE])
def test_no_code_stands_before_the_first_result(articles, name: str):
    first = articles[f"pages/{name}"].select_one(FIRST)
    assert first is not None
    assert not [tag for tag in first.find_all_previous(["details", "pre"]) if articles[f"pages/{name}"] in tag.parents]


@pytest.mark.parametrize("name", RESULTS)
def test_card_of_every_claim_stands_right_below_the_title(articles, name: str):
    article = articles[f"pages/{name}"]
    shown = [card.header.a.get_text() for card in article.select(".card-claim")]
    own = {claim.id for claim in CLAIMS.values() if claim.page == name}
    assert own <= set(shown)
    assert words_before(article, article.select_one(".card-claim")) <= 120, "a title, a warning and a sentence"


def test_no_verdict_has_more_than_40_words_outside_its_fold(articles):
    found = 0
    for name, article in articles.items():
        for card in article.select(".card-claim"):
            outside = BeautifulSoup(str(card), "html.parser")
            for fold in outside.select("details, svg"):
                fold.decompose()
            assert len(outside.get_text(" ").split()) <= 40, (name, card.header.get_text())
            found += 1
    assert found >= 3 * len(CLAIMS)


def test_scorecard_shows_every_claim_and_control_and_can_be_filtered(articles):
    article = articles["pages/scorecard"]
    shown = [card.header.a.get_text() for card in article.select(".card-claim")]
    assert sorted(shown) == sorted(CLAIMS)
    assert len(article.select('fieldset input[type="radio"]')) >= 2 and not article.select("fieldset script")


@pytest.mark.parametrize("name", NAMES)
def test_every_fold_of_code_says_whose_code_it_is_and_stands_below_it(articles, name: str):
    for fold in articles[f"pages/{name}"].select("details.code"):
        assert fold.summary.get_text().startswith(("Code of this ", "Code of these "))
        assert fold.find_previous_sibling(class_="cell_output"), fold.summary
        assert fold.select("pre")


@pytest.mark.parametrize("name", NAMES)
def test_parameters_stand_at_the_end_with_a_command(articles, name: str):
    end = articles[f"pages/{name}"].select_one(".rerun")
    assert f"papermill notebooks/{name}.ipynb" in end.get_text() and "Cite this page" in end.get_text()
    before = [pre for pre in end.find_all_previous("pre") if 'profile: str = "laptop"' in pre.get_text()]
    assert not before and 'profile: str = "laptop"' in end.get_text()


def test_every_picture_says_what_is_to_be_seen(articles):
    pictures = [(name, tag) for name, article in articles.items() for tag in article.select("img, svg")]
    assert len(pictures) > 40
    for name, tag in pictures:
        said = (tag.get("alt") or tag.get("aria-label") or "").strip()
        assert len(said.split()) >= 2 and "/" not in said.split()[0] and not said.endswith((".png", ".svg")), (
            name,
            said,
        )


def test_what_may_be_wider_than_the_page_scrolls_in_itself(articles):
    wide = [(name, tag) for name, article in articles.items() for tag in article.select("table, svg.drawn")]
    assert len(wide) > 60
    for name, tag in wide:
        around = {cls for parent in tag.parents for cls in parent.get("class") or ()}
        assert around & {"scroll", "pst-scrollable-table-container", "highlight"}, (name, str(tag)[:100])


def test_no_page_shows_a_warning(articles):
    shown = {name: article.select(".stderr") for name, article in articles.items()}
    assert not {name: outputs[0].get_text() for name, outputs in shown.items() if outputs}


def test_no_table_says_the_same_in_every_row(articles):
    for name, article in articles.items():
        for table in article.select("table.dataframe:not(:has(th[colspan]))"):
            rows = [[cell.get_text() for cell in row.select("td")] for row in table.select("tbody tr")]
            if len(rows) > 2 and len(rows[0]) > 1:
                assert all(len(set(column)) > 1 for column in zip(*rows)), (name, table.select_one("tr").get_text(" "))


def test_contents_are_in_groups():
    parts = yaml.safe_load((paths.BOOK / "_toc.yml").read_text())["parts"]
    assert [part["caption"] for part in parts][:2] == ["Start here", "The networks"]
    assert max(len(part["chapters"]) for part in parts) <= 8


def test_glossary_is_linked_from_pages(articles):
    terms = {dt["id"] for dt in articles["glossary"].select("dt[id]")}
    linked = {tag["href"].partition("#")[2] for a in articles.values() for tag in a.select('a[href*="glossary.html#"]')}
    assert linked and linked <= terms
    for name in NAMES:
        links = [tag["href"] for tag in articles[f"pages/{name}"].select('a[href*="glossary.html#"]')]
        assert len(links) == len(set(links)), name  # the first use alone


def test_every_choice_stands_below_one_subject_with_the_pages_it_concerns(articles):
    article, rows = articles["pages/deviations"], deviations.choices()
    items = [item for item in article.select("section section li") if item.select("small code")]
    assert len(items) == len(rows)
    assert all(item.select("small a") for item in items)
    heads = [head.get_text().rstrip("#").replace("’", "'") for head in article.select("h2")]
    assert heads[:-1] == [name for name in dict.fromkeys(s for s, _ in deviations.SUBJECTS.values()) if name in heads]


def test_every_subject_has_its_files():
    files = [paths.shown(path) for path in (paths.ROOT / "replication").rglob("*.py")]
    assert all(any(file.startswith(start) for file in files) for start in deviations.SUBJECTS)


def test_built_book_is_small(book: Book):
    size = sum(path.stat().st_size for path in book.html.rglob("*") if path.is_file())
    assert size <= 40e6


def test_readmes_picture_is_the_first_figure_of_the_book(book: Book):
    made = runpy.run_path(str(paths.ROOT / "book" / "readme_picture.py"))["picture"]
    drawn = ElementTree.fromstring(made((book.html / "pages" / "introduction.html").read_text()))
    shown = ElementTree.fromstring((paths.ROOT / "book" / "headline.svg").read_text())
    for each in (drawn, shown):
        assert "Compression rate and change of test error" in each.attrib["aria-label"]
        assert {"paper", "ours, mean ± sd"} <= {text.strip() for text in each.itertext()}
    assert "book/headline.svg" in (paths.ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def seen(book: Book) -> dict:
    """What Chromium finds on every page, light and dark, at 1440 and 390 pixels (see browser/look.mjs)."""
    if not CHROMIUM or not shutil.which("node"):
        pytest.skip("needs Chromium and Node.js")
    if not (BROWSER / "node_modules" / "axe-core").exists():
        pytest.skip("needs `npm install` in tests/browser")
    command = ["node", str(BROWSER / "look.mjs"), str(book.html), CHROMIUM]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_browser_finds_no_serious_fault_for_readers_with_aids(seen):
    faults = [(row["page"], row["scheme"], each) for row in seen["pages"] for each in row.get("violations", ())]
    assert not faults
    assert {row["scheme"] for row in seen["pages"] if "violations" in row} == {"light", "dark"}


def test_browser_loads_nothing_from_elsewhere(seen):
    assert seen["pages"] and seen["remote"] == []


def test_browser_shows_the_card_on_the_first_screen(seen):
    tops = {row["page"]: row["card"] for row in seen["pages"] if row["size"] == "wide"}
    late = {name: tops[f"pages/{name}.html"] for name in RESULTS if not tops[f"pages/{name}.html"] < 900 - 200}
    assert not late


def test_browser_cuts_nothing_without_a_visible_edge(seen):
    assert not [(row["page"], row["size"], each) for row in seen["pages"] for each in row["cut"]]
    assert not [(row["page"], row["size"], row["wider"]) for row in seen["pages"] if row["wider"] > 0]


def test_browser_shows_each_figure_once_and_whole(seen):
    figures = [(row["page"], row["size"], each) for row in seen["pages"] for each in row["figures"]]
    assert len(figures) > 60
    assert not [found for found in figures if found[2]["shown"] != 1]
    assert not [found for found in figures if found[2]["sideways"] > 1 and found[2]["slim"]]
    assert {found[2]["name"] for found in figures if not found[2]["slim"]} == {"Figure: arithmetic"}  # names beside it


def test_browser_shows_text_of_figures_as_large_as_small_text(seen):
    for row in seen["pages"]:
        shrunk = row["size"] == "narrow" and not all(figure["slim"] for figure in row["figures"])
        assert not row["smallest"] or row["smallest"] >= (8 if shrunk else 11.5), (row["page"], row["size"])


def test_cards_are_drawn_from_the_judged_claims(book: Book):
    card = json.loads((book.html / "data" / "scorecard.json").read_text())
    grid = BeautifulSoup((book.html / "pages" / "scorecard.html").read_text(), "html.parser")
    shown = {a.header.a.get_text(): a.header.span.get_text() for a in grid.select(".cards .card-claim")}
    assert all(row["verdict"] in shown[row["id"]] for row in card)
    assert set(cards.MARKS) == set(registry.VERDICTS)


def test_search_finds_the_dropout_rule(book: Book):
    index = (book.html / "searchindex.js").read_text()
    names = json.loads(re.search(r'"?docnames"?:\s*(\[.*?\])', index)[1])
    terms = index[re.search(r'[{,]\s*"?terms"?:', index).start() :]  # and the words of titles behind them
    pages = []
    for word in ("dropout", "rule"):
        found = re.findall(rf'[{{,]\s*"?{word}"?:\s*(\d+|\[[\d, ]+\])', terms)
        pages.append({names[int(number)] for numbers in found for number in re.findall(r"\d+", numbers)})
    assert "pages/dropout" in pages[0] & pages[1]
