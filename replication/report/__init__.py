"""What pages show: tables, figures, cards of claims, and where numbers come from.

Imports claims, and what claims may import.
"""

from ..lazy import names

__getattr__, __dir__, __all__ = names(
    __name__, show="start say show_table show_figure", cards="badge card", figures="svg"
)
