"""A run as a value, computed once: its record and store, the scheduler, recipes, comparisons, profiles.

Imports networks, data, storage, training and pruning.
"""

from ..lazy import names

__getattr__, __dir__, __all__ = names(
    __name__,
    spec="Run Record get with_ancestors",
    execution="get_or_run ship",
    scheduler="compute",
    recipes="Recipe Chain RECIPES LENETS STAND_INS REFERENCES recipe chains records chosen",
    profiles="Profile PROFILES",
)
