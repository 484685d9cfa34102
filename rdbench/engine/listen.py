"""What there is to hear of the continuous latents of a spec: `rdbench latent listen`.

It starts from a spec and not from a run: it decodes latents that no run has (draws of priors, paths
between clips, sums), for which it needs codecs and clips, and a run keeps neither.

Every group of sounds is made by itself: one that cannot be made is a sentence, and the others are
there. Noise belongs to the clip, or to the number of a draw, so that the same spec gives the same
sounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from rdbench.files import is_file
from rdbench.latent.listening.heard import Group, Heard
from rdbench.types import AudioError, CodecError, RdbenchError, SpecError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from rdbench.codecs.posterior.base import PosteriorCodec
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.systems import System
    from rdbench.engine.progress import Progress
    from rdbench.latent.listening.checkpoint import Checkpoint, HeardClip
    from rdbench.models.probe.checkpoint import TrainedProbe
    from rdbench.rate.tables import Tables
    from rdbench.spec.model import BenchmarkSpec
    from rdbench.types import Variant

    Job = Callable[[], Group]

FEWEST_CLIPS = 2
"""Of pairs."""
LONGEST_DRAW = 60.0
"""Seconds."""


@dataclass(frozen=True)
class Asked:
    """What is to be heard.

    seconds: of a draw of a prior. draws: how many of each. probes: checkpoints of probes. paths:
    variants by name; empty for one of each kind, those of the spec first. tables: of
    `rdbench fit-entropy`; None for those that the spec names.
    """

    seconds: float = 4.0
    draws: int = 2
    probes: tuple[Path, ...] = ()
    paths: tuple[str, ...] = ()
    tables: Path | None = None


def listen(
    spec: BenchmarkSpec,
    asked: Asked,
    progress: Progress,
    *,
    device: str = "cpu",
    allow_code: bool = False,
    allow_download: bool = False,
) -> Heard:
    """What there is to hear, made while its groups are taken.

    Raises SpecError for an unknown variant or device, CodecError where no system has a continuous
    latent, TablesError for tables that were fitted on a clip, WeightsError for a probe that cannot
    be read, ProbeError for one whose checkpoint is not there, AudioError where there is no clip.
    """
    from rdbench.codecs.variants import variant
    from rdbench.engine.devices import resolve_device
    from rdbench.engine.passes.entropy import take_tables
    from rdbench.engine.plan.clips import load_corpus, plan_clips
    from rdbench.engine.plan.predicted import take_predictions
    from rdbench.engine.plan.systems import build_systems

    if not 0 < asked.seconds <= LONGEST_DRAW:
        raise SpecError(
            f"draws of {asked.seconds:g} s are none to listen to; ask for at most {LONGEST_DRAW:g}"
        )
    where = resolve_device(device)
    paths = [variant(name) for name in dict.fromkeys(asked.paths)]
    corpus = load_corpus(spec)
    clips = plan_clips(corpus, seed=spec.protocol.seed)
    systems = build_systems(
        spec, allow_code=allow_code, fetching=progress.say if allow_download else None
    )
    take_predictions(spec, systems, clips, allow_code=allow_code)
    absent = asked.tables is None and spec.tables_path and not is_file(spec.tables_path)
    path = None if absent else asked.tables or spec.tables_path
    tables = take_tables(path, systems, clips) if path else None
    probes = _probes(asked.probes, systems)
    page = _Page(spec, asked, clips, tables, probes, paths, where, progress)
    heard = Heard(f"Listening to {spec.name}", _about(spec, corpus.name, clips), iter(()))
    if absent:
        heard.lacking.append(f"the spec names the tables {spec.tables_path}, which are not there")
    latents = []
    for system in systems:
        codec = _posterior_codec(system)
        if codec is not None:
            latents.append((system, codec))
        elif system.failure:
            heard.failures.append(f"{system.name} is left out: {system.failure}")
        else:
            heard.lacking.append(f"{system.name} has no continuous latent, so it is left out")
    if not latents:
        why = f" ({heard.failures[0]})" if heard.failures else ""
        raise CodecError(
            f"no system of the spec has a continuous latent to listen to{why}; name a VAE in it"
        )
    heard.groups = page.groups(latents, heard)
    return heard


@dataclass(frozen=True)
class _Page:
    spec: BenchmarkSpec
    asked: Asked
    clips: Sequence[PlannedClip]
    tables: Tables | None
    probes: dict[str, TrainedProbe]
    paths: Sequence[Variant]
    device: str
    progress: Progress

    def groups(
        self, latents: Sequence[tuple[System, PosteriorCodec]], heard: Heard
    ) -> Iterator[Group]:
        """Of every system, and what is told of it in `heard`."""
        self.progress.start(len(latents) * len(self.clips), 0)
        try:
            for system, codec in latents:
                self.progress.at(system.name, "listen")
                codec.to(self.device)
                yield from self._of_system(system, codec, heard)
                codec.to("cpu")
                self.progress.advance(len(self.clips))
        finally:
            self.progress.stop()

    def _of_system(self, system: System, codec: PosteriorCodec, heard: Heard) -> Iterator[Group]:
        checkpoint = self._checkpoint(system, codec)
        clips = list(self._heard_clips(system, checkpoint, heard))
        if not clips:
            heard.failures.append(f"{system.name} has no clip to listen to")
            return
        variants, unfitted = self._variants(checkpoint)
        heard.lacking += self._lacking(checkpoint, clips, unfitted)
        for job in self._jobs(checkpoint, clips):
            try:
                yield job()
            except RdbenchError as error:
                self._fail(heard, f"{system.name}: {error}")
        yield from self._paths(checkpoint, clips, variants, heard)

    def _jobs(self, checkpoint: Checkpoint, clips: Sequence[HeardClip]) -> Iterator[Job]:
        from rdbench.engine.plan.digests import clip_seed
        from rdbench.latent.listening import arithmetic, between
        from rdbench.latent.listening.prior import prior_samples

        probe = self.probes.get(checkpoint.codec.info.weights_sha256)
        known = checkpoint.codec.info.headline is not None or probe is not None
        for number in range(1, self.asked.draws + 1 if known else 1):
            yield partial(
                prior_samples, checkpoint, clips, seconds=self.asked.seconds, probe=probe,
                seed=clip_seed(self.spec.protocol.seed, f"prior {number}"),
                title=f"draw {number}",
            )  # fmt: skip
        pairs = list(pairwise(clips))
        for one, two in pairs:
            for kind in between.KINDS:
                yield partial(between.interpolation, checkpoint, one, two, kind)
        yield partial(arithmetic.level_of_itself, checkpoint, clips[0])
        for add in (arithmetic.level_of_another, arithmetic.pitch_of_another):
            for one, two in pairs:
                yield partial(add, checkpoint, one, two)

    def _variants(self, checkpoint: Checkpoint) -> tuple[list[Variant], list[Variant]]:
        """What is decoded, and what cannot be for want of tables."""
        from rdbench.latent.listening.paths import paths_of, unfitted

        wanted = self.paths or paths_of(checkpoint)
        lacking = unfitted(checkpoint, wanted)
        return [one for one in wanted if one not in lacking], lacking

    def _paths(
        self,
        checkpoint: Checkpoint,
        clips: Sequence[HeardClip],
        variants: Sequence[Variant],
        heard: Heard,
    ) -> Iterator[Group]:
        from rdbench.latent.listening.paths import decode_paths

        said: dict[str, None] = {}
        for clip in clips:
            found = decode_paths(checkpoint, clip, variants)
            said |= dict.fromkeys(found.lacking)
            for sentence in found.failures:
                self._fail(heard, sentence)
            if found.group is not None:
                yield found.group
        heard.lacking += said

    def _checkpoint(self, system: System, codec: PosteriorCodec) -> Checkpoint:
        from rdbench.latent.listening.checkpoint import Checkpoint

        info, entry = codec.info, None
        if self.tables is not None:
            entry = self.tables.get(info.name, info.weights_sha256, [codec.points[0].name])
        named = system.variants if system.spec.variants else ()
        return Checkpoint(system.name, codec, entry, named)

    def _lacking(
        self, checkpoint: Checkpoint, clips: Sequence[HeardClip], unfitted: Sequence[Variant]
    ) -> Iterator[str]:
        name, entry = checkpoint.system, checkpoint.entry
        without = [one.name for one in unfitted]
        if checkpoint.codec.info.headline is None:
            yield (
                f"{name} has no trained posterior, so no prior was fitted to its latent, and its "
                "mean takes the place of the sample"
            )
        elif entry is None or not entry.priors:
            without.insert(0, "draws of the diagonal, full and AR(4) priors")
        elif entry.full is None or entry.linear is None:
            yield (
                f"{name} has no draws of priors that were not fitted (too few frames, or too many "
                "channels)"
            )
        if without:
            yield (
                f"{name} has no {', '.join(without)}: nothing was fitted to its latent; run "
                "`rdbench fit-entropy` on training clips, and give the file with --tables"
            )
        if len(clips) < FEWEST_CLIPS:
            yield (
                f"{name} has one clip, so there is no path between clips and no arithmetic from "
                "one to another; raise --limit, or add clips"
            )

    def _heard_clips(
        self, system: System, checkpoint: Checkpoint, heard: Heard
    ) -> Iterator[HeardClip]:
        from rdbench.latent.listening.checkpoint import HeardClip

        for clip in self.clips:
            if not system.takes(clip.domain):
                continue
            try:
                audio = self._audio(checkpoint, clip)
                found = HeardClip(clip.name, clip.seed, audio, checkpoint.encode(audio, clip.name))
            except RdbenchError as error:
                self._fail(heard, f"{system.name}: {clip.name} is left out: {error}")
                continue
            if system.predictions:
                shape = checkpoint.mean(found.encoded).shape
                try:
                    given = system.predictions[0].latent(clip.name, (shape[0], shape[1]))
                    found = replace(found, given=given)
                except RdbenchError as error:
                    self._fail(heard, f"{system.name}: {error}")
            yield found

    def _audio(self, checkpoint: Checkpoint, clip: PlannedClip) -> torch.Tensor:
        """The excerpt (channels, time) at the codec's rate; as one channel where it takes one."""
        from rdbench.audio.load import load_excerpt
        from rdbench.audio.resample import resample
        from rdbench.engine.plan.clips import excerpt_protocols

        if clip.failure:
            raise AudioError(clip.failure)
        protocol = excerpt_protocols(self.spec, [clip.domain])[clip.domain]
        excerpt = load_excerpt(clip.clip, protocol, clip.file)
        samples, takes = excerpt.samples, checkpoint.codec.info.channels
        if takes and len(samples) not in takes and 1 in takes:
            samples = samples.mean(dim=0, keepdim=True)
        return resample(samples, excerpt.sample_rate, checkpoint.sample_rate)

    def _fail(self, heard: Heard, sentence: str) -> None:
        heard.failures.append(sentence)
        self.progress.say(sentence)


def _posterior_codec(system: System) -> PosteriorCodec | None:
    from rdbench.codecs.posterior.base import PosteriorCodec

    return system.codec if isinstance(system.codec, PosteriorCodec) else None


def _probes(paths: Sequence[Path], systems: Sequence[System]) -> dict[str, TrainedProbe]:
    """Probes by the weights of their checkpoint."""
    from rdbench.models.probe import checkpoint

    there = {system.info.weights_sha256 for system in systems if system.info}
    found: dict[str, TrainedProbe] = {}
    for path in paths:
        trained = checkpoint.load(path)
        if trained.codec_sha256 not in there:
            raise checkpoint.ProbeError(
                f"no system of the spec has the checkpoint that the probe {path} was trained on "
                f"({trained.codec}, weights {trained.codec_sha256[:8]}); add it to the spec"
            )
        if trained.codec_sha256 in found:
            raise checkpoint.ProbeError(
                f"the probe {path} is the second of its checkpoint ({trained.codec}); give one"
            )
        found[trained.codec_sha256] = trained
    return found


def _about(spec: BenchmarkSpec, corpus: str, clips: Sequence[PlannedClip]) -> tuple[str, ...]:
    seconds = spec.protocol.excerpt_seconds
    cut = "whole" if seconds is None else f"excerpts of {seconds:g} s"
    count = "1 clip" if len(clips) == 1 else f"{len(clips)} clips"
    return (f"{count} of the corpus {corpus}, {cut}; seed {spec.protocol.seed}.",)
