"""The training loop and its evaluation; precision, freezing, dropout, processes and checkpoints.

Imports networks, data and storage.
"""

from ..lazy import names

__getattr__, __dir__, __all__ = names(
    __name__, loop="Training Score SCHEDULES train evaluate rate_at", precision="PRECISIONS"
)
