"""All claims and controls: what they are judged by, and what comes out. A loop over the files of claims."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pandas as pd

from ..networks.registry import NETWORKS
from ..runs.profiles import Profile
from . import ablations, figures, networks, paper, storage, tradeoff
from .rules import Judged, Status
from .verdicts import HOLDS, VERDICTS, verdict

FILES = (networks, tradeoff, figures, storage, ablations)
CLAIMS = {claim.id: claim for file in FILES for claim in file.CLAIMS}


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
    about |= {"page": claim.page, "first_edition": first}
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
    """Why a verdict is what it is, in a few words: the networks on which the claim fails or is undecided, and why."""
    said = {status.status for status in statuses}
    networks: dict[str, list[str]] = {}
    for status in statuses:
        if status.status != HOLDS or len(said) > 1:
            told = f"{status.status}, {status.why}" if status.why else status.status
            networks.setdefault(told, []).append(status.title or status.comparison)
    return "; ".join(f"{', '.join(dict.fromkeys(each))}: {told}" for told, each in networks.items())


def _gaps(identity: str, comparisons: Sequence) -> pd.DataFrame:
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
