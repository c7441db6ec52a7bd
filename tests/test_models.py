"""The runs that come with the repository score what their records say."""

import pytest
import torch

from replication import paths, pruning, training
from replication.claims.registry import with_sparse_weights
from replication.data import cifar, datasets, idx_files
from replication.errors import ReplicationError
from replication.networks import registry
from replication.runs import Record, profiles, recipes, store


@pytest.fixture(scope="module")
def photographs() -> datasets.Dataset:
    """CIFAR-10, fetched where it is not there yet."""
    try:
        cifar.cifar10_bytes()
    except ReplicationError as error:
        pytest.skip(f"CIFAR-10 cannot be had: {error}")
    return datasets.load("cifar10")


def test_shipped_runs_are_the_references_and_small():
    assert set(store.stored("shipped")) == {run.key for run in recipes.REFERENCES.values()}
    files = [path for path in paths.MODELS.glob("*/*") if path.is_file()]
    assert {path.name for path in files} == {"record.json", "weights.safetensors"}
    assert sum(path.stat().st_size for path in files) < 15_000_000


@pytest.mark.parametrize("network", recipes.REFERENCES)
def test_shipped_network_scores_what_its_record_says(photographs: datasets.Dataset, network: str):
    record = Record(store.load_record(recipes.REFERENCES[network].key))
    state, masks = record.tensors()
    assert masks == {} and all(tensor.dtype == torch.float32 for tensor in state.values())
    net = registry.build(network)
    net.load_state_dict(state)
    for split in ("validation", "test"):
        score = training.evaluate(net, getattr(photographs, split))
        assert score.images == record.metrics[split]["images"]
        # another processor may round a tie the other way
        assert abs(score.errors - record.metrics[split]["errors"]) <= 2
    assert record.error() < {"alexnet_32": 14.5, "vgg16_32": 12}[network]


SPARSEST = sorted(path.parent.name for path in paths.RECORDED.glob(f"*/{store.SPARSE}"))


def test_the_sparsest_networks_come_with_their_weights():
    assert set(SPARSEST) == with_sparse_weights(profiles.get("laptop"))


def test_all_weights_in_the_repository_are_below_20_mb():
    files = [path for folder in (paths.MODELS, paths.RECORDED) for path in folder.rglob("*.safetensors")]
    assert sum(path.stat().st_size for path in files) < 20_000_000


@pytest.mark.parametrize("key", SPARSEST)
def test_a_sparse_network_scores_what_its_record_says(key: str, request: pytest.FixtureRequest):
    record = Record(store.load_record(key))
    state, masks = record.tensors()
    assert 1 / pruning.density(masks) == pytest.approx(record.rate, rel=1e-6)
    name = record.run["dataset"]
    if name == "fashion_mnist" and not (idx_files.DEBIAN.exists() or paths.FASHION.exists()):
        pytest.skip("Fashion-MNIST is not on this machine, and is fetched from outside")
    data = request.getfixturevalue("photographs") if name == "cifar10" else datasets.load(name)
    net = registry.build(record.run["network"])
    net.load_state_dict(state)
    score = training.evaluate(net, data.test)
    assert abs(score.errors - record.metrics["test"]["errors"]) <= 2  # another processor may round a tie the other way
