"""How long AlexNet's stand-in is retrained: as long as it was trained, on untried seeds, for less and for more."""

from dataclasses import replace

import pytest

from replication.claims import CLAIMS
from replication.claims.networks import CHAINS, CONTROLS, OTHER_LENGTHS, REFERENCES, TRIED
from replication.claims.rules import flat
from replication.runs import Run, profiles, recipes
from replication.runs.spec import get

LAPTOP = profiles.get("laptop")
LESS, MORE = OTHER_LENGTHS.runs(LAPTOP).values()
RECIPE = [
    {"chain": chain, "control": control}
    for chain, control in zip(CHAINS["alexnet_32"].runs(LAPTOP), CONTROLS.runs(LAPTOP)["alexnet_32"], strict=True)
]


def epochs(*runs: Run) -> int:
    return sum(phase.epochs for run in runs for phase in run.phases)


@pytest.mark.parametrize(("each", "share"), [(LESS, 2 / 3), (RECIPE, 1), (MORE, 7 / 3)])
def test_rounds_are_retrained_for_a_share_of_the_training_and_the_control_for_as_long(each, share: float):
    for named in each:
        dense, *rounds = named["chain"]
        assert epochs(*rounds) == epochs(named["control"]) == pytest.approx(share * epochs(dense))
        assert named["control"].parent == dense == recipes.REFERENCES["alexnet_32"]
        assert {run.seed for run in (*rounds, named["control"])} == {rounds[0].seed}
    assert {named["control"].seed for named in each} == {101, 102, 103}


def test_lengths_differ_in_their_epochs_alone():
    own = recipes.RECIPES["alexnet_32"]
    for named in [*LESS, *MORE]:
        for run in named["chain"][1:]:
            assert run.pruning == own.pruning
            for phase, usual in zip(run.phases, own.retraining, strict=True):
                assert {name for name in vars(phase) if vars(phase)[name] != vars(usual)[name]} == {"epochs"}


def test_the_longer_form_has_the_papers_proportion():
    for dense, *rounds in (named["chain"] for named in MORE):
        assert epochs(*rounds) / epochs(dense) == pytest.approx(173 / 75, abs=0.05)


@pytest.mark.parametrize("network", recipes.STAND_INS.values())
def test_other_references_differ_in_their_seed_alone(network: str):
    own = zip(CHAINS[network].runs(LAPTOP), CONTROLS.runs(LAPTOP)[network], strict=True)
    usual = [[*chain, control] for chain, control in own]
    for seed, each in zip((1, 2, 3), REFERENCES[network].runs(LAPTOP), strict=True):
        for named, as_usual in zip(each, usual, strict=True):
            start, *rest = [*named["chain"], named["control"]]
            assert start == replace(as_usual[0], seed=seed) and all(run.ancestors[0] == start for run in rest)
            assert [replace(run, parent=None) for run in rest] == [replace(run, parent=None) for run in as_usual[1:]]


def devices(nest) -> set[str]:
    """The kinds of device on which what was computed of a nest was computed; the shipped references left out."""
    given = {run.key for run in recipes.REFERENCES.values()}
    return {get(run).provenance["device"] for run in flat(nest) if run.key not in given}


@pytest.mark.parametrize("network", recipes.STAND_INS.values())
def test_what_is_compared_was_computed_on_one_kind_of_device(network: str):
    compared = [[named["chain"], named["control"]] for each in REFERENCES[network].runs(LAPTOP) for named in each]
    compared += [each for each in OTHER_LENGTHS.runs(LAPTOP).values() if network == "alexnet_32"]
    for claim in CLAIMS.values():
        if claim.evidence and network in claim.networks:
            nests = [each.runs(LAPTOP) for each in (claim.evidence, claim.beside) if each]
            compared.append([nest[network] if isinstance(nest, dict) else nest for nest in nests])
    assert len(compared) > 10
    for nest in compared:
        assert len(devices(nest)) == 1


@pytest.mark.parametrize("network", recipes.STAND_INS.values())
def test_what_tables_4_and_5_report_starts_after_the_seeds_that_were_tried(network: str):
    reported = {run.seed for chain in CHAINS[network].runs(LAPTOP) for run in chain[1:]}
    assert reported == {101, 102, 103} == {run.seed for run in CONTROLS.runs(LAPTOP)[network]}


def test_retrainings_of_the_text_are_reported_on_seeds_that_were_not_tried():
    assert recipes.RECIPES["alexnet_32"].retraining[-1].epochs == 8  # of the whole network in a round of Table 4
    for claim, lengths in (("C19", {8}), ("C21", {8, 4})):
        runs = CLAIMS[claim].evidence.runs(LAPTOP)["alexnet_32"]
        pruned = [run for named in runs for run in named.values() if run.pruning]
        assert {run.seed for run in pruned} == {101, 102, 103}
        assert {phase.epochs for run in pruned for phase in run.phases} == lengths


def test_the_rate_is_the_better_of_those_that_were_tried_by_the_validation_error_in_the_end():
    plan, own = TRIED.runs(LAPTOP), recipes.RECIPES["alexnet_32"]
    first, second = plan.values()
    for one, other in zip(first[1:], second[1:], strict=True):
        for a, b in zip(one.phases, other.phases, strict=True):
            assert {name for name in vars(a) if vars(a)[name] != vars(b)[name]} == {"learning_rate"}
    errors = {rate: get(chain[-1]).error("validation") for rate, chain in plan.items()}
    best = min(errors, key=errors.get)
    assert [phase.learning_rate for phase in own.retraining] == pytest.approx([best * own.training.learning_rate] * 2)
    assert {chain[-1].seed for chain in plan.values()} == {90}
