"""Makes the metrics of `faulty_metrics` known, in the process of a test's run and its workers."""

from __future__ import annotations

from rdbench.metrics import registry

registry.FAMILIES = {
    **registry.FAMILIES,
    "faulty_metrics": ("fault_raises", "fault_hangs", "fault_segfaults", "fault_nan"),
}
