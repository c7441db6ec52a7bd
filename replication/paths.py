"""Every folder of the project, once."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

DATA = ROOT / "data"
MNIST = DATA / "mnist"
FASHION = DATA / "fashion_mnist"
CIFAR = Path(os.environ.get("REPLICATION_CIFAR", DATA / "cifar10")).absolute()
PAPER = DATA / "paper"
MODELS = DATA / "models"  # runs that come with the repository
RECORDED = DATA / "recorded"  # records, without weights, of long runs that come with the repository
RUNS = Path(os.environ.get("REPLICATION_RUNS", DATA / "runs")).absolute()

NOTEBOOKS = Path(os.environ.get("REPLICATION_NOTEBOOKS", ROOT / "notebooks")).absolute()
BOOK = Path(os.environ.get("REPLICATION_BOOK", ROOT / "book")).absolute()
PAGES = BOOK / "pages"  # executed notebooks and generated pages
EXTRA = BOOK / "extra"  # copied as it is into the root of the built book
LINKED = EXTRA / "data"  # the CSV and JSON behind each table and figure, which the pages link
# where a notebook writes them: the build, whose pages the links are for, says so to its kernels; nobody else: nowhere
TABLES = Path(os.environ["REPLICATION_TABLES"]).absolute() if os.environ.get("REPLICATION_TABLES") else None
HTML = BOOK / "_build" / "html"

LOCK = ROOT / "requirements.lock"


def shown(path: Path) -> str:
    """`path` as a reader would type it from the repository's root."""
    path = Path(path).absolute()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
