"""What the speech scores here have in common, to be completed by each definition.

They are valid on speech alone, better when higher, and align the signals themselves or look at
envelopes, so that a delay of a few samples does not count.
"""

from __future__ import annotations

from functools import partial

from rdbench.metrics.base import Direction, MetricDefinition

speech_score = partial(
    MetricDefinition,
    version=1,
    direction=Direction.HIGHER,
    domains=("speech",),
    needs_alignment=False,
)
