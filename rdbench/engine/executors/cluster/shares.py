"""How the work of a run is cut for its workers: small shards first, then large, small at last.

A shard is of one clip (of one batch on a device) at first. Shards grow to `SHARD_SECONDS`, which is
what a worker costs that is lost; towards the end they shrink, so that workers end together.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from rdbench.engine.measure.shard import Shard

SHARD_SECONDS = 90.0
"""How long a shard shall take."""
SHARDS_AHEAD = 2
"""How many shards of each worker are to come before they are cut smaller."""


class Pace:
    """How many clips make a shard, from how long those took that have come."""

    def __init__(self) -> None:
        self.clips = 1

    def took(self, shard: Shard, seconds: float) -> None:
        """Takes note of a shard that has ended well: the next are at most twice as large."""
        if count := len(shard.clips):
            wanted = SHARD_SECONDS * count / max(seconds, 1e-3)
            self.clips = max(1, min(int(wanted), 2 * max(count, self.clips)))


class Coming:
    """Shards that were not given out yet, joined as they are taken."""

    def __init__(self, shards: Iterable[Shard]) -> None:
        self._shards = iter(shards)
        self._ahead: deque[Shard] = deque()
        self._dry = False

    def is_empty(self) -> bool:
        """Whether there is none any more."""
        self._look(1)
        return not self._ahead

    def next(self, clips: int, slots: int) -> Shard | None:
        """The next, of about `clips` clips, or of fewer where little is left for `slots` workers;
        None where there is none.
        """
        self._look(clips * SHARDS_AHEAD * slots)
        if not self._ahead:
            return None
        if self._dry:
            left = sum(len(one.clips) for one in self._ahead)
            clips = min(clips, math.ceil(left / (SHARDS_AHEAD * slots)))
        shard = self._ahead.popleft()
        while self._ahead and shard.clips and self._ahead[0].clips:
            if len(shard.clips) + len(self._ahead[0].clips) > clips:
                break
            shard = Shard(clips=(*shard.clips, *self._ahead.popleft().clips))
        return shard

    def _look(self, wanted: int) -> None:
        """Takes shards of clips ahead; of sets, whose arrays are read for them, one at a time."""
        ahead = sum(len(one.clips) for one in self._ahead)
        while not self._dry and ahead < wanted and not (self._ahead and self._ahead[-1].sets):
            shard = next(self._shards, None)
            if shard is None:
                self._dry = True
                return
            self._ahead.append(shard)
            ahead += len(shard.clips)
