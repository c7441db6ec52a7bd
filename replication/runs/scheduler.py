"""Computes a plan of runs over several processes or a Dask cluster: parents before children, each run once."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from .. import paths, progress
from ..errors import ReplicationError
from ..training import machine
from . import store
from .execution import get_or_run
from .spec import Record, Run, get, paired

LOCAL = "local"  # a Dask cluster on this machine
TOPIC = "replication"  # under which workers tell Dask's scheduler what they compute
SECONDS = 30  # to reach a scheduler
REPEAT = "repeat the command to go on; finished runs are kept"
Nest = Mapping | list | Run | Record  # dictionaries and lists, of any depth, of runs or of their records
_alone = threading.Lock()  # a run uses the process's random numbers and threads: one at a time


def compute(
    plan: Iterable[Run],
    jobs: int = 0,
    fresh: bool = False,
    report: Callable[[str], None] = lambda _: None,
    address: str = "",
    since: str = "",
) -> list[Record]:
    """The records of `plan`, in its order; what is not stored is computed first, over `jobs` processes.

    jobs: processes (0: one per processor), each of one thread; fresh: recompute every run, its ancestors included;
    report: called with a line for each run that was computed or failed;
    address: of a Dask scheduler (tcp://host:8786) whose workers compute instead and share this process's store, or
    `local` for a Dask cluster of `jobs` processes on this machine. A worker that dies loses nothing but what it was
    computing, and that is computed again by another. since: recompute what was stored before this time (ISO 8601).
    Raises ReplicationError after all that can be computed is stored, naming the first run that failed or is damaged.
    """
    plan, since = list(plan), this_moment() if fresh else since
    needed = missing(plan, since)
    if needed:
        if address in ("", LOCAL):  # other machines have variables of their own
            machine.check()  # what is wrong with them is said here once, not by every run
        jobs = min(jobs or machine.jobs(), len(needed))
        with _cluster(address, jobs) if address else _pool(jobs) as executor:
            _compute_missing(needed, executor, len(needed) if address else jobs, since, report)
    return [get_or_run(run) for run in plan]


def flat(nest: Nest) -> list:
    """Every run or record of a nest, each once."""
    if isinstance(nest, Run | Record):
        return [nest]
    branches = nest.values() if isinstance(nest, Mapping) else nest
    return list({leaf.key: leaf for branch in branches for leaf in flat(branch)}.values())


def computed(nest: Nest) -> Nest:
    """The same nest with the record in place of each run, computed where it is missing (see `compute`).

    Runs of one list or dictionary are compared with one another (see `paired`).
    """
    found = {record.key: record for record in compute(flat(nest))}

    def placed(branch: Nest) -> Nest:
        if isinstance(branch, Run):
            return found[branch.key]
        named = isinstance(branch, Mapping)
        each = [placed(part) for part in (branch.values() if named else branch)]
        known = {record.key: record for record in paired(part for part in each if isinstance(part, Record))}
        each = [known[part.key] if isinstance(part, Record) else part for part in each]
        return dict(zip(branch, each)) if named else each

    return placed(nest)


def this_moment() -> str:
    """The time as records give it: every record that there is now is older."""
    time.sleep(1)  # records tell the time in whole seconds
    return machine.now()


def missing(plan: Iterable[Run], since: str = "") -> list[Run]:
    """The runs to compute for the records of `plan`, parents first, each once.

    These are its missing runs (see `is_missing`), and what they start from where that is missing or has no weights.
    """
    found: dict[str, Run] = {}
    for run in plan:
        chain = [run] if is_missing(run, since) else []
        while chain and (parent := chain[-1].parent) and parent.key not in found:
            if not is_missing(parent, since) and store.has_weights(parent.key):
                break
            chain.append(parent)
        for each in reversed(chain):
            found.setdefault(each.key, each)
    return list(found.values())


def is_missing(run: Run, since: str = "") -> bool:
    """True where no record of the run is stored, or only one from before `since`, or a damaged one."""
    try:
        stored = get(run)
    except ReplicationError:
        return True  # if it is read after all, `_work` says what is wrong with it
    return stored is None or stored.provenance["finished"] < since


def _compute_missing(
    missing: list[Run], executor: Executor, jobs: int, since: str, report: Callable[[str], None]
) -> None:
    """Compute `missing` (parents first), `jobs` at a time. A failed run stops its descendants and nothing else."""
    waiting, running, failed = {run.key: run for run in missing}, {}, []
    on_dask = not isinstance(executor, ProcessPoolExecutor)
    try:
        with progress.overall(len(missing)) as finished:
            while waiting or running:
                unfinished = waiting.keys() | {run.key for run in running.values()}
                ready = [run for run in waiting.values() if unfinished.isdisjoint(a.key for a in run.ancestors)]
                for run in ready[: jobs - len(running)]:  # in the order of the plan: chain by chain
                    future = executor.submit(_work, run, run.key, str(paths.RUNS), since, on_dask)
                    running[future] = waiting.pop(run.key)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    run = running.pop(future)
                    outcome = _outcome(future, run)
                    if isinstance(outcome, ReplicationError):
                        failed.append(outcome)
                        waiting = {k: r for k, r in waiting.items() if run.key not in {a.key for a in r.ancestors}}
                    with progress.aside():
                        report(str(outcome))
                    finished()
    except (BrokenProcessPool, CancelledError):  # the other processes are gone as well
        raise ReplicationError(f"a process was killed while computing {run} (out of memory?): {REPEAT}") from None
    if failed:
        raise failed[0]


def _work(run: Run, key: str, store: str, since: str, on_dask: bool) -> str | ReplicationError:
    """Compute one run in a worker: a line about it, or what went wrong.

    A run that another worker has stored before it died is read. since: what was stored before this time (ISO 8601) is
    computed anew ("": nothing is).
    """
    with _alone:
        paths.RUNS = Path(store)
        run = replace(run)  # without the key that came along
        if run.key != key:
            version = "the worker has another version of the project than the command: install the same"
            return ReplicationError(f"{run}: {version}")
        try:
            missing = is_missing(run, since)
            if missing and on_dask:
                from distributed import get_worker

                get_worker().log_event(TOPIC, key)
            record = get_or_run(
                run, fresh=bool(since) and missing, weights=not missing
            )  # for a run that starts from it
        except ReplicationError as error:
            return ReplicationError(f"{run}: {error}")
    return (
        f"{run}: {record.rate:.1f}x, validation error {record.error('validation'):.2f} %, "
        f"{record.provenance['seconds']:.0f} s ({record.key})"
    )


def _outcome(future: Future, run: Run) -> str | ReplicationError:
    """What `_work` returned, or that the run took every worker with it that computed it."""
    try:
        return future.result()
    except Exception as error:
        if type(error).__name__ != "KilledWorker":  # of Dask, which takes a second to import
            raise
        return ReplicationError(f"{run}: every worker that computed it was killed (out of memory?): {REPEAT}")


def _pool(jobs: int) -> ProcessPoolExecutor:
    """So many processes on this machine, which end with this one."""
    context = get_context("spawn")
    lines = (context.RLock(), context.Value("i", 0))
    return ProcessPoolExecutor(jobs, context, progress.start_worker, lines)


@contextmanager
def _cluster(address: str, jobs: int) -> Iterator[Executor]:
    """The workers of the Dask cluster at `address`; a local one is started and ended with the block."""
    from distributed import Client, LocalCluster  # imported where it is needed: it takes a second

    if address == LOCAL:
        options = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": "ERROR"}
        with LocalCluster(n_workers=jobs, **options) as cluster, _cluster(cluster.scheduler_address, jobs) as executor:
            yield executor
        return
    try:
        client = Client(address, timeout=SECONDS)
    except (OSError, ValueError, TypeError) as error:
        problem = f"no Dask scheduler answers at {address!r} ({type(error).__name__})"
        raise ReplicationError(f"{problem}: start one by `dask scheduler`, or give `{LOCAL}`") from None
    with client:
        _check(client)
        yield client.get_executor(pure=False)


def _check(client: Any) -> None:
    """Raise ReplicationError where there are no workers or one of them does not see this process's store."""
    if not client.scheduler_info()["workers"]:
        raise ReplicationError("the Dask cluster has no workers: start some by `dask worker ADDRESS --nthreads 1`")
    with store.token() as token:
        blind = [worker for worker, sees in client.run(os.path.exists, str(token)).items() if not sees]
    if blind:
        where = f"the store {paths.shown(paths.RUNS)}"
        raise ReplicationError(f"worker {blind[0]} does not see {where}: put it on a file system that all share")
