"""Each claim of the paper: the runs that it needs, how it is measured on them, and the verdict by its rule.

Each file holds a group of claims as data, CLAIMS: page, evidence, measurement and rule of each (see `rules.Claim`);
`verdicts` has the ways from figures to a status and a verdict; the runs are planned in `runs.recipes` and
`runs.comparisons`. A new claim is an entry in a file, and a line in claims.csv.
Imports runs, and what runs may import.
"""

from ..lazy import names

__getattr__, __dir__, __all__ = names(
    __name__,
    registry="CLAIMS ELSEWHERE card counts evidence gaps judged notebooks on_images plan scorecard statuses",
    rules="Claim Evidence Judged Measured computed flat",
    verdicts="VERDICTS Comparison Status Summary summarise verdict",
)
