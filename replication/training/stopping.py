"""What a long command does when it is asked to stop: it writes a checkpoint first, and its exit code says so."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

EXIT = 75  # "temporary failure; try again" (sysexits.h): repeat the command, or let the scheduler requeue it
SIGNALS = ("SIGTERM", "SIGUSR1")  # the second is what Slurm can send some minutes before the time is over


class Stop:
    """Whether one of SIGNALS has come.

    Outside of `later` nothing would be lost: the process ends at once.
    """

    def __init__(self):
        self.asked, self._waits = False, False

    def __call__(self, number: int, frame: object) -> None:
        """The signal's handler."""
        self.asked = True
        if not self._waits:
            raise SystemExit(EXIT)

    @contextmanager
    def later(self) -> Iterator[None]:
        """Within the block a signal is noted only: whoever runs it asks `asked`, saves and leaves."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False


@contextmanager
def listening() -> Iterator[Stop]:
    """Within the block the SIGNALS that this system has are caught."""
    stop = Stop()
    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
