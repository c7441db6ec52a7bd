"""What the built book costs: its html, of which each page in starts of Jupyter Book alone. Run by `make benchmark`."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[2] / "book"
BUILD = "from replication.commands import book; print(book.build_html(), end='')"


def seconds(*command: str) -> float:
    """Wall time of a command that has to succeed and say nothing of a fault."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", *command], capture_output=True, text=True, check=True)
    if "WARNING" in done.stdout or "ERROR" in done.stdout:
        sys.exit(done.stdout)
    return time.perf_counter() - start


with tempfile.TemporaryDirectory() as folder:
    copy = Path(shutil.copytree(HERE, Path(folder) / "book", ignore=shutil.ignore_patterns("_build")))
    os.environ["REPLICATION_BOOK"] = str(copy)
    alone, whole = seconds("import jupyter_book.cli.main, sphinx.application"), seconds(BUILD)
    html = copy / "_build" / "html"
    pages = len([page for page in html.rglob("*.html") if "_static" not in page.parts])
    size = sum(path.stat().st_size for path in html.rglob("*") if path.is_file())
print(f"html of {pages} pages, all of it anew: {whole:.1f} s, {size / 1e6:.1f} MB")
print(f"a page: {whole / pages / alone:.2f} starts of Jupyter Book")
