"""Settings: the one check of a number and of a name, and the settings as JSON values, as keys of runs hold them."""

import math
from collections.abc import Collection
from dataclasses import fields, is_dataclass
from numbers import Real
from typing import Any

from .errors import ReplicationError

LATER = {"later": True}  # a setting that came later: part of a run's key only where it is not the default


def check(
    name: str, value: object, least: float = 0, most: float = math.inf, whole: bool = False, wanted: str = ""
) -> None:
    """Raise ReplicationError unless the value is a finite number from `least` to `most`; whole: an int.

    name: what the value is of, for the message; wanted: what the message says to give, instead of the limits.
    """
    number = isinstance(value, int if whole else Real) and not isinstance(value, bool)
    if number and least <= value <= most and value < math.inf:
        return
    limits = f"from {least} to {most}" if most < math.inf else f"of {least or 'zero'} or more"
    raise ReplicationError(f"{name} is {value!r}: give {wanted or ('a whole' if whole else 'a') + f' number {limits}'}")


def check_name(kind: str, name: str, known: Collection[str]) -> None:
    """Raise ReplicationError unless `name` is one of those that are known; kind: what it is a name of."""
    if not isinstance(name, str) or name not in known:
        choices = ", ".join(each or "''" for each in known)
        raise ReplicationError(f"unknown {kind} {name!r}: choose from {choices}")


def settings(value: Any) -> Any:
    """A setting as JSON value: of a dataclass its settings by name, late ones (see LATER) only if not the default."""
    if is_dataclass(value):
        given = {f.name: getattr(value, f.name) for f in fields(value)}
        late = {f.name: f.default for f in fields(value) if f.metadata.get("later")}
        return {name: settings(each) for name, each in given.items() if name not in late or each != late[name]}
    return [settings(each) for each in value] if isinstance(value, (tuple, list)) else value
