"""The public names of a room, each imported when it is asked for: to name a room loads nothing, least of all torch."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def names(room: str, **modules: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """A room's `__getattr__`, `__dir__` and `__all__` (PEP 562).

    room: the package's `__name__`; modules: by module of the room, the names that it gives, separated by spaces.
    """
    homes = {name: module for module, given in modules.items() for name in given.split()}

    def look_up(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(import_module(f"{room}.{homes[name]}"), name)

    return look_up, lambda: sorted(homes), sorted(homes)
