"""The LeNets' recipes on other images: the same runs there, and the same claims with the same rules."""

from dataclasses import replace

import pytest

from replication import claims
from replication.claims import tradeoff
from replication.claims.rules import flat, moved
from replication.data import datasets
from replication.runs import profiles, recipes

LAPTOP = profiles.get("laptop")


def test_moved_runs_differ_in_their_images_alone():
    chains = recipes.chains("lenet_300_100", LAPTOP)
    there = moved({"a": chains, "b": chains[0][0]}, "fashion_mnist")
    assert there["a"] == recipes.chains("lenet_300_100", LAPTOP, dataset="fashion_mnist")
    assert there["b"].key == there["a"][0][0].key != chains[0][0].key
    for here, run in zip(flat(chains), flat(there["a"]), strict=True):
        assert {each.dataset for each in (*run.ancestors, run)} == {"fashion_mnist"}
        assert replace(run, dataset="mnist", parent=None) == replace(here, parent=None)


@pytest.mark.parametrize("identity", claims.ELSEWHERE)
def test_claims_on_other_images_have_their_own_rule_and_the_same_recipes(identity: str):
    here, there, digits = claims.CLAIMS[identity], claims.ELSEWHERE[identity], claims.on_images("mnist")[identity]
    assert (there.measure, there.page) == (here.measure, "other_images")
    assert set(there.networks) <= {*here.networks} & {*recipes.LENETS}
    plan = digits.evidence.plan(LAPTOP)
    assert {run.network for run in plan} == set(there.networks)
    assert {run.key for run in plan} <= {run.key for run in here.evidence.plan(LAPTOP)}  # nothing chosen anew
    assert there.evidence.plan(LAPTOP) == moved(plan, "fashion_mnist")
    assert "fashion_mnist" in datasets.DIGITS


@pytest.mark.parametrize("identity", ["C11", "C12"])
@pytest.mark.parametrize("network", recipes.LENETS)
def test_claims_about_l1_and_l2_need_two_curves_of_figure_5(identity: str, network: str):
    few, whole = (
        evidence.on("fashion_mnist", [network]).runs(LAPTOP)[network]
        for evidence in (tradeoff.TWO_CURVES, tradeoff.CURVES)
    )
    assert claims.ELSEWHERE[identity].evidence.runs(LAPTOP)[network] == few
    assert few == [{name: by_curve[name] for name in ("L2", "L1")} for by_curve in whole] and len(few) == 5


@pytest.mark.parametrize("identity", claims.ELSEWHERE)
def test_every_lenet_that_a_claim_is_about_is_tried_with_five_seeds(identity: str):
    there = claims.ELSEWHERE[identity]
    assert there.networks == tuple(n for n in recipes.LENETS if n in claims.CLAIMS[identity].networks)
    for network in there.networks:
        assert {run.seed for run in there.evidence.plan(LAPTOP) if run.network == network} == set(range(100, 105))


def test_smoke_loads_no_images_that_do_not_come_with_the_repository():
    smoke = profiles.get("smoke")
    for identity, there in claims.ELSEWHERE.items():
        assert there.evidence.plan(smoke) == claims.on_images("mnist")[identity].evidence.plan(smoke)
        assert {run.dataset for run in there.evidence.plan(smoke)} == {"mnist"}
