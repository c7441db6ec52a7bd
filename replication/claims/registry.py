"""All claims and controls: which runs they and the notebooks need, and what comes out. A loop over the files of claims.

`plan` has the runs that `build` computes before it executes the notebooks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pandas as pd

from .. import paths
from ..data import paper
from ..errors import ReplicationError
from ..networks.registry import NETWORKS
from ..runs.profiles import Profile
from ..runs.recipes import LENETS, STAND_INS
from ..runs.spec import Run
from . import ablations, networks, storage_costs, tradeoff
from .networks import BATCHES, CHAINS, CONTROLS, LIMITS, OTHER_LENGTHS, REFERENCES, TRIED
from .rules import Claim, Evidence, Judged
from .verdicts import HOLDS, VERDICTS, Comparison, Status, verdict

FILES = (networks, tradeoff, storage_costs, ablations)
CLAIMS = {claim.id: claim for file in FILES for claim in file.CLAIMS}
OTHER_IMAGES = "fashion_mnist"


def on_images(dataset: str) -> dict[str, Claim]:
    """The claims that are tried on other images as well, by the same recipes."""
    found = {}
    for identity in ("C01", "C02", "C05", "C06", "C09", "C11", "C12", "C20", "C22", "C24"):
        enough = tradeoff.TWO_CURVES if identity in ("C11", "C12") else None
        own = [network for network in LENETS if network in CLAIMS[identity].networks]
        found[identity] = CLAIMS[identity].on(dataset, own, enough)
    return found


ELSEWHERE = on_images(OTHER_IMAGES)


def evidence(profile: Profile) -> dict[str, object]:
    """All that the claims are judged by, by name: that of which the profile has enough."""
    needed = {each.name: each for claim in CLAIMS.values() for each in (claim.evidence, claim.beside) if each}
    found = {name: each.read(profile) for name, each in needed.items()}
    return {name: each for name, each in found.items() if each is not None}


def judged(found: Mapping[str, object], profile: Profile) -> list[Judged]:
    """The 28 claims and our four controls (`control` tells them), in the order of claims.csv.

    found: the evidence, or a part of it. A claim whose evidence is not there is `not run`.
    """
    return [_judged(identity, found, profile) for identity in paper.claims().index]


def _judged(identity: str, found: Mapping[str, object], profile: Profile) -> Judged:
    claim, printed = CLAIMS[identity], paper.claims().loc[identity]
    about = {"id": identity, "claim": printed.claim, "published": printed.published, "rule": printed.verdict_rule}
    first = paper.first_edition().get(identity, "")
    about |= {"page": claim.page, "source": "" if claim.beside else printed["where"], "first_edition": first}
    given = claim.found(found)
    if given is None:
        return Judged(**about)
    measured, statuses = claim.judge(given, profile)
    now = verdict(statuses, claim.stand_in)
    where = claim.where or _places(statuses) or "nothing yet"
    return Judged(
        **about,
        ours=measured.ours or _in_words(statuses),
        verdict=now,
        statuses=statuses,
        measured_on=where if profile.meaningful or not claim.evidence else f"{where} ({profile.name}: decides nothing)",
        changed=reason(statuses) if first and now != first else "",
        gaps=_gaps(identity, measured.comparisons),
    )


def _in_words(statuses: Sequence[Status]) -> str:
    """The mean of every comparison, network by network."""
    parts: dict[str, list[str]] = {}
    for status in statuses:
        if status.seeds:
            name = f"{status.comparison}, {status.unit}"
            parts.setdefault(name, []).append(f"{status.title} {status.number(status.mean)}")
    return "; ".join(f"{name}: {', '.join(each)}" for name, each in parts.items()) or "no figure yet"


def _places(statuses: Sequence[Status]) -> str:
    """The networks with seeds, and the images that each was measured on."""
    places: dict[str, list[str]] = {}
    for status in statuses:
        if status.seeds:
            stand_in, lenet = NETWORKS[status.network].stands_for, status.network.startswith("lenet")
            places.setdefault("CIFAR-10" if stand_in else "MNIST" if lenet else "ImageNet", []).append(status.title)
    return "; ".join(f"{' and '.join(dict.fromkeys(each))} on {images}" for images, each in places.items())


def reason(statuses: Sequence[Status]) -> str:
    """Why a verdict is what it is, in a few words: the networks on which the claim fails or is undecided, and why; or
    that it holds on all of them."""
    said, titles = {status.status for status in statuses}, [status.title for status in statuses]
    networks: dict[str, list[str]] = {}
    for status in statuses:
        if status.status != HOLDS or len(said) > 1:
            told = f"{status.status}, {status.why}" if status.why else status.status
            several = f", {status.comparison}" if titles.count(status.title) > 1 else ""
            networks.setdefault(told, []).append(f"{status.title}{several}" if status.title else status.comparison)
    told = "; ".join(f"{', '.join(dict.fromkeys(each))}: {told}" for told, each in networks.items())
    return told or "holds on every network"


def _gaps(identity: str, comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """The figures behind a claim's statuses: id, network, comparison, seed, gap; conditions as well."""
    frames = [
        each.values.rename_axis("seed").reset_index().melt("seed", var_name="comparison", value_name="gap")
        .assign(id=identity, network=each.network)
        for each in comparisons
    ]  # fmt: skip
    columns = ["id", "network", "comparison", "seed", "gap"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def scorecard(found: Mapping[str, object], profile: Profile) -> pd.DataFrame:
    """The 28 claims, judged, a row each (see `card`)."""
    return card([each for each in judged(found, profile) if not each.control])


def card(claims: Sequence[Judged]) -> pd.DataFrame:
    """A row per claim: id, claim, published, ours, verdict, statuses (in words), measured_on, first_edition, changed,
    page (of the book)."""
    columns = ["id", "claim", "published", "ours", "verdict", "statuses", "measured_on", "first_edition", "changed"]
    told = [{"statuses": "; ".join(status.told for status in each.statuses)} for each in claims]
    return pd.DataFrame([vars(each) | words for each, words in zip(claims, told)])[[*columns, "page"]]


def statuses(claims: Sequence[Judged]) -> pd.DataFrame:
    """A row per claim, network and comparison: id, then the fields of `Status`."""
    return pd.DataFrame([{"id": each.id} | asdict(status) for each in claims for status in each.statuses])


def gaps(claims: Sequence[Judged]) -> pd.DataFrame:
    """The figures from which every status follows, seed by seed: id, network, comparison, seed, gap."""
    return pd.concat([each.gaps for each in claims if len(each.gaps)], ignore_index=True)


def counts(card: pd.DataFrame) -> pd.DataFrame:
    """How many claims have each verdict, and which."""
    groups = {verdict: card[card.verdict == verdict].id.tolist() for verdict in VERDICTS}
    return pd.DataFrame([{"verdict": v, "claims": len(ids), "which": ", ".join(ids)} for v, ids in groups.items()])


_CLAIMS = (*CLAIMS.values(), *ELSEWHERE.values())
_ALL = {
    e.name: e
    for e in (
        *(CONTROLS, OTHER_LENGTHS, TRIED, LIMITS, *BATCHES.values(), *REFERENCES.values()),
        *(claim.evidence for claim in _CLAIMS),
    )
    if e
}
BESIDE: dict[str, Sequence[Evidence]] = {  # by notebook: what it reads beside the evidence of the claims that it shows
    "introduction": _ALL.values(),
    "method": CHAINS.values(),
    "table1_summary": (*CHAINS.values(), CONTROLS),
    "table4_alexnet": (CONTROLS, OTHER_LENGTHS, TRIED, REFERENCES["alexnet_32"]),
    "table5_vgg16": (CONTROLS, REFERENCES["vgg16_32"]),
    "table6_methods": (CHAINS["alexnet_32"],),
    "table2_lenet_300_100": (BATCHES["lenet_300_100"],),
    "table3_lenet_5": (BATCHES["lenet_5"],),
    "limits": (LIMITS,),
    "other_images": [claim.evidence for claim in on_images("mnist").values()],
    "scorecard": _ALL.values(),
    "provenance": _ALL.values(),
}
ORDER = ("vgg16_32", "alexnet_32", "lenet_5", "lenet_300_100")  # the slowest first, so that all processes end together


def notebooks(only: Sequence[str] = ()) -> list[str]:
    """Names of the notebooks, those of `only` where given; raises ReplicationError for a name that is not known."""
    names = sorted(path.stem for path in paths.NOTEBOOKS.glob("*.ipynb"))
    for name in only:
        if name not in names:
            raise ReplicationError(f"no notebook is called {name!r}: choose from {', '.join(names)}")
    return [name for name in names if not only or name in only]


def read_by(notebook: str) -> list[Evidence]:
    """What this notebook reads: the evidence of its claims, and what BESIDE names."""
    own = [claim.evidence for claim in _CLAIMS if claim.page == notebook and claim.evidence]
    return [*own, *BESIDE.get(notebook, ())]


def plan(profile: Profile, notebooks: Sequence[str] | None = None) -> list[Run]:
    """Every run that these notebooks read (None: all of them), each once, the slower networks' first."""
    needed = _ALL.values() if notebooks is None else [each for name in notebooks for each in read_by(name)]
    wanted = {run.key: run for each in needed for run in each.plan(profile)}
    return sorted(wanted.values(), key=lambda run: ORDER.index(run.network) if run.network in ORDER else -1)


def recorded(profile: Profile) -> list[Run]:
    """The runs whose records come with the repository, since they take longer than a reader would wait.

    Of the stand-ins' chains these are the rounds: their dense references come with their weights anyway.
    """
    # ours: the stand-ins are pruned in advance, since their rounds take longer than all that is computed live
    stand_ins = [chain for n in STAND_INS.values() if profile.meaningful for chain in CHAINS[n].runs(profile)]
    long = {run.key: run for chain in stand_ins for run in chain[1:]}
    live = {run.key for each in CHAINS.values() for run in each.plan(profile)} - long.keys()
    beside = [run for name, each in _ALL.items() if name not in CHAINS for run in each.plan(profile)]
    return list((long | {run.key: run for run in beside if run.key not in live}).values())


def with_sparse_weights(profile: Profile) -> set[str]:
    """Keys of the recorded runs that come with their weights as well: the sparsest networks, small as files."""
    sparsest = [run for run in LIMITS.plan(profile) if run.pruning and run.pruning.density <= 0.015]
    # every seed of AlexNet's stand-in for Figure 7; of VGG-16's the first, whose masks are counted
    ends = [chain[-1] for chain in CHAINS["alexnet_32"].runs(profile)] + [CHAINS["vgg16_32"].runs(profile)[0][-1]]
    maps = [chain[-1] for chain in ELSEWHERE["C09"].evidence.runs(profile)]  # of the pixels that are seen
    return {run.key for run in (*sparsest, *ends, *maps)}
