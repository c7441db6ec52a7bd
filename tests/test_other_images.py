"""The LeNets' recipes on other images: the same runs there, and the same claims with the same rules."""

from dataclasses import replace

import pytest

from replication import claims
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
    here, there = claims.CLAIMS[identity], claims.ELSEWHERE[identity]
    assert (there.measure, there.networks, there.page) == (here.measure, here.networks, "other_images")
    assert there.evidence.runs(LAPTOP) == moved(here.evidence.runs(LAPTOP), "fashion_mnist")
    assert "fashion_mnist" in datasets.DIGITS


def test_smoke_loads_no_images_that_do_not_come_with_the_repository():
    smoke = profiles.get("smoke")
    for identity, there in claims.ELSEWHERE.items():
        assert there.evidence.plan(smoke) == claims.CLAIMS[identity].evidence.plan(smoke)
