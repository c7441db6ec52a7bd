import pandas as pd
import pytest
import torch
from torch import nn

from replication import networks, pruning
from replication.claims import paper
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
