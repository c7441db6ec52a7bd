"""Until its readers import replication.claims.comparisons."""

from .claims.comparisons import CONTROLS, CURVES, coarse_rule, controls, curve_seeds, curves, methods, sensitivity  # noqa: F401

all_controls = CONTROLS.plan
