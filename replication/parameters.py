"""The parameters of the notebooks: what each means and its range, checked before anything is computed."""

import math
from typing import NamedTuple

from . import specs


class Parameter(NamedTuple):
    """What a parameter means, whether it is a whole number, and its limits; above: `least` itself is not allowed."""

    meaning: str
    whole: bool = False
    least: float = 0
    most: float = math.inf
    above: bool = False


def _share(meaning: str) -> Parameter:
    return Parameter(meaning, most=1, above=True)


def _count(meaning: str, least: int = 0, most: float = math.inf) -> Parameter:
    return Parameter(meaning, True, least, most)


PARAMETERS = {
    "seeds": _count("how many seeds per network (0: as the profile says)", most=1_000),
    "seed": _count("whose network is drawn (0: that of the first seed)", most=999),
    "rounds": _count("how many rounds of pruning (0: as the recipe says)", most=100),
    "retraining_rate": Parameter("the learning rate of retraining over that of training", most=10, above=True),
    "layer_density": _share("the share of its weights that each layer keeps where the layers are compared"),
    "frequency": Parameter("how often the network runs, in Hz", most=1e9, above=True),
    "connections": Parameter("how many connections the imagined network has", least=1, most=1e15),
    "least_density": Parameter("the smallest share of weights that are kept", most=0.99, above=True),
    "most_density": _share("the largest share of weights that are kept"),
    "compared_at": _share("the share of kept weights that the table compares"),
    "per_decade": _count("how many densities between one power of ten and the next", least=1, most=100),
    "repetitions": _count("how many timed products of each kind", least=1, most=1_000),
    "shrink": _count("what the layers' sides are divided by", least=1, most=100),
    "widest": _count("the largest index width in the figure, in bits", least=2, most=10),
    "alexnet_sample": _count("how many stored weights of each layer of AlexNet (0: all)"),
    "vgg16_sample": _count("how many stored weights of each layer of VGG-16 (0: all)"),
}


def check(name: str, value: object, least: float | None = None, most: float | None = None) -> None:
    """Raise ReplicationError, with its meaning and its range, where parameter `name` cannot have this value.

    least, most: tighter limits than the parameter's own, where they hang on another parameter.
    """
    known = PARAMETERS[name]
    least, most = known.least if least is None else least, known.most if most is None else most
    start = f"{'above' if known.above else 'from'} {least:,g}"
    end = f"{' up' if known.above else ''} to {most:,g}" if most < math.inf else "" if known.above else " on"
    wanted = f"{known.meaning}, {'a whole' if known.whole else 'a'} number {start}{end}"
    first = math.nextafter(least, math.inf) if known.above else least
    specs.check(name, value, first, most, known.whole, wanted)
