import pytest

from replication import paths
from replication.claims import CLAIMS, VERDICTS, counts, scorecard
from replication.data import paper
from replication.errors import ReplicationError
from replication.runs import profiles


def test_every_table_all_claims_and_controls_load():
    assert [len(paper.table(n)) for n in (1, 2, 3, 4, 5, 6)] == [8, 4, 5, 9, 17, 8]
    claims = paper.claims()
    assert claims.index.tolist() == [*(f"C{n:02d}" for n in range(1, 29)), "K01", "K02", "K03", "K04"]
    assert set(CLAIMS) == set(claims.index)


def test_the_first_edition_judged_the_28_claims():
    first = paper.first_edition()
    assert first.index.tolist() == [claim for claim in paper.claims().index if claim.startswith("C")]
    assert set(first) <= set(VERDICTS) - {"mixed", "not run"}


NETWORKS = {  # that the rules name
    "lenet_300_100": {"C01", "C05", "C09", "K01", *(f"C{n}" for n in (*range(10, 15), 18, 19, 20, 22, 23, 24, 26, 28))},
    "lenet_5": {"C02", "C06", "K02", *(f"C{n}" for n in (*range(10, 15), *range(18, 25), 26, 28))},
    "alexnet_32": {"C03", "C07", "K03", *(f"C{n}" for n in (*range(10, 17), 18, 19, 21, 27, 28))},
    "vgg16_32": {"C04", "C08", "C15", "C18", "K04"},
    "alexnet": {"C17", "C26"},
    "vgg16": {"C26"},
}


@pytest.mark.parametrize("network", NETWORKS)
def test_every_claim_knows_the_networks_that_its_rule_names(network):
    assert {claim.id for claim in CLAIMS.values() if network in claim.networks} == NETWORKS[network]


def test_without_runs_only_the_arithmetic_is_judged():
    card = scorecard({}, profiles.get("laptop")).set_index("id")
    assert card.verdict["C25"] == "reproduced"
    assert (card.verdict.drop("C25") == "not run").all() and len(card) == 28
    assert set(counts(card.reset_index()).verdict) == set(VERDICTS)


def test_a_damaged_file_is_named_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "PAPER", tmp_path)
    paper.read.cache_clear()
    with pytest.raises(ReplicationError, match=r"claims\.csv .*git checkout -- data/paper"):
        paper.claims()
    (tmp_path / "claims.csv").write_text("")
    with pytest.raises(ReplicationError, match=r"claims\.csv .*git checkout -- data/paper"):
        paper.claims()
    paper.read.cache_clear()


@pytest.mark.parametrize("seeds", ["three", 1.5, -1, True])
def test_a_senseless_number_of_seeds_is_named(seeds):
    with pytest.raises(ReplicationError, match=r"seeds is .*: give how many seeds"):
        profiles.get("laptop", seeds)


def test_an_unknown_profile_is_named():
    with pytest.raises(ReplicationError, match="unknown profile 'desktop': choose from smoke, laptop, full"):
        profiles.get("desktop")
