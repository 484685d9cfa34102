"""Fits entropy tables on the clips of a spec: `rdbench fit-entropy`.

Of every system with tokens the static tables (of a nested codec at its highest point, the others
being cut from it); of every system with a posterior Gaussian priors (factorised, of full
covariance, autoregressive) and what its streams rest on: steps, distributions, and a profile of
frames. The clips must be others than those that will be scored: their files' hashes are kept.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rdbench.engine.measure.passes import Pass
from rdbench.engine.measure.work import Result, Work
from rdbench.engine.plan.families import Needs
from rdbench.rate.tables import Entry, Tables, TablesError
from rdbench.store.schema import Kind, Quantity
from rdbench.types import CodecError, Encoded, Posterior, Score, Status, Tokens

if TYPE_CHECKING:
    from rdbench.codecs.base import Codec
    from rdbench.engine.executors.base import Loss, Provenance
    from rdbench.engine.measure.encoding import Encoding
    from rdbench.engine.measure.shard import Shard
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.systems import Step, StepId, System
    from rdbench.engine.progress import Progress
    from rdbench.spec.model import BenchmarkSpec

PAYLOAD = Quantity(Kind.FEATURE, "payload")


@dataclass(frozen=True, eq=False)
class PayloadPass(Pass):
    """What a codec made of a clip, as it is, pickled: tensors travel as descriptors otherwise."""

    name = "fit"

    def owns(self, quantity: Quantity) -> bool:
        """Payloads."""
        return quantity == PAYLOAD

    def needs(self, quantity: Quantity) -> Needs:
        """What was encoded."""
        return Needs.ENCODED

    def on_encoded(self, work: Work, encoding: Encoding) -> None:
        """Records the payload of a clip; raises CodecError for one that cannot be fitted on."""
        if len(work.clips) > 1:
            raise CodecError("payloads are taken clip by clip")
        encoded = encoding.encoded
        payload = encoded.payload
        if not isinstance(payload, Tokens | Posterior):
            raise CodecError(f"{type(payload).__name__} has neither tokens nor a posterior")
        _check(encoded, work.clips[0].name)
        work.record(0, PAYLOAD, Score(1.0), pickle.dumps(_on_cpu(encoded)))


class _Payloads:
    """The intake of a fit: payloads by step and clip; what is lost is said and left out."""

    def __init__(self, progress: Progress) -> None:
        self.found: dict[StepId, dict[str, Encoded]] = {}
        self._progress = progress
        self._done: set[tuple[StepId | None, str]] = set()

    def take(self, results: Sequence[Result], *, provenance: Provenance | None = None) -> None:
        """Takes payloads."""
        for result in results:
            assert result.step is not None
            self._done.add((result.step, result.clip))
            self._progress.advance()
            if result.score.status is Status.OK:
                of_step = self.found.setdefault(result.step, {})
                of_step[result.clip] = pickle.loads(result.attachment)
            else:
                self._left_out(result.step, result.clip, result.score.reason)

    def rest(self, shard: Shard) -> Shard | None:
        """What has not come yet."""
        works = []
        for work in shard.clips:
            left = {
                step: wanted
                for step, wanted in work.wanted.items()
                if (step, work.clip.name) not in self._done
            }
            if left:
                works.append(replace(work, wanted=left))
        return replace(shard, clips=tuple(works)) if works else None

    def give_up(self, shard: Shard, loss: Loss) -> None:
        """Says what is left out."""
        for work in shard.clips:
            for step in work.wanted:
                assert step is not None
                self._left_out(step, work.clip.name, loss.reason)

    def at(self, system: str, point: str) -> None:
        """Tells the progress."""
        self._progress.at(f"{system} (fit)", point)

    def at_work(self, workers: int, shards: int) -> None:
        """Tells the progress."""
        self._progress.at_work(workers, shards, 0)

    def say(self, message: str) -> None:
        """Tells the progress."""
        self._progress.say(message)

    def flush(self) -> None:
        """Nothing is written here."""

    def _left_out(self, step: StepId, clip: str, reason: str) -> None:
        self._progress.say(f"{step[0]}: {clip} is left out: {reason}")


def fit_tables(
    spec: BenchmarkSpec,
    progress: Progress,
    *,
    device: str = "auto",
    allow_code: bool = False,
    allow_download: bool = False,
    known: Tables | None = None,
) -> Tables:
    """Encodes the clips of `spec` with each of its systems and fits what can be fitted.

    known: tables to extend: their entries stay as they are, and what they lack is fitted.

    Raises SpecError, CodecError or AudioError for what the user can mend, CodecError also where
    no system has tokens or a posterior, TablesError where `known` were fitted on other clips. A
    system that cannot be built, and a clip that cannot be encoded, is said and left out.
    """
    from rdbench.engine.devices import default_workers, resolve_device
    from rdbench.engine.executors.host import HostPlace
    from rdbench.engine.executors.processes import Processes
    from rdbench.engine.measure.shard import Setup, SystemSetup
    from rdbench.engine.plan.clips import excerpt_protocols, load_corpus, plan_clips
    from rdbench.engine.plan.given import take_found
    from rdbench.engine.plan.systems import build_systems

    corpus = load_corpus(spec)
    clips = plan_clips(corpus, seed=spec.protocol.seed)
    where = resolve_device(device)
    workers = default_workers(where, spec.protocol.threads)
    systems = build_systems(
        spec, allow_code=allow_code, fetching=progress.say if allow_download else None
    )
    take_found(spec, systems, clips)
    steps = list(_steps(systems, progress))
    if known is not None:
        steps = [step for step in steps if not _is_known(step, known)]
        if not steps:
            return known
    setup = Setup(
        systems=tuple(SystemSetup.of(s) for s in dict.fromkeys(step.system for step in steps)),
        passes=(PayloadPass(),),
        protocols=excerpt_protocols(spec, list(dict.fromkeys(clip.domain for clip in clips))),
        threads=spec.protocol.threads,
        timeout=spec.timeouts.unit_seconds,
        batch_seconds=0.0,
    )
    places = [HostPlace("cpu")] * workers if where == "cpu" else [HostPlace(where, workers)]
    intake = _Payloads(progress)
    shards = list(_shards(steps, clips))
    progress.start(sum(shard.clips[0].steps for shard in shards), 0)
    try:
        with closing(Processes(setup, places, time_limit=setup.timeout)) as executor:
            executor.run(shards, intake)
    finally:
        progress.stop()
    entries, used = list(known.entries if known else ()), set[str]()
    for step in steps:
        found = intake.found.get(step.id, {})
        if found:
            assert step.system.codec is not None
            ordered = [found[clip.name] for clip in clips if clip.name in found]
            entry = entry_of(step.system.codec.to(where), step.point.name, ordered)
            codec, weights = step.system.fitted_as
            _put(entries, replace(entry, codec=codec, weights_sha256=weights))
            used |= found.keys()
    if not used:
        raise CodecError(
            "none of the systems has tokens or a posterior, so there is nothing to fit; "
            "name a neural codec or a VAE in the spec"
        )
    hashes = sorted({clip.file.sha256 for clip in clips if clip.file and clip.name in used})
    if known is not None and set(known.fitted_on) != set(hashes):
        raise TablesError(
            f"the tables to extend were fitted on other clips ({len(known.fitted_on)} files, here "
            f"{len(hashes)}); give the same clips, or fit all anew"
        )
    about = {"spec": spec.name, "corpus": corpus.name, "clips": len(used)}
    return Tables(tuple(entries), tuple(hashes), about)


def _is_known(step: Step, tables: Tables) -> bool:
    """Whether there is nothing to fit; files of version 1 lack priors beside the factorised one."""
    entry = tables.get(*step.system.fitted_as, [step.point.name])
    return entry is not None and (entry.prior is None or entry.linear is not None)


def _put(entries: list[Entry], entry: Entry) -> None:
    """Adds an entry, or to the one that is there the priors that it lacks."""
    for index, old in enumerate(entries):
        if (old.codec, old.weights_sha256, old.point) == (
            entry.codec, entry.weights_sha256, entry.point,
        ):  # fmt: skip
            entries[index] = replace(old, full=entry.full, linear=entry.linear)
            return
    entries.append(entry)


def _steps(systems: Sequence[System], progress: Progress) -> Iterator[Step]:
    """What is fitted: a nested codec at its highest point, the others being cut from it."""
    from rdbench.codecs.posterior.base import PosteriorCodec
    from rdbench.types import RateKind

    for system in systems:
        codec = system.codec
        if codec is None:
            progress.say(f"{system.name} cannot be fitted: {system.failure}")
        elif isinstance(codec, PosteriorCodec) or codec.info.headline in (
            RateKind.NOMINAL, RateKind.KL,
        ):  # fmt: skip
            yield from system.first_steps[-1:] if codec.nested else system.first_steps


def _shards(steps: Sequence[Step], clips: Sequence[PlannedClip]) -> Iterator[Shard]:
    from rdbench.engine.measure.shard import ClipWork, Shard

    wanted = frozenset({PAYLOAD})
    for clip in clips:
        asked: dict[StepId | None, frozenset[Quantity]] = {
            step.id: wanted for step in steps if step.system.takes(clip.domain)
        }
        if asked:
            yield Shard(clips=(ClipWork(clip, asked),))


def _on_cpu(encoded: Encoded) -> Encoded:
    payload = encoded.payload
    if isinstance(payload, Posterior):
        scale = None if payload.scale is None else payload.scale.cpu()
        payload = replace(payload, mean=payload.mean.cpu(), scale=scale)
    elif isinstance(payload, Tokens):
        payload = Tokens(tuple(replace(s, codes=s.codes.cpu()) for s in payload.streams))
    return replace(encoded, payload=payload, side={}, also=())


def _check(encoded: Encoded, name: str) -> None:
    """Raises PayloadError for tokens or a posterior that nothing can be fitted on."""
    from rdbench.rate.validate import check_posterior, clip_codes

    if isinstance(encoded.payload, Tokens):
        clip_codes(encoded.payload, [name] * encoded.clips)
    elif isinstance(encoded.payload, Posterior):
        check_posterior(encoded.payload, [name] * encoded.clips)


def entry_of(codec: Codec, point: str, found: Sequence[Encoded]) -> Entry:
    """Fits one entry on what a codec made of clips; raises CodecError where that cannot be."""
    from rdbench.codecs.posterior.base import PosteriorCodec
    from rdbench.codecs.posterior.gain import decoder_gain
    from rdbench.rate.coded.fitted import FittedLatent
    from rdbench.rate.linear import ORDER, LinearGaussian
    from rdbench.rate.prior import GaussianPrior, Moments
    from rdbench.rate.static import StaticTables
    from rdbench.rate.validate import clip_codes

    entry = Entry(codec.info.name, codec.info.weights_sha256, point)
    tokens = [item.payload for item in found if isinstance(item.payload, Tokens)]
    if tokens:
        sizes = [stream.codebook_sizes for stream in tokens[0].streams]
        clips = (clip for item in tokens for clip in clip_codes(item))
        return replace(entry, tokens=StaticTables.fit(clips, sizes))
    posteriors = [item.payload for item in found if isinstance(item.payload, Posterior)]
    moments = Moments.of(posteriors)
    latent = None
    if isinstance(codec, PosteriorCodec):  # a stream of what was decoded already is decoded nowhere
        latent = FittedLatent.fit(posteriors, moments, decoder_gain(codec, posteriors, moments))
    if posteriors[0].scale is None:
        return replace(entry, latent=latent)
    return replace(
        entry,
        prior=GaussianPrior.fit(moments),
        full=LinearGaussian.fit(posteriors, moments, 0),
        linear=LinearGaussian.fit(posteriors, moments, ORDER),
        latent=latent,
    )
