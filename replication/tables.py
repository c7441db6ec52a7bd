"""One function per table, from records only.

Every function returns numbers, one row per line of the table. Columns that belong together are called `x mean` and
`x sd`; `pages.show_table` prints them as one column, `mean ± sd`. Densities and errors are in percent.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from . import paper, store
from .accounting import dram_energy, total
from .experiments import STAND_INS, Chain, chosen
from .networks import TITLES
from .runs import Record
from .statistics import error_columns, summarise

DENSITIES = {"activation_density": "activation %", "weight_density": "weight %", "flop_density": "FLOP %"}


def layers(network: str, chains: Sequence[Chain]) -> pd.DataFrame:
    """Tables 2 to 5: per layer, the paper's densities beside ours (mean and deviation over seeds), and the totals.

    chains: one per seed; the chosen round of each is counted.
    """
    published = paper.table(paper.TABLE_OF[network]).set_index("layer")
    ours = pd.concat([_with_total(chosen(chain).layers) for chain in chains])
    rows = []
    for layer, group in ours.groupby("layer", sort=False):
        row = {"layer": layer, "weights": group.weights.iloc[0], "FLOP": group.flop.iloc[0]}
        for column, title in DENSITIES.items():
            summary = summarise(100 * group[column])
            row[f"paper {title}"] = published.loc[layer, f"{column}_pct"]
            row |= {f"ours {title} mean": summary.mean, f"ours {title} sd": summary.sd}
        rows.append(row)
    return pd.DataFrame(rows)


def differences(table: pd.DataFrame) -> str:
    """One sentence (Markdown): where a table of `layers` differs from the paper's, by how much."""
    parts = []
    for title in DENSITIES.values():
        gap = table[f"ours {title} mean"] - table[f"paper {title}"]
        row, most = table.loc[gap.abs().idxmax()], gap[gap.abs().idxmax()]
        whole = gap[table.layer == "total"].item()
        parts.append(f"{title.removesuffix(' %')} density: total {whole:+.1f}, at most {most:+.1f} ({row.layer})")
    return "Ours minus the paper's, in points: " + "; ".join(parts) + "."


def _with_total(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([rows, total(rows).to_frame().T], ignore_index=True)


def networks(chains: Mapping[str, Sequence[Chain]]) -> pd.DataFrame:
    """Table 1: each network before and after pruning, the paper's line beside ours; not yet run: empty cells.

    AlexNet and VGG-16 have the stand-in's errors and rates, and say so.
    """
    rows = []
    for _, line in paper.table(1).iterrows():
        network = next(name for name, title in TITLES.items() if title == line.network)
        row = {"network": line.network, "variant": line.variant, "paper error %": line.top1_error_pct}
        row |= {"paper top-5 error %": line.top5_error_pct, "paper weights": line.parameters}
        row |= {"paper rate": line.compression_rate}
        ours = _ours(chains.get(STAND_INS.get(network, network), ()), line.variant == "pruned")
        rows.append(row | ours)
    return pd.DataFrame(rows)


def _ours(chains: Sequence[Chain], pruned: bool) -> dict[str, float]:
    """Our half of a line of Table 1."""
    if not chains:
        return {"measured on": "not yet run"}
    runs = [chosen(chain) if pruned else chain[0] for chain in chains]
    error, kept = summarise(r.error() for r in runs), summarise(kept_weights(r) for r in runs)
    row = {
        "ours error % mean": error.mean,
        "ours error % sd": error.sd,
        "ours weights mean": kept.mean,
        "ours weights sd": kept.sd,
    }
    if pruned:
        rate = summarise(r.rate for r in runs)
        row |= {"ours rate mean": rate.mean, "ours rate sd": rate.sd}
    return row | {"measured on": measured_on(chains)}


def measured_on(chains: Sequence[Chain]) -> str:
    """The images, the number of seeds, whether the network is a stand-in, and whether its runs were recorded before."""
    network, seeds = chains[0][0].run["network"], f"{len(chains)} seed{'s' if len(chains) > 1 else ''}"
    seeds += "" if store.computed_here(chains[0][-1].key) else ", recorded"
    return f"stand-in on CIFAR-10, {seeds}" if network in STAND_INS.values() else f"MNIST, {seeds}"


def kept_weights(record: Record) -> float:
    """How many weights (without biases) a run has kept."""
    return float((record.layers.weights * record.layers.weight_density).sum())


def rounds(chains: Sequence[Chain]) -> pd.DataFrame:
    """The chain, stage by stage: rate, error on the validation and test images, and the paired change of the latter."""
    rows = []
    for stage in zip(*chains):
        measures = {
            "rate": [r.rate for r in stage],
            "validation error %": [r.error("validation") for r in stage],
            "test error %": [r.error() for r in stage],
            "change of test error": [r.error() - chain[0].error() for r, chain in zip(stage, chains)],
            "seconds": [r.provenance["seconds"] for r in stage],
        }
        row = {
            "stage": stage[0].stage,
            "seeds chosen": sum(chosen(chain).key == r.key for r, chain in zip(stage, chains)),
        }
        for name, values in measures.items():
            summary = summarise(values)
            row |= {f"{name} mean": summary.mean, f"{name} sd": summary.sd}
        rows.append(row)
    return pd.DataFrame(rows)


def qualities(chains: Sequence[Chain]) -> pd.DataFrame:
    """The quality parameters that the search found, by layer and round (mean and deviation over seeds)."""
    rows = []
    for stage in list(zip(*chains))[1:]:
        for layer in stage[0].metrics.get("qualities", {}):
            quality = summarise(r.metrics["qualities"][layer] for r in stage)
            thresholds = summarise(r.metrics["thresholds"][layer] for r in stage)
            row = {"stage": stage[0].stage, "layer": layer, "quality mean": quality.mean, "quality sd": quality.sd}
            rows.append(row | {"threshold mean": thresholds.mean, "threshold sd": thresholds.sd})
    return pd.DataFrame(rows)


def energy(chains: Mapping[str, Sequence[Chain]]) -> pd.DataFrame:
    """Energy of fetching every weight once from DRAM (millijoule), dense and pruned: the paper's counts and ours.

    Index words are not counted. Networks not yet run show the paper's counts alone.
    """
    picojoule, published, rows = paper.energy()["32 bit DRAM Memory"], paper.table(1), []
    for title, lines in published.groupby("network", sort=False):
        network = next(name for name, known in TITLES.items() if known == title)
        dense, pruned = lines.set_index("variant").parameters[["reference", "pruned"]]
        row = {"network": title, "paper dense mJ": 1e3 * dram_energy(dense, picojoule)}
        row["paper pruned mJ"] = 1e3 * dram_energy(pruned, picojoule)
        if chains.get(network):
            kept = summarise(1e3 * dram_energy(kept_weights(chosen(c)), picojoule) for c in chains[network])
            row["ours dense mJ"] = 1e3 * dram_energy(chains[network][0][0].layers.weights.sum(), picojoule)
            row |= {"ours pruned mJ mean": kept.mean, "ours pruned mJ sd": kept.sd}
        rows.append(row)
    return pd.DataFrame(rows)


def paired(chains: Mapping[str, Sequence[Chain]]) -> pd.DataFrame:
    """Table 1's change of error, paired over seeds, with its 95 % interval (Student's t), beside the paper's."""
    rows = []
    for network, each in chains.items():
        before, after = paper.network_rows(network).top1_error_pct
        change = summarise(chosen(chain).error() - chain[0].error() for chain in each)
        row = {
            "network": TITLES[network],
            "paper change of error": after - before,
            "ours change of error mean": change.mean,
        }
        row |= {"ours change of error sd": change.sd, "interval from": change.low, "interval to": change.high}
        rows.append(row | {"seeds": change.n})
    return pd.DataFrame(rows)


def controls(chains: Mapping[str, Sequence[Chain]], longer: Mapping[str, Sequence[Record]]) -> pd.DataFrame:
    """Test errors of each network: dense, dense and trained on for as long as its chain, and pruned (the chosen round).

    longer: the dense controls by network, one per seed. Changes, in points, are paired with the dense network of the
    same seed, with the 95 % interval of their mean (Student's t).
    """
    rows = []
    for network, trained_on in longer.items():
        dense, pruned = [chain[0] for chain in chains[network]], [chosen(chain) for chain in chains[network]]
        for variant, records in (("dense", dense), ("dense, trained on", trained_on), ("pruned", pruned)):
            error, rate = summarise(r.error() for r in records), summarise(r.rate for r in records)
            change = summarise(r.error() - start.error() for r, start in zip(records, dense))
            epochs = [_extra_epochs(chain, record) for chain, record in zip(chains[network], records)]
            rows.append(
                {"network": TITLES[network], "variant": variant, "extra epochs": round(sum(epochs) / len(epochs))}
                | {"rate": rate.mean}
                | error_columns(error, change)
            )
    return pd.DataFrame(rows)


def _extra_epochs(chain: Chain, record: Record) -> int:
    """Epochs between the dense network of a chain and one of its rounds, or its control."""
    since = chain[1 : chain.index(record) + 1] if record in chain else [record]
    return sum(len(each.metrics["history"]) for each in since)


def cost_of_pruning(chains: Mapping[str, Sequence[Chain]], longer: Mapping[str, Sequence[Record]]) -> str:
    """Test error of the pruned networks less that of the dense ones trained on, in points: a sentence."""
    parts = []
    for network, trained_on in longer.items():
        gap = summarise(chosen(chain).error() - r.error() for chain, r in zip(chains[network], trained_on))
        interval = f" (95 %: {gap.low:+.2f} to {gap.high:+.2f}, {gap.n} seeds)" if gap.n > 1 else " (one seed)"
        parts.append(f"{TITLES[network]} {gap.mean:+.2f}{interval}")
    return f"Pruned less dense, trained on, in points of test error: {'; '.join(parts)}."


def pixel_density(mask: Tensor) -> Tensor:
    """Share of the kept connections of each input pixel: (28, 28), from fc1's mask (outputs, 784)."""
    return mask.float().mean(0).reshape(28, 28)


def centre_density(pixels: Tensor) -> float:
    """Mean over the central 14 x 14 pixels of a (28, 28) map."""
    return pixels[7:21, 7:21].mean().item()


def border_density(pixels: Tensor) -> float:
    """Mean over the border of two pixels of a (28, 28) map."""
    edge = torch.ones_like(pixels, dtype=torch.bool)
    edge[2:-2, 2:-2] = False
    return pixels[edge].mean().item()
