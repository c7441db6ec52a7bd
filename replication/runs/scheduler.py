"""Computes a plan of runs over several processes, parents before children, each run once."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from ..errors import ReplicationError
from . import progress
from .execution import get_or_run
from .spec import Record, Run, get, with_ancestors


def default_jobs() -> int:
    """REPLICATION_JOBS, else the processors that this process may use."""
    return int(os.environ.get("REPLICATION_JOBS", 0)) or len(getattr(os, "sched_getaffinity", lambda _: [0])(0))


def compute(
    plan: Iterable[Run], jobs: int = 0, fresh: bool = False, report: Callable[[str], None] = lambda _: None
) -> list[Record]:
    """The records of `plan`, in its order; what is not stored is computed first, over `jobs` processes.

    jobs: processes (0: one per processor), each of one thread; fresh: recompute every run, its ancestors included;
    report: called with a line for each run that was computed.
    Raises ReplicationError after all that can be computed is stored, naming the first run that failed.
    """
    plan = list(plan)
    ordered = with_ancestors(plan)
    missing = [run for run in ordered if fresh or get(run) is None]
    if missing:
        _compute_missing(missing, min(jobs or default_jobs(), len(missing)), fresh, report)
    return [get_or_run(run) for run in plan]


def _compute_missing(missing: list[Run], jobs: int, fresh: bool, report: Callable[[str], None]) -> None:
    """Compute `missing` (parents first). A failed run stops its descendants and nothing else."""
    context = get_context("spawn")
    lines = (context.RLock(), context.Value("i", 0))
    waiting, failed, running = {run.key: run for run in missing}, {}, {}
    with (
        ProcessPoolExecutor(jobs, context, progress.start_worker, lines) as pool,
        progress.overall(len(missing)) as finished,
    ):
        while waiting or running:
            ready = [run for run in waiting.values() if _ready(run, waiting, running, failed)]
            for run in ready[: jobs - len(running)]:  # in the order of the plan: chain by chain
                running[pool.submit(get_or_run, run, fresh)] = waiting.pop(run.key)
            waiting = {key: run for key, run in waiting.items() if not any(a.key in failed for a in run.ancestors)}
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                run = running.pop(future)
                with progress.aside():
                    report(_outcome(future, run, failed))
                finished()
    if failed:
        raise next(iter(failed.values()))


def _ready(run: Run, waiting: dict, running: dict[Future, Run], failed: dict) -> bool:
    """True where none of the run's ancestors is still to be computed or has failed."""
    busy = waiting.keys() | {r.key for r in running.values()} | failed.keys()
    return not any(ancestor.key in busy for ancestor in run.ancestors)


def line(run: Run, record: Record) -> str:
    """What is printed of a finished run."""
    return (
        f"{run}: {record.rate:.1f}x, validation error {record.error('validation'):.2f} %, "
        f"{record.provenance['seconds']:.0f} s ({record.key})"
    )


def _outcome(future: Future, run: Run, failed: dict[str, Exception]) -> str:
    """A line about a finished run; a failure is noted in `failed`."""
    try:
        record = future.result()
    except BrokenProcessPool:  # the other processes are gone as well
        way_out = "repeat the command to go on; finished runs are kept"
        raise ReplicationError(f"a process was killed while computing {run} (out of memory?): {way_out}") from None
    except ReplicationError as problem:
        error = ReplicationError(f"{run}: {problem}")
    else:
        return line(run, record)
    failed[run.key] = error
    return str(error)
