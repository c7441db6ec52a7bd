"""The pruned networks that come with the repository are whole, small, and score what is said of them.

`python -m replication ship sparse` makes their files.
"""

import pytest
import torch
from click.testing import CliRunner
from test_docs import blocks

from replication import paths, storage
from replication.commands import shipping
from replication.commands.main import main
from replication.networks import registry
from replication.runs import LENETS, chosen, profiles, records


@pytest.mark.parametrize("network", shipping.DTYPES)
def test_shipped_sparse_network_is_the_one_that_its_description_names(network: str):
    state, about = storage.load_sparse(shipping.path(network)), shipping.about(network)
    expected = registry.build(network).state_dict()
    assert {name: tensor.shape for name, tensor in state.items()} == {name: t.shape for name, t in expected.items()}
    assert about["network"] == network and about["images"] is None and about["stage"].startswith("round")
    weights = [tensor for tensor in state.values() if tensor.dim() > 1]
    assert {str(tensor.dtype) for tensor in weights} == {f"torch.{about['dtype']}"}
    kept = sum(int(tensor.count_nonzero()) for tensor in weights)  # fewer where float16 rounds to 0
    assert sum(tensor.numel() for tensor in weights) / kept == pytest.approx(about["rate"], rel=0.01)
    assert about["rate"] > 2


@pytest.mark.parametrize("network", LENETS)
def test_shipped_sparse_lenet_scores_what_its_description_says(network: str):
    about = shipping.about(network)
    assert about["dataset"] == "mnist"
    found = shipping.score(shipping.path(network), about)
    assert found["images"] == about["test"]["images"] == 10_000
    assert abs(found["errors"] - about["test"]["errors"]) <= 2  # another processor may round a tie the other way


def test_example_of_loading_a_sparse_file_runs(monkeypatch):
    (example,) = [code for code in blocks(paths.ROOT / "book" / "rerun.md", "python") if "load_sparse" in code]
    monkeypatch.chdir(paths.ROOT)
    found = {}
    exec(compile(example, "rerun.md", "exec"), found)
    assert (
        shipping.about("lenet_5")["stage"].startswith("round")
        and sum(p.numel() for p in found["state"].values()) == 431_080
    )


def test_shipped_sparse_networks_are_small():
    files = list(paths.MODELS.glob("*.sparse.safetensors"))
    assert {path.name for path in files} == {shipping.path(network).name for network in shipping.DTYPES}
    assert sum(path.stat().st_size for path in files) < 3_000_000


def test_shipping_writes_what_the_run_has(store, tmp_path, monkeypatch):
    monkeypatch.setattr(shipping, "DTYPES", {"lenet_300_100": torch.float32})
    monkeypatch.setattr(paths, "MODELS", tmp_path)
    done = CliRunner().invoke(main, ["ship", "sparse", "--profile", "smoke"])
    assert done.exit_code == 0, done.output
    record = chosen(records("lenet_300_100", profiles.get("smoke", 1))[0])
    state, masks = record.tensors()
    path, about = shipping.path("lenet_300_100"), shipping.about("lenet_300_100")
    packed, rows = storage.load_sparse(path), storage.inspect(path)
    assert packed.keys() == state.keys() and all((packed[name] == state[name]).all() for name in state)
    assert about["run"] == record.key
    assert {split: about[split]["errors"] for split in ("validation", "test")} == {
        split: record.metrics[split]["errors"] for split in ("validation", "test")
    }
    assert all(rows.kept[f"{name}.weight"] <= mask.sum() for name, mask in masks.items())
    assert f"{path.stat().st_size:,} bytes, test error {record.error():.2f} %" in done.output
