import pytest

from replication import paper, paths, profiles
from replication.claims import CLAIMS, VERDICTS, counts, scorecard
from replication.errors import ReplicationError


def test_every_table_and_all_28_claims_load():
    assert [len(paper.table(n)) for n in (1, 2, 3, 4, 5, 6)] == [8, 4, 5, 9, 17, 8]
    claims = paper.claims()
    assert claims.index.tolist() == [f"C{n:02d}" for n in range(1, 29)]
    assert set(CLAIMS) == set(claims.index)


ON_STAND_INS = {f"C{n:02}" for n in (3, 4, 7, 8, *range(10, 20), 21, 27, 28)}
SEEDS = {"C02": 3, "C06": 3, "C14": 2, "C25": 0} | dict.fromkeys(
    ("C01", "C05", "C09", "C19", "C20", "C21", "C22", "C23", "C24"), 5
)
HOLDS = {
    "C01": {"rate": 12, "error": 1.64, "change": 0.10},
    "C02": {"rate": 12, "error": 0.80, "change": 0.10},
    "C03": {"rate": 9, "change": 0.50},
    "C04": {"rate": 13, "change": 0.50},
    "C05": {"flop_density": 10},
    "C06": {"flop_density": 18},
    "C07": {"flop_density": 33},
    "C08": {"flop_density": 23},
    "C09": {"least_centre_over_border": 4},
    "C10": {"least_ratio": 2},
    "C11": {"largest_gap": -0.001},
    "C12": {"largest_gap": -0.001},
    "C13": {"least_ratio": 1.3},
    "C14": {"densities_below": 1},
    "C15": {"conv1_first": 1, "conv_minus_fc": 0.01},
    "C16": {"middle": 0.1, "growth": 1.01},
    "C19": {"highest": -0.01, "lowest": -0.1},
    "C20": {"highest": -0.01, "lowest": -0.1},
    "C21": {"excess": 0},
    "C22": {"least_step": 0.01},
    "C23": {"dead": 1, "largest": 9e-4, "changed": 9e-5},
    "C24": {"excess": 0},
    "C25": {"watt": 12.8},
    "C27": {"largest_gap": -0.001},
    "C28": {"largest_mean_gap": 0},
}
FAILS = [
    ("C01", {"rate": 11.99}),
    ("C01", {"error": 1.65}),
    ("C01", {"change": 0.11}),
    ("C02", {"rate": 11.99}),
    ("C02", {"error": 0.81}),
    ("C02", {"change": 0.11}),
    ("C03", {"rate": 8.99}),
    ("C03", {"change": 0.51}),
    ("C04", {"rate": 12.99}),
    ("C04", {"change": 0.51}),
    ("C05", {"flop_density": 10.1}),
    ("C06", {"flop_density": 18.1}),
    ("C07", {"flop_density": 33.1}),
    ("C08", {"flop_density": 23.1}),
    ("C10", {"least_ratio": 1.99}),
    ("C11", {"largest_gap": 0}),
    ("C12", {"largest_gap": 0}),
    ("C13", {"least_ratio": 1.29}),
    ("C14", {"densities_below": 0}),
    ("C15", {"conv1_first": 0}),
    ("C15", {"conv_minus_fc": 0}),
    ("C16", {"middle": 0.11}),
    ("C16", {"growth": 1}),
    ("C27", {"largest_gap": 0}),
    ("C28", {"largest_mean_gap": 0.01}),
    ("C19", {"highest": 0.3, "lowest": 0.01}),
    ("C20", {"highest": 0.3, "lowest": 0.01}),
    ("C21", {"excess": 0.01}),
    ("C22", {"least_step": 0.0}),
    ("C23", {"largest": 1.1e-3}),
    ("C23", {"changed": 1e-3}),
    ("C23", {"dead": 0}),
    ("C24", {"excess": 0.01}),
    ("C09", {"least_centre_over_border": 3.9}),
    ("C25", {"watt": 12.81}),
]


@pytest.mark.parametrize("claim", HOLDS)
def test_a_rule_that_just_holds_reproduces_the_claim(claim):
    seeds, verdict = CLAIMS[claim].seeds, CLAIMS[claim].verdict
    assert seeds == SEEDS.get(claim, 1)
    wanted = "reproduced on a stand-in" if claim in ON_STAND_INS else "reproduced"
    assert verdict(HOLDS[claim], seeds) == wanted
    if seeds:
        assert verdict(HOLDS[claim], seeds - 1) == "inconclusive"
        assert verdict(HOLDS[claim], seeds, meaningful=False) == "inconclusive"


def test_every_rule_is_tested_on_both_sides():
    elsewhere = {"C17", "C18", "C26"}  # test_storage_pages
    assert set(HOLDS) == {claim for claim, _ in FAILS} == set(CLAIMS) - elsewhere


@pytest.mark.parametrize(("claim", "measure"), FAILS)
def test_a_rule_that_just_fails_contradicts_the_claim(claim, measure):
    assert CLAIMS[claim].verdict(HOLDS[claim] | measure, 5) == "contradicted"


@pytest.mark.parametrize("claim", ["C19", "C20"])
def test_an_interval_on_both_sides_of_zero_decides_nothing(claim):
    assert CLAIMS[claim].verdict({"highest": 0.1, "lowest": -0.2}, 5) == "inconclusive"


def test_without_runs_only_the_arithmetic_is_judged():
    card = scorecard({}, profiles.get("laptop")).set_index("id")
    assert card.verdict["C25"] == "reproduced"
    assert (card.verdict.drop("C25") == "not run").all()
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
