"""One notebook executed by papermill, for a process of its own: it loads no torch, which only the kernel needs."""

import os

from .. import paths


def prepare() -> None:
    """Prepare a process that executes notebooks: its kernels show no bars and use one thread each."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what kernels log concerns no reader; errors come back as values
    os.environ |= {"REPLICATION_QUIET": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1", "OMP_NUM_THREADS": "1"}


def execute(name: str, profile: str) -> str:
    """Execute one notebook into book/pages with papermill; returns the error as one line, "" where there is none.

    A failed page is kept and shows the error.
    """
    import papermill  # takes seconds, and only here

    source, target = paths.NOTEBOOKS / f"{name}.ipynb", paths.PAGES / f"{name}.ipynb"
    options = {"kernel_name": "python3", "cwd": str(paths.ROOT), "progress_bar": False}
    try:
        papermill.execute_notebook(str(source), str(target), {"profile": profile}, **options)
    except Exception as error:  # of whatever kind: one failing notebook stops no other
        return (str(error).strip() or type(error).__name__).splitlines()[-1]
    return ""
