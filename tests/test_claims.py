"""What a claim is made of: its runs, its measurement seed by seed, its verdict and the files from which it follows."""

import pytest
from test_scorecard import evidence, stage
from test_text_claims import made

from replication import claims, paths
from replication.claims import CLAIMS, Evidence, Status, computed, flat, registry
from replication.runs import Record, Run, profiles, scheduler
from replication.training import Training


def run(seed: int) -> Run:
    return Run("lenet_5", seed, Training(1, 0.1))


def test_records_take_the_places_of_their_runs(monkeypatch: pytest.MonkeyPatch):
    asked = []

    def compute(runs):
        asked.extend(runs)
        return [Record({"key": each.key, "metrics": {}}) for each in runs]

    monkeypatch.setattr(scheduler, "compute", compute)
    nest = {"lenet_5": [{"dense": run(1), "kept": run(2)}, {"dense": run(1), "kept": run(3)}], "other": []}
    assert flat(nest) == [run(1), run(2), run(3)]
    found = computed(nest)
    assert asked == [run(1), run(2), run(3)]
    assert found["other"] == [] and list(found["lenet_5"][1]) == ["dense", "kept"]
    assert (
        found["lenet_5"][1]["kept"].key == run(3).key and found["lenet_5"][0]["dense"] is found["lenet_5"][1]["dense"]
    )
    assert computed(run(7)).key == run(7).key
    evidence = Evidence("made up", lambda profile: nest, lambda records, profile: len(flat(records)))
    assert evidence.plan(profiles.get("smoke")) == flat(nest) and evidence.read(profiles.get("smoke")) == 3
    assert Evidence("nothing", lambda profile: {}).read(profiles.get("smoke")) is None


def test_a_claim_is_judged_on_every_network_of_its_rule():
    found = {"C19": {"lenet_5": made(Dr=[100, 101, 99, 100, 100], Do=[120, 122, 118, 120, 120])}}
    judged = {each.id: each for each in claims.judged(found, profiles.get("laptop"))}
    c19 = judged["C19"]
    assert [(each.network, each.status, each.why) for each in c19.statuses] == [
        ("lenet_5", "holds", ""),
        ("lenet_300_100", "undecided", "0 of 5 seeds"),
        ("alexnet_32", "undecided", "0 of 3 seeds"),
    ]
    assert c19.verdict == c19.first_edition == "inconclusive" and c19.changed == ""
    assert c19.measured_on == "LeNet-5 on MNIST" and c19.ours == "error Dr less Do, points: LeNet-5 -0.20"
    assert judged["C20"].verdict == "not run" and judged["C20"].statuses == () and judged["K01"].control
    smoke = claims.judged(found, profiles.get("smoke"))[18]
    assert {each.why for each in smoke.statuses} == {"smoke: decides nothing"} and smoke.verdict == "inconclusive"
    assert smoke.measured_on == "LeNet-5 on MNIST (smoke: decides nothing)"


def test_a_changed_verdict_names_the_networks_that_changed_it():
    worse = [110, 111, 109, 110, 110]
    found = {"C20": {"lenet_5": made(**{"kept": worse, "re-initialised": [100] * 5})}}
    better = made(**{"kept": [100] * 5, "re-initialised": worse})
    c20 = claims.judged(found | {"C20": found["C20"] | {"lenet_300_100": better}}, profiles.get("laptop"))[19]
    assert (c20.first_edition, c20.verdict) == ("reproduced", "mixed")
    assert c20.changed == "LeNet-5: fails, error kept less re-initialised 0.1 > 0; LeNet-300-100: holds"
    row = claims.card([c20]).iloc[0]
    assert row.statuses.startswith("LeNet-5 fails (5 seeds; error kept less re-initialised 0.1 > 0); LeNet-300-100")


def test_a_network_with_several_comparisons_is_named_with_each():
    about = {"seeds": 3, "needed": 3, "mean": 0.0, "low": -1.0, "high": 1.0, "limit": 0.0, "unit": "points"}
    first = Status("alexnet_32", "undecided", comparison="less SVD", **about, why="interval spans the limit")
    second = Status("alexnet_32", "holds", comparison="less naive cut", **about)
    told = "AlexNet stand-in, less SVD: undecided, interval spans the limit; AlexNet stand-in, less naive cut: holds"
    assert registry.reason([first, second]) == told
    assert registry.reason([second, second]) == "holds on every network"


def test_a_control_is_paired_with_its_chain_by_seed():
    chains = {"lenet_5": [[stage("lenet_5", s, 70, 1.0), stage("lenet_5", s, 80 + s, 0.05)] for s in range(5)]}
    longer = {"controls": {"lenet_5": [stage("lenet_5", s, 75, 1.0) for s in reversed(range(5))]}}
    k02 = {each.id: each for each in claims.judged(chains | longer, profiles.get("laptop"))}["K02"]
    assert k02.gaps.sort_values("seed").gap.tolist() == pytest.approx([0.05, 0.06, 0.07, 0.08, 0.09])
    assert (k02.verdict, k02.statuses[0].status, k02.statuses[0].limit) == ("reproduced", "holds", 0.10)
    assert k02.ours == "pruned 0.82 %, dense and trained as long 0.75 % error"


def test_one_run_on_imagenet_takes_the_stand_ins_place_with_both_errors():
    def photographs(errors: int, top5: int, density: float) -> Record:
        record = stage("alexnet", 0, errors, density)
        record.metrics["test"]["top5_errors"] = top5
        return record

    def verdict(top5: int) -> tuple[str, list[str]]:
        chain = [[photographs(4_278, 1_973, 1.0), photographs(4_283, top5, 1 / 9)]]
        found = evidence(0) | {"alexnet": chain}
        c03 = claims.judged(found, profiles.get("laptop"))[2]
        return c03.verdict, [status.status for status in c03.statuses]

    assert verdict(1_980) == ("reproduced", ["holds", "holds"])
    assert verdict(1_984) == ("contradicted", ["holds", "fails"])


def test_every_claim_has_a_page_and_runs():
    for claim in CLAIMS.values():
        assert (paths.NOTEBOOKS / f"{claim.page}.ipynb").exists()
        assert claim.id == "C25" or claim.evidence.plan(profiles.get("laptop"))
