"""Keeps native libraries' chatter off the terminal while they start.

Some (LiteRT, for one) write notes straight to file descriptor 2, which no logging level reaches.
What they wrote is shown after all when the work they were started for raises.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def stderr_held() -> Iterator[None]:
    """Holds back what this process writes to descriptor 2; writes it out if the body raises.

    Python's own `sys.stderr` goes through the same descriptor, so that warnings raised inside are
    held as well: keep the body to starting a library.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            _restore(kept)
            held.seek(0)
            os.write(2, held.read())
            raise
        _restore(kept)


def _restore(kept: int) -> None:
    sys.stderr.flush()
    os.dup2(kept, 2)
    os.close(kept)
