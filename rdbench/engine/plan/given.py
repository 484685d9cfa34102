"""What was made elsewhere for the clips of a run, and is found when the run is planned.

Two things are: latents that a generator predicted (`rdbench.engine.plan.predicted`), for variants
that decode them, and all that a codec of files has (`rdbench.codecs.base.GivenCodec`), for its
points. Of either, what there is of a clip is in the keys of that clip, and of no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rdbench.codecs.base import Given, GivenCodec
from rdbench.engine.plan.clips import duration_hint
from rdbench.types import SpecError

if TYPE_CHECKING:
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.systems import System
    from rdbench.spec.model import BenchmarkSpec


class GivenClips(Protocol):
    """What was made elsewhere for clips, as keys know it."""

    @property
    def source(self) -> str:
        """Names what makes it, where that is code; part of every key."""

    def content(self, clip: str) -> str:
        """Names what there is of a clip, for its key; "" where nothing is known beforehand."""


@dataclass(frozen=True)
class FoundClips:
    """What a codec of files found at a point, by clip."""

    clips: Mapping[str, Given]
    source = ""

    def content(self, clip: str) -> str:
        """Names what was found of a clip."""
        return self.clips[clip].content


def take_found(
    spec: BenchmarkSpec, systems: Sequence[System], clips: Sequence[PlannedClip]
) -> None:
    """Lets codecs of files find what there is of the clips, at each of their points.

    Raises SpecError where the protocol cuts excerpts out of clips, which these codecs have whole,
    or where a spec draws with several seeds what is decoded already; CodecError for a folder that
    is not there.
    """
    for system in systems:
        codec = system.codec
        if not isinstance(codec, GivenCodec):
            continue
        own = [clip for clip in clips if system.takes(clip.domain)]
        _check_whole(spec, system, own)
        if system.spec.seeds:
            raise SpecError(
                f"system {system.name!r}: what it decodes was made elsewhere, once; take `seeds` "
                "out"
            )
        names = [clip.name for clip in own]
        system.found = {
            point.name: FoundClips(codec.find(point, names, spec.locate)) for point in codec.points
        }


def _check_whole(spec: BenchmarkSpec, system: System, clips: Sequence[PlannedClip]) -> None:
    for clip in clips:
        longest = spec.protocol.for_domain(clip.domain).excerpt_seconds
        # A header's duration may be rounded; half a sample is no excerpt.
        if longest is not None and duration_hint(clip) > longest + 1e-4:
            raise SpecError(
                f"system {system.name!r}: what was made elsewhere is of whole clips, and the "
                f"protocol takes {longest:g} s of {clip.name!r}; set protocol.excerpt_seconds to "
                "null"
            )
