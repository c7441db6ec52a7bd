"""Plans on a Dask cluster: the same records as without, and a worker that dies loses only what it was computing."""

import os
import re
import signal
import threading
import time
from collections import Counter
from concurrent.futures import CancelledError, Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext

import psutil
import pytest
from conftest import small_chain
from distributed import Client, LocalCluster

from replication import paths
from replication.claims import registry
from replication.errors import ReplicationError
from replication.runs import get, get_or_run, profiles, scheduler, with_ancestors

PAGES = ("table2_lenet_300_100", "table3_lenet_5", "choosing")  # whose runs the cluster computes


@pytest.fixture
def workers(store):
    """A cluster of two worker processes on this machine."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL") as running:
        yield running


def results(run) -> dict:
    """What a run measured, without how long it took."""
    metrics = get(run).metrics
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in metrics["history"]]
    return metrics | {"history": rows}


def starts(client: Client) -> Counter:
    """How often each run was begun by a worker, by key."""
    return Counter(key for _, key in client.get_events(scheduler.TOPIC))


def test_plan_with_a_worker_killed_midway(workers, store, monkeypatch, tmp_path):
    plan = registry.plan(profiles.get("smoke"), PAGES)
    runs, lost = with_ancestors(plan), []
    victim = next(iter(workers.workers.values())).pid

    def kill() -> None:
        while sum(get(run) is not None for run in runs) < len(runs) // 3:
            time.sleep(0.05)
        lost.append(len(os.listdir(store)))
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with Client(workers) as client:
        scheduler.compute(plan, address=workers.scheduler_address)
        killer.join()
        counts = starts(client)
    assert not psutil.pid_exists(victim)
    assert counts.keys() == {run.key for run in runs}
    assert sum(counts.values()) <= len(runs) + 1  # the lost run alone was begun twice
    assert [key for key in counts if counts[key] > 2] == []
    ours = {run.key: results(run) for run in runs}
    monkeypatch.setattr(paths, "RUNS", tmp_path / "other")
    monkeypatch.setenv("REPLICATION_RUNS", str(tmp_path / "other"))
    some = [run for run in runs if run.network == "lenet_300_100"]
    scheduler.compute(some, jobs=2)
    assert {run.key: results(run) for run in some} == {run.key: ours[run.key] for run in some}


def test_stored_runs_are_not_computed_and_a_failed_one_stops_its_descendants_only(workers, store):
    good, bad = small_chain(rounds=1), small_chain(rounds=1, seed=1, learning_rate=1e12)
    get_or_run(good[0])
    lines: list[str] = []
    with Client(workers) as client:
        with pytest.raises(ReplicationError, match="LeNet-300-100 seed 1 dense: training diverged"):
            scheduler.compute([*good, *bad], report=lines.append, address=workers.scheduler_address)
        assert starts(client) == Counter({good[1].key: 1, bad[0].key: 1})
    assert get(good[1]) is not None and get(bad[0]) is None and get(bad[1]) is None
    assert sorted(line.split(":")[0] for line in lines) == [str(good[1]), str(bad[0])]  # none of what was not begun


def test_fresh_computes_what_was_stored_before_and_nothing_twice(store, monkeypatch):
    run = small_chain(0)[0]
    record = get_or_run(run)
    finished = record.provenance["finished"]
    assert scheduler.is_missing(run, "9999") and not scheduler.is_missing(run, "")
    assert not scheduler.is_missing(run, finished)  # by the same command, before its worker died
    path = paths.RUNS / run.key / "record.json"
    path.write_text(path.read_text().replace("loss", "lost"))
    assert scheduler.is_missing(run, finished)
    with pytest.raises(ReplicationError, match=run.key):  # where it is not computed anew, it is named
        scheduler.compute([run], 1)


class KilledWorker(Exception):
    """Named as Dask's own, which takes a worker's death to make."""


def test_a_run_that_kills_its_workers_fails_and_a_mistake_of_the_project_is_raised():
    run, killed, broken = small_chain(0)[0], Future(), Future()
    killed.set_exception(KilledWorker())
    outcome = str(scheduler._outcome(killed, run))
    assert re.fullmatch(rf"{run}: every worker .* was killed .*repeat the command.*", outcome)
    broken.set_exception(KeyError("a mistake of the project"))
    with pytest.raises(KeyError, match="a mistake of the project"):
        scheduler._outcome(broken, run)


class Broken(Executor):
    """A pool or cluster that is lost before it takes a run up (`submit` raises) or while it computes."""

    def __init__(self, error: Exception, at_once: bool):
        self.error, self.at_once = error, at_once

    def submit(self, *arguments) -> Future:
        if self.at_once:
            raise self.error
        future = Future()
        future.set_exception(self.error)
        return future


@pytest.mark.parametrize(
    ("error", "at_once"), [(BrokenProcessPool, True), (BrokenProcessPool, False), (CancelledError, False)]
)
def test_a_lost_pool_or_cluster_ends_the_command_with_a_line(error: type[Exception], at_once: bool):
    run = small_chain(0)[0]
    with pytest.raises(ReplicationError, match=rf"a process was killed while computing {run} .*: repeat the command"):
        scheduler._compute_missing([run], Broken(error(), at_once), 1, "", print)


def test_another_version_of_the_project_is_named(store):
    run = small_chain(0)[0]
    outcome = scheduler._work(run, "0" * 16, str(store), "", on_dask=True)
    assert str(outcome).startswith(f"{run}: the worker has another version of the project")


def test_no_scheduler_and_no_shared_store_are_one_line(store, monkeypatch, workers):
    monkeypatch.setattr(scheduler, "SECONDS", 1)
    with pytest.raises(ReplicationError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:9'"):
        scheduler.compute(small_chain(0), address="tcp://127.0.0.1:9")
    monkeypatch.setattr(scheduler.store, "token", lambda: nullcontext(store / "on another machine"))
    with pytest.raises(ReplicationError, match=r"worker tcp://\S+ does not see the store .*: put it on a file system"):
        scheduler.compute(small_chain(0), address=workers.scheduler_address)


def test_command_starts_a_local_cluster(command, store):
    done = command("run", "--profile", "smoke", "--only", "figure4_attention", "--scheduler", "local", runs=store)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"6 runs of the profile smoke are stored in {store}"
    left = [p for p in psutil.process_iter(["cmdline"]) if str(store) in " ".join(p.info["cmdline"] or ())]
    assert left == []
