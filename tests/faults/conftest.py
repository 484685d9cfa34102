"""What the tests of faults share: the fake codecs of the engine's tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "engine"))

# Imported only by the processes of a test's run: it adds metrics that fail to the registry.
collect_ignore = ["hooks"]
