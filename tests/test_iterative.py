"""One call that prunes any network in rounds: what it gives back holds for the network that it leaves."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from replication import networks, storage, training
from replication.data import Split
from replication.errors import ReplicationError
from replication.pruning import iterative
from replication.pruning.iterative import prune_network
from replication.training import Training, evaluate

HOW = Training(8, 0.1, batch_size=10)


class Residual(nn.Module):
    """A network that is no sequence, with batch normalisation and a layer without bias."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(6, 12), nn.BatchNorm1d(12)
        self.second, self.last = nn.Linear(12, 12, bias=False), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x)).relu()
        return self.last(x + self.second(x).relu())


def made() -> Residual:
    torch.manual_seed(0)
    return Residual()


def loader(split: Split, size: int = 10, **options) -> DataLoader:
    return DataLoader(TensorDataset(*split), size, **options)


def shuffled(split: Split, size: int = 10) -> DataLoader:
    return loader(split, size, shuffle=True, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("given", [lambda s: s, tuple, list, loader, shuffled])
def test_table_masks_and_network_say_the_same(given, blobs: Split):
    net = made()
    pruned = prune_network(net, given(blobs), given(blobs), rounds=3, damage=0.1, training=HOW)
    assert pruned.net is net and list(pruned.masks) == ["first", "second", "last"]
    for name, weight in networks.weights(net).items():
        assert torch.equal(weight != 0, pruned.masks[name])
    table = pruned.rounds
    assert list(table) == ["round", "density", "rate", "errors_before", "errors_after", "images"]
    assert table["round"].tolist() == [0, 1, 2, 3] and set(table.images) == {100}
    assert table.density[0] == table.rate[0] == 1 and table.density.is_monotonic_decreasing
    kept = sum(int(weight.count_nonzero()) for weight in networks.weights(net).values())
    assert table.density[3] == pytest.approx(kept / 240) and table.rate[3] == pytest.approx(240 / kept)
    assert table.rate[3] > 1.5 and table.errors_after[3] == evaluate(net, blobs).errors < 10


def test_trained_network_is_taken_as_it_is_and_retrained_as_told(blobs: Split, monkeypatch: pytest.MonkeyPatch):
    net, asked = made(), []
    training.train(net, blobs, HOW, torch.Generator().manual_seed(0))
    expected = evaluate(net, blobs).errors
    monkeypatch.setattr(iterative, "fit", lambda net, images, how, *_: asked.append(how))
    pruned = prune_network(net, blobs, blobs, rounds=2)
    assert pruned.rounds.errors_before[0] == pruned.rounds.errors_after[0] == expected
    prune_network(net, blobs, blobs, rounds=1, retraining=HOW)
    prune_network(net, blobs, blobs, rounds=1, training=HOW)
    tenth = Training(8, 0.01, batch_size=10)
    assert asked == [iterative.RETRAINING, iterative.RETRAINING, HOW, HOW, tenth]


def test_errors_before_retraining_are_those_of_the_pruned_network(blobs: Split, monkeypatch: pytest.MonkeyPatch):
    net = made()
    training.train(net, blobs, HOW, torch.Generator().manual_seed(0))
    monkeypatch.setattr(iterative, "fit", lambda *_: None)
    table = prune_network(net, blobs, blobs, rounds=1, damage=0.6).rounds
    assert table.errors_before[1] == table.errors_after[1] == evaluate(net, blobs).errors > table.errors_after[0]


def test_a_loader_in_order_trains_as_plain_gradient_descent(blobs: Split):
    """Its own batches, once an epoch, the last one smaller; the rate falls as over as many steps."""
    how, nets = Training(2, 0.1, "linear", batch_size=999, momentum=0.0, weight_decay=0.0), [made(), made()]
    prune_network(nets[0], loader(blobs, 30), blobs, 1, training=how, retraining=Training(0, 0.1))
    for step in range(8):
        x, y = (t[step % 4 * 30 : step % 4 * 30 + 30] for t in blobs)
        nets[1].train()
        grads = torch.autograd.grad(nn.functional.cross_entropy(nets[1](x), y), list(nets[1].parameters()))
        with torch.no_grad():
            for parameter, grad in zip(nets[1].parameters(), grads):
                parameter.sub_(0.1 * (1 - step / 8) * grad)
    kept = nets[0].last.weight != 0
    assert torch.allclose(nets[0].last.weight[kept], nets[1].last.weight[kept], atol=1e-6)
    assert torch.allclose(nets[0].norm.running_mean, nets[1].norm.running_mean, atol=1e-6)


def test_the_same_call_gives_the_same_bits(blobs: Split):
    nets = [prune_network(made(), shuffled(blobs), tuple(blobs), 2, training=HOW).net for _ in range(2)]
    assert all(map(torch.equal, nets[0].state_dict().values(), nets[1].state_dict().values()))


def test_a_pruned_network_is_stored_and_loaded(blobs: Split, tmp_path):
    net = prune_network(made(), blobs, blobs, 1, damage=0.1, training=HOW).net
    storage.save_sparse(net, tmp_path / "small.safetensors")
    other = Residual()
    other.load_state_dict(storage.load_sparse(tmp_path / "small.safetensors"))
    assert evaluate(other, blobs) == evaluate(net, blobs)


class Dictionaries(Dataset):
    def __len__(self) -> int:
        return 20

    def __getitem__(self, i: int) -> dict:
        return {"x": torch.zeros(6), "y": 0}


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(torch.zeros(6), 0)] * 20)


def broken(blobs: Split) -> DataLoader:
    x = blobs.x.clone()
    x[57, 2] = torch.nan
    return DataLoader(TensorDataset(x, blobs.y), 10)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (lambda s: DataLoader(Dictionaries(), 4), r"the DataLoader gives dicts: give pairs \(images, labels\)"),
        (lambda s: DataLoader(Stream(), 4), "the DataLoader does not know how many images it has"),
        (lambda s: loader(s, None), "the DataLoader has no batch_size"),
        (lambda s: loader(s, 128, drop_last=True), "the DataLoader gives no batch"),
        (lambda s: s.x, "the images are of the type Tensor: give a DataLoader or two tensors"),
        (lambda s: (s.x, s.y[:50]), "100 images have 50 labels"),
        (lambda s: (s.x, s.y + 5), "the network answers 2 classes, 0 to 1, a label is 6"),
        (broken, "image 7 of 10 holds nan"),
    ],
)
def test_images_that_do_not_serve_are_named(images, message: str, blobs: Split):
    for train, validation in ((images(blobs), blobs), (blobs, images(blobs))):
        with pytest.raises(ReplicationError, match=message) as caught:
            prune_network(made(), train, validation, 1, training=HOW)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rounds": 0}, "rounds is 0: give a whole number of 1 or more"),
        ({"rounds": 1.5}, "rounds is 1.5"),
        ({"damage": -1}, "damage is -1"),
        ({"training": Training(1, 0.1, augment=True)}, "augment is for images in memory"),
    ],
)
def test_settings_that_cannot_be_are_named(settings: dict, message: str, blobs: Split):
    with pytest.raises(ReplicationError, match=message):
        prune_network(made(), loader(blobs), blobs, **settings)


def test_network_without_weights_to_prune_is_named(blobs: Split):
    with pytest.raises(ReplicationError, match="the network has no weights to prune: give one with"):
        prune_network(nn.Sequential(nn.BatchNorm1d(6)), blobs, blobs)


@pytest.mark.parametrize(
    ("size", "options", "fails"), [(33, {}, True), (33, {"drop_last": True}, False), (1, {}, True)]
)
def test_last_batch_of_one_image_is_named_before_training(size: int, options: dict, fails: bool, blobs: Split):
    net = made()
    before = net.first.weight.clone()
    if not fails:
        assert len(prune_network(net, loader(blobs, size, **options), blobs, 1, training=HOW).rounds) == 2
        return
    with pytest.raises(ReplicationError, match=f"100 images in batches of {size} leave a batch of one image"):
        prune_network(net, loader(blobs, size, **options), blobs, 1, training=HOW)
    assert torch.equal(before, net.first.weight)


def test_rounds_end_with_a_word_where_no_weight_is_left():
    noise = Split(torch.randn(60, 6), torch.arange(60) % 2)
    told = "round 1 pruned every weight that the answers hang on: .* by more than 1 without them. Train"
    with pytest.warns(UserWarning, match=told):
        pruned = prune_network(made(), noise, noise, rounds=3, damage=1, retraining=HOW)
    assert list(pruned.rounds["round"]) == [0, 1] and pruned.rounds.rate[1] == math.inf
