"""One function per table, from records only.

Every function returns numbers, one row per line of the table. Columns that belong together are called `x mean` and
`x sd`; `show.show_table` prints them as one column, `mean ± sd`. Densities and errors are in percent.
"""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from ..claims.networks import less_control
from ..claims.verdicts import Summary, summarise
from ..data import paper
from ..networks.accounting import total
from ..networks.registry import TITLES
from ..runs.recipes import STAND_INS, Chain, chosen
from ..runs.spec import Record

DENSITIES = {"activation_density": "activation %", "weight_density": "weight %", "flop_density": "FLOP %"}
MEASURED_ON = "measured on, seeds"  # column of Table 1: the images, or that it is a stand-in, and how many seeds


def layers(network: str, chains: Sequence[Chain]) -> pd.DataFrame:
    """Tables 2 to 5: per layer, the paper's densities beside ours (mean and deviation over seeds), and the totals.

    chains: one per seed; the chosen round of each is counted.
    """
    published = paper.layer_table(network).set_index("layer")
    ours = pd.concat(with_total(chosen(chain).layers) for chain in chains).rename(columns={"flop": "FLOP"})
    for column, title in DENSITIES.items():
        ours[f"ours {title}"] = 100 * ours[column]
    table = over_seeds(ours, ["layer", "weights", "FLOP"], [f"ours {title}" for title in DENSITIES.values()])
    for place, (column, title) in enumerate(DENSITIES.items(), 1):
        table.insert(3 * place, f"paper {title}", table.layer.map(published[f"{column}_pct"]))
    return table


def differences(table: pd.DataFrame) -> str:
    """One sentence (Markdown): where a table of `layers` differs from the paper's, by how much."""
    parts = []
    for title in DENSITIES.values():
        gap = table[f"ours {title} mean"] - table[f"paper {title}"]
        row, most = table.loc[gap.abs().idxmax()], gap[gap.abs().idxmax()]
        whole = gap[table.layer == "total"].item()
        parts.append(f"{title.removesuffix(' %')} density: total {whole:+.1f}, at most {most:+.1f} ({row.layer})")
    return "Ours minus the paper's, in points: " + "; ".join(parts) + "."


def changed(chains: Sequence[Chain]) -> Summary:
    """The change of the test error from the dense networks to the chosen rounds, in points, paired over seeds."""
    return summarise(chosen(chain).error() - chain[0].error() for chain in chains)


def headline(chains: Sequence[Chain]) -> str:
    """One sentence (Markdown): what a network loses by pruning, in weights and in points of test error."""
    rate, change = summarise(chosen(chain).rate for chain in chains), changed(chains)
    kept = summarise(100 / chosen(chain).rate for chain in chains)  # percent of the weights
    spread = f" ± {change.sd:.2f}" if change.n > 1 else ""
    return (
        f"**{TITLES[chains[0][0].run['network']]} loses {100 - kept.mean:.0f} % of its weights "
        f"({rate.mean:.1f}x), and its test error changes by {change.mean:+.2f}{spread} points** "
        f"({change.n} seed{'s' if change.n > 1 else ''})."
    )


def headlines(chains: Mapping[str, Sequence[Chain]]) -> str:
    """One sentence (Markdown): what all networks lose by pruning, from the least to the most."""
    left = [summarise(100 / chosen(chain).rate for chain in each).mean for each in chains.values()]
    changes = [changed(each).mean for each in chains.values()]
    return (
        f"**The {len(chains)} networks lose {100 - max(left):.0f} to {100 - min(left):.0f} % of their weights, and "
        f"their test errors change by {min(changes):+.2f} to {max(changes):+.2f} points** (means over seeds; AlexNet "
        "and VGG-16: their stand-ins)."
    )


def with_total(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of `accounting.account` with those of `accounting.total` below them."""
    return pd.concat([rows, total(rows).to_frame().T], ignore_index=True).infer_objects()


def networks(chains: Mapping[str, Sequence[Chain]]) -> pd.DataFrame:
    """Table 1: each network before and after pruning, the paper's line beside ours; not yet run: empty cells.

    AlexNet and VGG-16 have the stand-in's errors and rates, and say so.
    """
    rows = []
    for _, line in paper.table(1).iterrows():
        network = next(name for name, title in TITLES.items() if title == line.network)
        row = {
            "network": line.network,
            "variant": line.variant,
            "paper error %": line.top1_error_pct,
            "paper top-5 error %": line.top5_error_pct,
            "paper weights": line.parameters,
            "paper rate": line.compression_rate,
        }
        rows.append(row | _ours(chains.get(STAND_INS.get(network, network), ()), line.variant == "pruned"))
    return pd.DataFrame(rows)


def _ours(chains: Sequence[Chain], pruned: bool) -> dict[str, float]:
    """Our half of a line of Table 1."""
    if not chains:
        return {MEASURED_ON: "not yet run"}
    runs = [chosen(chain) if pruned else chain[0] for chain in chains]
    row = mean_and_sd("ours error %", (record.error() for record in runs))
    row |= mean_and_sd("ours weights", (record.kept for record in runs))
    if pruned:
        row |= mean_and_sd("ours rate", (record.rate for record in runs))
    on = "stand-in" if chains[0][0].run["network"] in STAND_INS.values() else "MNIST"
    return row | {MEASURED_ON: f"{on}, {len(chains)}"}


def rounds(chains: Sequence[Chain]) -> pd.DataFrame:
    """The chain, stage by stage: rate, error on the validation and test images, and the paired change of the latter."""
    rows = pd.DataFrame(
        {
            "stage": record.stage,
            "seeds chosen": record.key == chosen(chain).key,
            "rate": record.rate,
            "validation error %": record.error("validation"),
            "test error %": record.error(),
            "change of test error": record.error() - chain[0].error(),
            "seconds": record.provenance["seconds"],
        }
        for chain in chains
        for record in chain
    )
    table = over_seeds(rows, ["stage"], list(rows.columns[2:]))
    table.insert(1, "seeds chosen", rows.groupby("stage", sort=False)["seeds chosen"].sum().to_numpy())
    return table


def retrainings(*each: Sequence[Chain]) -> pd.DataFrame:
    """A row for each way to retrain the same dense networks: batches, epochs of a round, learning rate for each image
    over that of training (by linear scaling), and the chosen rounds' rate, error and paired change of it."""
    rows = []
    for chains in each:
        own = chains[0][1].run["training"]
        ends, change = [chosen(chain) for chain in chains], changed(chains)
        row = {"batch": own["batch_size"], "epochs of a round": own["epochs"]}
        row |= {"rate for each image": f"{per_image(chains[0]):.2g} of training's"}
        row |= mean_and_sd("rate", (end.rate for end in ends)) | mean_and_sd("test error %", (e.error() for e in ends))
        row |= {"change of test error mean": change.mean, "change of test error sd": change.sd}
        rows.append(row | {"interval from": change.low, "interval to": change.high, "seeds": change.n})
    return pd.DataFrame(rows)


def per_image(chain: Chain) -> float:
    """The learning rate of the first round's retraining for each image over that of training (by linear scaling)."""
    first, own = (record.run["training"] for record in chain[:2])
    return own["learning_rate"] / own["batch_size"] / (first["learning_rate"] / first["batch_size"])


GAP = "change less the control's"


def against_controls(chains: Sequence[Chain], controls: Sequence[Record]) -> dict[str, float]:
    """The cells on the chosen rounds beside dense networks trained on for as long, one of each per seed."""
    ends, change = [chosen(chain) for chain in chains], changed(chains)
    gap = summarise(less_control(chain[0], end, own) for chain, end, own in zip(chains, ends, controls, strict=True))
    row = mean_and_sd("rate", (end.rate for end in ends)) | mean_and_sd("test error %", (end.error() for end in ends))
    row |= {"change of test error mean": change.mean, "change of test error sd": change.sd}
    row |= mean_and_sd("control error %", (control.error() for control in controls)) | {GAP: gap.mean}
    return row | {"interval from": gap.low, "interval to": gap.high, "seeds": gap.n}


def references(own: Sequence[Mapping], others: Sequence[Sequence[Mapping]]) -> pd.DataFrame:
    """A row per dense reference of a stand-in: its error, and what `against_controls` says of what starts from it.

    own, others: by seed, a `chain` and its `control`, from the table's reference and from each of the others.
    """
    rows = []
    for each in (own, *others):
        chains, controls = ([named[kind] for named in each] for kind in ("chain", "control"))
        name = "the table's" if each is own else f"from seed {chains[0][0].run['seed']}"
        row = {"dense reference": name, "its test error %": chains[0][0].error()}
        rows.append(row | against_controls(chains, controls))
    return pd.DataFrame(rows)


def between_references(table: pd.DataFrame) -> str:
    """Two sentences (Markdown): how far the rows of `references` lie apart, and the seeds of one reference."""

    def told(name: str) -> str:
        found = summarise(table[name])
        ends = f" (95 % interval of their mean: {found.low:+.2f} to {found.high:+.2f})" if found.n > 1 else ""
        return f"{table[name].min():+.2f} to {table[name].max():+.2f} points{ends}"

    change, rates = "change of test error mean", table["rate mean"]
    within = (table["change of test error sd"] ** 2).mean() ** 0.5
    seeds = f", by {within:.2f} between the seeds of one" if within == within else "; each has one seed"
    return (
        f"**From {len(table)} dense references, means over seeds: {rates.min():.1f} to {rates.max():.1f}x, the test "
        f"error changes by {told(change)}, less the control's by {told(GAP)}.** The change deviates by "
        f"{table[change].std():.2f} points between the references{seeds}."
    )


def qualities(chains: Sequence[Chain]) -> pd.DataFrame:
    """The quality parameters that the search found, by layer and round (mean and deviation over seeds)."""
    rows = [
        {"stage": record.stage, "layer": layer, "quality": quality, "threshold": record.metrics["thresholds"][layer]}
        for chain in chains
        for record in chain[1:]
        for layer, quality in record.metrics["qualities"].items()
    ]
    return over_seeds(pd.DataFrame(rows), ["stage", "layer"], ["quality", "threshold"])


def paired(chains: Mapping[str, Sequence[Chain]]) -> pd.DataFrame:
    """Table 1's change of error, paired over seeds, with its 95 % interval (Student's t), beside the paper's."""
    rows = []
    for network, each in chains.items():
        before, after = paper.network_rows(network).top1_error_pct
        change = changed(each)
        row = {"network": TITLES[network], "paper change of error": after - before}
        row |= {"ours change of error mean": change.mean, "ours change of error sd": change.sd}
        rows.append(row | {"interval from": change.low, "interval to": change.high, "seeds": change.n})
    return pd.DataFrame(rows)


def mean_and_sd(name: str, values: Iterable[float]) -> dict[str, float]:
    """The cells `name mean` and `name sd` of a table, from one value per seed."""
    summary = summarise(values)
    return {f"{name} mean": summary.mean, f"{name} sd": summary.sd}


def over_seeds(frame: pd.DataFrame, by: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """A row per group, in the order of their first rows: the columns `by`, then mean and deviation of each of `values`.

    frame: one row per seed and group.
    """
    rows = []
    for key, group in frame.groupby(list(by), sort=False):
        row = dict(zip(by, key))
        for name in values:
            row |= mean_and_sd(name, group[name])
        rows.append(row)
    return pd.DataFrame(rows)


def error_columns(errors: Summary, change: Summary) -> dict[str, float]:
    """The cells of a table that say how large the errors (%) are over seeds, and how they change (points)."""
    return {"test error % mean": errors.mean, "test error % sd": errors.sd, "change of error": change.mean} | {
        "interval from": change.low,
        "interval to": change.high,
        "seeds": errors.n,
    }
