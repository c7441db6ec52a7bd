"""The training loop and its evaluation; precision, freezing, dropout, processes and checkpoints.

Imports networks, data and storage.
"""

from ..lazy import names

__getattr__, __dir__, __all__ = names(
    __name__, loop="train", evaluation="Score evaluate", phases="Training SCHEDULES rate_at", machine="PRECISIONS"
)
