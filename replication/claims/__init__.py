"""Each claim of the paper: the runs that it needs, how it is measured on them, and the verdict by its rule.

Each file holds a group of claims as data, CLAIMS: page, evidence, measurement and rule of each (see `rules.Claim`);
`comparisons` has the runs that several groups share. A new claim is an entry in a file, and a line in claims.csv. What
is here goes over all of them. May import networks, data, training, pruning and runs, not how pages show it.
"""

from collections.abc import Mapping

import pandas as pd

from .. import paper
from ..profiles import Profile
from . import ablations, figures, networks, storage, tradeoff
from .rules import VERDICTS, Claim, Evidence, Measured, computed, flat

__all__ = ["CLAIMS", "VERDICTS", "Claim", "Evidence", "Measured", "computed", "counts", "evidence", "flat", "scorecard"]

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


def headline(card: pd.DataFrame) -> str:
    """The measured claims of Table 1, and how many claims have which verdict, in a few sentences (Markdown)."""
    lines = card[card.id.isin(["C01", "C02", "C03", "C04"]) & (card.verdict != "not run")]
    found = [
        f"- {line.claim}: paper {line.published}; ours {line.ours} (**{line.verdict}**)." for line in lines.itertuples()
    ]
    tally = ", ".join(f"{row.claims} {row.verdict}" for row in counts(card).itertuples() if row.claims)
    return "\n".join([*found, f"- Of the paper's {len(card)} claims: {tally} ([scorecard](scorecard.html))."])
