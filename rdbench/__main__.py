"""`python -m rdbench`: the command line.

`python -m` puts the current folder first on the import path. It is taken away, unless rdbench
itself lies there: what a folder of somebody else's holds is no module of this program. (What Python
imports before this line, `python -P -m rdbench` or the command `rdbench` keep away too.)
"""

import os
import sys

# Not `pathlib`, which may lie there.
_own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
if not sys.flags.safe_path and sys.path[0] == os.getcwd() != _own:  # noqa: PTH109
    del sys.path[0]

from rdbench.cli.main import entry  # noqa: E402

if __name__ == "__main__":
    entry()
