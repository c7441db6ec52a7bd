"""What the imagenet command checks before hours are spent, and the parts that make processes agree."""

import shutil
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
import torchvision
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import nn

from replication import paths
from replication.commands.main import main
from replication.errors import ReplicationError
from replication.imagenet import Changes, Folder, estimates, given_weights, plan, preflight
from replication.imagenet.driver import image_keys
from replication.networks import registry
from replication.runs import Record
from replication.runs.spec import ComputeOptions
from replication.training import checkpoints
from replication.training.checkpoints import Checkpoint, Progress
from replication.training.processes import ALONE, KeyedDropout, ProcessGroup, hashed, keyed, shard


def meta_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The model's state_dict as float16 zeros; `model` is on the meta device."""
    return {name: torch.zeros(t.shape, dtype=torch.float16, device="cpu") for name, t in model.state_dict().items()}


def torchvisions(arch: str) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return meta_state(torchvision.models.get_model(arch))


def test_estimates_follow_from_the_slowest_part_of_each_stage():
    runs = plan.chain("alexnet", plan.recipe("alexnet"), "photographs")[:2]
    sizes = SimpleNamespace(train=range(9_000), validation=range(1_000), test=range(500))
    own = {"run": runs[0], "net": registry.outline("alexnet"), "group": ALONE, "options": ComputeOptions()}
    found = {"loading": 100.0, "training": 50.0, "training conv": 200.0, "evaluation": 1_000.0}
    table = estimates.stages(runs, found, SimpleNamespace(data=sizes, **own), price=3.0).set_index("stage")
    expected = {  # images, images per second
        "dense, whole network": (90 * 9_000, 50),
        "dense, evaluation": ((90 + 1) * 1_000 + 500, 100),  # read from the folder
        "round 1, search": ((8 * 25 + 13) * 1_000, 1_000),  # in memory
        "round 1, FC layers": (10 * 9_000, 100),  # trained faster than read
        "round 1, whole network": (30 * 9_000, 50),
        "round 1, evaluation": ((40 + 1) * 1_000 + 2 * 500, 100),  # the test images right after pruning and in the end
    }
    assert dict(zip(table.index, zip(table.images, table["images/s"]))) == expected
    assert table.hours.sum() == pytest.approx(sum(images / rate for images, rate in expected.values()) / 3600)
    assert table.cost.sum() == pytest.approx(3 * table.hours.sum())


def test_weights_are_recognised_by_their_architecture(tmp_path: Path):
    ours = meta_state(registry.outline("alexnet"))
    files = {"ours.safetensors": ours, "theirs.safetensors": torchvisions("alexnet")}
    for name, state in files.items():
        save_file(state, tmp_path / name)
    torch.save(files["theirs.safetensors"], tmp_path / "theirs.pth")
    expected = {"ours.safetensors": "alexnet"}
    for name in (*files, "theirs.pth"):
        network, identity, state = given_weights.load(str(tmp_path / name), "alexnet")
        assert network == expected.get(name, "alexnet_torchvision")
        assert len(identity) == 64
        assert {k: t.shape for k, t in state.items()} == {
            k: t.shape for k, t in registry.outline(network).state_dict().items()
        }


@pytest.mark.parametrize(("old", "new"), [("", ""), ("features", "module.features"), ("features", "features.module")])
def test_weights_are_found_in_a_training_scripts_checkpoint(tmp_path: Path, old: str, new: str):
    state = torchvisions("alexnet")
    state["classifier.6.bias"][7] = 3.0
    named = {name.replace(old, new): tensor for name, tensor in state.items()}
    path = tmp_path / "model_best.pth.tar"  # as PyTorch's own script for ImageNet calls it
    torch.save({"epoch": 90, "state_dict": named, "optimizer": {"state": {0: torch.zeros(2)}}}, path)
    network, _, found = given_weights.load(str(path), "alexnet")
    assert network == "alexnet_torchvision" and found["fc3.bias"].nonzero().tolist() == [[7]]
    torch.save({"epoch": 90}, path)
    with pytest.raises(ReplicationError, match=r"it holds dict without a state_dict .*: give `torchvision`"):
        given_weights.load(str(path), "alexnet")


def test_weights_of_another_architecture_are_refused(tmp_path: Path):
    path = tmp_path / "w.safetensors"
    save_file({"features.0.weight": torch.zeros(3)}, path)
    message = r"w.safetensors holds weights of another architecture than vgg16 \(see features.0.weight\)"
    with pytest.raises(ReplicationError, match=message):
        given_weights.load(str(path), "vgg16")
    save_file(torchvisions("alexnet"), path)
    with pytest.raises(ReplicationError, match="of another architecture than vgg16"):
        given_weights.load(str(path), "vgg16")


@pytest.mark.parametrize("name", ["missing.safetensors", "missing.pth", "text.safetensors", "text.pth"])
def test_unreadable_weights_are_named(tmp_path: Path, name: str):
    if name.startswith("text"):
        (tmp_path / name).write_text("no weights")
    with pytest.raises(ReplicationError, match=f"cannot read .*{name} .*: give `torchvision`") as error:
        given_weights.load(str(tmp_path / name), "alexnet")
    assert "\n" not in str(error.value)


def classes(*names: str) -> Folder:
    return Folder(Path("images"), names, (), (), "0" * 12)


def test_torchvisions_weights_want_its_thousand_classes_in_its_order():
    names = [f"n{i:08}" for i in range(1_000)]
    given_weights.check_classes(classes(*names), "torchvision")
    given_weights.check_classes(classes("cat", "dog"), "none")
    with pytest.raises(ReplicationError, match=r"know 1000 classes, .*images holds 2"):
        given_weights.check_classes(classes("cat", "dog"), "torchvision")
    with pytest.raises(ReplicationError, match=r"number the classes by name, the classes.txt of .*images does not"):
        given_weights.check_classes(classes(*reversed(names)), "torchvision")


def test_weights_that_answer_by_chance_are_refused():
    def record(errors: int) -> Record:
        return Record({"metrics": {"test": {"errors": errors, "images": 50_000}}})

    given_weights.check_answers(record(22_000), 1_000, "torchvision")
    given_weights.check_answers(record(49_950), 1_000, "none")
    given_weights.check_answers(record(49_950), 10, "weights.safetensors")
    with pytest.raises(ReplicationError, match=r"right on 0.10 % of the validation images, which is chance"):
        given_weights.check_answers(record(49_950), 1_000, "torchvision")


def chain(arch: str = "vgg16", **changes):
    return plan.chain(arch, plan.recipe(arch, Changes(**changes)), "imagenet-x")


def test_too_little_disk_is_told(store: Path, monkeypatch):
    store.mkdir()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, 7 * 10**9))
    preflight.check_disk(chain(rounds=1))
    with pytest.raises(ReplicationError, match=r"6 runs and their checkpoints need 6.6 GB in .*, 6.0 GB are free"):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, 6 * 10**9))
        preflight.check_disk(chain(rounds=5))


def test_too_little_memory_is_told(monkeypatch):
    free = namedtuple("free", "available")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free(5 * 10**9))
    preflight.check_memory("vgg16", ProcessGroup(), ComputeOptions(micro_batch_size=4))
    with pytest.raises(ReplicationError, match=r"VGG-16 needs about .* GB of memory at 64 images at a time, 5.0 GB"):
        preflight.check_memory("vgg16", ProcessGroup(), ComputeOptions(micro_batch_size=64))
    with pytest.raises(ReplicationError, match="start fewer processes on a machine"):
        preflight.check_memory("vgg16", ProcessGroup(local=4), ComputeOptions(micro_batch_size=4))


def test_store_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(paths, "RUNS", tmp_path / "file" / "runs")
    with pytest.raises(ReplicationError, match=r"cannot write .*runs"):
        preflight.check_store()


def test_layers_that_do_not_exist_get_no_quality():
    with pytest.raises(ReplicationError, match="no layer of alexnet is called 'conv9': choose from conv1, "):
        chain("alexnet", qualities=(("conv9", 0.5),))


@pytest.mark.parametrize("setting", [{"micro_batch_size": 0}, {"workers": -1}, {"minutes": -1.0}])
def test_options_out_of_range_are_refused(setting):
    with pytest.raises(ReplicationError, match=r"give [01] or more"):
        ComputeOptions(**setting)


@pytest.mark.parametrize("option", ["--seconds", "--price", "--checkpoint-minutes", "--learning-rate", "--damage"])
@pytest.mark.parametrize("value", ["nan", "inf", "-3"])
def test_number_is_refused_under_the_name_that_was_typed(tmp_path: Path, option: str, value: str):
    done = CliRunner().invoke(main, ["imagenet", "--arch", "alexnet", "--data", str(tmp_path), option, value])
    message = f"Error: {option} is {float(value)}: give a number of zero or more\n"
    assert (done.exit_code, done.output) == (1, message)


@pytest.mark.parametrize(("option", "most"), [("--rounds", 100), ("--seed", 2**63 - 1)])
def test_rounds_and_seeds_have_a_limit(tmp_path: Path, option: str, most: int):
    arguments = ("imagenet", "--arch", "alexnet", "--data", str(tmp_path / "none"), option)
    done = CliRunner().invoke(main, [*arguments, str(most + 1)])
    message = f"Error: Invalid value for '{option}': {most + 1} is not in the range 0<=x<={most}.\n"
    assert (done.exit_code, done.output.splitlines(keepends=True)[-1]) == (2, message)
    assert "cannot read the folder" in CliRunner().invoke(main, [*arguments, str(most)]).output


def test_every_thing_belongs_to_one_process():
    for total in (0, 1, 7, 8):
        parts = [shard(total, ProcessGroup(rank, 3)) for rank in range(3)]
        assert sorted(i for part in parts for i in part) == list(range(total))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_masks_hash_tells_one_bit():
    masks = {"fc1": torch.ones(300, 20, dtype=torch.bool)}
    before = hashed(masks)
    assert hashed({"fc1": masks["fc1"].clone()}) == before
    masks["fc1"][299, 19] = False
    assert hashed(masks) != before


def test_dropout_follows_the_image_and_keeps_its_rate():
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.3), nn.Linear(4, 4), nn.Dropout(0.3))
    first, second = keyed(net)
    x, places = torch.ones(500, 400), torch.arange(500)
    first.keys = second.keys = image_keys(places, 0, 1)
    whole = first(x)
    assert not torch.equal(whole, second(x))
    assert (whole == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert whole.mean().item() == pytest.approx(1, abs=0.02)
    assert (whole == 0).float().mean(0).std().item() < 0.03 and (whole == 0).float().mean(1).std().item() < 0.035
    first.keys = image_keys(places[100:200], 0, 1)
    assert torch.equal(first(x[:100]), whole[100:200])  # the batch does not matter
    first.keys = image_keys(places, 0, 2)
    assert not torch.equal(first(x), whole)
    assert torch.equal(first.eval()(x), x)
    assert isinstance(net[1], KeyedDropout)


def test_checkpoint_comes_back_and_a_damaged_one_is_named(store: Path):
    tensors = Checkpoint({"fc.weight": torch.randn(3, 2)}, {"fc": torch.tensor([True])}, {"fc.weight": torch.zeros(2)})
    assert checkpoints.load("k") is None
    checkpoints.save("k", Progress(1, 2, 300, 0.5, 7.0, True, {"qualities": {"fc": 1.0}}), tensors)
    position, found = checkpoints.load("k")
    assert position == Progress(1, 2, 300, 0.5, 7.0, True, {"qualities": {"fc": 1.0}})
    assert all(torch.equal(t, found.flat()[name]) for name, t in tensors.flat().items())
    path = checkpoints.path("k")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ReplicationError, match=r"the checkpoint .*k.safetensors is damaged"):
        checkpoints.load("k")


def test_checkpoint_that_does_not_fit_leaves_the_previous_one(store: Path, monkeypatch):
    tensors = Checkpoint({"fc.weight": torch.randn(3, 2)}, {}, {})
    checkpoints.save("k", Progress(epoch=1), tensors)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(ReplicationError, match=r"No space left on device.*the previous checkpoint is kept"):
        checkpoints.save("k", Progress(epoch=2), tensors)
    assert checkpoints.load("k")[0].epoch == 1
    assert [path.name for path in (store / ".checkpoints").iterdir()] == ["k.safetensors"]


def test_stop_waits_where_something_would_be_lost():
    stop = checkpoints.Stop()
    with stop.later():
        stop(15, None)
        assert stop.asked
    with pytest.raises(SystemExit) as end:
        stop(15, None)
    assert end.value.code == checkpoints.EXIT
