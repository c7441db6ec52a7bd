"""What the pages tell a reader to type works."""

import re
from pathlib import Path

import pytest

from replication import paths
from replication.commands import shipping
from replication.commands.main import main


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.DOTALL)


def test_example_of_pruning_ones_own_network_runs(capsys):
    example, *_ = blocks(paths.ROOT / "book" / "rerun.md", "python")
    exec(compile(example, "rerun.md", "exec"), {})
    rate, errors = re.fullmatch(r"([\d.]+)x, (\d+) errors of 10,000\n", capsys.readouterr().out).groups()
    assert float(rate) > 1.5 and int(errors) < 600


def test_example_of_loading_a_pruned_network_says_what_the_file_scores(capsys, monkeypatch):
    monkeypatch.chdir(paths.ROOT)
    (example,) = blocks(paths.ROOT / "README.md", "python")
    exec(compile(example, "README.md", "exec"), {})
    kept, errors = re.fullmatch(r"([\d,]+) weights, (\d+) errors of 10,000\n", capsys.readouterr().out).groups()
    described = shipping.about("lenet_5")
    assert int(errors) == described["test"]["errors"]
    assert 430_500 / int(kept.replace(",", "")) == pytest.approx(described["rate"], rel=1e-3)


@pytest.mark.parametrize("page", ["README.md", "book/rerun.md", "book/scale.md"])
def test_commands_options_and_targets_that_pages_name_exist(page):
    text = "\n".join(blocks(paths.ROOT / page, "bash"))
    targets = (paths.ROOT / "Makefile").read_text()
    assert all(f"\n{target}:" in targets for target in re.findall(r"^make (\w+)", text, re.MULTILINE))
    for name, arguments in re.findall(r"-m replication (\w+)((?:\\\n|[^#\n])*)", text):
        options = {option for parameter in main.get_command(None, name).params for option in parameter.opts}
        assert set(re.findall(r"--[\w-]+", arguments)) <= options
    for notebook in re.findall(r"notebooks/(\w+)\.ipynb", text) + re.findall(r"--only (\w+)", text):
        assert (paths.NOTEBOOKS / f"{notebook}.ipynb").exists()
