"""Which weights go: thresholds, masks, the search for the layers' qualities, dead neurons.

Imports networks, data, storage and training.
"""

from ..lazy import names

__getattr__, __dir__, __all__ = names(
    __name__,
    masks="Pruning METHODS threshold deviations prune full_masks check_masks apply_masks density global_qualities "
    "drawn",
    search="layer_curves choose_qualities qualities_at",
    iterative="Pruned prune_network",
    dead_neurons="dead_units without_dead",
)
