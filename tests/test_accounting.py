import math

import pandas as pd
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from replication import networks, pruning
from replication.data import paper
from replication.errors import ReplicationError
from replication.networks import accounting, registry

NEURONS = {  # after pooling, by layer
    2: (300, 100, 10),
    3: (20 * 12 * 12, 50 * 4 * 4, 500, 10),
    4: (96 * 27**2, 256 * 13**2, 384 * 13**2, 384 * 13**2, 256 * 6**2, 4096, 4096, 1000),
    5: (
        64 * 224**2,
        64 * 112**2,
        128 * 112**2,
        128 * 56**2,
        256 * 56**2,
        256 * 56**2,
        256 * 28**2,
        512 * 28**2,
        512 * 28**2,
        512 * 14**2,
        512 * 14**2,
        512 * 14**2,
        512 * 7**2,
        4096,
        4096,
        1000,
    ),
}
WEIGHTS = {  # the layers' exact sizes, without biases
    2: (784 * 300, 300 * 100, 100 * 10),
    3: (20 * 25, 50 * 20 * 25, 800 * 500, 500 * 10),
    4: (96 * 3 * 121, 256 * 48 * 25, 384 * 256 * 9, 384 * 192 * 9, 256 * 192 * 9, 9216 * 4096, 4096**2, 4096 * 1000),
    5: tuple(9 * a * b for a, b in ((3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256)))
    + tuple(9 * a * b for a, b in ((256, 512), (512, 512), (512, 512), (512, 512), (512, 512), (512, 512)))
    + (25088 * 4096, 4096**2, 4096 * 1000),
}
PIXELS = {  # of the convolutions' outputs, before pooling; 1 for a fully connected layer
    2: (1, 1, 1),
    3: (24**2, 8**2, 1, 1),
    4: (55**2, 27**2, 13**2, 13**2, 13**2, 1, 1, 1),
    5: (224**2,) * 2 + (112**2,) * 2 + (56**2,) * 3 + (28**2,) * 3 + (14**2,) * 3 + (1, 1, 1),
}


def counted(number: int) -> pd.DataFrame:
    """A published table with the exact sizes in place of the rounded ones, in the columns of `accounting.account`."""
    printed = paper.table(number).query("layer != 'total'")
    exact = {"layer": printed.layer, "weights": WEIGHTS[number], "neurons": NEURONS[number]}
    exact["flop"] = [2 * w * p for w, p in zip(WEIGHTS[number], PIXELS[number])]
    for column in ("activation_density", "weight_density", "flop_density"):
        exact[column] = printed[f"{column}_pct"] / 100
    return pd.DataFrame(exact)


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_a_rows_flop_density_is_its_weight_density_times_the_activation_density_of_its_input(number):
    rows = paper.table(number).query("layer != 'total'")
    inputs = [100, *rows.activation_density_pct[:-1]]
    ours = rows.weight_density_pct.to_numpy() * inputs / 100
    assert len(rows) == {2: 3, 3: 4, 4: 8, 5: 16}[number]
    assert (abs(rows.flop_density_pct.to_numpy() - ours) <= 1).all()


@pytest.mark.parametrize(("number", "exactly"), [(2, 46.1), (3, 76.9), (4, 54.0), (5, 64.2)])
def test_the_total_activation_density_is_a_mean_over_neurons_after_pooling(number, exactly):
    total = accounting.total(counted(number))
    assert 100 * total.activation_density == pytest.approx(exactly, abs=0.05)
    assert round(100 * total.activation_density) == paper.table(number).iloc[-1].activation_density_pct


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_printed_weights_and_flops_are_the_exact_ones_rounded(number):
    rows = counted(number)
    for column in ("weights", "flop"):
        for exact, printed in zip(rows[column], paper.table(number)[column]):
            last_digit = 10 ** (len(str(printed)) - len(str(printed).rstrip("0")))  # 37000 is printed as 37K
            # AlexNet's conv4 is cut off (663,552: 663K) and conv5 rounded up (147,456 with biases: 148K)
            assert abs(exact - printed) < last_digit, (column, exact, printed)


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_printed_total_densities_follow_from_the_rows_within_their_rounding(number):
    rows, printed = counted(number), paper.table(number).iloc[-1]
    total = accounting.total(rows)
    rounding = 0.005 + 0.005  # each row's density is rounded to a point, and so is the total
    assert total.weight_density == pytest.approx(printed.weight_density_pct / 100, abs=rounding)
    assert total.flop_density == pytest.approx(printed.flop_density_pct / 100, abs=rounding)


def test_the_networks_sum_to_the_printed_totals():
    sums = {number: sum(layers) for number, layers in WEIGHTS.items()}
    assert sums == {2: 266_200, 3: 430_500, 4: 60_954_656, 5: 138_344_128}
    flops = {number: counted(number).flop.sum() for number in WEIGHTS}
    assert flops[2] == 532_400 and flops[3] == 4_586_000
    assert flops[4] == pytest.approx(1.449e9, rel=1e-3) and flops[5] == pytest.approx(30.9e9, rel=2e-3)


@pytest.mark.parametrize(("name", "number"), [("lenet_300_100", 2), ("lenet_5", 3)])
def test_our_networks_count_as_the_papers_do(name, number):
    rows = accounting.account(registry.build(name), torch.randn(3, 1, 28, 28))
    exact = counted(number)
    for column in ("layer", "weights", "flop", "neurons"):
        assert rows[column].tolist() == exact[column].tolist()
    assert (rows.weight_density == 1).all() and rows.flop_density.iloc[0] == 1


def test_grouped_convolutions_count_their_own_weights():
    net = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 25, 2))
    rows = accounting.account(net, torch.randn(2, 4, 5, 5))
    assert rows.weights.tolist() == [6 * 2 * 9, 6 * 25 * 2]
    assert rows.flop.tolist() == [2 * 6 * 2 * 9 * 25, 2 * 6 * 25 * 2]


def test_densities_are_counted_over_all_images():
    net = nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]]))
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.0, 1.0]])  # positive outputs: 2, 2 and 1 of 4
    masks = {"0": torch.tensor([[True, False]] * 4), "2": torch.tensor([[True, True, False, False]] * 2)}
    rows = accounting.account(net, x, masks, batch_size=2).set_index("layer")
    assert rows.activation_density["0"] == pytest.approx(5 / 12)
    assert rows.weight_density.tolist() == [0.5, 0.5]
    assert rows.flop_density.tolist() == pytest.approx([0.5, 0.5 * 5 / 12])
    total = accounting.total(rows.reset_index())
    assert total.weight_density == 0.5 and total.flop_density == pytest.approx((16 * 0.5 + 16 * 0.5 * 5 / 12) / 32)


def test_hooks_are_gone_also_after_an_error():
    net = networks.lenet_5()
    with pytest.raises(RuntimeError):
        accounting.account(net, torch.randn(2, 3, 28, 28))
    assert not any(layer._forward_hooks for layer in net.modules())


def test_weight_density_is_that_of_the_masks():
    net = networks.lenet_5(torch.Generator().manual_seed(0))
    masks = pruning.prune(networks.weights(net), {"conv1": 0.5, "fc1": 1.5})
    rows = accounting.account(net, torch.randn(2, 1, 28, 28), masks)
    total = accounting.total(rows)
    assert total.weight_density == pytest.approx(pruning.density(masks), rel=1e-6)


def test_the_introductions_power_is_exact():
    assert accounting.dram_energy(20 * 1e9, paper.energy()["32 bit DRAM Memory"]) == 12.8


def test_the_books_own_tables_stay_as_they_are():
    net = networks.lenet_5(torch.Generator().manual_seed(0))
    x = torch.randn(20, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    masks = {name: weight.abs() > weight.std() for name, weight in networks.weights(net).items()}
    pruning.apply_masks(net, masks)
    rows = accounting.account(net, x, masks, batch_size=8)
    assert list(rows) == accounting.COLUMNS
    assert rows.layer.tolist() == ["conv1", "conv2", "fc1", "fc2"]
    assert rows.flop.tolist() == [576_000, 3_200_000, 800_000, 10_000]
    assert rows.neurons.tolist() == [2_880, 800, 500, 10]
    assert rows.activation_density.tolist() == pytest.approx([0.926389, 0.754438, 0.5227, 1.0], rel=1e-4)
    assert rows.weight_density.tolist() == pytest.approx([0.43, 0.42092, 0.423193, 0.4126], rel=1e-4)
    assert rows.flop_density.tolist() == pytest.approx([0.43, 0.389936, 0.319272, 0.215666], rel=1e-4)


SMALL = ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "googlenet", "densenet121", "shufflenet_v2_x0_5"]
SIDES = dict.fromkeys(SMALL, 64) | {"vit_b_32": 224}  # pixels


@pytest.mark.parametrize("name, side", SIDES.items())
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_flops_are_those_of_pytorchs_own_counter(name, side):
    net, x = torchvision.models.get_model(name, weights=None).eval(), torch.randn(1, 3, side, side)
    # PyTorch's counter does not see the fused attention of processors
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        net(x)
    rows = accounting.account(net, x)
    assert rows.flop.sum() == counter.get_total_flops() > 0
    assert rows.weights.sum() == sum(p.numel() for p in net.parameters() if p.ndim > 1)
    assert rows.activation_density[rows.flop > 0].between(0, 1).all()


class Again(nn.Module):
    """One layer three times, and its head."""

    def __init__(self):
        super().__init__()
        self.shared, self.head = nn.Linear(16, 16), nn.Linear(16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            x = self.shared(x).relu()
        return self.head(x)


def test_a_layer_counts_as_often_as_it_is_called():
    rows = accounting.account(Again(), torch.randn(5, 16), batch_size=2).set_index("layer")
    assert rows.flop.to_dict() == {"shared": 3 * 512, "head": 64}
    assert rows.weights.to_dict() == {"shared": 256, "head": 32}
    assert rows.neurons["shared"] == 3 * 16
    assert "no single layer follows" in rows.note["shared"]


def test_layers_that_share_a_weight_have_one_row():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    rows = accounting.account(net, torch.randn(3, 4))
    assert rows.layer.tolist() == ["0"] and rows.weights.tolist() == [16] and rows.flop.tolist() == [64]


class Branched(nn.Module):
    """`last` is defined first; `left` is read by both `right` and `last`."""

    def __init__(self):
        super().__init__()
        self.last, self.right, self.left = nn.Linear(4, 2), nn.Linear(4, 4), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.left(x).relu()
        return self.last(h + self.right(h).relu())


def test_rows_stand_in_the_order_of_execution_and_branches_are_measured_where_they_are():
    net, x = Branched(), torch.randn(200, 6)
    with torch.no_grad():
        left = net.left(x)
        h = left.relu()
        joined = h + net.right(h).relu()
    rows = accounting.account(net, x).set_index("layer")
    assert rows.index.tolist() == ["left", "right", "last"]
    assert rows.activation_density["left"] == (left != 0).float().mean()  # of its own output, before the ReLU
    assert rows.flop_density.tolist() == pytest.approx(
        [1.0, (h != 0).float().mean().item(), (joined != 0).float().mean().item()]
    )
    own = rows.note.str.contains("own output")
    assert own.to_dict() == {"left": True, "right": True, "last": False}


def test_a_layer_defined_late_and_called_early_is_followed_by_what_reads_it():
    class Swapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.second, self.first = nn.Linear(5, 2), nn.Linear(4, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x).relu())

    net, x = Swapped(), torch.randn(100, 4)
    active = (net.first(x) > 0).float().mean().item()
    rows = accounting.account(net, x)
    assert list(rows) == accounting.COLUMNS
    assert rows.layer.tolist() == ["first", "second"]
    assert rows.activation_density.tolist() == pytest.approx([active, 1.0])
    assert rows.flop_density.tolist() == pytest.approx([1.0, active])


def test_a_layer_that_is_never_called_has_its_weights_and_nothing_else():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(4, 3), nn.Linear(3, 7)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x)

    rows = accounting.account(Idle(), torch.randn(3, 4))
    assert rows[["layer", "weights", "flop", "neurons"]].values.tolist() == [["body", 12, 24, 3], ["head", 21, 0, 0]]
    assert rows.note.tolist() == ["", "in no product"]
    total = accounting.total(rows)
    assert (total.weights, total.weight_density, total.flop_density, total.activation_density) == (33, 1, 1, 1)


def test_recurrent_and_attention_layers_count_each_step():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.lstm = nn.Embedding(9, 4), nn.LSTM(4, 6, batch_first=True)
            self.attention, self.head = nn.MultiheadAttention(6, 2, batch_first=True), nn.Bilinear(6, 6, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x, _ = self.lstm(self.embedding(x))
            x = self.attention(x, x, x, need_weights=False)[0].mean(1)
            return self.head(x, x)

    rows = accounting.account(Words(), torch.zeros(2, 5, dtype=torch.long)).set_index("layer")
    expected = {
        "embedding": (36, 0),
        "lstm.weight_ih_l0": (96, 2 * 96 * 5),
        "lstm.weight_hh_l0": (144, 2 * 144 * 5),
        "attention.in_proj_weight": (108, 2 * 108 * 5),
        "attention.out_proj": (36, 2 * 36 * 5),
        "head": (108, 2 * 108),
    }
    assert {name: tuple(rows.loc[name, ["weights", "flop"]]) for name in expected} == expected
    assert rows.weights.sum() == sum(weights for weights, _ in expected.values())


class Heads(nn.Module):
    """Two heads of four values each, whose attention is one operation."""

    def __init__(self):
        super().__init__()
        self.all = nn.Linear(8, 24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.all(x).view(len(x), 5, 3, 2, 4).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class Attention(nn.MultiheadAttention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x, x, x, need_weights=False)[0]


@pytest.mark.parametrize("grad", [torch.no_grad, torch.enable_grad, torch.inference_mode])
@pytest.mark.parametrize(
    ("build", "flop"),
    [
        (Heads, {"all": 2 * 5 * 8 * 24}),
        (lambda: Attention(8, 2, batch_first=True), {"in_proj_weight": 2 * 5 * 8 * 24, "out_proj": 2 * 5 * 8 * 8}),
        (
            lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
            {"self_attn.in_proj_weight": 2 * 5 * 8 * 24, "self_attn.out_proj": 2 * 5 * 8 * 8}
            | {"linear1": 2 * 5 * 8 * 16, "linear2": 2 * 5 * 16 * 8},
        ),
    ],
    ids=["function", "layer", "encoder"],
)
def test_attention_counts_its_products_of_activations(build, flop, grad):
    with grad():
        rows = accounting.account(build(), torch.randn(2, 5, 8)).set_index("layer")
    assert rows.flop.to_dict() == flop | {"products of activations": 2 * 2 * 5 * 5 * 8}  # queries x keys, and x values


def test_the_network_is_left_in_its_mode_and_autocast_changes_no_count():
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 2))
    net[1].eval()
    with torch.autocast("cpu", torch.bfloat16):
        net(torch.randn(2, 4))  # the casts of this call are kept
        rows = accounting.account(net, torch.randn(2, 4).bfloat16())
    assert rows.flop.tolist() == [32, 16]
    assert [module.training for module in net] == [True, False, True]


def test_masks_that_fit_no_weight_and_weights_without_values_are_named():
    net, x = nn.Sequential(nn.Linear(4, 2)), torch.randn(2, 4)
    with pytest.raises(ReplicationError, match=r"the mask of 'fc' \(2, 4\) fits no layer: 0"):
        accounting.account(net, x, {"fc": torch.ones(2, 4, dtype=torch.bool)})
    with pytest.raises(ReplicationError, match=r"0\.weight is on the meta device and has no values: fill"):
        accounting.account(net.to("meta"), x)


def test_a_network_without_weights_has_an_empty_table():
    rows = accounting.account(nn.Sequential(nn.ReLU()), torch.randn(2, 4))
    total = accounting.total(rows)
    assert list(rows) == accounting.COLUMNS and rows.empty
    assert total.weights == 0 and math.isnan(total.weight_density)
