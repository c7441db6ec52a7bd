"""The functions that a notebook defines, for tests of their values."""

import ast
from types import SimpleNamespace

import nbformat

from replication import paths


def functions(name: str) -> SimpleNamespace:
    """What notebook `name` imports and defines: functions, classes, and constants (assigned names in capitals)."""
    cells = nbformat.read(paths.NOTEBOOKS / f"{name}.ipynb", as_version=4).cells
    nodes = [node for cell in cells if cell.cell_type == "code" for node in ast.parse(cell.source).body]
    kinds = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef
    wanted = [node for node in nodes if isinstance(node, kinds) or _constant(node)]
    space: dict = {"__name__": name}
    exec(compile(ast.Module(wanted, []), f"{name}.ipynb", "exec"), space)
    return SimpleNamespace(**space)


def _constant(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else []
    return bool(targets) and all(isinstance(target, ast.Name) and target.id.isupper() for target in targets)
