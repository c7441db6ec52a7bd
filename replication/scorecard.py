"""Until its readers import replication.claims."""

import pandas as pd

from .claims import counts, evidence, scorecard  # noqa: F401
from .claims.networks import CHAINS


def chains(found):
    return {network: found[network] for network in CHAINS}


def headline(card: pd.DataFrame) -> str:
    """The measured claims of Table 1, and how many claims have which verdict, in a few sentences (Markdown)."""
    lines = card[card.id.isin(["C01", "C02", "C03", "C04"]) & (card.verdict != "not run")]
    found = [
        f"- {line.claim}: paper {line.published}; ours {line.ours} (**{line.verdict}**)." for line in lines.itertuples()
    ]
    tally = ", ".join(f"{row.claims} {row.verdict}" for row in counts(card).itertuples() if row.claims)
    return "\n".join([*found, f"- Of the paper's {len(card)} claims: {tally} ([scorecard](scorecard.html))."])
