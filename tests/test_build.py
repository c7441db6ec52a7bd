"""The build when it is killed, when two run at once, and when a notebook's kernel or process is killed."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import psutil
import pytest
import yaml
from filelock import FileLock
from test_imagenet_pages import fill

from replication import paths
from replication.commands import book, deviations
from replication.report import imagenet_pages
from replication.runs import profiles

SMOKE = profiles.get("smoke")
SOURCES = {
    "fine": "from replication.report import show\nshow.say('Computed.')",
    "kernel": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "last": "from replication.report import show\nshow.say('Computed.')",
    "process": "import os, psutil\npsutil.Process(os.getppid()).parent().kill()  # which forked what forked this",
}


@pytest.fixture
def small(tmp_path: Path) -> dict[str, str]:
    """A book of four notebooks that read no runs; returns the variables that name its folders."""
    folder, notebooks = tmp_path / "book", tmp_path / "notebooks"
    shutil.copytree(paths.BOOK, folder, ignore=shutil.ignore_patterns("_build", "pages", "extra"))
    (folder / "deviations_head.md").write_text("# Deviations\n")  # without links to other pages
    notebooks.mkdir()
    chapters = [{"file": f"pages/{name}"} for name in ("kernel", "last", "process", "deviations")]
    (folder / "_toc.yml").write_text(yaml.safe_dump({"format": "jb-book", "root": "pages/fine", "chapters": chapters}))
    for name, source in SOURCES.items():
        cells = [nbformat.v4.new_markdown_cell(f"# {name}"), nbformat.v4.new_code_cell('profile: str = "laptop"')]
        cells[1].metadata["tags"] = ["parameters"]
        page = nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell(source)])
        page.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(page, notebooks / f"{name}.ipynb")
    names = {"BOOK": folder, "NOTEBOOKS": notebooks, "RUNS": tmp_path / "runs"}
    return {f"REPLICATION_{name}": str(each) for name, each in names.items()}


def start(variables: dict[str, str], *only: str) -> subprocess.Popen:
    """`build` of these notebooks, one process for each."""
    options = [word for name in only for word in ("--only", name)]
    return subprocess.Popen(
        [sys.executable, "-m", "replication", "build", "--profile", "smoke", "--jobs", "2", *options],
        env=os.environ | variables,
        cwd=paths.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(process: subprocess.Popen, start: str) -> Iterator[str]:
    """The lines that the command prints, up to one that starts so."""
    for line in process.stdout:
        yield line.strip()
        if line.startswith(start):
            return
    raise AssertionError(f"{start!r} was not printed: {process.stderr.read()}")


def processes_of(build: subprocess.Popen) -> list[psutil.Process]:
    """What a build has started, once it makes the book."""
    while build.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            found = psutil.Process(build.pid).children(recursive=True)
            if any("jupyter_book" in " ".join(process.cmdline()) for process in found):
                return found
        time.sleep(0.05)
    raise AssertionError(f"the book was not made: {build.stderr.read()}")


def found_by_search(folder: Path) -> set[str]:
    """The pages that the search index of a built book knows."""
    text = (folder / "_build" / "html" / "searchindex.js").read_text()
    return set(json.loads(re.search(r'"?docnames"?:\s*(\[.*?\])', text)[1]))


def test_killed_build_is_done_again_from_its_start(small: dict[str, str]):
    folder, both = Path(small["REPLICATION_BOOK"]), ("fine", "last")
    first = start(small, *both)
    lines = list(until(first, "notebook last"))
    assert lines == [
        f"0 runs of the profile smoke are stored in {small['REPLICATION_RUNS']}",
        "notebook fine: executed",
        "notebook last: executed",
    ]
    left = processes_of(first)
    first.kill()  # after the pages, before the book
    first.communicate()
    (folder / "_build").mkdir(exist_ok=True)
    (folder / "_build" / "half").touch()
    assert psutil.wait_procs(left, timeout=120)[1] == []
    with FileLock(folder / "pages" / ".lock"):
        second = start(small, *both)
        assert list(until(second, "another"))[1:] == [f"another build writes {folder}: this one waits for its end"]
    rest, error = second.communicate()
    assert (second.returncode, error) == (0, "")
    assert rest.splitlines() == [
        "the last build was not finished: pages and book are made again",
        "notebook fine: executed",
        "notebook last: executed",
        f"book: {folder / '_build' / 'html' / 'index.html'}",
    ]
    assert not (folder / "_build" / "half").exists()
    assert found_by_search(folder) == {f"pages/{name}" for name in (*SOURCES, "deviations")}
    third = start(small, *both)
    assert "notebook fine: unchanged\nnotebook last: unchanged\n" in third.communicate()[0]
    assert third.returncode == 0


def test_killed_kernel_and_killed_process_fail_their_own_pages_alone(small: dict[str, str]):
    folder = Path(small["REPLICATION_BOOK"])
    done = start(small)
    lines, error = done.communicate()
    assert (done.returncode, error) == (1, "Error: the book was built with errors: see above\n")
    _, fine, kernel, last, process, _ = lines.splitlines()
    assert (fine, last) == ("notebook fine: executed", "notebook last: executed")
    assert kernel == "notebook kernel: failed: Kernel died"
    assert process == "notebook process: failed: its process was killed (out of memory?): repeat the command"
    html = folder / "_build" / "html" / "pages"
    assert "Failed: Kernel died" in text(html / "kernel.html")
    assert "Failed: its process was killed" in text(html / "process.html")
    assert "Computed." in text(html / "fine.html") and "Computed." in text(html / "last.html")


def test_interrupted_build_executes_no_further_page_and_ends_its_processes(small: dict[str, str], tmp_path: Path):
    for path in Path(small["REPLICATION_NOTEBOOKS"]).glob("*.ipynb"):
        page = nbformat.read(path, as_version=4)
        begun = tmp_path / f"{path.stem}.begun"
        page.cells[-1].source = f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(3600)"
        nbformat.write(page, path)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
    build = start(small)
    signal.signal(signal.SIGINT, before)
    while len([*tmp_path.glob("*.begun")]) < 2 and build.poll() is None:
        time.sleep(0.05)
    left = psutil.Process(build.pid).children(recursive=True)
    build.send_signal(signal.SIGINT)  # to it alone, as `timeout -s INT` sends it
    try:
        lines, error = build.communicate(timeout=120)
    finally:
        build.kill()
    assert (build.returncode, error.strip()) == (1, "Aborted!")
    assert [line for line in lines.splitlines() if line.startswith("notebook")] == []
    assert psutil.wait_procs(left, timeout=120)[1] == []
    assert len([*tmp_path.glob("*.begun")]) == 2


def text(page: Path) -> str:
    return re.sub("<[^>]*>", "", page.read_text())


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Folders of pages and notebooks of this process alone; returns the first."""
    for name in ("PAGES", "NOTEBOOKS"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
        (tmp_path / name.lower()).mkdir()
    nbformat.write(nbformat.v4.new_notebook(), paths.NOTEBOOKS / "other.ipynb")
    return paths.PAGES


@pytest.mark.parametrize("content", ["", "{", "[]", '{"cells": []}', '{"nbformat": 4}', "\xff"])
def test_damaged_page_is_not_current_and_is_replaced(folders: Path, content: str):
    (folders / "other.ipynb").write_bytes(content.encode("latin-1"))
    assert not book.is_current("other", "mark")
    book.fill_gaps()
    assert "Not executed yet" in nbformat.read(folders / "other.ipynb", as_version=4).cells[-1].source


def test_damaged_notebook_gets_a_page_that_says_so(folders: Path):
    (paths.NOTEBOOKS / "other.ipynb").write_text("{")
    book.fill_gaps()
    title, why = nbformat.read(folders / "other.ipynb", as_version=4).cells
    assert title.source == "# other" and "Not executed yet" in why.source
    assert [row for row in deviations.choices() if row["file"] == "other.ipynb"] == []  # and stops no other page


def test_pages_that_show_runs_on_image_folders_notice_new_ones(store: Path):
    names = [path.stem for path in paths.NOTEBOOKS.glob("*.ipynb")]
    before = {name: book.fingerprint(name, SMOKE) for name in names}
    chain = fill("imagenet-a", 100)
    after = {name: book.fingerprint(name, SMOKE) for name in names}
    changed = {name for name in names if before[name] != after[name]}
    figures = {"figure5_tradeoff", "figure6_sensitivity", "figure7_weights"}
    judged = {"introduction", "scorecard"}  # a run on all of ImageNet takes a stand-in's place
    assert changed == {"table1_summary", "table4_alexnet", "table5_vgg16", *figures, *judged}
    record = store / chain[0].key / "record.json"
    record.write_text(record.read_text()[:-10])  # damaged: the page names it
    assert record in imagenet_pages.record_files()
    assert book.fingerprint("table4_alexnet", SMOKE) != after["table4_alexnet"]
    assert book.fingerprint("table6_methods", SMOKE) == before["table6_methods"]
