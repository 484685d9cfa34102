"""A shard: work for one process, and what all shards of a run share.

A shard is a few clips of one domain with what is wanted of each, or a set of clips with the arrays
that its values are made of. It names clips, systems and passes; what it needs beside that is the
run's `Setup`, which a process reads once and makes a `Workshop` of: codecs on their device, passes,
protocols. `rdbench.engine.measure.measure` gives results to a sink as they come.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rdbench.engine.measure.passes import Pass
from rdbench.engine.measure.work import SetWork
from rdbench.engine.plan.systems import CodecRecipe, StepId, System
from rdbench.types import ChangedError

if TYPE_CHECKING:
    from pathlib import Path

    from rdbench.audio.load import ExcerptProtocol
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.given import FoundClips
    from rdbench.engine.plan.predicted import Predictions
    from rdbench.rate.coded.fitted import FittedLatent
    from rdbench.spec.model import SystemSpec
    from rdbench.store.audio import Kept
    from rdbench.store.schema import Quantity
    from rdbench.types import CodecInfo


@dataclass(frozen=True)
class ClipWork:
    """One clip and what is wanted of it, by step (None: of its reference).

    kept: the audio of it that is kept already, by step. audio_names: of the files to keep.
    """

    clip: PlannedClip
    wanted: Mapping[StepId | None, frozenset[Quantity]]
    kept: Mapping[StepId, Kept] = field(default_factory=dict)
    audio_names: Mapping[StepId | None, str] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """How many steps it is wanted in."""
        return len(self.wanted)


@dataclass(frozen=True)
class Shard:
    """Work for one process. losses: how many processes it has ended so far."""

    clips: tuple[ClipWork, ...] = ()
    sets: tuple[SetWork, ...] = ()
    losses: int = 0

    @property
    def systems(self) -> set[str]:
        """The systems of which something is wanted."""
        steps = [step for work in self.clips for step in work.wanted if step]
        return {step[0] for step in (*steps, *(one.step for one in self.sets))}

    def without(self, systems: Collection[str]) -> Shard:
        """What is wanted of other systems, and of references."""
        clips = []
        for work in self.clips:
            wanted = {
                step: asked
                for step, asked in work.wanted.items()
                if step is None or step[0] not in systems
            }
            if wanted:
                clips.append(replace(work, wanted=wanted))
        sets = tuple(one for one in self.sets if one.step[0] not in systems)
        return replace(self, clips=tuple(clips), sets=sets)

    def smaller(self) -> list[Shard]:
        """The next rung: clip by clip, step by step, quantity by quantity; none below that."""
        if len(self.clips) + len(self.sets) > 1:
            alone = [Shard(clips=(clip,)) for clip in self.clips]
            return [*alone, *(Shard(sets=(one,)) for one in self.sets)]
        if self.sets:
            return []
        (work,) = self.clips
        if work.steps > 1:
            parts: list[dict[StepId | None, frozenset[Quantity]]] = [
                {step: asked} for step, asked in work.wanted.items()
            ]
        else:
            ((step, quantities),) = work.wanted.items()
            if len(quantities) == 1:
                return []
            parts = [{step: frozenset({quantity})} for quantity in sorted(quantities)]
        return [Shard(clips=(replace(work, wanted=part),)) for part in parts]


@dataclass(frozen=True)
class SystemSetup:
    """What makes a system in another process.

    files: those of a codec that is not rdbench's own, with what they held when the run was planned.
    info: what is known of the codec. fitted: to its latent on other clips, where that was done.
    predictions, found: as in `System`.
    """

    spec: SystemSpec
    recipe: CodecRecipe
    source: tuple[str, ...]
    files: Mapping[Path, str]
    info: CodecInfo
    fitted: FittedLatent | None
    predictions: tuple[Predictions, ...] = ()
    found: Mapping[str, FoundClips] = field(default_factory=dict)

    @classmethod
    def of(cls, system: System) -> SystemSetup:
        """The set-up of a system that could be built here."""
        assert system.info is not None
        fitted = getattr(system.codec, "fitted", None)
        return cls(
            system.spec,
            system.recipe,
            system.source,
            system.files,
            system.info,
            fitted,
            system.predictions,
            system.found,
        )

    def build(self, fetching: Callable[[str], None] | None = None) -> System:
        """The system with a codec of its own; raises ChangedError for one of other weights.

        fetching: where published weights may be fetched, who is told what was.
        """
        from rdbench.codecs.posterior.base import PosteriorCodec
        from rdbench.engine.plan.source import name_weights
        from rdbench.weights.published import with_downloads

        codec = with_downloads(self.recipe.build, fetching)
        name_weights(codec)
        if codec.info.weights_sha256 != self.info.weights_sha256:
            raise ChangedError.of(f"the file that {self.spec.name} has its weights from")
        codec.info = self.info
        if isinstance(codec, PosteriorCodec):
            codec.fitted = self.fitted
        return System(
            self.spec,
            self.recipe,
            codec,
            "",
            self.source,
            predictions=self.predictions,
            found=self.found,
        )


@dataclass(frozen=True)
class Setup:
    """What all shards of a run share.

    protocols: by domain. threads: of torch. timeout: seconds that one clip may take in one step.
    batch_seconds: audio that goes through a model together, 0 for one clip at a time.
    allow_download: whether a machine that lacks published weights may fetch them.
    """

    systems: tuple[SystemSetup, ...]
    passes: tuple[Pass, ...]
    protocols: Mapping[str, ExcerptProtocol]
    threads: int
    timeout: float
    batch_seconds: float
    allow_download: bool = False

    def packed(self) -> bytes:
        """As it travels."""
        return pickle.dumps(self, pickle.HIGHEST_PROTOCOL)
