"""Pruning and accounting on networks of a reader's own: nested, with other layers, of other shapes."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune as torch_prune

from replication import networks, storage
from replication.data import Split
from replication.errors import ReplicationError
from replication.networks import accounting
from replication.pruning import dead_neurons
from replication.pruning import masks as pruning
from replication.pruning import search as sensitivity
from replication.pruning.iterative import prune_network
from replication.storage import packing
from replication.storage.packing import MASK
from replication.training import Training, evaluate, phases, train


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def nested() -> nn.Sequential:
    body = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU())
    return networks.initialise(nn.Sequential(body, nn.Linear(8, 2)), seeded())


class Plain(nn.Module):
    """The network of `nested`, without a sequence."""

    def __init__(self, net: nn.Sequential):
        super().__init__()
        self.first, self.second, self.third = net[0][0], net[0][2], net[1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.third(self.second(self.first(x).relu()).relu())


NAMES = {"0.0": "first", "0.2": "second", "1": "third"}


@pytest.fixture
def trained(blobs: Split) -> nn.Sequential:
    net = nested()
    train(net, blobs, Training(epochs=10, learning_rate=0.1, batch_size=10), seeded())
    return net


def test_every_layer_of_a_nested_sequence_has_its_curve(trained: nn.Sequential, blobs: Split):
    curves = sensitivity.layer_curves(trained, blobs, (0.0, 1.0, 2.0))
    plain = sensitivity.layer_curves(Plain(trained), blobs, (0.0, 1.0, 2.0))
    assert list(curves) == list(NAMES)
    for name, rows in curves.items():
        for row, other in zip(rows, plain[NAMES[name]], strict=True):
            assert row["density"] == other["density"]
            assert row["loss"] == pytest.approx(other["loss"], rel=1e-5)


def test_search_on_a_nested_sequence_finds_a_quality_for_every_layer(trained: nn.Sequential, blobs: Split):
    limit = evaluate(trained, blobs).loss + 0.2
    found, _ = sensitivity.choose_qualities(trained, blobs, pruning.Pruning(damage=0.2))
    masks = pruning.prune(networks.weights(trained), found)
    pruning.apply_masks(trained, masks)
    assert found.keys() == NAMES.keys()
    assert pruning.density(masks) < 1
    assert evaluate(trained, blobs).loss <= limit


def test_a_grid_that_is_too_coarse_for_the_damage_prunes_nothing(trained: nn.Sequential, blobs: Split):
    before = evaluate(trained, blobs).loss
    found, _ = sensitivity.choose_qualities(trained, blobs, pruning.Pruning(damage=0.0, grid=(2.0, 3.0)))
    assert found == dict.fromkeys(NAMES, 0.0)
    pruning.apply_masks(trained, pruning.prune(networks.weights(trained), found))
    assert evaluate(trained, blobs).loss == before


def test_search_goes_on_within_the_masks_of_the_last_round(trained: nn.Sequential, blobs: Split):
    net = Plain(trained)
    old = pruning.prune(networks.weights(net), dict.fromkeys(NAMES.values(), 0.3))
    pruning.apply_masks(net, old)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    limit = evaluate(net, blobs).loss + 0.2
    found, curves = sensitivity.choose_qualities(net, blobs, pruning.Pruning(damage=0.2), old)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    for name, rows in curves.items():
        assert rows[0]["density"] == pytest.approx(old[name].float().mean().item())
    new = pruning.prune(networks.weights(net), found, old)
    pruning.apply_masks(net, new)
    assert pruning.density(new) < pruning.density(old)
    assert evaluate(net, blobs).loss <= limit


@pytest.mark.parametrize(
    ("layer", "shape", "flop"),
    [
        (nn.Linear(4, 6), (2, 4), 2 * 24),
        (nn.Linear(4, 6), (2, 5, 4), 2 * 24 * 5),  # the same layer at five positions
        (nn.Conv1d(3, 4, 3), (2, 3, 10), 2 * 36 * 8),
        (nn.Conv2d(4, 6, 3, stride=2), (2, 4, 9, 7), 2 * 216 * 4 * 3),
        (nn.Conv2d(4, 8, 3, groups=4), (2, 4, 5, 5), 2 * 72 * 9),
        (nn.Conv3d(1, 2, 2), (2, 1, 4, 4, 4), 2 * 16 * 27),
    ],
    ids=str,
)
def test_flops_are_twice_the_multiplications(layer: nn.Module, shape: tuple[int, ...], flop: int):
    rows = accounting.account(nn.Sequential(layer), torch.ones(shape))
    assert rows.flop.tolist() == [flop]


class Words(nn.Module):
    """Embedding, recurrent layers, attention and a bilinear layer; a scale that is no connection."""

    def __init__(self):
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(20, 8), nn.LSTM(8, 16, batch_first=True)
        self.gru = nn.GRU(16, 8, batch_first=True)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, add_bias_kv=True)
        self.both, self.norm, self.scale = nn.Bilinear(8, 8, 6), nn.LayerNorm((1, 6)), nn.Parameter(torch.ones(1, 6))
        self.up, self.head = nn.ConvTranspose1d(1, 2, 3), nn.Linear(16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.gru(self.lstm(self.embedding(x))[0])[0]
        x = self.attention(x, x, x, need_weights=False)[0].mean(1)
        x = self.norm((self.both(x, x) * self.scale)[:, None])
        return self.head(self.up(x).flatten(1))


MATRICES = {
    "embedding": 160,
    "lstm.weight_ih_l0": 4 * 16 * 8,
    "lstm.weight_hh_l0": 4 * 16 * 16,
    "gru.weight_ih_l0": 3 * 8 * 16,
    "gru.weight_hh_l0": 3 * 8 * 8,
    "attention.in_proj_weight": 192,
    "attention.out_proj": 64,
    "both": 6 * 64,
    "up": 6,
    "head": 32,
}
WHOLE = {"scale": 6, "attention.bias_k": 8, "attention.bias_v": 8, "norm": 6, "norm.bias": 6}


@pytest.fixture
def words() -> tuple[Words, Split]:
    torch.manual_seed(0)
    return Words(), Split(torch.randint(20, (60, 5)), torch.randint(2, (60,)))


def test_every_parameter_of_two_dimensions_has_its_name(words: tuple[Words, Split]):
    net, _ = words
    sizes = {name: weight.numel() for name, weight in networks.weights(net).items()}
    assert sizes == MATRICES | WHOLE
    assert sum(sizes.values()) == sum(p.numel() for p in net.parameters() if p.ndim > 1)
    assert networks.left_out(net).keys() == WHOLE.keys()
    assert set(networks.prunable(net)) == MATRICES.keys()


def test_a_bias_is_known_by_a_whole_word_of_its_name():
    net = nn.Module()
    biases = ["bias", "bias_k", "in_proj_bias", "bias_ih_l0", "bias2", "attention_biases", "relative_bias_table"]
    matrices = ["unbiased_w", "debias", "biased", "w"]
    for name in biases + matrices:
        net.register_parameter(name, nn.Parameter(torch.randn(3, 4)))
    assert networks.left_out(net) == dict.fromkeys(biases, "a bias")
    assert networks.prunable(net) == matrices


@pytest.mark.parametrize(
    "rule", [pruning.Pruning(damage=0.1), pruning.Pruning(density=0.4), pruning.Pruning(density=0.4, method="global")]
)
def test_the_rate_is_that_of_the_whole_network(words: tuple[Words, Split], rule: pruning.Pruning):
    net, split = words
    found, _ = sensitivity.choose_qualities(net, split, rule)
    masks = pruning.prune(networks.weights(net), found)
    train(net, split, Training(epochs=1, learning_rate=0.01, l1=1e-3), seeded(), masks)
    assert found.keys() == MATRICES.keys()
    assert all(masks[name].all() for name in WHOLE)
    kept = sum(int(networks.weights(net)[name].count_nonzero()) for name in MATRICES) + sum(WHOLE.values())
    whole = sum(MATRICES.values()) + sum(WHOLE.values())
    assert pruning.density(masks) == pytest.approx(kept / whole)
    assert pruning.rate(masks) == pytest.approx(whole / kept)
    if rule.density:
        assert pruning.density(masks) == pytest.approx(0.4, abs=2e-3)
    rows = accounting.account(net, split.x, masks)
    assert accounting.total(rows).weight_density == pytest.approx(pruning.density(masks), rel=1e-6)
    notes = rows.set_index("layer").note
    assert {name for name in notes.index if "left whole" in notes[name]} == WHOLE.keys()


def test_a_density_below_what_is_left_whole_is_refused():
    net = nn.Sequential(nn.Linear(6, 2), nn.LayerNorm((2, 2)))
    rule = pruning.Pruning(density=0.1)
    with pytest.raises(
        ReplicationError, match=r"the density 0\.1 is out of reach: 1, 1.bias are left whole, 8 weights"
    ):
        sensitivity.choose_qualities(net, Split(torch.randn(4, 2, 6), torch.zeros(4, dtype=torch.long)), rule)


class Causal(nn.Module):
    """Attention with its mask of -inf as a parameter that takes no gradients, and a frozen layer and matrix."""

    def __init__(self):
        super().__init__()
        self.causal = nn.Parameter(torch.full((6, 6), -torch.inf).triu(1), requires_grad=False)
        self.front, self.own, self.head = nn.Linear(1, 4), nn.Parameter(torch.randn(4, 4)), nn.Linear(4, 2)
        self.front.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.front(x[..., None]) @ self.own
        return self.head((torch.softmax(x @ x.mT + self.causal, -1) @ x).mean(1))


@pytest.mark.parametrize("rule", [{"damage": 0.1}, {"density": 0.8}, {"density": 0.8, "method": "global"}])
def test_a_parameter_that_takes_no_gradients_is_left_whole_and_a_frozen_layer_is_not(rule: dict, blobs: Split):
    torch.manual_seed(0)
    net = Causal()
    assert networks.left_out(net) == {"causal": "never trained"}
    found, _ = sensitivity.choose_qualities(net, blobs, pruning.Pruning(**rule))
    assert list(found) == ["own", "front", "head"]
    masks = prune_network(net, blobs, blobs, 1, damage=0.1).masks
    assert masks["causal"].all() and torch.equal(net.causal, torch.full((6, 6), -torch.inf).triu(1))
    net.requires_grad_(False)  # now it tells nothing
    assert networks.left_out(net) == {}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused_with_their_layer(value: float, blobs: Split):
    net = nested()
    tensors = networks.weights(net)
    tensors["0.2"][0, 0] = value
    masks = {name: w.isfinite() for name, w in tensors.items()}
    for refused in (
        lambda: pruning.prune(tensors, {"0.2": 0.0}),
        lambda: pruning.global_qualities(tensors, None, 0.5),
        lambda: sensitivity.layer_curves(net, blobs, (0.0, 1.0)),
        lambda: sensitivity.choose_qualities(net, blobs, pruning.Pruning(damage=0.1)),
    ):
        with pytest.raises(ReplicationError, match=r"^the weights of 0\.2 are not finite, .* nan: train [^\n]*$"):
            refused()
    assert torch.equal(pruning.prune(tensors, {"0.2": 0.0}, masks)["0.2"], masks["0.2"])  # pruned already


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn, torch.float8_e5m2])
def test_quantised_weights_are_refused_with_their_layer_and_type(dtype: torch.dtype):
    net = nested()
    net[1].weight = nn.Parameter((10 * net[1].weight).to(dtype), requires_grad=False)
    for refused in (
        lambda: pruning.prune(networks.weights(net), {"1": 1.0}),
        lambda: pruning.global_qualities(networks.weights(net), None, 0.5),
    ):
        with pytest.raises(ReplicationError, match=rf"^the weights of 1 are {dtype} and have no standard [^\n]*quant"):
            refused()


def in_steps(net: nn.Sequential) -> nn.Sequential:
    """In each matrix a half of the weights are +-0.2, a half +-0.1."""
    for weight in networks.weights(net).values():
        flat = torch.where(torch.arange(weight.numel()) % 2 == 0, 0.2, 0.1)
        weight.copy_((flat * (1 - torch.arange(len(flat)) // 2 % 2 * 2)).view(weight.shape))
    return net


def with_an_equal_layer(net: nn.Sequential) -> nn.Sequential:
    networks.weights(net)["0.2"].fill_(0.1)  # 96 of 184 weights
    return net


@pytest.mark.parametrize(
    ("build", "target", "method", "reached"),
    [
        (in_steps, 0.7, "magnitude", 0.5),
        (in_steps, 0.7, "global", 0.5),
        (with_an_equal_layer, 0.3, "magnitude", 96 / 184),
    ],
)
def test_a_density_that_ties_among_weights_miss_is_said(build, target, method, reached, blobs: Split):
    net, rule = build(nested()), pruning.Pruning(density=target, method=method)
    message = rf"^the density {target} is missed: it is {reached:.4g}, and was 1\. equal weights [^\n]*$"
    with pytest.warns(UserWarning, match=message):
        found, _ = sensitivity.choose_qualities(net, blobs, rule)
    assert pruning.density(pruning.prune(networks.weights(net), found)) == reached


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", ["magnitude", "global"])
def test_a_density_that_is_met_is_not_remarked(method, trained: nn.Sequential, blobs: Split):
    found, _ = sensitivity.choose_qualities(trained, blobs, pruning.Pruning(density=0.3, method=method))
    kept = 184 * pruning.density(pruning.prune(networks.weights(trained), found))
    assert kept == pytest.approx(0.3 * 184, abs=1.5)
    found, _ = sensitivity.choose_qualities(in_steps(trained), blobs, pruning.Pruning(density=0.5, method=method))
    assert pruning.density(pruning.prune(networks.weights(trained), found)) == 0.5


def test_masks_hold_through_training_whatever_the_layer(words: tuple[Words, Split]):
    net, split = words
    masks = {name: torch.rand(w.shape, generator=seeded()) < 0.5 for name, w in networks.weights(net).items()}
    before = networks.weights(net)["lstm.weight_hh_l0"].clone()
    train(net, split, Training(epochs=1, learning_rate=0.05), seeded(), masks)
    after = networks.weights(net)
    assert all(not after[name][~mask].any() for name, mask in masks.items())
    kept = masks["lstm.weight_hh_l0"]
    assert not torch.equal(before[kept], after["lstm.weight_hh_l0"][kept])


def linear() -> nn.Linear:
    return nn.Linear(6, 6)


@pytest.mark.parametrize(
    ("layer", "weight", "way_out"),
    [
        (lambda: nn.utils.weight_norm(linear()), "weight", "remove_weight_norm"),
        (lambda: nn.utils.spectral_norm(linear()), "weight", "remove_spectral_norm"),
        (lambda: nn.utils.parametrizations.weight_norm(linear()), "weight", "parametrize.remove_parametrizations"),
        (lambda: nn.utils.parametrizations.spectral_norm(linear()), "weight", "parametrize.remove_parametrizations"),
        (lambda: nn.utils.parametrizations.orthogonal(linear()), "weight", "parametrize.remove_parametrizations"),
        (lambda: torch_prune.l1_unstructured(linear(), "weight", 0.5), "weight", "prune.remove"),
        (lambda: nn.utils.weight_norm(nn.LSTM(6, 6), "weight_hh_l0"), "weight_hh_l0", "remove_weight_norm"),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_a_weight_that_is_recomputed_is_refused_with_the_way_out(layer: Callable, weight: str, way_out: str):
    net, data = nn.Sequential(layer()), Split(torch.randn(4, 6), torch.zeros(4, dtype=torch.long))
    masks = {"0": torch.ones(6, 6, dtype=torch.bool)}
    for refused in (
        lambda: networks.weights(net),
        lambda: accounting.account(net, data.x, masks),
        lambda: sensitivity.choose_qualities(net, data, pruning.Pruning(damage=0.1)),
        lambda: pruning.apply_masks(net, masks),
        lambda: train(net, data, Training(epochs=1, learning_rate=0.1), seeded(), masks),
    ):
        with pytest.raises(ReplicationError) as error:
            refused()
        assert f"{weight} of 0" in str(error.value) and f"torch.nn.utils.{way_out}(" in str(error.value)
        assert "\n" not in str(error.value)
    way = str(error.value).partition("first ")[2].replace("torch.nn.utils.prune", "torch_prune")
    eval(way)  # the way out, as it is printed
    networks.weights(net)


def test_a_parametrised_bias_is_no_weight():
    layer = linear()
    nn.utils.parametrize.register_parametrization(layer, "bias", nn.Identity())
    assert list(networks.weights(nn.Sequential(layer))) == ["0"]


def test_a_layer_without_a_shape_is_named():
    with pytest.raises(ReplicationError, match="weights of '0' have no shape yet: let the network see an image first"):
        networks.weights(nn.Sequential(nn.LazyLinear(3)))


@pytest.mark.parametrize("call", ["choose", "prune", "train", "evaluate", "account", "without_dead", "prune_network"])
def test_a_network_without_values_is_refused_in_a_line(call: str, blobs: Split):
    net = nested().to("meta")
    calls = {
        "choose": lambda: sensitivity.choose_qualities(net, blobs, pruning.Pruning(damage=0.1)),
        "prune": lambda: pruning.prune(networks.weights(net), {"1": 1.0}),
        "train": lambda: train(net, blobs, Training(epochs=1, learning_rate=0.1), seeded()),
        "evaluate": lambda: evaluate(net, blobs),
        "account": lambda: accounting.account(net, blobs.x),
        "prune_network": lambda: prune_network(net, blobs, blobs),
        "without_dead": lambda: dead_neurons.without_dead(net, pruning.full_masks(networks.weights(net))),
    }
    with pytest.raises(ReplicationError, match=r"^[^\n]*meta device[^\n]*$"):
        calls[call]()


def test_a_network_without_weights_has_nothing_to_prune(blobs: Split):
    with pytest.raises(ReplicationError, match="nothing to prune: the network has no matrix of weights"):
        sensitivity.choose_qualities(nn.Sequential(nn.Identity()), blobs, pruning.Pruning(damage=0.1))
    with pytest.raises(ReplicationError, match="no parameter of two or more dimensions"):
        pruning.rate(pruning.prune({}, {}))


def test_a_network_of_which_nothing_is_left_has_an_infinite_rate():
    masks = pruning.prune(networks.weights(nested()), {"0.0": 1e9, "0.2": 1e9, "1": 1e9})
    assert pruning.density(masks) == 0 and pruning.rate(masks) == math.inf


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_a_network_of_torchscript_is_refused_in_a_line(trained: nn.Sequential, blobs: Split):
    with pytest.raises(ReplicationError, match=r"is compiled by torch\.jit\.script: give the module"):
        sensitivity.choose_qualities(torch.jit.script(trained), blobs, pruning.Pruning(damage=0.1))


def test_a_network_of_torch_compile_is_pruned_as_the_one_that_it_was_made_from(trained: nn.Sequential, blobs: Split):
    rule = pruning.Pruning(grid=(0.0, 1.0, 2.0), damage=0.1)
    wanted, _ = sensitivity.choose_qualities(trained, blobs, rule)
    found, _ = sensitivity.choose_qualities(torch.compile(trained, backend="eager"), blobs, rule)
    assert {name.removeprefix("_orig_mod."): quality for name, quality in found.items()} == wanted
    assert max(wanted.values()) > 0


class Doubled(nn.Sequential):
    """A sequence with a forward pass of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(-x) + super().forward(x)


class Given(nn.Sequential):
    """A plain sequence with a constructor of its own."""

    def __init__(self, width: int):
        super().__init__(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 2))


def shared_relu() -> nn.Sequential:
    relu = nn.ReLU()
    return nn.Sequential(nn.Linear(6, 12), relu, nn.Linear(12, 8), relu, nn.Linear(8, 2))


def hooked() -> nn.Sequential:
    net = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 2))
    net.register_forward_pre_hook(lambda _, args: (-args[0],))
    return net


class Whole(nn.Module):
    """A network that cannot be sliced."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


@pytest.mark.parametrize(
    "build",
    [lambda: Doubled(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 2)), lambda: Given(12), shared_relu, hooked],
    ids=["own forward", "own constructor", "one module twice", "hook"],
)
def test_a_sequence_is_sliced_only_where_that_computes_the_same(build: Callable, blobs: Split):
    torch.manual_seed(0)
    net = build()
    train(net, blobs, Training(epochs=5, learning_rate=0.1, batch_size=10), seeded())
    rule = pruning.Pruning(damage=0.1)
    found, curves = sensitivity.choose_qualities(net, blobs, rule)
    whole, other = sensitivity.choose_qualities(Whole(net), blobs, rule)
    assert {f"net.{name}": quality for name, quality in found.items()} == whole
    for name, rows in curves.items():
        losses = [row["loss"] for row in other[f"net.{name}"]]
        assert [row["loss"] for row in rows] == pytest.approx(losses, rel=1e-4)
        assert rows[0]["loss"] == pytest.approx(evaluate(net, blobs).loss, rel=1e-4)


def test_the_fixed_front_of_a_sequence_holds_nothing_that_learns():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    front, rest = phases.fixed_front(net, "conv")
    assert list(front) == [net[0]] and list(rest) == list(net[1:])
    own = Doubled(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    assert phases.fixed_front(own, "conv")[1] is own


@pytest.mark.parametrize(
    "search",
    [
        lambda net, split: sensitivity.choose_qualities(net, split, pruning.Pruning(damage=0.1, grid=(0.0, 1.0))),
        lambda net, split: sensitivity.choose_qualities(net, split, pruning.Pruning(density=0.5, own_answers=True)),
        lambda net, split: sensitivity.layer_curves(net, split, (0.0, 1.0)),
        lambda net, split: sensitivity.own_answers(net, split),
        lambda net, split: accounting.account(net, split.x),
    ],
    ids=["damage", "own answers", "curves", "answers", "account"],
)
@pytest.mark.parametrize("wrap", [lambda net: net, Whole], ids=["sequence", "module"])
def test_what_leaves_the_network_as_it_was_leaves_each_modules_mode(search: Callable, wrap: Callable, blobs: Split):
    net = wrap(nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 2)).train())
    next(module for module in net.modules() if isinstance(module, nn.BatchNorm1d)).eval()
    before, state = [m.training for m in net.modules()], {k: v.clone() for k, v in net.state_dict().items()}
    search(net, blobs)
    assert [m.training for m in net.modules()] == before
    assert all(torch.equal(state[name], tensor) for name, tensor in net.state_dict().items())


def test_the_network_is_left_as_it_was_also_by_a_score_that_fails(trained: nn.Sequential, blobs: Split):
    state, calls = {k: v.clone() for k, v in trained.state_dict().items()}, []

    def failing(net: nn.Module, split: Split):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(net, split)

    trained.train()
    with pytest.raises(KeyboardInterrupt):
        sensitivity.layer_curves(trained, blobs, (0.0, 1.0, 2.0), score=failing)
    assert all(torch.equal(state[name], tensor) for name, tensor in trained.state_dict().items())
    assert all(module.training for module in trained.modules())


def test_the_search_knows_encoders_and_layers_that_are_never_called():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.encoder, self.head, self.idle = nn.TransformerEncoder(layer, 2), nn.Linear(8, 2), nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.encoder(x).mean(1))

    torch.manual_seed(0)
    net, split = Encoder(), Split(torch.randn(30, 5, 8), torch.randint(2, (30,)))
    found, curves = sensitivity.choose_qualities(net, split, pruning.Pruning(damage=0.05))
    assert found.keys() == networks.weights(net).keys() and len(found) == 2 * 4 + 2
    assert len({row["loss"] for row in curves["idle"]}) == 1
    rows = accounting.account(net, split.x).set_index("layer")
    assert rows.flop["encoder.layers.1.self_attn.in_proj_weight"] == 2 * 192 * 5
    assert rows.flop["idle"] == 0 and rows.note["idle"] == "in no product"


def test_packing_leaves_out_the_mask_of_a_matrix_by_its_own_name(tmp_path: Path):
    weight, mask = torch.randn(8, 4), torch.rand(8, 4) < 0.3
    save_file({"lstm.weight_ih_l0": weight * mask, f"{MASK}lstm.weight_ih_l0": mask}, tmp_path / "run.safetensors")
    packing.pack(tmp_path / "run.safetensors", tmp_path / "small.safetensors")
    assert list(storage.load_sparse(tmp_path / "small.safetensors")) == ["lstm.weight_ih_l0"]
