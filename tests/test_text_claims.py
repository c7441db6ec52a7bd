"""The claims of the text: their runs, and their measurements on made-up records whose answer is known."""

import math

import pages as notebooks
import pytest

from replication.claims import CLAIMS, ablations, registry
from replication.claims.ablations import CONTROLS, DENSE, LONGER
from replication.report import ablation_pages
from replication.runs import Record, comparisons, profiles, recipes

NAMES = {  # by claim: its variants
    "C19": ("Do", "Dr"),
    "C20": ("kept", "re-initialised", "re-initialised, original rate", "re-initialised, as long as both trainings"),
    "C21": ("joint", "in turn"),
    "C22": ("kept", "global threshold", "probabilistic", "uniform random"),
    "C23": ("kept", "no L2"),
    "C24": ("rate 0.01", "rate 0.03", "rate 0.1", "rate 0.3", "rate 1"),
}


def record(seed: int, errors: int, **metrics) -> Record:
    score = {"errors": errors, "images": 10_000, "loss": 0.1}
    layers = [{"layer": "fc1", "weights": 100, "weight_density": 0.25}]
    run = {"seed": seed, "network": "lenet_5"}
    return Record({"key": f"{seed}", "run": run, "metrics": {"test": score, "layers": layers} | metrics})


def made(**errors: list[int]) -> list[dict[str, Record]]:
    """Variants of as many seeds as there are errors; dense networks are always there."""
    seeds = range(len(next(iter(errors.values()))))
    errors = {DENSE: [100] * len(seeds), LONGER: [98] * len(seeds)} | errors
    return [{name: record(100 + s, values[s]) for name, values in errors.items()} for s in seeds]


def test_dropout_by_the_rule_is_judged_network_by_network():
    better = {"lenet_5": made(Dr=[100, 101, 99, 100, 100], Do=[120, 122, 118, 120, 120])}
    unsure = {"lenet_300_100": made(Dr=[100, 130, 90, 100, 140], Do=[120, 122, 118, 120, 120])}
    one = {"alexnet_32": made(Dr=[1500], Do=[1400])}
    found = [each.status() for each in CLAIMS["C19"].measure(better | unsure | one).comparisons]
    assert [(each.status, each.seeds) for each in found] == [("holds", 5), ("undecided", 5), ("undecided", 1)]
    assert found[0].mean == pytest.approx(-0.20) and found[2].mean == pytest.approx(1.0)


def test_a_reference_of_another_seed_is_paired_with_the_runs_that_start_from_it():
    each = [{DENSE: record(0, 1400), "Do": record(100, 1500)}, {DENSE: record(0, 1400), "Do": record(101, 1600)}]
    found = ablation_pages.difference(each, "Do", DENSE)
    assert found.n == 2 and found.mean == pytest.approx(1.5)


def test_differences_are_paired_over_seeds():
    each = made(kept=[100, 200, 300], other=[101, 201, 301])
    found = ablation_pages.difference(each, "kept", "other")
    assert found.mean == pytest.approx(-0.01) and found.sd == pytest.approx(0, abs=1e-12)


def test_freezing_has_a_wider_margin_on_the_stand_in():
    each = made(**{"joint": [100, 100, 100], "in turn": [130, 130, 130]})
    stand_in, lenet = CLAIMS["C21"].measure({"alexnet_32": each, "lenet_5": each}).comparisons
    assert (stand_in.status().limit, stand_in.status().status) == (0.50, "holds")
    assert (lenet.status().limit, lenet.status().mean) == (0.10, pytest.approx(0.30))


def test_both_steps_of_choosing_have_a_gap_on_every_network():
    each = made(**{"kept": [100, 110], "probabilistic": [120, 150], "uniform random": [200, 210]})
    first, second = CLAIMS["C22"].measure({"lenet_5": each}).comparisons
    assert first.values["error kept less probabilistic"].tolist() == pytest.approx([-0.2, -0.4])
    assert second.values["error probabilistic less uniform random"].tolist() == pytest.approx([-0.8, -0.6])
    assert first.values.index.tolist() == [100, 101]


def test_the_papers_rate_is_compared_with_the_best():
    errors = {f"rate {rate:g}": [value] * 2 for rate, value in zip(ablations.RATES, (150, 130, 120, 105, 110))}
    measured = CLAIMS["C24"].measure({"lenet_5": made(**errors)})
    assert measured.comparisons[0].values.iloc[:, 0].tolist() == pytest.approx([0.15, 0.15])
    assert measured.comparisons[0].status().limit == 0.10 and "best 1.05 % at 0.3" in measured.ours


def left(largest: float) -> dict:
    return {"no_input": {"weights": 3, "largest": largest, "mean": 0.1}, "no_output": {"weights": 0, "largest": 0.0}}


def dying(end: float, changed: float = 1e-7, seed: int = 100) -> dict[str, Record]:
    metrics = {"dead_units": {"fc1": {"no_input": 2, "no_output": 1}}, "dead_before": left(2.0)}
    metrics |= {"history": [{"dead": left(1.0)}, {"dead": left(end)}]}
    gone = {"units": {"fc1": 3}, "weights": 5, "changed_answers": 0, "largest_difference": changed}
    return {name: record(seed, 100, **metrics, without_dead=gone) for name in (DENSE, LONGER, *NAMES["C23"])}


def test_dead_neurons_must_have_lost_every_connection():
    measure, page = CLAIMS["C23"].measure, notebooks.functions("dead_neurons")
    ends = [9e-4, 1e-5, 9e-4, 9e-4, 9e-4]
    (found,) = measure({"lenet_5": [dying(end, seed=seed) for seed, end in enumerate(ends)]}).comparisons
    assert found.status().status == "holds" and found.values["largest weight left"].tolist() == ends
    for worse in (dying(0.5, seed=9), dying(9e-4, changed=0.1, seed=9)):
        (found,) = measure(
            {"lenet_5": [*(dying(end, seed=seed) for seed, end in enumerate(ends[:4])), worse]}
        ).comparisons
        assert found.status().status == "fails"
    alive = dying(0.0, seed=9)
    alive["kept"].metrics["dead_units"]["fc1"] = {"no_input": 0, "no_output": 0}
    (found,) = measure({"lenet_5": [dying(9e-4), alive]}).comparisons
    assert found.status().seeds == 1  # where nothing died there is nothing to see
    told = measure({"lenet_5": [dying(0.5), dying(0.5)]}).ours  # 2 and 1 of each; those with neither are in both
    assert told.startswith("LeNet-5: 2 neurons without inputs, 1 without outputs, largest weight 2.00 -> 0.50")
    counts = page.dead_neurons({"lenet_5": [dying(0.5)]})
    assert counts["largest before"].max() == 2.0 and counts["largest after"].max() == 0.5
    assert page.removals({"lenet_5": [dying(0.5)]})["kept weights removed"].tolist() == [5]


def test_the_table_has_every_variant_once_with_its_paired_change():
    each = made(**{"kept": [110, 112], "re-initialised": [150, 150], "re-initialised, original rate": [130, 130]})
    rows = ablation_pages.table({"lenet_5": each}).set_index("variant")
    assert rows.index.is_unique and list(rows.index[:2]) == [DENSE, LONGER]
    assert rows.loc["kept", "change of error"] == pytest.approx(0.11)
    assert rows.loc["kept", "rate"] == 4 and rows.loc["kept", "seeds"] == 2


@pytest.mark.parametrize("name", ["smoke", "laptop"])
def test_every_control_of_dropout_has_the_dropout_too(name):
    for network, each in CLAIMS["C19"].evidence.runs(profiles.get(name)).items():
        for runs in each:
            own = network if network == "alexnet_32" else f"{network}_dropout"
            assert {run.network for run in runs.values()} == {own}
            assert {runs[variant].parent for variant in (LONGER, "Do", "Dr")} == {runs[DENSE]}
            assert runs[LONGER].phases == runs["Do"].phases and runs[LONGER].pruning is None


@pytest.mark.parametrize("claim", ["C19", "C20", "C21", "C22"])
def test_the_figure_shows_every_seed(claim):
    each = made(**{name: [100 + n, 120 + n] for n, name in enumerate(NAMES[claim])})
    drawing, data, alt = ablation_pages.comparison(claim, {"lenet_5": each})
    assert len(data) == 2 * len(each[0]) and f"{NAMES[claim][0]} 1.10 %" in alt
    assert {text.get_text() for text in drawing.axes[0].get_yticklabels()} >= set(NAMES[claim])


@pytest.mark.parametrize("name", ["smoke", "laptop", "full"])
@pytest.mark.parametrize("claim", NAMES)
def test_variants_differ_from_each_other_in_the_named_step_alone(name, claim):
    profile = profiles.get(name)
    for network, (runs, *_) in CLAIMS[claim].evidence.runs(profile).items():
        assert [name for name in runs if name not in CONTROLS] == list(NAMES[claim])
        assert list(runs)[:2] == [DENSE, LONGER]
        pruned = [runs[variant] for variant in NAMES[claim]]
        assert len({run.key for run in pruned}) == len(pruned)
        assert len({run.parent.key for run in pruned}) == 1
        epochs = [sum(phase.epochs for phase in run.phases) for run in pruned]
        if claim == "C20" and profile.meaningful:  # fresh weights also get the epochs of both trainings
            assert epochs.pop() == epochs[0] + runs[DENSE].training.epochs
        assert len(set(epochs)) == 1 or not profile.meaningful
        assert all(math.isclose(run.pruning.density, ablations.DENSITIES[network]) for run in pruned)


def test_the_usual_variant_is_one_run_in_all_claims():
    profile = profiles.get("laptop")
    found = {claim: CLAIMS[claim].evidence.runs(profile) for claim in ("C20", "C22", "C23", "C24")}
    for network in ("lenet_300_100", "lenet_5"):
        keys = {found[claim][network][0]["kept"].key for claim in ("C20", "C22", "C23")}
        keys.add(found["C24"][network][0]["rate 0.1"].key)
        assert len(keys) == 1


def test_long_chains_are_recorded_and_fall_in_density():
    profile = profiles.get("laptop")
    recorded = {run.key for run in registry.recorded(profile)}
    for network in comparisons.DESCENTS:
        _, *rounds = comparisons.long_chain(network, 200, profile)
        densities = [run.pruning.density for run in rounds]
        assert densities == sorted(densities, reverse=True)
        assert {run.key for run in rounds} <= recorded or not profile.limits[network]
        usual = recipes.RECIPES[network].training.learning_rate
        assert all(run.training.learning_rate == usual for run in rounds)
        assert {run.dataset for run in rounds} == {"mnist"}  # 55,000 images train, 5,000 others give the qualities


def test_long_chains_are_reported_on_seeds_on_which_nothing_was_tried_out():
    for chains in comparisons.long_chains(profiles.get("laptop")).values():
        assert [{run.seed for run in chain} for chain in chains] == [{seed} for seed in range(200, 205)]
