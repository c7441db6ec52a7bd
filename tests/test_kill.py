"""A chain that is killed at any moment goes on where it was and ends in the same bits."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import psutil
import pytest
import torch
from conftest import small_chain

from replication import paths
from replication.data import datasets
from replication.runs import get_or_run, store

KILLS = 20
IMAGES = 80  # of each split


def compute(folder: Path, rounds: int, fresh: bool = False) -> None:
    """Compute the chain in the store `folder`, in this process."""
    paths.RUNS = folder
    for run in small_chain(rounds, images=IMAGES):
        get_or_run(run, fresh)


def verify(folder: Path) -> None:
    """Fail unless all that is stored in `folder` is whole."""
    paths.RUNS = folder
    assert store.problems() == []


def child(work: Callable, *arguments) -> int:
    """The id of a process, forked off this one, that calls `work` and exits with 0."""
    pid = os.fork()
    if pid == 0:
        try:
            work(*arguments)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return pid


def ended(pid: int) -> int:
    """Wait for a child: 0, or minus the signal that killed it."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code


def compute_and_die(step: int, folder: Path, rounds: int, fresh: bool) -> None:
    """Compute the chain, but kill this process at its `step`-th action on the disk (a sync or a rename)."""
    left = [step]

    def counted(action: Callable) -> Callable:
        def act(*arguments):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return action(*arguments)

        return act

    os.fsync, Path.rename = counted(os.fsync), counted(Path.rename)
    compute(folder, rounds, fresh)


def bits(folder: Path, rounds: int) -> list[bytes]:
    """The weights of the chain's runs, checked to be all that the store holds."""
    keys = [run.key for run in small_chain(rounds, images=IMAGES)]
    assert {path.name for path in folder.iterdir()} - {".locks"} == set(keys)
    return [(folder / key / "weights.safetensors").read_bytes() for key in keys]


def prepare(folder: Path, rounds: int) -> list[bytes]:
    """Load once what every child needs, and compute the chain without a disturbance: its bits."""
    torch.set_num_threads(1)
    datasets.mnist(IMAGES)
    torch.optim.SGD([torch.zeros(1)])  # imports what the first optimiser imports
    assert ended(child(compute, folder, rounds)) == 0
    return bits(folder, rounds)


def kill_at_random_times(folder: Path, rounds: int = 2) -> None:
    expected, generator = prepare(folder / "whole", rounds), random.Random(0)
    start = time.perf_counter()
    assert ended(child(compute, folder / "timed", rounds)) == 0
    duration, kills, chains = time.perf_counter() - start, 0, 0
    while kills < KILLS:
        chains, finished = chains + 1, False
        while not finished:
            pid = child(compute, folder / str(chains), rounds)
            if kills < KILLS:
                time.sleep(generator.uniform(0, duration))
                os.kill(pid, signal.SIGKILL)  # comes to nothing where the chain has just ended
            finished = ended(pid) == 0
            kills += not finished
        assert bits(folder / str(chains), rounds) == expected


def kill_at_every_step_of_writing(folder: Path, rounds: int = 1) -> None:
    expected = prepare(folder / "whole", rounds)
    for fresh in (False, True):
        step, finished = 0, False
        while not finished:
            step, place = step + 1, folder / f"{fresh}-{step + 1}"
            if fresh:
                assert ended(child(compute, place, rounds)) == 0
            finished = ended(child(compute_and_die, step, place, rounds, fresh)) == 0
            assert ended(child(verify, place)) == 0
            assert ended(child(compute, place, rounds, fresh)) == 0
            assert bits(place, rounds) == expected
        assert step > 2 * 5  # each of the two runs syncs two files and two folders, and renames


@pytest.mark.parametrize("scenario", [kill_at_random_times, kill_at_every_step_of_writing])
def test_killed_chain_ends_in_the_same_bits(store: Path, scenario: Callable[[Path], None]):
    process = get_context("spawn").Process(target=scenario, args=(store.parent,))  # forks best without our threads
    process.start()
    process.join()
    assert process.exitcode == 0


def is_worker(process: psutil.Process) -> bool:
    """True for a process that computes; what has just ended is none."""
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def workers(process: subprocess.Popen, patience: float = 300) -> list[psutil.Process]:
    """The processes of a command that compute, once the first of them has taken up a run."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = [p for p in psutil.Process(process.pid).children() if is_worker(p)]
        if found and any(paths.RUNS.glob(".locks/*")):
            return found
        time.sleep(0.05)
    raise TimeoutError("no run was started")


def test_killed_command_leaves_no_process_and_is_repeated(store: Path, command):
    arguments = ("run", "--profile", "smoke", "--only", "figure4_attention", "--jobs", "2")
    popen = [sys.executable, "-m", "replication", *arguments]
    options = {"cwd": paths.ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(popen, **options) as process:
        workers(process)[0].kill()
        error = process.communicate(timeout=300)[1]
        assert process.returncode == 1
        assert len(error.splitlines()) == 1, error
        assert "a process was killed" in error
        assert "repeat the command" in error
    with subprocess.Popen(popen, **options) as process:
        left = workers(process)
        process.kill()
        assert psutil.wait_procs(left, timeout=120)[1] == []
    done = command(*arguments, runs=store)
    assert done.returncode == 0, done.stderr
    assert command("verify", runs=store).stdout == "data, environment and 6 stored runs are in order\n"
    assert not [*store.glob(".new-*"), *store.glob(".old-*")]
