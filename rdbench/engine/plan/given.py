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
from rdbench.engine.plan.clips import excerpt_protocols
from rdbench.types import AudioError, SpecError

if TYPE_CHECKING:
    from rdbench.audio.load import Part
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

    Raises SpecError where the protocol cuts excerpts out of clips and nothing says of what these
    codecs' files were made, or where a spec draws with several seeds what is decoded already;
    CodecError for a folder that is not there.
    """
    for system in systems:
        codec = system.codec
        if not isinstance(codec, GivenCodec):
            continue
        own = [clip for clip in clips if system.takes(clip.domain)]
        parts = _parts(spec, own) if codec.made_of != "excerpt" else {}
        _check_stated(system, parts)
        if system.spec.seeds:
            raise SpecError(
                f"system {system.name!r}: what it decodes was made elsewhere, once; take `seeds` "
                "out"
            )
        names = [clip.name for clip in own]
        system.found = {
            point.name: FoundClips(codec.find(point, names, spec.locate, parts=parts))
            for point in codec.points
        }


def _parts(spec: BenchmarkSpec, clips: Sequence[PlannedClip]) -> dict[str, Part]:
    """Which part the protocol takes of each clip of which it does not take all."""
    from rdbench.audio.load import part_of

    protocols = excerpt_protocols(spec, list({clip.domain for clip in clips}))
    found = {}
    for planned in clips:
        protocol = protocols[planned.domain]
        if protocol.excerpt_seconds is None or planned.failure:
            continue
        try:
            part = part_of(planned.clip, protocol)
        except AudioError:  # its rows will say so
            continue
        if part.length < part.total:
            found[planned.name] = part
    return found


def _check_stated(system: System, parts: Mapping[str, Part]) -> None:
    assert isinstance(system.codec, GivenCodec)
    if parts and system.codec.made_of is None:
        raise SpecError(
            f"system {system.name!r}: the protocol takes a part of {next(iter(parts))!r}; set "
            "protocol.excerpt_seconds to null, or say with the option made_of of what the files "
            "were made: clip (they are cut as the clips are) or excerpt"
        )
