"""What pages conclude, on made-up records whose answer is known: lessons of the claims, and the price of pruning."""

import math

import pandas as pd
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
    alive = dying(0.0)
    alive["kept"].metrics["dead_units"]["fc1"] = {"no_input": 0, "no_output": 0}
    assert functions("dead_neurons").lesson({"lenet_5": [alive]}).startswith("**No neuron has lost all of its inputs")


def test_dead_neurons_in_words_have_every_network_at_its_own_end():
    first, second = "LeNet-300-100", "LeNet-5"
    ends = [(first, 10, 0.3, 0), (first, 10, 0.5, 1), (second, 4, 0.2, 0), (second, 3, 0.9, 0)]
    rows = [
        {"network": network, "variant": "kept", "kind": kind, "epoch": epoch, "largest": left, "seed": seed}
        for network, epoch, largest, seed in ends
        for kind, left in (("no_input", largest), ("no_output", math.nan))
    ]
    text = functions("dead_neurons").dying_in_words(pd.DataFrame(rows))
    assert "LeNet-300-100, with L2, no input: 0.5; LeNet-300-100, with L2, no output: none left" in text
    assert "LeNet-5, with L2, no input: 0.2; LeNet-5" in text


def test_the_best_rate_is_the_one_with_the_smallest_mean_error():
    errors = {f"rate {rate:g}": [value] * 2 for rate, value in zip(ablations.RATES, (150, 130, 120, 105, 110))}
    lesson = functions("learning_rate").lesson
    told = "LeNet-5 reaches 1.05 % at 0.3 times the original rate, 1.20 % at a tenth, 1.50 % at a hundredth (dense"
    assert told in lesson({"lenet_5": made(**errors)}) and "worth a search" in lesson({"lenet_5": made(**errors)})
    errors["rate 0.1"] = [100] * 2
    text = lesson({"lenet_5": made(**errors)})
    assert "reaches 1.00 % at a tenth of the original rate, 1.50 % at a hundredth (dense" in text
    assert text.endswith("No other rate gives less.")


def test_which_weights_go_is_said_to_matter_only_where_it_does():
    lesson = functions("choosing").lesson
    each = {"kept": [100, 101], "probabilistic": [120, 121], "uniform random": [200, 202]}
    each["global threshold"] = [99, 100]
    text = lesson({"lenet_5": made(**each)})
    assert text.startswith("Which weights go matters, even after retraining.")
    assert text.endswith("LeNet-5 probabilistic +0.20, uniform random +1.00, global threshold -0.01.")
    each["uniform random"] = [90, 120]
    assert "go is not seen to matter on every network" in lesson({"lenet_5": made(**each)})


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
