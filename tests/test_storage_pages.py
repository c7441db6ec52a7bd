"""The pages about storage and sparse products: known answers on masks and times that were made up."""

import hashlib
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from pages import functions

from replication import claims, paths
from replication.claims import CLAIMS, storage_costs
from replication.runs import Record, profiles

page, inference = functions("storage_overhead"), functions("sparse_inference")


def lines(network: str, layer: str, kind: str, kept: float, fillers: dict[int, float], seed: int = 0) -> pd.DataFrame:
    """The costs of one layer of 1,000 weights; fillers: bits by width."""
    return pd.DataFrame(
        [
            {
                "network": network,
                "seed": seed,
                "layer": layer,
                "kind": kind,
                "weights": 1_000,
                "kept": kept,
                "bound": 4.0,
            }
            | {"width": width, "index": float(width), "fillers": bits, "total": width + bits}
            for width, bits in fillers.items()
        ]
    )


def costs(fc_best: int = 6, conv_at_8: float = 0.0, networks=storage_costs.REAL) -> pd.DataFrame:
    """Every network with one layer of each kind: FC best at `fc_best` bits, CONV best at 8 but for `conv_at_8` bits."""
    frames = []
    for network in (*networks, *storage_costs.TRUE):
        fc = {width: 0.0 if width >= fc_best else 40.0 for width in range(1, 17)}
        conv = {width: conv_at_8 if width == 8 else 40.0 for width in range(1, 17)} | {9: 0.0}
        frames += [lines(network, "fc1", "FC", 300, fc | {5: 5.0}), lines(network, "conv1", "CONV", 100, conv)]
    return pd.concat(frames, ignore_index=True)


def test_groups_are_pooled_by_what_they_keep():
    both = pd.concat([lines("lenet_5", "fc1", "FC", 300, {5: 1.0}), lines("lenet_5", "fc2", "FC", 100, {5: 5.0})])
    row = storage_costs.pooled(both, ["network"]).loc["lenet_5"]
    assert (row.weights, row.kept, row["index"], row.fillers, row.total) == (2_000, 400, 5, 2, 7)


def test_overhead_counts_each_kind_at_the_papers_width():
    measured = storage_costs.overhead(costs())
    expected = 100 * (300 * (5 + 5) + 100 * 8) / 400 / 32
    assert measured.comparisons[0].values.overhead.item() == pytest.approx(expected)
    steps = page.steps(costs())["AlexNet %"]
    assert steps.tolist() == pytest.approx([15.625, 100 * (300 * 5 + 800) / 400 / 32, expected, *steps[3:]])
    assert steps[3] == pytest.approx(100 * (300 * 6 + 800) / 400 / 32) and steps[4] == pytest.approx(12.5)
    assert f"{expected:.1f} %" in measured.ours


@pytest.mark.parametrize(
    ("overhead", "status"), [(14.59, "fails"), (14.61, "holds"), (16.59, "holds"), (16.61, "fails")]
)
def test_overhead_is_judged_within_one_point(overhead, status):
    fillers = overhead * 32 / 100 - 5
    both = [lines(network, "fc1", "FC", 300, {5: fillers}) for network in ("alexnet", "alexnet_32")]
    (found,) = CLAIMS["C17"].measure(pd.concat(both)).comparisons
    assert found.status().status == status and found.status("smoke: decides nothing").status == "undecided"


@pytest.mark.parametrize(
    ("fc_best", "conv_at_8", "verdict"),
    [
        (6, 0.0, "reproduced on a stand-in"),
        (7, 0.0, "contradicted"),
        (6, 0.8, "reproduced on a stand-in"),
        (6, 2, "contradicted"),
    ],
)
def test_widths_are_judged_network_by_network(fc_best, conv_at_8, verdict):
    found = costs(fc_best, conv_at_8)
    compared = CLAIMS["C18"].measure(found).comparisons
    excess = max(0, 100 * ((8 + conv_at_8) / 9 - 1)) if conv_at_8 > 1 else 0
    for each in compared:
        assert each.values.iloc[0].tolist() == pytest.approx([fc_best - 5, excess])
    assert claims.verdict([each.status() for each in compared]) == verdict
    one_bad = pd.concat([found[found.network != "lenet_5"], costs(9).query("network == 'lenet_5'")])
    table = storage_costs.by_network(one_bad).set_index("network")
    assert table["best FC width"]["LeNet-5"] == 9 and table["5 bits for FC"]["LeNet-5"] == "does not"
    statuses = [each.status() for each in CLAIMS["C18"].measure(one_bad).comparisons]
    assert claims.verdict(statuses) == ("mixed" if verdict.startswith("reproduced") else "contradicted")


def test_a_network_without_convolutions_has_no_verdict_on_them():
    found = costs()
    found = found[(found.network != "lenet_300_100") | (found.kind == "FC")]
    row = storage_costs.by_network(found).set_index("network").loc["LeNet-300-100"]
    assert row["5 bits for FC"] == "holds" and pd.isna(row["8 bits for CONV"])


def test_encoded_bytes_by_hand():
    found = costs()
    biases = storage_costs.biases("lenet_5")
    assert biases == 580
    sparse = 300 * (32 + 6) / 8 + 100 * (32 + 8) / 8
    assert storage_costs.encoded(found, "lenet_5") == pytest.approx((sparse + 4 * biases) / 1e6)
    twice = pd.concat([found, found.assign(seed=1)])
    assert storage_costs.encoded(twice, "lenet_5") == pytest.approx(storage_costs.encoded(found, "lenet_5"))
    full = lines("lenet_5", "fc1", "FC", 1_000, {1: 0.0})  # is stored dense
    assert storage_costs.encoded(full, "lenet_5") == pytest.approx((4_000 + 4 * biases) / 1e6)


def test_fitting_on_a_chip_is_never_decided():
    measured = storage_costs.on_chip(costs())
    assert claims.verdict([each.status() for each in measured.comparisons]) == "inconclusive"
    assert "4 into 10 MB" in measured.ours
    sizes = [storage_costs.encoded(costs(), network) for network in storage_costs.FOUR]
    assert [each.status().mean for each in measured.comparisons] == sizes and max(sizes) < 10


def test_random_masks_cost_what_geometric_gaps_cost():
    """A gap reaches 2**b with probability q**(2**b), each 2**b more again: fillers per kept weight are q'/(1 - q')."""
    mask = torch.rand(2_000_000, generator=torch.Generator().manual_seed(0)) < 0.04
    own = storage_costs._costs("vgg16", 0, "fc6", mask, 102_760_448).set_index("width")
    for width in (3, 5, 6, 7):
        beyond = 0.96 ** (2**width)
        assert own.fillers[width] == pytest.approx((width + 32) * beyond / (1 - beyond), rel=0.05)
    assert own.kept[5] == pytest.approx(0.04 * 102_760_448, rel=0.02) and own.kind[5] == "FC"
    assert own.bound[5] == pytest.approx(storage_costs.entropy_bound(0.04), rel=0.01)


def test_networks_at_true_size_are_measured_whole_layers_or_samples():
    found = storage_costs.measure({}, profiles.get("smoke"))
    sizes = found[found.width == 1].groupby("network").weights.sum()
    assert sizes["alexnet"] == 60_954_656 and sizes["vgg16"] == 138_344_128
    assert found[found.layer == "fc6"].kept.iloc[0] == pytest.approx(0.04 * 102_760_448, rel=0.15)


class Ended(Record):
    """A round whose mask is given."""

    def tensors(self) -> tuple[dict, dict]:
        return {}, {"fc1": self.values["mask"]}


def ended(density: float, seed: int) -> Ended:
    mask = torch.rand(300, 784, generator=torch.Generator().manual_seed(seed)) < density
    score = {split: {"errors": 1, "images": 100} for split in ("validation", "test")}
    layers = [{"layer": "fc1", "weights": mask.numel(), "weight_density": density}]
    sha = hashlib.sha256(mask.numpy().tobytes()).hexdigest()
    about = {"key": sha[:16], "run": {"seed": seed}, "metrics": score | {"layers": layers}}
    return Ended(about | {"mask": mask, "weights_sha256": sha})


def test_costs_are_measured_once_for_all_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    profile, calls, measure = profiles.get("smoke"), [], storage_costs.measure
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    monkeypatch.setattr(storage_costs, "measure", lambda *given: calls.append(1) or measure(*given))
    chains = {"lenet_300_100": [[ended(1.0, 0), ended(0.08, 1)]]}
    first, again = (storage_costs.measured(chains, profile) for _ in range(2))
    assert len(calls) == 1
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    pd.testing.assert_frame_equal(first, measure(chains, profile), check_exact=True)
    other = storage_costs.measured({"lenet_300_100": [[ended(1.0, 0), ended(0.5, 2)]]}, profile)
    assert len(calls) == 2 and other.kept.iloc[0] > 5 * first.kept.iloc[0]


def test_samples_are_whole_outputs_of_true_layers():
    generator = torch.Generator().manual_seed(0)
    drawn = {name: mask.shape for name, mask in storage_costs.uniform_masks("alexnet", generator, 100_000)}
    assert drawn["fc1"] == (10, 9216) and drawn["conv1"] == (96, 3, 11, 11) and drawn["fc3"] == (24, 4096)


def test_a_sample_is_scaled_to_the_whole_network():
    sizes = page.true_size("lenet_5", 20_000, torch.Generator().manual_seed(0))
    assert sizes["dense"] == pytest.approx(4 * 431_080)
    whole = page.true_size("lenet_5", 0, torch.Generator().manual_seed(0))
    assert whole["dense"] == 4 * 431_080
    assert sizes["csr"] == pytest.approx(whole["csr"], rel=0.05)
    assert sizes["rice"] == pytest.approx(whole["rice"], rel=0.05)
    assert set(whole.index) <= set(page.LABELS)


def test_costs_of_all_formats_are_measured_layer_by_layer():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(300, 784, generator=generator).abs() * (torch.rand(300, 784, generator=generator) < 0.08)
    state = {"fc1.weight": weight, "fc1.bias": torch.rand(300), "steps": torch.tensor(3)}
    sizes, kept = page.formats(state), int(weight.count_nonzero())
    assert sizes["dense"] == 4 * (300 * 784 + 300) + 8
    assert sizes["csr"] == 8 * kept + 4 * 301 + 1_208 and sizes["coo"] == 12 * kept + 1_208
    assert sizes["bitmask"] == 4 * kept + 300 * 98 + 1_208
    order = ["rice", "relative", "relative, paper's bits", "npz", "csr", "dense"]
    assert [sizes[each] for each in order] == sorted({sizes[each] for each in order})
    assert sizes["dense"] < sizes["torch.save"] and sizes["gzip"] < sizes["dense"]


def test_sparse_forms_compute_the_same():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(30, 40, generator=generator) * (torch.rand(30, 40, generator=generator) < 0.2)
    x = torch.randn(40, 3, generator=generator)
    for way, form in inference.forms(weight).items():
        result = torch.as_tensor(form @ (x if isinstance(form, torch.Tensor) else x.numpy()))
        torch.testing.assert_close(result, weight @ x, msg=way)
    kept = int(weight.count_nonzero())
    assert inference.moved(weight) == {"dense": 4_800, "CSR": 8 * kept + 4 * 31}


def test_crossover_is_interpolated_on_logarithmic_axes():
    assert inference.crossover([1, 4, 16], [0.25, 0.5, 2]) == pytest.approx(8)
    assert inference.crossover([1, 10], [0.1, 0.9]) == math.inf
    assert math.isnan(inference.crossover([1, 10], [1.5, 3]))
    assert inference.crossover([1, 10], [0.5, 1]) == pytest.approx(10)


def test_table_and_summary_of_times():
    rows = []
    for density, ratio in ((1, 0.1), (10, 0.5), (50, 2.0)):
        for way, time in (("dense", 8.0), ("CSR (torch)", 8 * ratio), ("CSR (scipy)", 16 * ratio)):
            about = {"layer": "fc", "batch": 1, "density %": density, "way": way, "ms": time, "time ratio": time / 8}
            rows.append(about | {"MB": 1, "bytes ratio": density / 50})
    times = pd.DataFrame(rows)
    row = inference.table(times, 0.1).iloc[0]
    assert row["dense ms"] == 8 and row["time ratio at 10 %, CSR (scipy)"] == 1
    assert row["faster below, CSR (scipy)"] == "10 %" and row["faster below, CSR (torch)"] == "22.4 %"
    text = inference.summary(times, 0.1)
    assert "10.0 times fewer multiplications" in text and "5.0 times fewer bytes" in text and "2 to 2 times" in text
    assert "the time falls as far as the bytes in 0, as far as the multiplications in 0." in text
    times["time ratio"] /= 4  # 0.125 at 10 %, where the bytes are 0.2
    assert "as far as the bytes in 1, as far as the multiplications in 0." in inference.summary(times, 0.1)


def test_measured_times_cover_every_case(monkeypatch):
    threads, seen = torch.get_num_threads(), set()
    monkeypatch.setattr(torch, "set_num_threads", lambda n, real=torch.set_num_threads: seen.add(n) or real(n))
    times = inference.measure([0.05, 0.5], 1, shrink=64)
    assert 1 in seen and torch.get_num_threads() == threads
    assert len(times) == 4 * 2 * 2 * 3 and (times.ms > 0).all()
    assert (times[times.way == "dense"]["time ratio"] == 1).all()
