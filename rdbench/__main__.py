"""`rdbench` and `python -m rdbench`: what stands before anything that takes time is imported.

`python -m` puts the current folder first on the import path. It is taken away, unless rdbench
itself lies there: what a folder of somebody else's holds is no module of this program. (What Python
imports before this line, `python -P -m rdbench` or the command `rdbench` keep away too.)
"""

from __future__ import annotations

import os
import sys

# `pathlib` may lie there, so `os` does what it would; links resolved, as in the current folder.
_own = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120
try:
    _here = os.getcwd()  # noqa: PTH109
except OSError:  # it is gone, and the command says so
    _here = ""
if __name__ == "__main__" and not sys.flags.safe_path and sys.path[0] == _here != _own:
    del sys.path[0]

from rdbench import interrupts, streams  # noqa: E402


def main() -> None:
    """The command line."""
    streams.hold()
    interrupts.install()
    from rdbench.cli.main import entry

    entry()


if __name__ == "__main__":
    main()
