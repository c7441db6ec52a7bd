"""Settings: what is refused, in which words, and how they become JSON values."""

from dataclasses import dataclass, field

import pytest

from replication.errors import ReplicationError
from replication.specs import LATER, check, check_name, settings


@pytest.mark.parametrize(
    ("value", "limits", "message"),
    [
        (-0.1, {}, "x is -0.1: give a number of zero or more"),
        (float("nan"), {}, "x is nan: give a number of zero or more"),
        (float("inf"), {}, "x is inf: give a number of zero or more"),
        ("1", {}, "x is '1': give a number of zero or more"),
        (None, {}, "x is None: give a number of zero or more"),
        (True, {}, "x is True: give a number of zero or more"),
        (1.5, {"most": 1}, "x is 1.5: give a number from 0 to 1"),
        (0, {"least": 1, "whole": True}, "x is 0: give a whole number of 1 or more"),
        (1.0, {"whole": True}, "x is 1.0: give a whole number of zero or more"),
        (True, {"whole": True}, "x is True: give a whole number of zero or more"),
        (-1, {"whole": True, "wanted": "a whole number (0: all)"}, "x is -1: give a whole number (0: all)"),
    ],
)
def test_a_value_out_of_its_limits_is_named_with_what_to_give(value, limits, message):
    with pytest.raises(ReplicationError) as error:
        check("x", value, **limits)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("value", "limits"), [(0, {}), (0.0, {}), (1e300, {}), (1, {"most": 1}), (1, {"least": 1, "whole": True})]
)
def test_the_limits_themselves_are_allowed(value, limits):
    check("x", value, **limits)


def test_an_unknown_name_is_told_with_those_that_are_known():
    check_name("freeze", "", {"": (), "conv": ()})
    with pytest.raises(ReplicationError, match=r"^unknown freeze 'all': choose from '', conv$"):
        check_name("freeze", "all", {"": (), "conv": ()})


@dataclass(frozen=True)
class Settings:
    epochs: int
    phases: tuple = ("a",)
    late: str = field(default="none", metadata=LATER)


def test_settings_that_came_later_stand_only_where_they_are_not_the_default():
    assert settings(Settings(3)) == {"epochs": 3, "phases": ["a"]}
    assert settings(Settings(3, late="some")) == {"epochs": 3, "phases": ["a"], "late": "some"}
    assert settings(Settings(3, (("a", 1.0), Settings(4)))) == {
        "epochs": 3,
        "phases": [["a", 1.0], {"epochs": 4, "phases": ["a"]}],
    }
