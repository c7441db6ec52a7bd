"""The module is a house of rooms: a room imports only rooms before it, and says in its docstring what lives there."""

import ast
import subprocess
import sys
import types
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from replication import paths

PACKAGE = "replication"
GROUND = "ground"  # the modules that lie in no room
FIRST = {"networks": (), "storage": (), "data": ("networks", "storage"), "training": ("networks", "data", "storage")}
PRUNED = (*FIRST, "pruning")
MAY = FIRST | {
    "pruning": tuple(FIRST),
    "runs": PRUNED,
    "claims": (*PRUNED, "runs"),
    "report": (*PRUNED, "runs", "claims"),
    "imagenet": (*PRUNED, "runs", "claims"),
    "commands": (*PRUNED, "runs", "claims", "report", "imagenet"),
}

FILES, LINES = 8, 250  # of a room, its `__init__` among them; of a file


def room(parts: tuple[str, ...]) -> str:
    """The room of a module, named by its parts below the package; what is in no room is the ground."""
    return parts[0] if parts and parts[0] in MAY else GROUND


def imported(file: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Line and room of every import of ours in `file`, those in functions and for types alike; root: the package."""
    package = (PACKAGE, *file.relative_to(root).parent.parts)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            module = [*start, *(node.module.split(".") if node.module else [])]
            names = [[*module, alias.name] for alias in node.names]
        else:
            continue
        yield from ((node.lineno, room(tuple(name[1:]))) for name in names if name[0] == PACKAGE)


def against_the_order(root: Path) -> list[tuple[str, int, str]]:
    """File, line and room of every import that a room may not make."""
    found = []
    for file in sorted(root.rglob("*.py")):
        name = file.relative_to(root)
        own = room(name.parts)
        if name.parts == ("__main__.py",):
            continue  # the door leads into the last room
        allowed = {GROUND} if own == GROUND else {GROUND, own, *MAY[own]}
        found += [(name.as_posix(), line, other) for line, other in imported(file, root) if other not in allowed]
    return found


def test_a_room_imports_only_rooms_before_it():
    found = against_the_order(paths.ROOT / PACKAGE)
    wrong = [f"{PACKAGE}/{file}, line {line}: imports {other}" for file, line, other in found]
    assert not wrong


def test_rooms_follow_one_another_so_that_there_is_no_circle():
    for place, (name, others) in enumerate(MAY.items()):
        assert set(others) <= set(list(MAY)[:place]), name
    folders = {path.parent.name for path in (paths.ROOT / PACKAGE).glob("*/*.py")}
    assert folders == set(MAY)


@pytest.mark.parametrize("name", MAY)
def test_a_room_has_few_files(name: str):
    files = sorted(path.name for path in (paths.ROOT / PACKAGE / name).glob("*.py"))
    assert len(files) <= FILES, files


def test_files_are_short():
    lines = {str(path): len(path.read_text("utf-8").splitlines()) for path in (paths.ROOT / PACKAGE).rglob("*.py")}
    assert not {path: count for path, count in lines.items() if count > LINES}


@pytest.mark.parametrize(
    "line",
    [
        "from ..runs import store",
        "from .. import paths, runs",
        "from ..runs.spec import Run",
        "import replication.runs.spec",
        "from replication import runs",
        "from replication.runs import Run",
        "def late():\n    from ..runs import Run",
    ],
)
def test_every_way_to_import_a_later_room_is_seen(tmp_path: Path, line: str):
    (tmp_path / "pruning").mkdir()
    (tmp_path / "pruning" / "masks.py").write_text(f"from ..networks import build\nfrom . import search\n{line}\n")
    expected = 2 + len(line.splitlines())
    assert against_the_order(tmp_path) == [("pruning/masks.py", expected, "runs")]


@pytest.mark.parametrize("name", MAY)
def test_a_room_gives_its_public_names_and_says_what_it_is(name: str):
    package = import_module(f"{PACKAGE}.{name}")
    assert package.__doc__ and "Imports" in package.__doc__
    for public in getattr(package, "__all__", ()):
        assert not isinstance(getattr(package, public), types.ModuleType), public  # hidden by a module of that name
    with pytest.raises(AttributeError, match=f"'{PACKAGE}.{name}' has no attribute 'no_such_name'"):
        _ = package.no_such_name


def test_naming_a_room_loads_no_torch():
    look = f"import sys; from {PACKAGE} import {', '.join(MAY)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], cwd=paths.ROOT).returncode == 0
