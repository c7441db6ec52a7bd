"""Computes a plan of runs on a Dask cluster: parents before children, one store that all workers share."""

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import paths
from ..errors import ReplicationError
from ..storage import files
from ..training import machine
from . import progress, scheduler
from .execution import get_or_run
from .spec import Record, Run, get, with_ancestors

LOCAL = "local"
TOPIC = "replication"  # under which workers tell the scheduler what they compute
SECONDS = 30  # to reach a scheduler
_alone = threading.Lock()  # a run uses the process's random numbers and threads: one at a time


def compute(
    plan: Iterable[Run],
    address: str,
    jobs: int = 0,
    fresh: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> list[Record]:
    """The records of `plan`, in its order, as `scheduler.compute`; what is not stored is computed on the cluster.

    address: of a Dask scheduler (tcp://host:8786), or `local` for a cluster of `jobs` processes on this machine (0: one
    per processor). The workers share this process's store; one that dies loses nothing but what it was computing, and
    that is computed again by another.
    Raises ReplicationError after all that can be computed is stored, naming the first run that failed.
    """
    plan = list(plan)
    missing = [run for run in with_ancestors(plan) if fresh or get(run) is None]
    if missing:
        with _client(address, min(jobs or scheduler.default_jobs(), len(missing))) as client:
            _check(client)
            _compute_missing(client, missing, fresh, report)
    return [get_or_run(run) for run in plan]


@contextmanager
def _client(address: str, jobs: int) -> Iterator[Any]:
    """A client of the cluster at `address`; a local one is started and ended with the block."""
    from distributed import Client, LocalCluster  # imported where it is needed: it takes a second

    if address == LOCAL:
        with (
            LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None, silence_logs="ERROR") as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(address, timeout=SECONDS)
    except (OSError, ValueError, TypeError) as error:
        way_out = f"start one by `dask scheduler`, or give `{LOCAL}`"
        raise ReplicationError(
            f"no Dask scheduler answers at {address!r} ({type(error).__name__}): {way_out}"
        ) from None
    with client:
        yield client


def _check(client: Any) -> None:
    """Raise ReplicationError where there are no workers or one of them does not see this process's store."""
    if not client.scheduler_info()["workers"]:
        raise ReplicationError("the Dask cluster has no workers: start some by `dask worker ADDRESS --nthreads 1`")
    token = paths.RUNS / f".seen-{uuid.uuid4().hex}"
    try:
        token.parent.mkdir(parents=True, exist_ok=True)
        files.write(token, b"")
        blind = [worker for worker, sees in client.run(_sees, str(token)).items() if not sees]
    except OSError as error:
        raise files.cannot_write(token, error, "set REPLICATION_RUNS to another folder", "nothing ran") from None
    finally:
        token.unlink(missing_ok=True)
    if blind:
        where = f"the store {paths.shown(paths.RUNS)}"
        raise ReplicationError(f"worker {blind[0]} does not see {where}: put it on a file system that all share")


def _sees(token: str) -> bool:
    return Path(token).exists()


def _compute_missing(client: Any, missing: list[Run], fresh: bool, report: Callable[[str], None]) -> None:
    """Compute `missing` (parents first). A failed run stops its descendants and nothing else."""
    from distributed import as_completed

    futures, runs, failed, since = {}, {}, {}, machine.now() if fresh else ""
    for run in missing:
        parent = futures.get(run.parent.key) if run.parent else None
        name = f"{run.key}-{uuid.uuid4().hex[:8]}"
        futures[run.key] = client.submit(_work, run, run.key, str(paths.RUNS), since, parent, key=name, pure=False)
        runs[name] = run
    with progress.overall(len(missing)) as finished:
        for future in as_completed(futures.values()):
            with progress.aside():
                report(_outcome(future, runs[future.key], failed))
            finished()
    if failed:
        raise next(iter(failed.values()))


def _work(run: Run, key: str, store: str, since: str, parent: str | None) -> str:
    """Compute one run in a worker, once its parent is there; returns a line about it, or `!` and what went wrong.

    A run that another worker has stored before it died is read. since: what was stored before this time (ISO 8601) is
    computed anew ("": nothing is).
    """
    from distributed import get_worker

    if parent is not None and parent.startswith("!"):
        return "!" + parent.lstrip("!")
    with _alone:
        paths.RUNS = Path(store)
        run = Run(**{name: getattr(run, name) for name in run.__dataclass_fields__})  # without the key that came along
        if run.key != key:
            return f"!{run}: the worker has another version of the project than the command: install the same"
        try:
            missing = _missing(run, since)
            if missing:
                get_worker().log_event(TOPIC, key)
            return scheduler.line(run, get_or_run(run, fresh=bool(since) and missing))
        except ReplicationError as error:
            return f"!{run}: {error}"


def _missing(run: Run, since: str) -> bool:
    """True where no record of the run is stored, or only one from before `since`, or a damaged one."""
    try:
        stored = get(run)
    except ReplicationError:
        if since:
            return True
        raise
    return stored is None or stored.provenance["finished"] < since


def _outcome(future: Any, run: Run, failed: dict[str, Exception]) -> str:
    """A line about a finished run; a failure is noted in `failed`."""
    if future.status == "finished":
        line = future.result()
        if not line.startswith("!"):
            return line
        error = line[1:]
    else:
        way_out = "out of memory? Repeat the command to go on; finished runs are kept"
        error = f"{run}: {type(future.exception()).__name__} on the cluster: {way_out}"
    failed[run.key] = ReplicationError(error)
    return error
