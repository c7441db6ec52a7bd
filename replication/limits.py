"""Until its readers import replication.claims.comparisons."""

from .claims import flat  # noqa: F401
from .claims.comparisons import DESCENTS, LIMITS, long_chain, long_chains  # noqa: F401

chain, records, all_runs = long_chain, LIMITS.read, LIMITS.plan
