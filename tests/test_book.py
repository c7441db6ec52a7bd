"""The book at the smoke profile: whole, readable without a network, and robust to a failing notebook."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pandas as pd
import pytest
import yaml
from bs4 import BeautifulSoup
from conftest import Book

from replication import paths
from replication.claims import CLAIMS, VERDICTS
from replication.commands import rendering
from replication.data import paper

NAMES = sorted(path.stem for path in paths.NOTEBOOKS.glob("*.ipynb"))


@pytest.fixture(scope="module")
def pages(book: Book) -> dict[Path, BeautifulSoup]:
    return book.pages()


def test_build_succeeds(book: Book):
    assert book.done.returncode == 0, book.done.stdout + book.done.stderr
    assert book.done.stderr == ""


def test_build_executes_every_notebook(book: Book):
    lines = [line for line in book.done.stdout.splitlines() if line.startswith("notebook ")]
    assert lines == [f"notebook {name}: executed" for name in NAMES]


def test_every_entry_of_the_contents_has_a_page(book: Book):
    toc = yaml.safe_load((book.folder / "_toc.yml").read_text())
    files = [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]
    assert {f"pages/{name}" for name in NAMES} <= set(files)
    for file in files:
        assert (book.html / f"{file}.html").stat().st_size > 1_000, file


def test_no_page_shows_an_error(pages: dict[Path, BeautifulSoup]):
    for path, page in pages.items():
        assert "Traceback" not in page.get_text(), path
        assert not page.select(".output.traceback"), path


def test_no_page_loads_anything_from_elsewhere(pages: dict[Path, BeautifulSoup]):
    for path, page in pages.items():
        tags = page.select("script[src], img[src], iframe[src], link[rel][href], source[src], object[data], embed[src]")
        for tag in tags:
            address = tag.get("src") or tag.get("href") or tag.get("data")
            assert urlsplit(address).scheme in ("", "data"), (path, tag)
            assert not urlsplit(address).netloc, (path, tag)


def test_no_script_in_a_page_names_a_remote_address(pages: dict[Path, BeautifulSoup]):
    for path, page in pages.items():
        for script in page.select("script:not([src])"):
            assert not re.findall(r"""["'`](?:https?:)?//[^"'`]+""", script.text), path


def test_no_style_sheet_loads_anything_from_elsewhere(book: Book):
    sheets = list(book.html.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        assert not re.findall(r"""(?:@import\s+|url\()\s*["']?(?:https?:)?//[^;)]*""", sheet.read_text()), sheet


def test_every_relative_link_leads_somewhere(pages: dict[Path, BeautifulSoup]):
    broken = []
    for path, page in pages.items():
        for tag in page.select("[href], [src]"):
            address = urlsplit(tag.get("href") or tag.get("src") or "")
            if address.scheme or address.netloc:
                continue
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            if not target.is_file():
                broken.append(f"{path.name}: {address.geturl()}")
            elif address.fragment and target in pages and not pages[target].find(id=unquote(address.fragment)):
                broken.append(f"{path.name}: {address.geturl()} has no such section")
    assert not broken


def test_data_behind_every_table_and_figure_is_linked_and_not_empty(book: Book, pages: dict[Path, BeautifulSoup]):
    linked = {name: set() for name in NAMES}
    for path, page in pages.items():
        for tag in page.select('a[href*="data/"]') if path.stem in linked else ():
            target = (path.parent / tag["href"]).resolve()
            assert target.parent == book.html / "data"
            linked[path.stem].add(target)
    for name in NAMES:
        assert linked[name], name
    for target in set().union(*linked.values()):
        assert len(pd.read_csv(target) if target.suffix == ".csv" else json.loads(target.read_text())) > 0, target
    assert {path for path in (book.html / "data").iterdir() if path.is_file()} == set().union(*linked.values())


def test_one_page_holds_the_whole_book(book: Book, pages: dict[Path, BeautifulSoup]):
    whole = pages[book.html / "whole_book.html"]
    others = {path: page for path, page in pages.items() if page.article and page.article.h1 and page is not whole}
    heads = [head.get_text() for head in whole.article.select("h1, h2")]
    for path, page in others.items():
        if path.stem not in ("search", "genindex"):
            assert page.article.h1.get_text() in heads, path
    assert len(whole.select("svg.drawn")) == sum(len(page.select("svg.drawn")) for page in others.values()) > 20
    links = [urlsplit(tag["href"]) for tag in whole.article.select("a[href]")]
    away = {link.path for link in links if not link.scheme and link.path and not link.path.startswith("data/")}
    assert away <= {"whole_book.html"}
    assert pages[book.html / "pages" / "introduction.html"].select('a[href="../whole_book.html"]')


def test_scorecard_is_a_list_of_28_judged_claims(book: Book):
    card = json.loads((book.html / "data" / "scorecard.json").read_text())
    assert [row["id"] for row in card] == [claim for claim in paper.claims().index if claim.startswith("C")]
    assert len(card) == 28
    heads = {
        "id",
        "claim",
        "published",
        "ours",
        "verdict",
        "statuses",
        "measured_on",
        "first_edition",
        "changed",
        "page",
    }
    for row in card:
        assert set(row) == heads
        assert row["verdict"] in VERDICTS
        assert row["published"] == paper.claims().published[row["id"]]
        assert (row["verdict"] == "not run") == (row["ours"] == "")
    controls = pd.read_csv(book.html / "data" / "scorecard_controls.csv")
    assert controls.id.tolist() == ["K01", "K02", "K03", "K04"] and (controls.verdict == "inconclusive").all()


def test_smoke_profile_decides_nothing_that_needs_runs(book: Book):
    statuses = pd.read_csv(book.html / "data" / "claims_statuses.csv").set_index("id")
    assert set(statuses.index) == set(CLAIMS)
    assert statuses.status["C25"] == "holds" and (statuses.status.drop("C25") == "undecided").all()
    assert (statuses.why.drop("C25") == "smoke: decides nothing").all()
    card = pd.read_csv(book.html / "data" / "scorecard.csv").set_index("id")
    assert (card.verdict.drop("C25") == "inconclusive").all() and card.verdict["C25"] == "reproduced"


@pytest.mark.parametrize("name", NAMES)
def test_page_says_that_its_numbers_mean_nothing(book: Book, pages: dict[Path, BeautifulSoup], name: str):
    assert "Smoke profile: numbers without meaning" in pages[book.html / "pages" / f"{name}.html"].get_text()


@pytest.mark.parametrize("name", NAMES)
def test_page_offers_its_executed_notebook(book: Book, pages: dict[Path, BeautifulSoup], name: str):
    address = f"../_sources/pages/{name}.ipynb"
    assert pages[book.html / "pages" / f"{name}.html"].select(f'a[href="{address}"]')
    notebook = nbformat.read(book.html / "_sources" / "pages" / f"{name}.ipynb", as_version=4)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")


def test_second_build_does_nothing_again(book: Book, command):
    stored = {path: path.stat().st_mtime_ns for path in book.runs.glob("*/*")}
    done = command("build", "--profile", "smoke", runs=book.runs, book=book.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("notebook ")]
    assert lines == [f"notebook {name}: unchanged" for name in NAMES]
    assert {path: path.stat().st_mtime_ns for path in book.runs.glob("*/*")} == stored


def test_failing_notebook_stops_no_other_and_its_page_says_why(book: Book, command, tmp_path: Path):
    notebooks = Path(shutil.copytree(paths.NOTEBOOKS, tmp_path / "notebooks"))
    folder = Path(shutil.copytree(book.folder, tmp_path / "book"))
    for name, source in (("method", "paper.no_such_name"), ("scorecard", "show.say('a word more')")):
        notebook = nbformat.read(notebooks / f"{name}.ipynb", as_version=4)
        notebook.cells.insert(
            4,
            nbformat.v4.new_code_cell(
                f"from replication.data import paper\nfrom replication.report import show\n{source}"
            ),
        )
        nbformat.write(notebook, notebooks / f"{name}.ipynb")
    variables = {"runs": book.runs, "book": folder, "REPLICATION_NOTEBOOKS": str(notebooks)}
    done = command("build", "--profile", "smoke", **variables)
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if line.startswith("notebook ")]
    (failed,) = [line for line in lines if ": failed" in line]
    assert failed.startswith("notebook method: failed")
    assert "no_such_name" in failed
    assert "notebook scorecard: executed" in lines
    assert {line.rpartition(": ")[2] for line in lines if line != failed} <= {"executed", "unchanged"}
    assert [line.split()[1].rstrip(":") for line in lines] == NAMES
    html = folder / "_build" / "html" / "pages"
    assert "no_such_name" in BeautifulSoup((html / "method.html").read_text(), "html.parser").get_text()
    assert "AttributeError" in (html / "method.html").read_text()
    assert "a word more" in (html / "scorecard.html").read_text()


def test_processes_that_execute_notebooks_hold_no_torch():
    look = "import sys; from replication.commands import rendering; import papermill; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], cwd=paths.ROOT).returncode == 0


def test_what_kernels_are_forked_with_can_be_imported():
    imports = "; ".join(f"import {name}" for name in rendering.PRELOADED)
    assert subprocess.run([sys.executable, "-c", imports], cwd=paths.ROOT).returncode == 0
