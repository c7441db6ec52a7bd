"""Progress bars: network, stage, epoch, loss, validation error, time left. Quiet where no one watches."""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

_position = 0  # the terminal line of this process's bar


def visible() -> bool:
    """True on a terminal. Rendered pages and logs stay quiet."""
    return sys.stderr.isatty() and not os.environ.get("REPLICATION_QUIET")


def start_worker(lock, counter) -> None:
    """Prepare a worker process: it ends when its parent dies, and its bar gets the line below those of its sisters.

    lock, counter: shared by all workers.
    """
    global _position
    end_with_parent()
    with counter.get_lock():
        counter.value += 1
        _position = counter.value
    tqdm.set_lock(lock)


def end_with_parent(parent: int | None = None) -> None:
    """From now on this process ends when the process that started it is gone.

    parent: the id of that process, where this one is none of multiprocessing's.
    """
    threading.Thread(target=_wait_for, args=(parent,), daemon=True).start()


def _wait_for(parent: int | None) -> None:
    if parent is None:
        multiprocessing.parent_process().join()
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)  # a run that is half done leaves nothing behind


@contextmanager
def bar(title: str, epochs: int, shown: bool = True) -> Iterator[Callable[[float, float], None]]:
    """A bar for one training; yields a function to call after each epoch with the loss and the validation error (%)."""
    form = "{desc}: epoch {n_fmt}/{total_fmt}{postfix} |{bar:12}| [{elapsed} < {remaining}]"
    options = {"position": _position, "leave": False, "disable": not (shown and visible()), "bar_format": form}
    with tqdm(total=epochs, desc=title, postfix="", **options) as line:

        def advance(loss: float, validation_error: float) -> None:
            line.set_postfix_str(f"loss {loss:.4f}, validation error {validation_error:.2f} %", refresh=False)
            line.update()

        yield advance


@contextmanager
def overall(total: int) -> Iterator[Callable[[], None]]:
    """A bar over a plan of `total` runs; yields a function to call as each is finished."""
    with tqdm(total=total, desc="runs", disable=not visible(), leave=False, position=0) as line:
        yield line.update


@contextmanager
def aside() -> Iterator[None]:
    """Whatever is printed inside stands above the bars instead of running into them."""
    with tqdm.external_write_mode(file=sys.stderr):
        yield
