"""What pytest shall leave to the tests of faults."""

from __future__ import annotations

# Imported only by the processes of a test's run: it adds metrics that fail to the registry.
collect_ignore = ["hooks"]
