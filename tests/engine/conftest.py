"""What the tests of the engine share: the fake codecs beside this file, in every folder below."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
