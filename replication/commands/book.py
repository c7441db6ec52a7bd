"""Notebooks -> executed pages -> the built book."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import active_children, get_context
from pathlib import Path

from filelock import FileLock, Timeout

from .. import paths
from ..claims.registry import notebooks, plan
from ..report import imagenet_pages
from ..runs import store
from ..runs.profiles import Profile
from ..runs.spec import with_ancestors
from ..storage import files
from . import deviations, rendering

CONTEXT = get_context("spawn")
FINGERPRINT = "replication_fingerprint"  # in an executed page's metadata: what it was made from


def fingerprint(name: str, profile: Profile) -> str:
    """Hash of all that a page depends on: its notebook, the module, the paper's numbers and the runs it reads."""
    digest = hashlib.sha256(repr(profile).encode())
    notebook = paths.NOTEBOOKS / f"{name}.ipynb"
    sources = [notebook, *_module(), *paths.PAPER.glob("*.csv")]
    if b"imagenet_pages" in notebook.read_bytes():  # shows whatever runs on image folders there are
        sources += imagenet_pages.record_files()
    for path in sorted(sources):
        digest.update(path.read_bytes())
    for run in with_ancestors(plan(profile, [name])):
        record = store.folder(run.key) / store.RECORD
        digest.update(record.read_bytes() if record.exists() else b"missing")
    return digest.hexdigest()


def _module() -> list[Path]:
    return sorted((paths.ROOT / "replication").rglob("*.py"))


def _write(page: dict, name: str) -> None:
    files.replace(paths.PAGES / f"{name}.ipynb", [json.dumps(page, indent=1, ensure_ascii=False).encode()])


def is_current(name: str, mark: str) -> bool:
    """True where the executed page exists, carries this fingerprint and its last execution did not fail."""
    page = rendering.notebook(paths.PAGES / f"{name}.ipynb")
    return page is not None and page["metadata"].get(FINGERPRINT) == mark


def _mark(name: str, mark: str) -> None:
    """Write into an executed page what it was made from."""
    page = rendering.notebook(paths.PAGES / f"{name}.ipynb")
    page["metadata"][FINGERPRINT] = mark
    _write(page, name)


def execute_all(
    names: Sequence[str], profile: Profile, jobs: int, report: Callable[[str], None], fresh: bool = False
) -> list[str]:
    """Execute the notebooks that are not current, `jobs` at a time; returns the names of those that failed."""
    paths.PAGES.mkdir(parents=True, exist_ok=True)
    stale = [name for name in names if fresh or not is_current(name, fingerprint(name, profile))]
    errors = _execute(stale, profile, max(jobs, 1))
    for name in names:
        outcome = f"failed: {errors[name]}" if errors.get(name) else "executed" if name in errors else "unchanged"
        report(f"notebook {name}: {outcome}")
    return [name for name in names if errors.get(name)]


def _execute(names: Sequence[str], profile: Profile, jobs: int) -> dict[str, str]:
    """Execute these notebooks; returns the error of each ("": none). An interrupted build ends its processes at once.

    Each of `jobs` processes takes one notebook after the other: where one is killed, no other page is.
    """
    left, errors, running = list(reversed(names)), {}, {}
    start = partial(ProcessPoolExecutor, 1, CONTEXT, rendering.prepare)
    idle = [start() for _ in range(jobs)]
    try:
        while left or running:
            while left and idle:
                process, name = idle.pop(), left.pop()
                running[process.submit(rendering.execute, name, profile.name)] = process, name
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                process, name = running.pop(future)
                try:
                    errors[name] = future.result()
                except BrokenProcessPool:
                    errors[name], process = "its process was killed (out of memory?): repeat the command", start()
                idle.append(process)
                if not errors[name]:
                    _mark(name, fingerprint(name, profile))
                elif not _shows_error(name):
                    _without_results(name, f"**Failed:** {errors[name]}")
    except BaseException:
        for child in active_children():
            child.kill()
        raise
    for process in idle:
        process.shutdown()
    return errors


def _shows_error(name: str) -> bool:
    """Whether the page says itself that it failed; where its kernel was killed it does not."""
    page = rendering.notebook(paths.PAGES / f"{name}.ipynb")
    outputs = [output for cell in page["cells"] for output in cell.get("outputs", ())] if page else []
    return any(output["output_type"] == "error" for output in outputs)


def _without_results(name: str, why: str) -> None:
    """Write the page as its source and a sentence (Markdown) that says why it has no results."""
    empty = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [_markdown("title", f"# {name}")]}
    page = rendering.notebook(paths.NOTEBOOKS / f"{name}.ipynb") or empty
    page["cells"].insert(1, _markdown("why", why))
    _write(page, name)


def _markdown(identity: str, source: str) -> dict:
    return {"cell_type": "markdown", "id": identity, "metadata": {}, "source": source}


def fill_gaps() -> None:
    """Give every notebook without an executed page one that says so, so that the book builds and no link breaks."""
    for name in notebooks():
        if not rendering.notebook(paths.PAGES / f"{name}.ipynb"):
            _without_results(name, "**Not executed yet:** run `make book` to compute this page.")


def build_html() -> str:
    """Build the book with every warning an error; returns the last lines of the log where it fails, "" otherwise.

    A book that was built from the same pages, settings and module is left as it is.
    """
    fill_gaps()
    deviations.write(deviations.choices())
    paths.LINKED.mkdir(parents=True, exist_ok=True)
    made_from, mark = paths.BOOK / "_build" / ".made_from", _sources()
    if made_from.exists() and made_from.read_text() == mark:
        return ""
    made_from.unlink(missing_ok=True)
    for builder in ("html", "singlehtml"):  # every page, and one page of all of them
        done = _jupyter_book("build", str(paths.BOOK), "--builder", builder, "-n", "-W", "--keep-going")
        if done.returncode != 0:
            return "\n".join((done.stdout + done.stderr).splitlines()[-40:])
    made_from.write_text(mark)
    return ""


def _jupyter_book(*arguments: str) -> subprocess.CompletedProcess:
    """Run Jupyter Book in a process that ends with this one, lest it writes beside the next build."""
    start = f"from replication import progress; progress.end_with_parent({os.getpid()}); "
    start += "from jupyter_book.cli.main import main; main()"
    variables = {"PYDEVD_DISABLE_FILE_VALIDATION": "1", "PYTHONUTF8": "1"}  # whatever the locale, which it prints past
    command = [sys.executable, "-c", start, *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", env=os.environ | variables)


def _sources() -> str:
    """Hash of all that the book is built from: its folder but what is built, and the module that it documents."""
    digest = hashlib.sha256()
    own = [path for path in sorted(paths.BOOK.rglob("*")) if path.is_file() and paths.HTML.parent not in path.parents]
    for path in [*own, *_module(), paths.LOCK]:
        digest.update(str(path).encode() + path.read_bytes())
    return digest.hexdigest()


@contextmanager
def _alone(report: Callable[[str], None]) -> Iterator[None]:
    """Hold the book against other builds: one that comes later waits until this one has ended or was killed."""
    try:
        paths.PAGES.mkdir(parents=True, exist_ok=True)
        held = FileLock(paths.PAGES / ".lock")
        try:
            held.acquire(0)
        except Timeout:
            report(f"another build writes {paths.shown(paths.BOOK)}: this one waits for its end")
            held.acquire()
    except OSError as error:
        way_out = "set REPLICATION_BOOK to a copy of the folder book"
        raise files.cannot_write(paths.PAGES, error, way_out, "the pages made so far are kept") from None
    try:
        yield
    finally:
        held.release()


def build(profile: Profile, only: Sequence[str], jobs: int, report: Callable[[str], None], fresh: bool = False) -> bool:
    """Execute the notebooks and build the book; True where nothing failed. One failing notebook stops no other.

    A build that does not come to its end leaves a file behind, and the next one starts from nothing: what Sphinx
    remembers of a half-built book would keep pages out of the search.
    """
    with _alone(report):
        unfinished = paths.PAGES / ".unfinished"
        if unfinished.exists():
            report("the last build was not finished: pages and book are made again")
            fresh = True
            shutil.rmtree(paths.BOOK / "_build", ignore_errors=True)
        unfinished.touch()
        failed = execute_all(notebooks(only), profile, jobs, report, fresh)
        problem = build_html()
        if not problem:
            unfinished.unlink()
    report(problem or f"book: {paths.shown(paths.HTML / 'index.html')}")
    return not failed and not problem
