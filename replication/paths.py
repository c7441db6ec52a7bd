"""Every folder of the project, once."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def _folder(name: str, default: Path | None) -> Path | None:
    """The folder that the variable REPLICATION_`name` names, else `default`; an empty one counts as unset.

    A relative one is named absolutely from here on, since kernels and workers start in another folder.
    """
    variable = f"REPLICATION_{name}"
    if not os.environ.get(variable):
        return default
    os.environ[variable] = str(Path(os.environ[variable]).absolute())
    return Path(os.environ[variable])


DATA = ROOT / "data"
MNIST = DATA / "mnist"
FASHION = DATA / "fashion_mnist"
CIFAR = _folder("CIFAR", DATA / "cifar10")
PAPER = DATA / "paper"
MODELS = DATA / "models"  # runs that come with the repository
RECORDED = DATA / "recorded"  # records, without weights, of long runs that come with the repository
RUNS = _folder("RUNS", DATA / "runs")

NOTEBOOKS = _folder("NOTEBOOKS", ROOT / "notebooks")
BOOK = _folder("BOOK", ROOT / "book")
PAGES = BOOK / "pages"  # executed notebooks and generated pages
EXTRA = BOOK / "extra"  # copied as it is into the root of the built book
LINKED = EXTRA / "data"  # the CSV and JSON behind each table and figure, which the pages link
# where a notebook writes them: the build, whose pages the links are for, says so to its kernels; nobody else: nowhere
TABLES = _folder("TABLES", None)
HTML = BOOK / "_build" / "html"

LOCK = ROOT / "requirements.lock"


def shown(path: Path) -> str:
    """`path` as a reader would type it from the repository's root."""
    path = Path(path).absolute()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
