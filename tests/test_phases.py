import shutil

import pytest
import torch
from conftest import small_chain
from torch import nn

from replication import networks, pruning
from replication.data import Split, datasets
from replication.errors import ReplicationError
from replication.pruning import Pruning, search
from replication.runs import Run, get_or_run
from replication.runs import store as folders
from replication.training import Training, machine, phases, train


class Wrapped(nn.Module):
    """The same network, not in the form of a sequence."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)


@pytest.fixture
def digits() -> Split:
    data = datasets.mnist(300).train
    return Split(data.x[:200], data.y[:200])


def lenet() -> nn.Sequential:
    return networks.lenet_5(torch.Generator().manual_seed(1))


def trained(net: nn.Module, split: Split, **settings) -> dict[str, torch.Tensor]:
    train(net, split, Training(2, 0.05, batch_size=50, **settings), torch.Generator().manual_seed(0))
    return {name.removeprefix("net."): tensor.clone() for name, tensor in net.state_dict().items()}


@pytest.mark.parametrize(("kind", "fixed"), [("conv", ("conv1", "conv2")), ("fc", ("fc1", "fc2")), ("", ())])
def test_frozen_layers_stay_and_the_others_move(digits, kind, fixed):
    before, after = lenet().state_dict(), trained(lenet(), digits, freeze=kind)
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name]) == (name.split(".")[0] in fixed), name


def test_frozen_layers_take_gradients_again_afterwards(digits):
    net = lenet()
    trained(net, digits, freeze="fc")
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_cached_activations_train_the_same_network(digits):
    cached, whole = trained(lenet(), digits, freeze="conv"), trained(Wrapped(lenet()), digits, freeze="conv")
    assert len(phases.fixed_front(lenet(), "conv")[0]) == 7
    for name, tensor in cached.items():
        torch.testing.assert_close(tensor, whole[name], rtol=1e-4, atol=1e-5)


def test_nothing_left_to_train_is_an_error(blobs):
    net = nn.Sequential(nn.Linear(6, 2))
    with pytest.raises(ReplicationError, match="every layer of the network is of the kind 'fc'"):
        train(net, blobs, Training(1, 0.1, freeze="fc"), torch.Generator())


def test_dropout_shrinks_with_the_root_of_the_density_and_comes_back():
    net = networks.alexnet_32()
    masks = {"fc1": torch.zeros(100, dtype=torch.bool).index_fill(0, torch.arange(9), True)}
    with pytest.raises(ZeroDivisionError), phases.shrunk_dropout(net, masks):
        assert net.dropout_fc1.p == pytest.approx(0.15)  # the paper's own example: 0.5 at 9 %
        assert net.dropout_fc2.p == 0.5
        raise ZeroDivisionError
    assert net.dropout_fc1.p == 0.5


class Late(nn.Module):
    """Two dropouts that are defined first, one of them called twice; `inner` is a plain sequence."""

    def __init__(self):
        super().__init__()
        self.drop, self.other = nn.Dropout(0.8), nn.Dropout(0.4)
        self.c, self.a = nn.Linear(8, 2), nn.Linear(6, 8)
        self.inner, self.rates = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.2)), []

    def dropped(self, dropout: nn.Dropout, x: torch.Tensor) -> torch.Tensor:
        x = dropout(x)
        self.rates.append(dropout.p)
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.dropped(self.drop, self.a(self.dropped(self.other, x)))
        x = self.inner(x)
        self.rates.append(self.inner[1].p)
        return self.c(self.dropped(self.drop, x))


@pytest.mark.parametrize(
    "wrap", [lambda net: net, lambda net: nn.Sequential(net), lambda net: torch.compile(net, backend="eager")]
)
def test_dropout_goes_by_the_layer_that_is_called_before_it(blobs, wrap):
    torch.manual_seed(0)
    net, masks = Late(), {}
    whole = wrap(net)
    for name, weight in networks.weights(whole).items():
        masks[name] = torch.zeros_like(weight, dtype=torch.bool)
        masks[name].view(-1)[: len(masks[name].view(-1)) * (1 if name.endswith("c") else 4) // 16] = True
    train(whole, blobs, Training(2, 0.05, batch_size=50, shrink_dropout=True), torch.Generator().manual_seed(0), masks)
    assert net.rates[-4:] == pytest.approx([0.4, 0.8 / 2, 0.2 / 2, 0.8 / 2])  # 0.4: before the first layer
    assert (net.drop.p, net.other.p, net.inner[1].p) == (0.8, 0.4, 0.2)
    assert not any(module._forward_pre_hooks for module in whole.modules())


def test_dropout_behind_attention_goes_by_its_projection():
    torch.manual_seed(0)
    net = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.8, batch_first=True))
    kept, seen = {"self_attn.out_proj": 0.25, "linear1": 0.0625, "linear2": 0.5625}, {}
    masks = {f"0.{name}": torch.arange(64) < 64 * part for name, part in kept.items()}
    for name in ("dropout1", "dropout", "dropout2"):
        net[0].get_submodule(name).register_forward_hook(lambda module, *_, name=name: seen.update({name: module.p}))
    with phases.shrunk_dropout(net, masks):
        net(torch.randn(3, 5, 8))
    assert seen == pytest.approx({"dropout1": 0.8 * 0.5, "dropout": 0.8 * 0.25, "dropout2": 0.8 * 0.75})


@pytest.mark.parametrize(("setting", "value"), [("freeze", "conv1"), ("precision", "float8")])
def test_unknown_settings_are_named(setting, value):
    with pytest.raises(ReplicationError, match=f"unknown {setting} '{value}': choose from"):
        Training(1, 0.1, **{setting: value})


@pytest.mark.parametrize("forced", ["float32", "bfloat16"])
def test_curves_in_bfloat16_see_what_is_pruned(monkeypatch, forced):
    monkeypatch.setenv(machine.VARIABLE, forced)
    net, split = lenet(), datasets.mnist(300).validation
    with machine.autocast("bfloat16", "cpu"):
        curves = search.layer_curves(net, split, (0.0, 1.0, 3.0))
    for rows in curves.values():
        assert len({row["loss"] for row in rows}) == 3


@pytest.mark.parametrize("target", [0.5, 0.2, 0.03])
def test_a_given_density_is_met(target):
    net, split = lenet(), datasets.mnist(300).validation
    rule = Pruning(grid=(0.0, 1.0, 2.0, 3.0), density=target, images=100)
    found, curves = search.choose_qualities(net, split, rule)
    masks = pruning.prune(networks.weights(net), found)
    assert pruning.density(masks) == pytest.approx(target, rel=1e-3)
    assert all(row["images"] == 100 for rows in curves.values() for row in rows)


def test_random_masks_keep_as_many_weights_out_of_the_old_ones():
    net = networks.alexnet_32(torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    tensors = networks.weights(net)
    old = pruning.prune(tensors, dict.fromkeys(tensors, 0.5))
    masks = pruning.prune(tensors, dict.fromkeys(tensors, 1.0), old)
    drawn, again = (pruning.drawn(masks, old, torch.Generator().manual_seed(5)) for _ in range(2))
    for name, mask in drawn.items():
        assert mask.shape == masks[name].shape and mask.sum() == masks[name].sum()
        assert not (mask & ~old[name]).any() and not torch.equal(mask, masks[name])
        assert torch.equal(mask, again[name])


def test_random_pruning_is_a_run(store):
    dense, magnitude = small_chain(1)
    uniform = Run(**{**magnitude.__dict__, "pruning": Pruning(damage=0.1, grid=(0.0, 1.0), method="uniform")})
    a, b = get_or_run(magnitude), get_or_run(uniform)
    assert b.metrics["before_retraining"]["errors"] > a.metrics["before_retraining"]["errors"]
    assert a.run["parent"] == b.run["parent"] == dense.key


def test_full_rank_changes_nothing_and_a_low_one_is_smaller():
    net = networks.lenet_300_100(torch.Generator().manual_seed(0))
    x = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    whole, low = networks.factorised(net, 100, ["fc1", "fc2"]), networks.factorised(net, 10, ["fc1", "fc2"])
    torch.testing.assert_close(networks.factorised(net, 300, ["fc1"])(x), net(x), rtol=1e-4, atol=1e-5)
    assert list(networks.layers(low)) == ["fc1_in", "fc1_out", "fc2_in", "fc2_out", "fc3"]
    count = {n: w.numel() for n, w in networks.weights(low).items()}
    assert count["fc1_in"] + count["fc1_out"] == 10 * (784 + 300)
    assert (whole(x) - net(x)).abs().mean() < (low(x) - net(x)).abs().mean()


def test_phases_follow_one_another_and_all_count(store):
    _, pruned = small_chain(1, network="lenet_5")
    run = Run(
        **{**pruned.__dict__, "training": Training(2, 0.01, freeze="conv"), "then": (Training(1, 0.01, freeze="fc"),)}
    )
    record = get_or_run(run)
    assert [row["phase"] for row in record.metrics["history"]] == [0, 0, 1]
    assert run.key != pruned.key


def test_a_record_without_weights_is_read_and_computed_again_where_they_are_needed(store, monkeypatch, tmp_path):
    dense, pruned = small_chain(1)
    first = get_or_run(dense)
    monkeypatch.setattr(folders.paths, "RECORDED", tmp_path / "recorded")
    folders.ship_record(dense.key)
    for path in (store / dense.key).iterdir():
        path.unlink()
    (store / dense.key).rmdir()
    assert folders.stored("recorded") == [dense.key]
    given = get_or_run(dense)
    assert given.values == first.values and not (store / dense.key).exists()
    with pytest.raises(ReplicationError, match="do not come with the repository, only its record"):
        given.tensors()
    assert folders.problems() == []
    get_or_run(pruned)
    assert (store / dense.key).exists() and folders.has_weights(dense.key)


def test_a_record_with_sparse_weights_gives_them_back_bit_by_bit(store, monkeypatch, tmp_path):
    *_, pruned = small_chain(1)
    state, masks = get_or_run(pruned).tensors()
    monkeypatch.setattr(folders.paths, "RECORDED", tmp_path / "recorded")
    folders.ship_record(pruned.key, weights=True)
    shutil.rmtree(store / pruned.key)
    given = get_or_run(pruned)
    assert folders.place(pruned.key) == "recorded" and folders.has_weights(pruned.key)
    for found, known in zip(given.tensors(), (state, masks)):
        assert found.keys() == known.keys()
        assert all(torch.equal(found[name], known[name]) for name in known)
    (tmp_path / "recorded" / pruned.key / folders.SPARSE).write_bytes(b"cut")
    with pytest.raises(ReplicationError, match=folders.SPARSE):
        given.tensors()


def test_weights_that_come_halved_keep_their_masks(store, monkeypatch, tmp_path):
    *_, pruned = small_chain(1)
    record = get_or_run(pruned)
    state, masks = record.tensors()
    name = next(iter(masks))
    kept = tuple(masks[name].nonzero()[0].tolist())
    state[f"{name}.weight"][kept] = -1e-12  # float16 would make it 0
    monkeypatch.setattr(folders.paths, "RECORDED", tmp_path / "recorded")
    with monkeypatch.context() as patch:
        patch.setattr(folders, "load_tensors", lambda _: (state, masks))
        folders.ship_record(pruned.key, weights=True, halved=True)
    shutil.rmtree(store / pruned.key)
    found, found_masks = record.tensors()
    assert all(torch.equal(found_masks[layer], masks[layer]) for layer in masks)
    assert found[f"{name}.weight"][kept] == -(2.0**-24)
    for key, tensor in state.items():
        assert found[key].dtype == tensor.dtype and torch.allclose(found[key], tensor, rtol=1e-3, atol=1e-7)
