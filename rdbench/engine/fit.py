"""Fits entropy tables on the clips of a spec: `rdbench fit-entropy`.

Of every system with tokens the static tables (of a nested codec at its highest point, the others
being cut from it); of every system with a posterior the factorised Gaussian prior and the latent
coder. The clips must be others than those that will be scored: their files' hashes are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rdbench.rate.tables import Entry, Tables
from rdbench.types import CodecError, Encoded, Posterior, RdbenchError, Tokens

if TYPE_CHECKING:
    from rdbench.engine.plan import PlannedClip, System
    from rdbench.engine.pool import WorkerPool
    from rdbench.engine.progress import Progress
    from rdbench.spec.model import BenchmarkSpec
    from rdbench.types import OperatingPoint


def fit_tables(
    spec: BenchmarkSpec,
    progress: Progress,
    *,
    device: str = "auto",
    allow_code: bool = False,
) -> Tables:
    """Encodes the clips of `spec` with each of its systems and fits what can be fitted.

    Raises SpecError, CodecError or AudioError for what the user can mend, CodecError also where
    no system has tokens or a posterior. A system that cannot be built, and a clip that cannot be
    encoded, is said and left out.
    """
    from rdbench.engine.corpora import load_corpus
    from rdbench.engine.devices import resolve_device
    from rdbench.engine.environment import cores
    from rdbench.engine.plan import build_systems, plan_clips
    from rdbench.engine.pool import worker_pool
    from rdbench.identity import file_sha256

    corpus = load_corpus(spec)
    clips = plan_clips(corpus, seed=spec.protocol.seed)
    where = resolve_device(device)
    entries: list[Entry] = []
    used: set[str] = set()
    with worker_pool(cores()) as pool:
        for system in build_systems(spec, allow_code=allow_code):
            if system.codec is None:
                progress.say(f"{system.name} cannot be fitted: {system.failure}")
                continue
            if system.codec.info.headline is None and not _has_latent(system):
                continue
            system.codec.to(where)
            wanted = [clip for clip in clips if system.takes(clip.clip.domain)]
            points = _points(system)
            progress.start(len(wanted) * len(points), 0)
            for point in points:
                entry, fitted = _fit(spec, system, point, wanted, progress=progress, pool=pool)
                if entry is not None:
                    entries.append(entry)
                    used |= fitted
            progress.stop()
    if not entries:
        raise CodecError(
            "none of the systems has tokens or a posterior, so there is nothing to fit; "
            "name a neural codec or a VAE in the spec"
        )
    hashes = sorted({file_sha256(clip.clip.path) for clip in clips if clip.clip.name in used})
    about = {"spec": spec.name, "corpus": corpus.name, "clips": len(used)}
    return Tables(tuple(entries), tuple(hashes), about)


def _has_latent(system: System) -> bool:
    from rdbench.codecs.posterior.base import PosteriorCodec

    return isinstance(system.codec, PosteriorCodec)


def _points(system: System) -> Sequence[OperatingPoint]:
    assert system.codec is not None
    return system.codec.points[-1:] if system.codec.nested else system.codec.points


def _fit(
    spec: BenchmarkSpec,
    system: System,
    point: OperatingPoint,
    clips: Sequence[PlannedClip],
    *,
    progress: Progress,
    pool: WorkerPool,
) -> tuple[Entry | None, set[str]]:
    """The entry of one system and point, and the names of the clips that it was fitted on."""
    from rdbench.engine.payloads import payloads
    from rdbench.engine.run import excerpt_protocols

    assert system.codec is not None
    codec = system.codec
    found: list[Encoded] = []
    used: set[str] = set()

    def failed(clip: PlannedClip, reason: str) -> None:
        progress.say(f"{system.name}: {clip.clip.name} is left out: {reason}")

    protocols = excerpt_protocols(spec, list(dict.fromkeys(c.clip.domain for c in clips)))
    results = payloads(
        system,
        [point],
        clips,
        protocols=protocols,
        pool=pool,
        timeout=spec.timeouts.unit_seconds,
        failed=failed,
    )
    for clip, payload in results:
        progress.at(f"{system.name} (fit)", point.name)
        progress.advance()
        if not isinstance(payload.encoded.payload, Tokens | Posterior):
            return None, set()
        try:
            _check(payload.encoded, clip.clip.name)
        except RdbenchError as error:
            failed(clip, str(error))
            continue
        found.append(payload.encoded)
        used.add(clip.clip.name)
    if not found:
        return None, set()
    return entry_of(codec.info.name, codec.info.weights_sha256, point.name, found), used


def _check(encoded: Encoded, name: str) -> None:
    """Raises PayloadError for tokens or a posterior that nothing can be fitted on."""
    from rdbench.rate.validate import check_posterior, clip_codes

    if isinstance(encoded.payload, Tokens):
        clip_codes(encoded.payload, [name] * encoded.clips)
    elif isinstance(encoded.payload, Posterior):
        check_posterior(encoded.payload, [name] * encoded.clips)


def entry_of(codec: str, weights_sha256: str, point: str, found: Sequence[Encoded]) -> Entry:
    """Fits one entry on what a codec made of clips; raises CodecError where that cannot be."""
    from rdbench.rate.coded import FittedCoder
    from rdbench.rate.prior import GaussianPrior, Moments
    from rdbench.rate.static import StaticTables
    from rdbench.rate.validate import clip_codes

    tokens = [item.payload for item in found if isinstance(item.payload, Tokens)]
    if tokens:
        sizes = [stream.codebook_sizes for stream in tokens[0].streams]
        clips = (clip for item in tokens for clip in clip_codes(item))
        return Entry(codec, weights_sha256, point, tokens=StaticTables.fit(clips, sizes))
    posteriors = [item.payload for item in found if isinstance(item.payload, Posterior)]
    moments = Moments.of(posteriors)
    prior = None if posteriors[0].scale is None else GaussianPrior.fit(moments)
    latent = FittedCoder.fit(posteriors, moments)
    return Entry(codec, weights_sha256, point, prior=prior, latent=latent)
