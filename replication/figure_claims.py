"""Until its readers import replication.claims."""

from .claims.figures import fc1_weights, loss_at, modes  # noqa: F401
from .claims.tradeoff import CLAIMS

CURVE_CLAIMS = {claim.id: claim.measure for claim in CLAIMS}
