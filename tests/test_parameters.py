"""The notebooks' parameters: each is checked before anything is computed, and none is taken for another value."""

import ast
import math
from pathlib import Path

import nbformat
import papermill
import pytest

from replication import parameters, paths
from replication.errors import ReplicationError
from replication.runs import profiles, recipes

SOURCES = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
LAPTOP = profiles.get("laptop")
TEXTS = ("0,3", "three", None, math.nan, math.inf, True, [1])


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_each_parameter_is_checked_by_its_name_as_the_page_opens(source: Path):
    code = [cell.source for cell in nbformat.read(source, as_version=4).cells if cell.cell_type == "code"]
    opening = next(cell for cell in code[1:3] if "show.start" in cell)  # a live page has its result's place before it
    assigned, checked = {}, set()
    for node in ast.walk(ast.parse(opening)):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            assigned[node.targets[0].id] = {
                key.value: value.id for key, value in zip(node.value.keys, node.value.values)
            }
    for call in (node for node in ast.walk(ast.parse(opening)) if isinstance(node, ast.Call)):
        if ast.unparse(call.func) == "parameters.check":
            checked |= {call.args[0].value} if call.args[1].id == call.args[0].value else set()
        if ast.unparse(call.func) == "show.start":
            checked |= {given.id for given in call.args}
            named = {each.arg: each.value.id for each in call.keywords if each.arg}
            for name in (each.value.id for each in call.keywords if each.arg is None):
                named |= assigned[name]
            checked |= {name for name, value in named.items() if name == value}
    assert checked - {"dataset"} == papermill.inspect_notebook(source).keys() - {"dataset"}  # see test_idx.py


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_defaults_are_within_the_range(source: Path):
    for name, parameter in papermill.inspect_notebook(source).items():
        if name not in ("profile", "dataset"):
            parameters.check(name, eval(parameter["default"]))  # a number, as the notebook writes it


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("seeds", (-1, 1.5, 1001), (0, 1, 1000)),
        ("seed", (-1, 0.5, 1000), (0, 4)),
        ("rounds", (-1, 1.5, 101), (0, 100)),
        ("retraining_rate", (0, 0.0, -0.1, 10.1), (1e-6, 0.1, 1, 10)),
        ("layer_density", (0, -0.5, 1.01, 50), (0.01, 1)),
        ("frequency", (0, -20.0, 1e10), (0.1, 1e9)),
        ("connections", (0, -1, 1e300), (1, 1e15)),
        ("least_density", (0, 1.0, 1.5), (0.01, 0.99)),
        ("most_density", (0, 1.5), (0.01, 1)),
        ("compared_at", (0, 10), (0.1, 1)),
        ("per_decade", (0, 1.5, 101), (1, 100)),
        ("repetitions", (0, -3, 2.5), (1, 1000)),
        ("shrink", (0, 101, 1.5), (1, 100)),
        ("widest", (1, 11, 4.5), (2, 10)),
        ("alexnet_sample", (-1, 0.5), (0, 10**8)),
        ("vgg16_sample", (-1, 1e6), (0, 10**8)),
    ],
)
def test_value_beyond_the_range_is_named_with_meaning_and_range(name: str, bad: tuple, good: tuple):
    meaning = parameters.PARAMETERS[name].meaning
    for value in (*bad, *TEXTS):
        with pytest.raises(ReplicationError) as error:
            parameters.check(name, value)
        assert str(error.value).startswith(f"{name} is {value!r}: give {meaning}, a ")
        assert "\n" not in str(error.value)
    for value in good:
        parameters.check(name, value)


def test_every_parameter_is_tried_here():
    tried = test_value_beyond_the_range_is_named_with_meaning_and_range.pytestmark[0].args[1]
    assert [name for name, *_ in tried] == list(parameters.PARAMETERS)


def test_message_is_one_sentence():
    with pytest.raises(ReplicationError) as error:
        parameters.check("retraining_rate", "0,3")
    rate = "the learning rate of retraining over that of training"
    assert str(error.value) == f"retraining_rate is '0,3': give {rate}, a number above 0 up to 10"
    with pytest.raises(ReplicationError, match=r"a whole number from 0 to 4$"):
        parameters.check("seed", 5, most=LAPTOP.seeds["lenet_300_100"] - 1)
    with pytest.raises(ReplicationError, match=r"^most_density is 0\.01: give .*, a number above 0\.1 up to 1$"):
        parameters.check("most_density", 0.01, least=0.1)
    with pytest.raises(ReplicationError, match=r"AlexNet .0: all., a whole number from 0 on$"):
        parameters.check("alexnet_sample", -1)
    with pytest.raises(ReplicationError, match=r"in Hz, a number above 0 up to 1e\+09$"):
        parameters.check("frequency", 0)


@pytest.mark.parametrize("profile", [3, None, ["laptop"], {"laptop": 1}, "Laptop", ""])
def test_profile_of_any_type_is_named(profile: object):
    with pytest.raises(ReplicationError) as error:
        profiles.get(profile)
    assert str(error.value) == f"unknown profile {profile!r}: choose from smoke, laptop, full"


@pytest.mark.parametrize("settings", [{"retraining_rate": 0}, {"retraining_rate": "0,3"}, {"rounds": 1.5}])
def test_recipe_refuses_what_the_pages_refuse(settings: dict):
    with pytest.raises(ReplicationError, match=f"{next(iter(settings))} is .*: give .*, a "):
        recipes.recipe("lenet_5", LAPTOP, **settings)


def test_rounds_asked_for_are_not_limited_by_the_profile():
    smoke = profiles.get("smoke")
    assert recipes.recipe("lenet_300_100", smoke).rounds == 2  # of the recipe's 3
    for rounds in (1, 2, 4, 8):
        assert recipes.recipe("lenet_300_100", smoke, rounds=rounds).rounds == rounds
        assert len(recipes.chains("lenet_300_100", smoke, rounds=rounds)[0]) == 1 + rounds


@pytest.mark.parametrize(
    ("notebook", "network"),
    [
        ("table2_lenet_300_100", "lenet_300_100"),
        ("table3_lenet_5", "lenet_5"),
        ("table4_alexnet", "alexnet_32"),
        ("table5_vgg16", "vgg16_32"),
    ],
)
def test_default_rate_is_the_recipes_own_to_the_last_bit(notebook: str, network: str):
    default = papermill.inspect_notebook(paths.NOTEBOOKS / f"{notebook}.ipynb")["retraining_rate"]["default"]
    own = recipes.chains(network, LAPTOP)
    given = recipes.chains(network, LAPTOP, retraining_rate=eval(default))
    assert [run.key for each in given for run in each] == [run.key for each in own for run in each]
    changed = recipes.recipe(network, LAPTOP, retraining_rate=0.05)
    rates = {phase.learning_rate for round_ in changed.phases() for phase in round_}
    assert rates == {0.05 * recipes.RECIPES[network].training.learning_rate}


@pytest.mark.parametrize(
    ("notebook", "name", "value"),
    [
        ("table2_lenet_300_100", "retraining_rate", 0),
        ("table5_vgg16", "rounds", 1.5),
        ("figure4_attention", "seed", 5),
        ("figure7_weights", "seed", -1),
        ("sparse_inference", "most_density", 0.001),
        ("sparse_inference", "least_density", 1.0),
        ("storage_overhead", "vgg16_sample", -1),
    ],
)
def test_notebook_stops_at_its_opening(notebook: str, name: str, value: float):
    cells = nbformat.read(paths.NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells
    given, opening, *_ = [cell.source for cell in cells if cell.cell_type == "code"]
    space: dict = {}
    exec(given, space)
    with pytest.raises(ReplicationError, match=f"^{name} is {value}: give .*, a "):
        exec(opening, space | {name: value})
