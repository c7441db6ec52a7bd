"""Notebooks -> executed pages -> the built book."""

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import nbformat

from .. import paths
from ..claims.plans import notebooks, plan
from ..runs import store
from ..runs.profiles import Profile
from ..runs.spec import with_ancestors
from . import rendering

FINGERPRINT = "replication_fingerprint"  # in an executed page's metadata: what it was made from


def fingerprint(name: str, profile: Profile) -> str:
    """Hash of all that a page depends on: its notebook, the module, the paper's numbers and the runs it reads."""
    digest = hashlib.sha256(repr(profile).encode())
    sources = [
        paths.NOTEBOOKS / f"{name}.ipynb",
        *(paths.ROOT / "replication").rglob("*.py"),
        *paths.PAPER.glob("*.csv"),
    ]
    for path in sorted(sources):
        digest.update(path.read_bytes())
    for run in with_ancestors(plan(profile, [name])):
        record = store.folder(run.key) / store.RECORD
        digest.update(record.read_bytes() if record.exists() else b"missing")
    return digest.hexdigest()


def is_current(name: str, mark: str) -> bool:
    """True where the executed page exists, carries this fingerprint and its last execution did not fail."""
    try:
        page = nbformat.read(paths.PAGES / f"{name}.ipynb", as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError):
        return False
    return page.metadata.get(FINGERPRINT) == mark


def _mark(name: str, mark: str) -> None:
    """Write into an executed page what it was made from."""
    page = nbformat.read(paths.PAGES / f"{name}.ipynb", as_version=4)
    page.metadata[FINGERPRINT] = mark
    nbformat.write(page, paths.PAGES / f"{name}.ipynb")


def execute_all(
    names: Sequence[str], profile: Profile, jobs: int, report: Callable[[str], None], fresh: bool = False
) -> list[str]:
    """Execute the notebooks that are not current, `jobs` at a time; returns the names of those that failed."""
    paths.PAGES.mkdir(parents=True, exist_ok=True)
    stale = [name for name in names if fresh or not is_current(name, fingerprint(name, profile))]
    errors = {}
    with ProcessPoolExecutor(max(jobs, 1), get_context("spawn"), rendering.prepare) as pool:
        tasks = {pool.submit(rendering.execute, name, profile.name): name for name in stale}
        for task in as_completed(tasks):
            errors[tasks[task]] = task.result()
            if not task.result():
                _mark(tasks[task], fingerprint(tasks[task], profile))
    for name in names:
        outcome = f"failed: {errors[name]}" if errors.get(name) else "executed" if name in errors else "unchanged"
        report(f"notebook {name}: {outcome}")
    return [name for name in names if errors.get(name)]


def fill_gaps() -> None:
    """Give every notebook without an executed page one that says so, so that the book builds and no link breaks."""
    for name in notebooks():
        target = paths.PAGES / f"{name}.ipynb"
        if not target.exists():
            page = nbformat.read(paths.NOTEBOOKS / f"{name}.ipynb", as_version=4)
            page.cells.insert(
                1, nbformat.v4.new_markdown_cell("**Not executed yet:** run `make book` to compute this page.")
            )
            nbformat.write(page, target)


def choices() -> list[dict[str, str]]:
    """Every `# ours:` and `# paper:` comment of the module and the notebooks, with the comment lines below it: kind,
    text, file, place (the line; of a notebook the code cell, both from 1)."""
    found = []
    for path in sorted((paths.ROOT / "replication").rglob("*.py")):
        found += _choices(path.read_text(), lambda line, path=path: (paths.shown(path), f"line {line}"))
    for path in sorted(paths.NOTEBOOKS.glob("*.ipynb")):
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        for number, cell in enumerate(cells, 1):
            found += _choices(cell.source, lambda _, path=path, number=number: (path.name, f"code cell {number}"))
    return found


def _choices(source: str, where: Callable[[int], tuple[str, str]]) -> list[dict[str, str]]:
    """The choices among the lines of `source`; where: file and place of a line, from 1."""
    found, going_on = [], False
    for number, line in enumerate(source.splitlines(), 1):
        start, more = re.match(r"\s*# (ours|paper): (.+)", line), re.match(r"\s*# (.+)", line)
        if start:
            file, place = where(number)
            found.append({"kind": start[1], "text": start[2], "file": file, "place": place})
        elif more and going_on:
            found[-1]["text"] += " " + more[1]
        going_on = bool(start or (more and going_on))
    return found


def write_deviations(rows: Iterable[dict[str, str]]) -> None:
    """Write book/pages/deviations.md: what the paper leaves open and how this replication decides it."""
    head = (paths.BOOK / "deviations_head.md").read_text()
    lists = {
        kind: [f"- {r['text']} <br><small>`{r['file']}`, {r['place']}</small>" for r in rows if r["kind"] == kind]
        for kind in ("ours", "paper")
    }
    text = head.replace("{ours}", "\n".join(lists["ours"])).replace("{paper}", "\n".join(lists["paper"]))
    paths.PAGES.mkdir(parents=True, exist_ok=True)
    target = paths.PAGES / "deviations.md"
    if not target.exists() or target.read_text() != text:
        target.write_text(text)


def build_html() -> str:
    """Build the book with every warning an error; returns the last lines of the log where it fails, "" otherwise."""
    fill_gaps()
    write_deviations(choices())
    paths.LINKED.mkdir(parents=True, exist_ok=True)
    start = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", start, "build", str(paths.BOOK), "-n", "-W", "--keep-going"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    )
    return "" if done.returncode == 0 else "\n".join((done.stdout + done.stderr).splitlines()[-40:])


def build(profile: Profile, only: Sequence[str], jobs: int, report: Callable[[str], None], fresh: bool = False) -> bool:
    """Execute the notebooks and build the book; True where nothing failed. One failing notebook stops no other."""
    failed = execute_all(notebooks(only), profile, jobs, report, fresh)
    problem = build_html()
    report(problem or f"book: {paths.shown(paths.HTML / 'index.html')}")
    return not failed and not problem
