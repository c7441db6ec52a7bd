import json
import os
import subprocess
import sys
from dataclasses import fields, replace

import pytest
import torch
from conftest import small_chain

from replication import paths
from replication.errors import ReplicationError
from replication.pruning import Pruning
from replication.runs import Run, compute, get_or_run
from replication.runs import store as folders
from replication.training import Training

RUN = Run("lenet_300_100", 3, Training(2, 0.1), Pruning(damage=0.1), Run("lenet_300_100", 3, Training(1, 0.1)))
OTHER = {
    Run: {"network": "lenet_5", "seed": 4, "training": Training(2, 0.1, batch_size=1), "pruning": None, "parent": None}
    | {"dataset": "other", "images": 10, "then": (Training(1, 0.1),), "rank": 3, "weights": "torchvision"},
    Training: {"epochs": 9, "learning_rate": 0.9, "schedule": "linear", "warmup": 0.5, "batch_size": 9}
    | {"momentum": 0.5, "weight_decay": 0.5, "l1": 0.5, "augment": True, "precision": "bfloat16"}
    | {"freeze": "fc", "shrink_dropout": True},
    Pruning: {"damage": 0.9, "grid": (0.0, 1.0), "stop": 0.9, "flop_share": 0.9, "qualities": (("fc1", 1.0),)}
    | {"density": 0.5, "images": 10, "method": "uniform", "own_answers": True, "reinitialise": True},
}


def test_the_key_is_the_same_in_every_process():
    assert RUN.key == "96b627d288a5ef39"


@pytest.mark.parametrize("kind", OTHER)
def test_the_key_changes_with_every_setting(kind):
    part = {Run: RUN, Training: RUN.training, Pruning: RUN.pruning}[kind]
    assert {field.name for field in fields(kind)} == set(OTHER[kind])
    for name, value in OTHER[kind].items():
        changed = replace(part, **{name: value})
        run = {
            Run: lambda c: c,
            Training: lambda c: replace(RUN, training=c),
            Pruning: lambda c: replace(RUN, pruning=c),
        }
        assert run[kind](changed).key != RUN.key, name


def test_the_key_changes_with_the_ancestors():
    assert replace(RUN, parent=replace(RUN.parent, seed=9)).key != RUN.key


@pytest.mark.parametrize("seed", ["0", 1.0, None, -1, True, 2**63])
def test_a_seed_that_is_no_whole_number_is_named(seed):
    with pytest.raises(ReplicationError, match=r"the seed is .*: give a whole number"):
        Run("lenet_5", seed, Training(1, 0.1))


def test_the_largest_seed_is_computed(store):
    assert get_or_run(small_chain(seed=2**63 - 1, rounds=1)[1]).run["seed"] == 2**63 - 1


def test_a_chain_is_stored_whole_and_read_again(store):
    chain = small_chain()
    first = [get_or_run(run) for run in chain]
    times = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    second = [get_or_run(run) for run in chain]
    assert [r.values for r in first] == [r.values for r in second]
    assert times == {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    names = {path.name for run in chain for path in (store / run.key).iterdir()}
    assert names == {"record.json", "weights.safetensors"}
    assert first[0].rate == 1 and first[0].rate < first[1].rate < first[2].rate


def test_masks_are_stored_nested_and_their_weights_are_zero(store):
    states = [record.tensors() for record in compute(small_chain(), jobs=1)]
    assert states[0][1] == {}
    for state, masks in states[1:]:
        assert set(masks) == {"fc1", "fc2", "fc3"}
        for name, mask in masks.items():
            assert mask.dtype == torch.bool and (state[f"{name}.weight"][~mask] == 0).all()
    for name, mask in states[2][1].items():
        assert not (mask & ~states[1][1][name]).any()


def weights(store, chain: list[Run]) -> list[bytes]:
    return [(store / run.key / "weights.safetensors").read_bytes() for run in chain]


@pytest.mark.parametrize("network", ["lenet_300_100", "lenet_5"])
def test_the_same_spec_gives_the_same_bits(store, network):
    chain = small_chain(network=network, images=300)
    compute(chain, jobs=1)
    once = weights(store, chain)
    finished = [get_or_run(run).provenance for run in chain]
    compute(chain, jobs=2, fresh=True)
    assert weights(store, chain) == once
    assert all(a != b for a, b in zip(finished, [get_or_run(run).provenance for run in chain]))
    assert not list(store.glob(".new-*")) and not list(store.glob(".old-*"))


def damage(path, how: str) -> None:
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "flipped":
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    else:
        path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("how", ["missing", "truncated", "flipped"])
def test_damaged_weights_are_named_and_nothing_else_suffers(store, how):
    chain = small_chain(rounds=1)
    compute(chain, jobs=1)
    path = store / chain[0].key / "weights.safetensors"
    damage(path, how)
    with pytest.raises(ReplicationError, match=rf"{chain[0].key}/weights\.safetensors is damaged \(.*delete") as error:
        get_or_run(chain[0]).tensors()
    assert "\n" not in str(error.value)
    get_or_run(chain[1]).tensors()
    if how != "missing":
        assert path.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": "0"}', '{"key": "KEY"}'])
def test_a_damaged_record_is_named_and_kept(store, text):
    run = small_chain(rounds=0)[0]
    get_or_run(run)
    path = store / run.key / "record.json"
    path.write_text(text.replace("KEY", run.key))
    with pytest.raises(ReplicationError, match=rf"{run.key}/record\.json is damaged \(.*delete") as error:
        get_or_run(run)
    assert "\n" not in str(error.value) and path.read_text() == text.replace("KEY", run.key)


FILL = """
import resource, sys
from conftest import small_chain
from replication.runs.execution import get_or_run
from replication.errors import ReplicationError
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    get_or_run(small_chain(seed=1, rounds=0)[0])
except ReplicationError as error:
    sys.exit(str(error))
"""


def in_tests(code: str) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], cwd=paths.ROOT / "tests", **pipes)


def test_a_full_disk_loses_nothing(store):
    kept = small_chain(rounds=0)[0]
    get_or_run(kept)
    process = in_tests(FILL)
    _, error = process.communicate()
    assert process.returncode == 1 and error.count("\n") == 1
    assert "cannot write" in error and "free some space" in error and small_chain(seed=1)[0].key in error
    assert folders.stored() == [kept.key] and folders.problems() == []
    assert not list(store.glob(".new-*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_store_is_named(store):
    store.mkdir()
    store.chmod(0o500)
    with pytest.raises(ReplicationError, match=r"cannot write .*make it writable"):
        get_or_run(small_chain(rounds=0)[0])


def test_a_failing_run_stops_its_descendants_and_nothing_else(store):
    good, bad = small_chain(), small_chain(seed=7)
    wild = replace(bad[1], training=Training(1, 1e9))
    child = replace(bad[2], parent=wild)
    lines = []
    with pytest.raises(ReplicationError, match=r"LeNet-300-100 seed 7 round 1: .*lower the learning rate"):
        compute([wild, child, *good], jobs=2, report=lines.append)
    assert set(folders.stored()) == {run.key for run in [bad[0], *good]}
    assert sum("lower the learning rate" in line for line in lines) == 1 and len(lines) == 5


def test_what_a_killed_process_left_is_cleared_and_what_it_set_aside_comes_back(store):
    run = small_chain(rounds=0)[0]
    get_or_run(run)
    (store / run.key).rename(store / f".old-{run.key}")
    (store / f".new-{run.key}").mkdir()
    with folders.lock(run.key):
        assert json.loads((store / run.key / "record.json").read_text())["key"] == run.key
    assert not list(store.glob(".new-*")) and not list(store.glob(".old-*"))
