"""The paper's claims: which runs each needs, how it is measured, and its verdict by the rules of data/paper/claims.csv.

Imports runs, and what runs may import.
"""

from ..lazy import names

__getattr__, __dir__, __all__ = names(
    __name__, paper="verdict", plans="PLANS plan notebooks", statistics="Summary summarise"
)
