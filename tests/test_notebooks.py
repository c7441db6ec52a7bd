"""The notebooks as sources: no outputs, documented parameters, no code that belongs in the module."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest

from replication import paths

SOURCES = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
each = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def code(source: Path) -> list:
    return [cell for cell in nbformat.read(source, as_version=4).cells if cell.cell_type == "code"]


@each
def test_is_valid_and_has_no_outputs(source: Path):
    nbformat.validate(nbformat.read(source, as_version=4))
    assert all(not cell.outputs and cell.execution_count is None for cell in code(source))


@each
def test_first_code_cell_alone_holds_the_parameters(source: Path):
    tagged = ["parameters" in cell.metadata.get("tags", []) for cell in code(source)]
    assert tagged == [True] + [False] * (len(tagged) - 1)
    assert all(isinstance(node, ast.AnnAssign) for node in ast.parse(code(source)[0].source).body)


LIVE = ("tutorial", "prune_your_own")  # all visible, computed while the page is made


@each
def test_pages_show_results_and_fold_code_away(source: Path):
    parameters, *rest = code(source)
    assert parameters.metadata["tags"] == ["parameters", "remove-cell"]
    tags = [cell.metadata.get("tags", ()) for cell in rest]
    if source.stem in LIVE:  # everything is visible but what puts the result at the page's top
        assert [tag for tag in tags if tag] == [["remove-input"]] * 2
    else:
        assert all(tag in [["hide-input"], ["remove-input"]] for tag in tags)


@each
def test_result_comes_first(source: Path):
    cells = nbformat.read(source, as_version=4).cells
    assert [cell.cell_type for cell in cells[:3]] == ["markdown", "code", "code"]
    assert cells[0].source.count("\n") == 0


@each
def test_cells_are_few_and_short(source: Path):
    assert 6 <= len(code(source)) <= 20
    assert max(len(cell.source.splitlines()) for cell in code(source)) <= 40


@each
def test_trains_nothing_by_hand(source: Path):
    for cell in code(source):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("backward", "step", "zero_grad")


@each
def test_opens_with_a_title_and_ends_in_words(source: Path):
    cells = nbformat.read(source, as_version=4).cells
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.startswith("# ")
    assert sum(line.startswith("# ") for c in cells if c.cell_type == "markdown" for line in c.source.split("\n")) == 1


@each
def test_every_parameter_is_explained(source: Path):
    parameters = papermill.inspect_notebook(source)
    assert parameters["profile"]["default"] == '"laptop"'
    for name, parameter in parameters.items():
        assert parameter["help"].strip(), name
        assert parameter["inferred_type_name"] in ("str", "int", "float"), name


@each
def test_every_parameter_is_used(source: Path):
    parameters, *others = code(source)
    used = {n.id for cell in others for n in ast.walk(ast.parse(cell.source)) if isinstance(n, ast.Name)}
    assert {node.target.id for node in ast.parse(parameters.source).body} <= used


@each
def test_opens_the_page_by_its_profile(source: Path):
    assert any("show.start(profile" in cell.source for cell in code(source)[1:3])


def test_unknown_profile_is_named_in_the_executed_page(tmp_path: Path):
    source, target = paths.NOTEBOOKS / "scorecard.ipynb", tmp_path / "out.ipynb"
    done = subprocess.run(
        [sys.executable, "-m", "papermill", source, target, "-p", "profile", "nonsense", "--kernel", "python3"],
        env=os.environ | {"REPLICATION_RUNS": str(tmp_path / "runs")},
        cwd=paths.ROOT,
        capture_output=True,
    )
    assert done.returncode == 1
    (error,) = [out for cell in code(target) for out in cell.outputs if out.output_type == "error"]
    assert error.ename == "ReplicationError"
    assert error.evalue == "unknown profile 'nonsense': choose from smoke, laptop, full"
