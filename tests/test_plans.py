"""Which runs the book needs: the keys of all of them, and what the commands make of a notebook's name."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from replication import paths
from replication.claims import registry
from replication.commands import main as commands
from replication.runs import profiles, scheduler

KEYS = json.loads((Path(__file__).parent / "keys.json").read_text())  # recorded ones, and by notebook: of the laptop
EVERYTHING = ("introduction", "provenance", "scorecard")


def keys(runs) -> set[str]:
    return {run.key for run in runs}


@pytest.mark.parametrize("name", ["smoke", "laptop", "full"])
def test_runs_of_a_profile_keep_their_keys(name: str):
    assert len(KEYS[name]) == {"smoke": 119, "laptop": 1270, "full": 2168}[name]
    found = registry.plan(profiles.get(name))
    assert keys(found) == set(KEYS[name]) and len(found) == len(KEYS[name])


@pytest.mark.parametrize("notebook", [*KEYS["notebooks"], *EVERYTHING])
def test_runs_of_a_notebook_keep_their_keys(notebook: str):
    wanted = KEYS["laptop"] if notebook in EVERYTHING else KEYS["notebooks"][notebook]
    assert keys(registry.plan(profiles.get("laptop"), [notebook])) == set(wanted)


def test_every_notebook_is_among_them():
    assert {*KEYS["notebooks"], *EVERYTHING} == set(registry.notebooks())


def test_recorded_runs_keep_their_keys():
    laptop = profiles.get("laptop")
    assert keys(registry.recorded(laptop)) == set(KEYS["recorded"])
    assert registry.with_sparse_weights(laptop) == set(KEYS["with_sparse_weights"])


def test_slowest_networks_come_first():
    found = [run.network for run in registry.plan(profiles.get("laptop")) if run.network in registry.ORDER]
    assert found == sorted(found, key=registry.ORDER.index)


@pytest.mark.parametrize("notebook", ["paper_arithmetic", "new_page"])
def test_a_notebook_without_runs_computes_nothing(notebook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / f"{notebook}.ipynb").write_text("")
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    computed = []
    monkeypatch.setattr(scheduler, "compute", lambda plan, *_: computed.extend(plan) or [])
    done = CliRunner().invoke(commands.main, ["run", "--only", notebook])
    assert done.exit_code == 0 and computed == []
    assert done.output.startswith("0 runs of the profile laptop")
    assert registry.plan(profiles.get("laptop"), []) == []
