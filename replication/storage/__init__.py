"""Files that are whole or absent, and the sparse format of pruned networks. Imports the ground alone."""

from ..lazy import names

__getattr__, __dir__, __all__ = names(
    __name__,
    sparse_file="StorageError save_sparse load_sparse inspect PAPER_BITS VALUE_TYPES COLUMNS",
    gap_coding="CODINGS",
    packing="pack unpack",
)
