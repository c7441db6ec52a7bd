"""The commands as a reader types them: what they print, their exit codes, and one line for every mistake."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from conftest import small_chain
from safetensors.torch import load_file, save_file

from replication import paths, storage
from replication.claims import registry
from replication.commands.main import main
from replication.data import cifar, datasets, paper
from replication.errors import ReplicationError
from replication.runs import get_or_run, profiles, recipes, scheduler
from replication.training import machine


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("build", "--profile", "desktop"), "Error: unknown profile 'desktop': choose from smoke, laptop, full"),
        (("run", "--profile", "desktop"), "Error: unknown profile 'desktop': choose from smoke, laptop, full"),
        (("build", "--only", "table9"), "Error: no notebook is called 'table9': choose from choosing, "),
        (("runs", "3f2a"), "Error: 0 stored runs start with '3f2a': list them with `python -m replication runs`"),
    ],
)
def test_mistake_is_one_line(command, one_line, store: Path, arguments: tuple[str, ...], message: str):
    assert one_line(command(*arguments, runs=store)).startswith(message)
    assert not store.exists()


def test_negative_number_of_jobs_is_refused(command, store: Path):
    done = command("run", "--profile", "smoke", "--jobs", "-1", runs=store)
    assert done.returncode == 2
    assert "--jobs" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "least"), [("JOBS", "two", 0), ("JOBS", "-1", 0), ("THREADS", "1.5", 1), ("THREADS", "0", 1)]
)
def test_mistake_in_a_variable_is_one_line(
    command, one_line, store: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, least: int
):
    variable = f"REPLICATION_{name}"
    monkeypatch.setenv(variable, value)
    way_out = f"set it to a whole number of {least} or more, or unset it"
    with pytest.raises(ReplicationError, match=f"^{variable} is '{value}': {way_out}$"):
        getattr(machine, name.lower())()
    if not value.lstrip("-").isdecimal():
        error = one_line(command("run", "--profile", "smoke", "--only", "figure4_attention", runs=store))
        assert error == f"Error: {variable} is '{value}': {way_out}"
        assert not store.exists()


@pytest.mark.parametrize(
    ("variable", "value", "way_out"),
    [
        ("DEVICE", "foo", "set it to cpu or cuda or cuda:0 or cuda:1, or unset it"),
        ("DEVICE", "cuda:2", "set it to cpu or cuda or cuda:0 or cuda:1, or unset it"),
        ("DEVICE", "meta", "set it to cpu or cuda or cuda:0 or cuda:1, or unset it"),
        ("PRECISION", "half", "set it to float32 or bfloat16, or leave it out"),
    ],
)
def test_where_and_how_runs_are_computed_is_checked_before_any(store, monkeypatch, variable, value, way_out):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv(f"REPLICATION_{variable}", value)
    with pytest.raises(ReplicationError) as error:
        scheduler.compute(small_chain(rounds=0))
    assert str(error.value) == f"REPLICATION_{variable} is {value!r}: {way_out}"
    assert not store.exists()


@pytest.mark.parametrize(
    ("cards", "found"),
    [(0, {"": "cpu", "cpu": "cpu"}), (2, {"": "cuda", "cpu": "cpu", "cuda": "cuda", "cuda:1": "cuda:1"})],
)
def test_device_is_the_processor_or_a_card_that_there_is(monkeypatch: pytest.MonkeyPatch, cards: int, found: dict):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cards > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    for value, device in found.items():
        monkeypatch.setenv("REPLICATION_DEVICE", value)
        assert machine.device() == torch.device(device)
    if not cards:
        monkeypatch.setenv("REPLICATION_DEVICE", "cuda")
        with pytest.raises(ReplicationError, match=r"^REPLICATION_DEVICE is 'cuda': set it to cpu, or unset it$"):
            machine.device()


@pytest.mark.parametrize(
    "command_line", ["run --only figure4_attention --profile smoke", "imagenet --arch vgg16 --data ."]
)
def test_unknown_device_is_one_line(command, one_line, store: Path, monkeypatch, command_line: str):
    monkeypatch.setenv("REPLICATION_DEVICE", "foo")
    assert one_line(command(*command_line.split(), runs=store)).startswith(
        "Error: REPLICATION_DEVICE is 'foo': set it to"
    )
    assert not store.exists()


def test_variables_say_how_many_processes_and_threads(monkeypatch: pytest.MonkeyPatch):
    for value, jobs, threads in (("", len(os.sched_getaffinity(0)), 1), ("3", 3, 3)):
        monkeypatch.setenv("REPLICATION_JOBS", value)
        monkeypatch.setenv("REPLICATION_THREADS", value)
        assert (machine.jobs(), machine.threads()) == (jobs, threads)
    monkeypatch.setenv("REPLICATION_JOBS", "0")
    assert machine.jobs() == len(os.sched_getaffinity(0))


def test_runs_lists_every_run_and_shows_one(command, one_line, store: Path):
    chain = small_chain(rounds=1)
    records = [get_or_run(run) for run in chain]
    done = command("runs", runs=store)
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert lines.keys() == {run.key for run in chain}
    assert "LeNet-300-100" in lines[chain[1].key]
    assert "round 1" in lines[chain[1].key]
    assert f"{records[1].rate:.1f}x" in lines[chain[1].key]
    shown = command("runs", chain[1].key[:8], runs=store)
    assert json.loads(shown.stdout) == records[1].values
    assert one_line(command("runs", "", runs=store)).startswith("Error: 2 stored runs start with ''")


@pytest.mark.parametrize("home", [paths.MODELS, paths.RECORDED])
def test_runs_shows_a_record_that_comes_with_the_repository(command, store: Path, home: Path):
    path = min(home.glob("*/record.json"))
    shown = command("runs", path.parent.name[:10], runs=store)
    assert (shown.returncode, shown.stderr) == (0, "")
    content = json.loads(path.read_text())
    assert content.pop("record_sha256") and json.loads(shown.stdout) == content


def test_verify_names_what_is_damaged_and_goes_on(command, store: Path):
    chain = small_chain(rounds=2)
    for run in chain:
        get_or_run(run)
    good = command("verify", runs=store)
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout == "data, environment and 3 stored runs are in order\n"
    record, weights = store / chain[0].key / "record.json", store / chain[2].key / "weights.safetensors"
    record.write_bytes(record.read_bytes()[:-10])
    weights.write_bytes(weights.read_bytes()[:-10])
    bad = command("verify", runs=store)
    assert bad.returncode == 1
    assert bad.stderr == "Error: 2 problems found\n"
    lines = bad.stdout.splitlines()
    assert len(lines) == 2
    assert any(line.startswith(f"{record} is damaged") for line in lines)
    assert any(line.startswith(f"{weights} is damaged") for line in lines)
    listed = command("runs", runs=store)
    assert listed.returncode == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == sorted(run.key for run in chain)


def test_run_computes_once_and_names_a_damaged_run(command, one_line, store: Path):
    first = command("run", "--profile", "smoke", "--only", "figure4_attention", runs=store)
    assert (first.returncode, first.stderr) == (0, "")
    *computed, summary = first.stdout.splitlines()
    assert len(computed) == 6
    assert summary == f"6 runs of the profile smoke are stored in {store}"
    times = {path: path.stat().st_mtime_ns for path in store.glob("*/*.*")}
    second = command("run", "--profile", "smoke", "--only", "figure4_attention", runs=store)
    assert (second.returncode, second.stdout) == (0, summary + "\n")
    assert {path: path.stat().st_mtime_ns for path in store.glob("*/*.*")} == times
    record = next(store.glob("*/record.json"))
    record.write_text("{")
    third = command("run", "--profile", "smoke", "--only", "figure4_attention", runs=store)
    assert re.match(rf"Error: LeNet-300-100 seed \d+ .*: {record} is damaged \(.*delete the folder", one_line(third))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the project that a test may damage; commands that start in it run its code on its data."""
    folder = tmp_path / "project"
    for name in ("replication", "notebooks", "data/mnist", "data/paper", "data/models", "data/recorded"):
        shutil.copytree(paths.ROOT / name, folder / name)
    (folder / "data" / "cifar10").mkdir()
    shutil.copy(cifar.SAMPLE, folder / "data" / "cifar10")
    shutil.copy(paths.LOCK, folder)
    return folder


def alter(path: Path) -> Path:
    """Change the last byte of a gzipped file's content."""
    *content, last = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(bytes([*content, last ^ 1])))
    return path


def test_altered_images_stop_a_run_with_one_line(command, one_line, store: Path, tree: Path):
    path = alter(tree / "data" / "mnist" / "t10k-labels-idx1-ubyte.gz")
    arguments = ("run", "--profile", "smoke", "--only", "figure4_attention", "--jobs", "2")
    error = one_line(command(*arguments, runs=store, cwd=tree))
    assert f"data/mnist/{path.name} is altered" in error
    assert "git checkout -- data/mnist" in error
    assert {path.name for path in store.glob("*")} <= {".locks"}


def test_verify_names_damaged_data_and_a_wrong_version(command, tree: Path, store: Path):
    alter(tree / "data" / "mnist" / "train-labels-idx1-ubyte.gz")
    (tree / "data" / "paper" / "claims.csv").unlink()
    lock = tree / "requirements.lock"
    lock.write_text(lock.read_text().replace("\nfilelock==", "\nfilelock==1."))
    done = command("verify", runs=store, cwd=tree)
    assert done.returncode == 1
    assert done.stderr == "Error: 3 problems found\n"
    image, paper, version = done.stdout.splitlines()
    assert image.startswith("data/mnist/train-labels-idx1-ubyte.gz is altered")
    assert paper.startswith("cannot read data/paper/claims.csv")
    assert version.startswith("filelock is ")


def test_verify_names_what_is_missing_or_damaged_of_what_comes_with_the_repository(command, tree: Path, store: Path):
    data, laptop = tree / "data", profiles.get("laptop")
    sparse, key = min(registry.with_sparse_weights(laptop)), registry.recorded(laptop)[-1].key
    vgg16 = json.loads((data / "models" / "vgg16_32.sparse.json").read_text())["run"]
    assert len({sparse, key, vgg16}) == 3
    (data / "recorded" / sparse / "weights.sparse.safetensors").unlink()
    shutil.rmtree(data / "recorded" / key)
    shutil.rmtree(data / "models" / recipes.REFERENCES["vgg16_32"].key)
    arrays = load_file(cifar.SAMPLE)
    arrays["test_labels"][0] ^= 1
    save_file(arrays, data / "cifar10" / "sample.safetensors")
    save_file(arrays, data / "cifar10" / "cifar10.safetensors")
    (data / "fashion_mnist").mkdir()
    (data / "fashion_mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(b"")
    models = data / "models"
    network = storage.load_sparse(models / "vgg16_32.sparse.safetensors")
    network["fc8.weight"] = network["fc8.weight"].flip(0)  # as many are kept
    storage.save_sparse(network, models / "vgg16_32.sparse.safetensors")
    shutil.copy(models / "lenet_5.sparse.safetensors", models / "lenet_300_100.sparse.safetensors")
    (models / "lenet_5.sparse.json").unlink()
    packed = models / "alexnet_32.sparse.safetensors"
    packed.write_bytes(packed.read_bytes()[:-1])
    done = command("verify", runs=store, cwd=tree, REPLICATION_CIFAR="")
    expected = [
        "test_labels of data/cifar10/sample.safetensors is not the pinned one",
        "train_images of data/cifar10/cifar10.safetensors is not the pinned one",
        "data/fashion_mnist/t10k-labels-idx1-ubyte.gz is ",
        f"data/recorded/{key} is missing: restore it with `git checkout -- data/recorded`",
        f"data/recorded/{sparse}/weights.sparse.safetensors is missing: restore it with `git checkout -- data/rec",
        f"data/models/{recipes.REFERENCES['vgg16_32'].key} is missing: restore it with `git checkout -- data/models`",
        *(
            f"data/models/{name}.sparse.safetensors or its description {name}.sparse.json is damaged ({reason}"
            for name, reason in (
                ("lenet_300_100", "ValueError: they do not fit each other): restore them with `git checkout"),
                ("lenet_5", "FileNotFoundError: "),
                ("alexnet_32", "StorageError: "),
                ("vgg16_32", "ValueError: they do not fit each other"),
            )
        ),
    ]
    lines = done.stdout.splitlines()
    assert done.stderr == f"Error: {len(expected)} problems found\n"
    assert [line[: len(start)] for line, start in zip(lines, expected)] == expected and len(lines) == len(expected)


@pytest.mark.parametrize("name", paper.SHA256)
def test_verify_looks_at_every_pinned_file(store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str):
    shutil.copytree(paths.PAPER, tmp_path / "paper")
    with (tmp_path / "paper" / f"{name}.csv").open("ab") as file:
        file.write(b"\n")
    monkeypatch.setattr(paths, "PAPER", tmp_path / "paper")
    monkeypatch.setattr(datasets, "mnist_bytes", lambda: None)
    for module in ("runs.store", "commands.recording", "commands.shipping"):
        monkeypatch.setattr(f"replication.{module}.problems", list)
    paper.read.cache_clear()
    done = CliRunner().invoke(main, ["verify"])
    paper.read.cache_clear()
    file = tmp_path / "paper" / f"{name}.csv"
    assert f"cannot read {file} (its SHA-256 is not the pinned one): restore it" in done.output
    assert done.exit_code == 1 and done.output.endswith("Error: 1 problems found\n")


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""}


@pytest.mark.parametrize(("locale", "shown"), [(ASCII, "\u2713"), ({"PYTHONIOENCODING": "latin-1"}, "\\u2713")])
def test_locale_without_the_letters_stops_no_command(command, store: Path, tmp_path: Path, locale: dict, shown: str):
    source, packed, out = (tmp_path / name for name in ("gew\u00e4hlt.pth", "gepackt \u2713", "out"))
    torch.save({"schicht \u2713.weight": torch.eye(40)}, source)
    for words in (("pack", source, packed), ("inspect", packed), ("unpack", packed, out), ("runs",)):
        done = command(*map(str, words), runs=store, **locale)
        assert (done.returncode, done.stderr) == (0, ""), words
        if words[0] == "inspect":
            assert f"schicht {shown}.weight" in done.stdout
    assert torch.equal(load_file(out)["schicht \u2713.weight"], torch.eye(40))
    missing = command("inspect", str(tmp_path / "fehlt \u2713"), runs=store, **locale)
    assert missing.returncode == 1 and len(missing.stderr.splitlines()) == 1
    assert "No such file" in missing.stderr


def test_locale_without_the_letters_changes_no_page(tmp_path: Path):
    code = "from replication.commands import deviations; deviations.write(deviations.choices())"
    texts = set()
    for name, locale in (("ascii", ASCII), ("utf-8", {"PYTHONUTF8": "1"})):
        (tmp_path / name).mkdir()
        head = "# Gew\u00e4hlt\n{choices}\n"
        (tmp_path / name / "deviations_head.md").write_text(head, encoding="utf-8")
        environment = os.environ | locale | {"REPLICATION_BOOK": str(tmp_path / name)}
        subprocess.run([sys.executable, "-c", code], env=environment, cwd=paths.ROOT, check=True)
        texts.add((tmp_path / name / "pages" / "deviations.md").read_bytes())
    assert len(texts) == 1 and texts.pop().startswith("# Gew\u00e4hlt".encode())
