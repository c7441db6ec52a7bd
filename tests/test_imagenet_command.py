"""The imagenet command as a lab types it: torchrun on two processes, a stop and a repetition, VGG-16's steps."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from replication import paths
from replication.training import checkpoints


def a_chain(images: int, batch: int, micro: int) -> list[str]:
    """Options: one epoch of everything, one round, on so many images of each split."""
    options = (
        f"--images {images} --epochs 1 --retraining 1 1 --rounds 1 --batch {batch} --micro-batch {micro} --workers 0"
    )
    return options.split()


SMALL = a_chain(9, 4, 2)
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--rdzv-backend", "c10d")
TORCHRUN = (*TORCHRUN, "--rdzv-endpoint", "localhost:0", "-m", "replication", "imagenet")
ALONE = ("-m", "replication", "imagenet")


@pytest.fixture
def start(store: Path):
    """`start(TORCHRUN, "--arch", ...)`: the running command, its output as text; killed where a test leaves it."""
    running = []

    def popen(launcher: tuple[str, ...], *arguments: str | Path, **variables: str) -> subprocess.Popen:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} | variables
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": paths.ROOT}
        running.append(subprocess.Popen([sys.executable, *launcher, *map(str, arguments)], env=environment, **options))
        return running[-1]

    yield popen
    for process in running:
        if process.poll() is None:
            process.kill()
        process.stdout.close()
        process.wait()


def records(store: Path) -> dict[str, dict]:
    """The stored records by stage."""
    found = [json.loads(path.read_text()) for path in store.glob("*/record.json")]
    return {record["stage"]: record for record in found}


def test_torchrun_trains_prunes_retrains_and_evaluates_alexnet(start, store: Path, photographs: Path):
    """With the search, in mixed precision, on two processes, from the folder to the records."""
    search = ("--search-images", "4", "--damage", "5", "--grid-step", "8")
    done = start(TORCHRUN, "--arch", "alexnet", "--data", photographs, *SMALL, *search)
    output = done.communicate(timeout=1800)[0]
    assert done.returncode == 0, output
    assert "10 classes, 200 images in train, 53 in val\n" in output
    found = records(store)
    assert found.keys() == {"dense", "round 1"}
    assert {record["provenance"]["processes"] for record in found.values()} == {2}
    dense, pruned = found["dense"]["metrics"], found["round 1"]["metrics"]
    assert [row["phase"] for row in pruned["history"]] == [0, 1]
    assert dense["test"]["images"] == 9 and dense["validation"]["images"] == 9
    assert 0 <= dense["test"]["top5_errors"] <= dense["test"]["errors"] <= 9
    assert pruned["sensitivity"].keys() == pruned["qualities"].keys() == pruned["thresholds"].keys()
    assert pruned["density"] < 0.9
    assert pruned["parent"] == {split: dense[split] for split in ("validation", "test")}
    densities = [row["weight_density"] for row in pruned["layers"]]
    assert len(densities) == 8 and min(densities) < 0.9
    assert all(0 < row["activation_density"] <= 1 for row in pruned["layers"])


def until(process: subprocess.Popen, text: str) -> str:
    """Read the output of a command until `text` comes."""
    read = ""
    while text not in read:
        line = process.stdout.readline()
        assert line, read
        read += line
    return read


@pytest.mark.parametrize(("launcher", "code"), [(ALONE, checkpoints.EXIT), (TORCHRUN, None)], ids=["alone", "torchrun"])
def test_sigterm_writes_a_checkpoint_and_the_command_goes_on_from_it(launcher, code, start, store, photographs):
    arguments = ("--arch", "alexnet", "--data", photographs, *SMALL, "--rounds", "0", "--precision", "float32")
    process = start(launcher, *arguments)
    until(process, "phase 0 epoch 0 images 4\n")
    process.send_signal(signal.SIGTERM)
    rest = process.communicate(timeout=1800)[0]
    assert "checkpoint" in rest and "dense stopped" in rest
    assert process.returncode == code if code else process.returncode != 0
    (checkpoint,) = store.glob(".checkpoints/*.safetensors")
    with safe_open(checkpoint, "pt") as file:
        position = json.loads(file.metadata()["position"])
        assert {"weight.fc1.weight", "momentum.fc1.weight"} <= {*file.keys()}
    assert 4 <= position["images"] < 9 and position["loss"] > 0
    resumed = start(ALONE, *arguments)
    output = resumed.communicate(timeout=1800)[0]
    assert resumed.returncode == 0, output
    assert "images 4\n" not in output  # not computed again
    assert records(store).keys() == {"dense"}
    assert not checkpoint.exists()


MEASURED = """
import resource, sys
from replication.commands.main import main
try:
    main(sys.argv[1:])
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_vgg16_takes_a_step_of_each_stage_within_20_gb(start, store: Path, photographs: Path):
    """Dense, search, pruning, FC layers alone, whole network, evaluation: two images each."""
    given = [option for layer in ("fc6", "fc7", "fc8", "conv5_3") for option in ("--quality", f"{layer}=1.0")]
    process = start(("-c", MEASURED, "imagenet"), "--arch", "vgg16", "--data", photographs, *a_chain(2, 2, 2), *given)
    output = process.communicate(timeout=1800)[0]
    assert process.returncode == 0, output
    peak = int(re.search(r"peak (\d+)", output)[1]) * 1024
    print(f"VGG-16: peak {peak / 1e9:.1f} GB")
    assert peak < 20e9
    found = records(store)
    assert [row["phase"] for row in found["round 1"]["metrics"]["history"]] == [0, 1]
    assert 1.5 < 1 / found["round 1"]["metrics"]["density"] < 20


def test_mistakes_stop_the_command_with_one_line_on_any_number_of_processes(start, store, photographs, tmp_path):
    for launcher, data, message in (
        (ALONE, tmp_path / "none", "Error: cannot read the folder"),
        (TORCHRUN, tmp_path / "none", "Error: cannot read the folder"),
    ):
        process = start(launcher, "--arch", "alexnet", "--data", data, *SMALL)
        output = process.communicate(timeout=1800)[0]
        assert process.returncode != 0
        assert output.count(message) == 1, output
        assert "Traceback" not in output.split(message)[0]


SCARCE = """
import collections, shutil, sys
from replication.commands.main import main
shutil.disk_usage = lambda path: collections.namedtuple("usage", "total used free")(10**12, 0, 10**9)
main(sys.argv[1:])
"""


def test_estimate_measures_and_trains_nothing(start, store: Path, photographs: Path):
    """On a disk too small for the runs as well: an estimate is where one learns that."""
    arguments = ("--arch", "alexnet", "--data", photographs, "--micro-batch", "4", "--workers", "0", "--seconds", "0.1")
    process = start(("-c", SCARCE, "imagenet"), *arguments, "--estimate", "--price", "2")
    output = process.communicate(timeout=1800)[0]
    assert process.returncode == 0, output
    assert "These are estimates" in output
    assert re.fullmatch(
        r"6 runs and their checkpoints need 2\.9 GB in .*, 1\.0 GB are free: .*", output.splitlines()[-1]
    )
    assert re.search(r"training conv [\d.]+ images/s, evaluation [\d.]+ images/s", output)
    assert output.count("whole network") == 6 and "round 5, search" in output
    rows = [line.split() for line in output.splitlines() if re.match(r" *(dense|round \d), ", line)]
    needs = {" ".join(row[:-6]): [float(value) for value in row[-4:-2]] for row in rows}  # memory and disk by stage
    search, fc, whole = (needs[f"round 1, {stage}"][0] for stage in ("search", "FC layers", "whole network"))
    assert 0 < search < fc < whole
    assert 0 < needs["dense, evaluation"][1] < needs["round 5, evaluation"][1]
    hours, cost = map(float, re.search(r"all stages: (\S+) hours, cost (\S+) at 2 per hour", output).groups())
    assert cost == pytest.approx(2 * hours, rel=0.02)
    assert not records(store) and not [*store.glob(".checkpoints/*")]
