"""The tables that several pages show, on records made up so that the answer is known."""

from copy import deepcopy

import pytest

from replication.data import paper
from replication.report import show, tables
from replication.runs import Record, recipes

LAYERS = ("fc1", "fc2", "fc3")


def stage(key: str, validation: int, test: int, densities: tuple[float, ...], quality: float = 0.0) -> Record:
    scores = {"validation": {"errors": validation, "images": 1_000}, "test": {"errors": test, "images": 10_000}}
    layers = [
        {"layer": name, "weights": weights, "flop": 2 * weights, "neurons": 10, "activation_density": 0.5}
        | {"weight_density": density, "flop_density": density / 2}
        for name, weights, density in zip(LAYERS, (300, 100, 100), densities)
    ]
    metrics = scores | {"layers": layers, "qualities": {"fc1": quality}, "thresholds": {"fc1": quality / 10}}
    run = {"network": "lenet_300_100", "seed": 1}
    name = "dense" if densities == (1, 1, 1) else "round 1" if densities[0] == 0.5 else "round 2"
    provenance = {"seconds": 10.0 if name == "dense" else 4.0}
    return Record({"key": key, "run": run, "stage": name, "metrics": metrics, "provenance": provenance})


@pytest.fixture
def chains() -> list[list[Record]]:
    """Two seeds; the first may take its second round, the second loses too much there."""
    first = [
        stage("a", 20, 200, (1, 1, 1)),
        stage("b", 20, 210, (0.5, 1, 1), 1.0),
        stage("c", 20, 190, (0.1, 1, 1), 2.0),
    ]
    other = [stage("d", 20, 220, (1, 1, 1)), stage("e", 20, 210, (0.5, 1, 1), 1.4), stage("f", 500, 900, (0.1, 1, 1))]
    return [first, other]


def test_layers_stand_beside_the_papers_with_their_total(chains):
    table = tables.layers("lenet_300_100", chains).set_index("layer")
    assert list(table.index) == [*LAYERS, "total"] and list(table.FLOP) == [600, 200, 200, 1_000]
    assert table["ours weight % mean"].tolist() == pytest.approx([30, 100, 100, 58])  # of 10 and 50 %, 46 and 70 %
    assert table["ours weight % sd"].tolist() == pytest.approx([20 * 2**0.5, 0, 0, 12 * 2**0.5])
    assert table["ours activation % mean"].tolist() == pytest.approx([50] * 4)
    printed = paper.table(2).set_index("layer")
    assert table["paper weight %"].to_dict() == printed.weight_density_pct.to_dict()
    assert table["paper FLOP %"].to_dict() == printed.flop_density_pct.to_dict()
    heads = [column for column in table if column.startswith("paper")]
    assert heads == ["paper activation %", "paper weight %", "paper FLOP %"]


def test_differences_name_the_layer_that_differs_most(chains):
    text = tables.differences(tables.layers("lenet_300_100", chains))
    assert "weight density: total +50.0, at most +91.0 (fc2)" in text  # 58 and 8 %; 100 and 9 %


def test_ways_to_retrain_are_told_by_the_rate_of_each_image(chains):
    def retrained(batch: int, epochs: int, learning_rate: float) -> list[list[Record]]:
        phases = {"dense": (256, 12, 0.2), "round 1": (batch, epochs, learning_rate)}
        for record in (record for chain in chains for record in chain):
            size, count, rate = phases.get(record.stage, phases["round 1"])
            record.run["training"] = {"batch_size": size, "epochs": count, "learning_rate": rate}
        return deepcopy(chains)

    table = tables.retrainings(retrained(256, 10, 0.02), retrained(16, 5, 0.02))
    assert table.batch.tolist() == [256, 16] and table["epochs of a round"].tolist() == [10, 5]
    assert table["rate for each image"].tolist() == ["0.1 of training's", "1.6 of training's"]
    assert table["change of test error mean"].tolist() == pytest.approx([-0.1, -0.1])  # -10 of 10,000 in both chains
    assert table["test error % mean"].tolist() == pytest.approx([2.0, 2.0]) and table.seeds.tolist() == [2, 2]


def test_rounds_stage_by_stage(chains):
    table = tables.rounds(chains).set_index("stage")
    assert list(table.index) == ["dense", "round 1", "round 2"]
    assert table["seeds chosen"].tolist() == [0, 1, 1]
    assert table["rate mean"].tolist() == pytest.approx([1, 500 / 350, 500 / 230])
    assert table["validation error % mean"].tolist() == pytest.approx([2, 2, 26])
    assert table["test error % mean"].tolist() == pytest.approx([2.1, 2.1, 5.45])
    assert table["change of test error mean"].tolist() == pytest.approx([0, 0, 3.35])  # +0.1 and -0.1; -0.1 and +6.8
    assert table["change of test error sd"].tolist() == pytest.approx([0, 0.1 * 2**0.5, 3.45 * 2**0.5])
    assert table["seconds mean"].tolist() == [10, 4, 4]


def test_qualities_by_round_and_layer(chains):
    table = tables.qualities(chains)
    assert table[["stage", "layer"]].values.tolist() == [["round 1", "fc1"], ["round 2", "fc1"]]
    assert table["quality mean"].tolist() == pytest.approx([1.2, 1.0])
    assert table["quality sd"].tolist() == pytest.approx([0.2 * 2**0.5, 2**0.5])
    assert table["threshold mean"].tolist() == pytest.approx([0.12, 0.1])


@pytest.fixture
def controls() -> list[Record]:
    """Dense networks trained on: one 0.20 points better than the first chain's start, one 0.10 than the other's."""
    return [stage("g", 20, 180, (1, 1, 1)), stage("h", 20, 210, (1, 1, 1))]


def test_chosen_rounds_beside_dense_networks_trained_as_long(chains, controls):
    row = tables.against_controls(chains, controls)  # 500 of 230 weights and of 350
    assert row["rate mean"] == pytest.approx((500 / 230 + 500 / 350) / 2)
    assert row["test error % mean"] == pytest.approx(2.0) and row["control error % mean"] == pytest.approx(1.95)
    assert (row["change of test error mean"], row["change of test error sd"]) == pytest.approx((-0.1, 0), abs=1e-9)
    assert row[tables.GAP] == pytest.approx(0.05)  # +0.10 and 0
    reach = 12.706 * 0.1 / 2**0.5 / 2**0.5  # Student's t of one degree, the deviation of the two gaps, their number
    assert (row["interval from"], row["interval to"]) == pytest.approx((0.05 - reach, 0.05 + reach), abs=1e-4)
    with pytest.raises(ValueError):
        tables.against_controls(chains, controls[:1])


def test_references_lie_as_far_apart_as_their_rows(chains, controls):
    own = [{"chain": chain, "control": control} for chain, control in zip(chains, controls)]
    other = deepcopy(own)
    other[1]["chain"][1].metrics["test"]["errors"] = 250  # loses 0.30 points
    for record in other[0]["chain"]:
        record.run["seed"] = 3
    table = tables.references(own, [other])
    assert table["dense reference"].tolist() == ["the table's", "from seed 3"]
    assert table["its test error %"].tolist() == [2.0, 2.0]
    assert table["change of test error mean"].tolist() == pytest.approx([-0.1, 0.1])
    text = tables.between_references(table)
    assert "From 2 dense references, means over seeds: 1.8 to 1.8x" in text
    assert "changes by -0.10 to +0.10 points (95 % interval of their mean: -1.27 to +1.27)" in text
    assert "less the control's by +0.05 to +0.25 points" in text
    assert "deviates by 0.14 points between the references, by 0.20 between the seeds of one" in text
    text = tables.between_references(tables.references(own[:1], [other[:1]]))
    assert "between the references; each has one seed." in text and "nan" not in text


def test_the_share_of_lost_weights_is_that_of_the_kept_densities(chains):
    text = tables.headline(chains)  # 46 and 70 % kept: 58 % on average; 2.17x and 1.43x: 1.8x
    assert text.startswith("**LeNet-300-100 loses 42 % of its weights (1.8x), and its test error changes by -0.10")
    assert "The 2 networks lose 30 to 54 % of their" in tables.headlines({"a": chains[:1], "b": chains[1:]})


def test_seeds_without_a_round_without_loss_are_named(chains):
    assert show.all_lose(chains, chains) == ""
    chains[1][1].metrics["validation"]["errors"] = 27  # 0.70 points more; the standard error is 0.68
    for record in chains[1]:
        record.run["seed"] = 7
    told = "every round loses more than *chosen* allows on LeNet-300-100's seed 7: the first round counts there."
    assert show.all_lose(chains[:1], chains).endswith(told)
    assert recipes.chosen(chains[1]) is chains[1][1]


def test_batches_of_retraining_are_told_with_what_a_rate_comes_to_for_each_image(chains):
    for record, (size, rate) in zip(chains[0], ((256, 0.05), (64, 0.005), (64, 0.005))):
        record.run["training"] = {"batch_size": size, "learning_rate": rate}
    told = show.batches(chains[0])
    assert told.startswith("Trained in batches of 256, retrained in batches of 64 at 0.1 of the learning rate")
    assert "for each image that is 0.4 of training's" in told
