"""Plans on a Dask cluster: the same records as without, and a worker that dies loses only what it was computing."""

import os
import signal
import threading
import time
from collections import Counter

import psutil
import pytest
from conftest import small_chain
from distributed import Client, LocalCluster

from replication import paths
from replication.claims import plans
from replication.errors import ReplicationError
from replication.runs import cluster, get, get_or_run, profiles, scheduler, with_ancestors

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
    return Counter(key for _, key in client.get_events(cluster.TOPIC))


def test_plan_with_a_worker_killed_midway(workers, store, monkeypatch, tmp_path):
    plan = plans.plan(profiles.get("smoke"), PAGES)
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
        cluster.compute(plan, workers.scheduler_address)
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
            cluster.compute([*good, *bad], workers.scheduler_address, report=lines.append)
        assert starts(client) == Counter({good[1].key: 1, bad[0].key: 1})
    assert get(good[1]) is not None and get(bad[0]) is None and get(bad[1]) is None
    assert len(lines) == 3


def test_fresh_computes_what_was_stored_before_and_nothing_twice(store, monkeypatch):
    run = small_chain(0)[0]
    record = get_or_run(run)
    finished = record.provenance["finished"]
    assert cluster._missing(run, "9999") and not cluster._missing(run, "")
    assert not cluster._missing(run, finished)  # by the same command, before its worker died
    path = paths.RUNS / run.key / "record.json"
    path.write_text(path.read_text().replace("loss", "lost"))
    assert cluster._missing(run, finished)
    with pytest.raises(ReplicationError, match=run.key):
        cluster._missing(run, "")


def test_no_scheduler_and_no_shared_store_are_one_line(store, monkeypatch, workers):
    monkeypatch.setattr(cluster, "SECONDS", 1)
    with pytest.raises(ReplicationError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:9'"):
        cluster.compute(small_chain(0), "tcp://127.0.0.1:9")
    monkeypatch.setattr(cluster, "_sees", blind)
    with pytest.raises(ReplicationError, match=r"worker tcp://\S+ does not see the store .*: put it on a file system"):
        cluster.compute(small_chain(0), workers.scheduler_address)


def blind(token: str) -> bool:
    return False


def test_command_starts_a_local_cluster(command, store):
    done = command("run", "--profile", "smoke", "--only", "figure4_attention", "--scheduler", "local", runs=store)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"6 runs of the profile smoke are stored in {store}"
    left = [p for p in psutil.process_iter(["cmdline"]) if str(store) in " ".join(p.info["cmdline"] or ())]
    assert left == []
