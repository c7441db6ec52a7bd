"""The door: `python -m replication` leads to the commands.

Processes that are started from it import this file again, and load nothing by it.
"""

import sys

if __name__ == "__main__":
    from .commands.main import main

    sys.exit(main())
