"""What pages conclude, on made-up records whose answer is known: lessons of the claims, and the price of pruning."""

import pytest
from pages import functions
from test_text_claims import dying, made

from replication.claims import ablations
from replication.report.ablation_pages import effect
from replication.runs import Record, comparisons, profiles, recipes


def test_an_effect_is_named_only_where_its_interval_leaves_zero_out():
    better, unsure = made(Dr=[100, 101, 99], Do=[120, 122, 118]), made(Dr=[100, 130, 90], Do=[120, 122, 118])
    assert effect({"lenet_5": better}, "Dr", "Do") == "on LeNet-5 it lowers the test error by 0.20 points"
    assert effect({"lenet_5": better}, "Do", "Dr") == "on LeNet-5 it raises the test error by 0.20 points"
    assert "no effect is seen in 3 seeds (-0.6" in effect({"lenet_300_100": unsure}, "Dr", "Do")
    assert "one seed differs by +0.20 points" in effect({"lenet_5": made(Dr=[120], Do=[100])}, "Dr", "Do")


def test_dead_neurons_are_said_to_die_only_where_all_of_their_weights_are_gone():
    assert "by itself" in functions("dead_neurons").lesson({"lenet_5": [dying(9e-4), dying(1e-5)]})
    assert "leaves them weights of up to 0.5 standard deviations" in functions("dead_neurons").lesson(
        {"lenet_5": [dying(9e-4), dying(0.5)]}
    )


def test_the_best_rate_is_the_one_with_the_smallest_mean_error():
    errors = {f"rate {rate:g}": [value] * 2 for rate, value in zip(ablations.RATES, (150, 130, 120, 105, 110))}
    assert "LeNet-5 reaches 1.05 % at 0.3 times" in functions("learning_rate").lesson({"lenet_5": made(**errors)})


def stage(errors: int, density: float, epochs: int) -> Record:
    score = {"errors": errors, "images": 10_000, "loss": 0.1}
    layers = [{"layer": "fc1", "weights": 100, "weight_density": density}]
    history = [{"epoch": n + 1} for n in range(epochs)]
    metrics = {"test": score, "validation": score, "layers": layers, "history": history}
    return Record({"key": f"{errors}-{density}-{epochs}", "run": {"network": "lenet_5"}, "metrics": metrics})


def test_control_stands_between_dense_and_pruned():
    chains = [[stage(60, 1.0, 7), stage(62, 0.1, 4), stage(900, 0.01, 4)], [stage(64, 1.0, 7), stage(60, 0.1, 4)]]
    longer = [stage(58, 1.0, 8), stage(56, 1.0, 4)]
    page = functions("table1_summary")
    rows = page.controls({"lenet_5": chains}, {"lenet_5": longer})
    assert rows.variant.tolist() == ["dense", "dense, trained on", "pruned"]
    assert rows["extra epochs"].tolist() == [0, 6, 4]  # the round that loses too much is not chosen
    assert rows["test error % mean"].tolist() == pytest.approx([0.62, 0.57, 0.61])
    assert rows["change of error"].tolist() == pytest.approx([0, -0.05, -0.01])
    assert rows.rate.tolist() == pytest.approx([1, 1, 10])
    text = page.cost_of_pruning({"lenet_5": chains}, {"lenet_5": longer})
    assert (
        text == "Pruned less dense, trained on, in points of test error: LeNet-5 +0.04 (95 %: +0.04 to +0.04, 2 seeds)."
    )


@pytest.mark.parametrize("network", recipes.RECIPES)
def test_control_goes_through_the_phases_of_its_chain(network: str):
    profile = profiles.get("laptop")
    chain, control = recipes.chains(network, profile)[0], comparisons.controls(profile)[network][0]
    assert control.phases == sum((run.phases for run in chain[1:]), ())
    assert control.parent == chain[0] and control.pruning is None and control.seed == chain[1].seed
