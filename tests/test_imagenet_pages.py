"""What pages show of ImageNet's records, from a store as a lab would have it (its numbers are made up)."""

import pandas as pd
import pytest
import torch
from pages import functions

from replication import claims, networks, paths, runs
from replication.imagenet import Changes, plan
from replication.networks import registry
from replication.report import imagenet_pages, show
from replication.runs import profiles
from replication.runs import store as places

DENSITY = {"dense": 1.0, "dense, longer": 1.0, "round 1": 0.5, "round 2": 0.2}


def record(run: runs.Run, images: int) -> dict:
    layers = list(networks.layers(registry.outline(run.network)))
    density = run.pruning.density if run.pruning and run.pruning.density else DENSITY[run.stage]
    row = {"weights": 100, "flop": 1000, "neurons": 10, "activation_density": 0.5, "weight_density": density}
    score = {"errors": images // 2 - run.stage.startswith("round"), "images": images, "loss": 1.0, "top5_errors": 5}
    curve = [{"quality": q, "density": 1 - q / 4, "errors": 4, "images": images, "loss": q} for q in (0.0, 1.0, 2.0)]
    metrics = {"test": score, "validation": score, "history": [], "before_retraining": score | {"errors": images}}
    metrics["layers"] = [{"layer": name, **row, "flop_density": density / 2} for name in layers]
    if run.pruning:
        metrics["qualities"] = metrics["thresholds"] = dict.fromkeys(layers, 0.5)
        metrics["sensitivity"] = dict.fromkeys(layers, curve)
    photographs = {"classes": 10, "train": images, "val": images, "digest": "x", "skipped": [], "converted": {}}
    provenance = {"seconds": 7.0, "finished": "2025", "device": "cpu", "processes": 2, "photographs": photographs}
    return {"key": run.key, "run": run.spec(), "stage": run.stage, "metrics": metrics, "provenance": provenance}


def fill(dataset: str, images: int, network: str = "alexnet", rounds: int = 2) -> list[runs.Run]:
    """Store the chain and the runs of Figures 5 and 6, as `--figures` computes them."""
    own = plan.recipe("alexnet", Changes(rounds=rounds))
    chain = plan.chain(network, own, dataset)
    curves = [run for each in plan.curves(chain, own).values() for run in each]
    for run in [*chain, plan.sensitivity(chain[0], own), *curves]:
        with places.lock(run.key):
            state = {"fc1.weight": torch.linspace(-1, 1, 400).view(20, 20)}
            places.save_run(run.key, record(run, images), state, {"fc1": state["fc1.weight"].abs() > 0.5})
    return chain


@pytest.fixture
def shown(monkeypatch, tmp_path):
    """What the pages say, and the folder of the tables that they show."""
    said: list[str] = []
    monkeypatch.setattr(show, "say", said.append)
    monkeypatch.setattr(show, "display", lambda _: None)
    monkeypatch.setattr(paths, "TABLES", tmp_path / "tables")
    return said, tmp_path / "tables"


SHOWN = {
    imagenet_pages.show_tables: {"name_imagenet_rounds", "name_imagenet_layers", "name_imagenet_qualities"},
    functions("figure5_tradeoff").show_on_imagenet: {"name"},
    functions("figure6_sensitivity").show_on_imagenet: {"name"},
    functions("figure7_weights").show_on_imagenet: {"name"},
}


@pytest.mark.parametrize("show", SHOWN, ids=lambda show: show.__module__)
def test_page_shows_records_where_there_are_some_and_says_so_where_not(shown, show, store):
    said, folder = shown
    show("alexnet", "name")
    assert said.pop().startswith("**On ImageNet: not run here.** Where the true AlexNet has been computed")
    assert not folder.exists()
    fill("imagenet-a", 100)
    show("alexnet", "name")
    assert {path.stem for path in folder.glob("*.csv")} == SHOWN[show]
    assert not any("not run" in text for text in said)
    show("vgg16", "other")
    assert "not run here" in said[-1]


def test_longest_chain_on_the_most_images_is_chosen(store):
    fill("imagenet-small", 50, rounds=2)
    chosen = fill("imagenet-large", 100, network="alexnet_torchvision", rounds=1)
    found = imagenet_pages.chain(imagenet_pages.found("alexnet"))
    assert [each.key for each in found] == [run.key for run in chosen]
    rows = imagenet_pages.rounds(found)
    assert rows["top-5 error %"].tolist() == [5.0, 5.0]
    assert rows["change of top-1 error"].tolist() == [0.0, -1.0]
    assert rows["rate"].tolist() == [1.0, 2.0]


def test_only_the_papers_network_on_the_whole_of_imagenet_judges_claims(store, monkeypatch):
    fill("imagenet-a", 50_000)
    assert imagenet_pages.evidence() == {}  # ten classes
    whole = imagenet_pages.found("alexnet")
    for each in whole:
        each.provenance["photographs"]["classes"] = 1_000
    monkeypatch.setattr(imagenet_pages, "found", lambda arch: whole if arch == "alexnet" else [])
    (line,) = imagenet_pages.evidence()["alexnet"]
    assert [each.stage for each in line] == ["dense", "round 1", "round 2"]
    c03 = claims.judged(imagenet_pages.evidence(), profiles.get("laptop"))[2]
    assert c03.measured_on == "AlexNet on ImageNet" and c03.statuses[0].why == "rate 5 < 9"
    for each in whole:
        each.run["network"] = "alexnet_torchvision"
    assert imagenet_pages.evidence() == {}


def test_damaged_runs_break_no_page(shown, store):
    said, _ = shown
    chain = fill("imagenet-a", 100)
    (store / ("0" * 16)).mkdir()
    (store / ("0" * 16) / "record.json").write_text('{"run": {"dataset": "mnist"}, "metr')
    assert [each.key for each in imagenet_pages.chain(imagenet_pages.found("alexnet"))] == [run.key for run in chain]
    assert not said
    last = store / chain[-1].key / "record.json"
    last.write_text(last.read_text()[:-100])
    found = imagenet_pages.found("alexnet")
    assert [each.key for each in imagenet_pages.chain(found)] == [run.key for run in chain[:-1]]
    assert len(said) == 1 and f"{chain[-1].key}/record.json is damaged" in said[0]


def test_curves_of_figure_5_are_told_apart(store):
    fill("imagenet-a", 100)
    curves = functions("figure5_tradeoff").by_curve(imagenet_pages.found("alexnet"))
    assert {name: len(line) for name, line in curves.items()} == {"L2": 6, "L1": 6, "L1 then L2": 6, "L2 iterative": 3}
    assert {line[0].stage for line in curves.values()} == {"dense, longer", "dense"}


def test_table_1_has_the_lines_that_were_run(shown, store):
    (said, folder), page = shown, functions("table1_summary")
    page.show_on_imagenet("table1")
    assert "not run here" in said[-1]
    fill("imagenet-a", 100)
    page.show_on_imagenet("table1")
    rows = pd.read_csv(folder / "table1.csv")
    assert rows.variant.tolist() == ["reference", "pruned"]
    assert rows["ours top-5 error %"].tolist() == [5.0, 5.0]
    assert rows["paper rate"].iloc[1] == 9
