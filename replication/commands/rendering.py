"""One notebook executed by papermill, for a process of its own: it loads no torch, which only the kernels need.

Its kernels are forked from one process that has imported what the pages import, so that this is done once for many.
"""

import json
import os
from multiprocessing import get_context
from pathlib import Path

from jupyter_client.manager import AsyncKernelManager

from .. import paths, progress

CONTEXT = get_context("forkserver")
PRELOADED = ("ipykernel.kernelapp", "scipy.stats", "replication.claims.registry", "replication.report.tables")
VARIABLES = {  # of the kernels: no bars, one thread each, figures as in any notebook; they alone write into the book
    "REPLICATION_QUIET": "1",
    "PYTHONUTF8": "1",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "OMP_NUM_THREADS": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "REPLICATION_TABLES": str(paths.LINKED),
}


def prepare() -> None:
    """Prepare a process that executes notebooks, and name what its kernels share; it ends when its parent is gone."""
    progress.end_with_parent()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what kernels log concerns no reader; errors come back as values
    os.environ |= VARIABLES
    CONTEXT.set_forkserver_preload(list(PRELOADED))


def _kernel(connection_file: str) -> None:
    """Be a kernel until the manager ends it or the process that asked for it is gone, which ends the one that forks."""
    from ipykernel.kernelapp import IPKernelApp

    progress.end_with_parent()
    IPKernelApp.launch_instance(argv=["-f", connection_file, f"--IPKernelApp.parent_handle={os.getppid()}"])


class ForkedKernel(AsyncKernelManager):
    """A kernel forked from the process that has imported PRELOADED, where Jupyter would start a new interpreter."""

    process = None
    has_kernel = property(lambda self: self.process is not None)

    async def start_kernel(self, **_) -> None:
        """Fork a kernel."""
        self.write_connection_file()
        self.process = CONTEXT.Process(target=_kernel, args=(self.connection_file,))
        self.process.start()

    async def is_alive(self) -> bool:
        """True while the kernel runs."""
        return self.has_kernel and self.process.is_alive()

    _async_is_alive = is_alive  # by this name a client asks that waits for the kernel

    async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:
        """End the kernel, which has nothing left to write."""
        self.process.kill()
        self.process.join()
        self.process = None


def notebook(path: Path) -> dict | None:
    """A notebook as its JSON values (nbformat takes seconds to import), or None where it is missing or damaged."""
    try:
        found = json.loads(path.read_bytes())
        return found if found["nbformat"] == 4 and found["cells"] and "metadata" in found else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def execute(name: str, profile: str) -> str:
    """Execute one notebook into book/pages with papermill; returns the error as one line, "" where there is none.

    A failed page is kept and shows the error.
    """
    import papermill  # takes seconds, and only here

    source, target = paths.NOTEBOOKS / f"{name}.ipynb", paths.PAGES / f"{name}.ipynb"
    options = {"kernel_name": "python3", "cwd": str(paths.ROOT), "progress_bar": False}
    try:
        papermill.execute_notebook(
            str(source), str(target), {"profile": profile}, kernel_manager_class=ForkedKernel, **options
        )
    except Exception as error:  # of whatever kind: one failing notebook stops no other
        return (str(error).strip() or type(error).__name__).splitlines()[-1]
    return ""
