"""What a reader should take away from the pages of C19 to C24: sentences that follow from what was measured."""

from collections.abc import Callable, Mapping

from .registry import TITLES
from .text_claims import DECAYED, difference, errors, left_over
from .variants import KEPT, LONGER, RATES, Variants

Found = Mapping[str, Variants]


def effect(found: Found, first: str, second: str) -> str:
    """By network: whether the first variant's error lies below or above the second's with its whole 95 % interval."""
    parts = []
    for network, each in found.items():
        gap = difference(each, first, second)
        if gap.high < 0:
            parts.append(f"on {TITLES[network]} it lowers the test error by {-gap.mean:.2f} points")
        elif gap.low > 0:
            parts.append(f"on {TITLES[network]} it raises the test error by {gap.mean:.2f} points")
        elif gap.n < 2:
            parts.append(f"on {TITLES[network]} one seed differs by {gap.mean:+.2f} points, which decides nothing")
        else:
            parts.append(
                f"on {TITLES[network]} {gap.n} seeds show no effect ({gap.low:+.2f} to {gap.high:+.2f} points)"
            )
    return "; ".join(parts)


def _mean(each: Variants, name: str) -> float:
    return errors(each, name).mean()


def dropout(found: Found) -> str:
    return (
        f"Shrinking the dropout rate by the rule: {effect(found, 'Dr', 'Do')}. The rate is worth a thought wherever a "
        "network with dropout is retrained, and the rule is a start that costs nothing."
    )


def survivors(found: Found) -> str:
    original = "re-initialised, original rate"
    return (
        f"Go on from the weights that survive. Against fresh ones: {effect(found, KEPT, 're-initialised')}. Against "
        f"fresh ones at the original learning rate: {effect(found, KEPT, original)}."
    )


def freezing(found: Found) -> str:
    return (
        f"Retraining CONV and FC layers in turn instead of together: {effect(found, 'in turn', 'joint')}. The half on "
        "fixed CONV layers is cheap, since what those put out need be computed only once."
    )


def choosing(found: Found) -> str:
    parts = []
    for network, each in found.items():
        names = ("probabilistic", "uniform random", "global threshold")
        added = ", ".join(f"{name} {_mean(each, name) - _mean(each, KEPT):+.2f}" for name in names)
        parts.append(f"{TITLES[network]} {added}")
    return (
        "Which weights go matters, even after retraining. Test error against a threshold for each layer, in points: "
        f"{'; '.join(parts)}. A single threshold for all layers needs no search for qualities."
    )


def dying(found: Found) -> str:
    gone = all(left_over(named[KEPT]) < DECAYED for each in found.values() for named in each)
    if gone:
        return "Retraining with L2 removes dead neurons by itself: what is left of their weights can be deleted."
    return (
        "Do not count on dead neurons to die: their weights outlast the retraining, and they take up space in a file. "
        "Find them in the masks and take them out, which changes no answer; `replication.dead.without_dead` does so."
    )


def rates(found: Found) -> str:
    parts = []
    for network, each in found.items():
        means = {rate: _mean(each, f"rate {rate:g}") for rate in RATES}
        best = min(means, key=means.get)
        parts.append(
            f"{TITLES[network]} reaches {means[best]:.2f} % at {best:g} times the original rate, {means[0.1]:.2f} % at "
            f"a tenth, {means[0.01]:.2f} % at a hundredth (dense, trained on for as long: {_mean(each, LONGER):.2f} %)"
        )
    return f"The rate of retraining is worth a search, and a tenth is a safe start. {'. '.join(parts)}."


LESSONS: dict[str, Callable[[Found], str]] = {
    "C19": dropout,
    "C20": survivors,
    "C21": freezing,
    "C22": choosing,
    "C23": dying,
    "C24": rates,
}


def lesson(claim: str, found: Found) -> str:
    """What to take away from the runs of one claim (C19 to C24), as Markdown."""
    return f"**What to take away.** {LESSONS[claim](found)}"
