"""The sentence below a page's results that says whence its runs are."""

from collections.abc import Iterable

from ..runs import store
from ..runs.spec import Record


def recorded(records: Iterable[Record]) -> str:
    """One sentence (Markdown): how many of these runs were not computed here, and how to repeat them."""
    records = list(records)
    given = [record for record in records if store.place(record.key) != "local"]
    if not given:
        return f"All {len(records)} runs of this page were computed by this installation."
    minutes = sum(record.provenance["seconds"] for record in given) / 60
    processors = ", ".join(sorted({record.provenance["processor"] for record in given}))
    return (
        f"*Recorded with the repository:* {len(given)} of this page's {len(records)} "
        f"run{'s' * (len(records) != 1)}, {minutes:.0f} minutes of computing on {processors}; "
        "`python -m replication record --fresh` repeats what is recorded."
    )
