"""pyproject.toml, requirements.lock and environment.yml describe one environment, and it is the installed one."""

import tomllib
from importlib import metadata

import pytest
import torch
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from replication import paths

PROJECT = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]
RANGES = [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]]
LOCK = [
    Requirement(line)
    for line in (paths.ROOT / "requirements.lock").read_text().splitlines()
    if line and not line.startswith("#")
]
CONDA = yaml.safe_load((paths.ROOT / "environment.yml").read_text())["dependencies"]


def pinned(requirement: Requirement) -> str:
    """The one version that a line of the form name==version allows."""
    (only,) = requirement.specifier
    assert only.operator == "=="
    assert "*" not in only.version
    return only.version


LOCKED = {canonicalize_name(each.name): pinned(each) for each in LOCK}
PIP = {
    canonicalize_name(each.name): pinned(each)
    for part in CONDA
    if isinstance(part, dict)
    for each in map(Requirement, part["pip"])
}


def test_lock_names_each_package_once():
    assert len(LOCKED) == len(LOCK)


@pytest.mark.parametrize("wanted", RANGES, ids=lambda wanted: wanted.name)
def test_direct_dependency_is_locked_within_its_range(wanted: Requirement):
    assert wanted.specifier, "a lower bound is missing"
    assert wanted.specifier.contains(LOCKED[canonicalize_name(wanted.name)])


def test_conda_environment_has_every_direct_dependency_and_no_other():
    assert PIP.keys() == {canonicalize_name(each.name) for each in RANGES}


def test_conda_environment_has_the_pins_of_the_lock():
    assert {name: LOCKED.get(name) for name in PIP} == PIP


def test_python_is_new_enough_everywhere():
    assert not SpecifierSet(PROJECT["requires-python"]).contains("3.10")
    assert SpecifierSet(PROJECT["requires-python"]).contains("3.11")
    (python,) = [part for part in CONDA if isinstance(part, str) and part.startswith("python=")]
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python="))


@pytest.mark.parametrize("locked", LOCK, ids=lambda locked: locked.name)
def test_installed_version_is_the_locked_one(locked: Requirement):
    if torch.version.cuda is None and locked.name.startswith(("nvidia-", "cuda-", "triton")):
        pytest.skip("torch's CPU build needs it not")
    if locked.marker is None or locked.marker.evaluate():
        assert metadata.version(locked.name).split("+")[0] == pinned(locked)


def test_everything_that_a_dependency_needs_is_locked():
    missing, queue, seen = set(), [(each.name, "") for each in RANGES], set()
    while queue:
        name, extra = queue.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for need in map(Requirement, metadata.requires(name) or []):
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                if canonicalize_name(need.name) in LOCKED:
                    queue += [(need.name, each) for each in ("", *need.extras)]
                else:
                    missing.add(need.name)
    assert not missing
