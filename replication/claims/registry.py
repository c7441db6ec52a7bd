"""All claims: what they are judged by, and the scorecard. A loop over the files of claims."""

from collections.abc import Mapping

import pandas as pd

from ..runs.profiles import Profile
from . import ablations, figures, networks, paper, storage, tradeoff
from .rules import VERDICTS

CLAIMS = {claim.id: claim for file in (networks, tradeoff, figures, storage, ablations) for claim in file.CLAIMS}


def evidence(profile: Profile) -> dict[str, object]:
    """All that the claims are judged by, by name: that of which the profile has enough."""
    needed = {claim.evidence.name: claim.evidence for claim in CLAIMS.values() if claim.evidence}
    found = {name: each.read(profile) for name, each in needed.items()}
    return {name: each for name, each in found.items() if each is not None}


def scorecard(found: Mapping[str, object], profile: Profile) -> pd.DataFrame:
    """All 28 claims: id, claim, published, ours, interval, seeds, measured_on, verdict, page (of the book).

    found: the evidence, or a part of it. A claim whose evidence is not there is `not run`.
    """
    rows = []
    for identity, printed in paper.claims().iterrows():
        claim, row = CLAIMS[identity], {"id": identity, "claim": printed.claim, "published": printed.published}
        if claim.evidence is None or claim.evidence.name in found:
            row |= claim.line(found.get(claim.evidence and claim.evidence.name), profile)
        else:
            row |= {"ours": "", "interval": "", "seeds": 0, "measured_on": "", "verdict": "not run"}
        rows.append(row | {"page": claim.page})
    return pd.DataFrame(rows)


def counts(card: pd.DataFrame) -> pd.DataFrame:
    """How many claims have each verdict, and which."""
    groups = {verdict: card[card.verdict == verdict].id.tolist() for verdict in VERDICTS}
    return pd.DataFrame([{"verdict": v, "claims": len(ids), "which": ", ".join(ids)} for v, ids in groups.items()])
