"""What the pages tell a reader to type works."""

import re
from pathlib import Path

import pytest
import torch

from replication import networks, paths, storage
from replication.commands import shipping
from replication.commands.main import main


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "book/rerun.md"])
def test_five_lines_prune_ones_own_network_and_store_it(page: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (example,) = (block for block in blocks(paths.ROOT / page, "python") if "prune_network" in block)
    assert len([line for line in example.splitlines() if re.match(r"[a-z]", line) and "import" not in line]) <= 5
    space: dict = {}
    exec(compile(example, page, "exec"), space)
    pruned, (path,) = space["pruned"], tmp_path.iterdir()
    (*_, last), table = pruned.rounds.to_dict("records"), capsys.readouterr().out
    assert table.split()[:3] == ["round", "density", "rate"]
    assert last["rate"] > 2 and last["errors_after"] < 300 and last["images"] == 5_000
    stored = storage.load_sparse(path)
    assert all(torch.equal(tensor, stored[name]) for name, tensor in space["net"].state_dict().items())
    kept = sum(int(weight.count_nonzero()) for weight in networks.weights(space["net"]).values())
    assert kept == sum(int(mask.sum()) for mask in pruned.masks.values())
    if page == "book/rerun.md":
        by_hand = next(block for block in blocks(paths.ROOT / page, "python") if "choose_qualities" in block)
        exec(compile(by_hand, page, "exec"), space)
        share, errors = re.fullmatch(r"([\d.]+) % kept, (\d+) errors of 10,000\n", capsys.readouterr().out).groups()
        assert float(share) < 100 * last["density"] and int(errors) < 600


def test_example_of_loading_a_pruned_network_says_what_the_file_scores(capsys, monkeypatch):
    monkeypatch.chdir(paths.ROOT)
    (example,) = (block for block in blocks(paths.ROOT / "README.md", "python") if "load_sparse" in block)
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
