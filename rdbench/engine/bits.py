"""The pass that counts what streams really cost: entropy-coded tokens, and KL to a fitted prior.

It comes after the evaluation and needs encoding alone. For tokens it writes, under every model,
a rate per clip and one of all clips of a domain as one stream (clip "", in the order of their
names), and how the codebooks are used. A corpus stream belongs to exactly these clips: where one of
them fails, it has failed too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rdbench.engine.channels import gather_rates
from rdbench.engine.keys import digest
from rdbench.engine.payloads import Payload, payloads
from rdbench.engine.plan import PlannedClip, Step, System
from rdbench.engine.unit_keys import UnitKeys
from rdbench.identity import file_sha256
from rdbench.rate.adaptive import CONTEXT, ORDER0, context_fits
from rdbench.rate.entropy import measure_clips
from rdbench.rate.measure import entropy_rates, prior_rates, side_bits
from rdbench.rate.static import STATIC, StaticTables
from rdbench.rate.usage import usage
from rdbench.rate.validate import clip_codes
from rdbench.store.schema import ONE_STREAM, Kind, Row
from rdbench.types import Encoded, Posterior, Rate, RateKind, RdbenchError, Score, Tokens

if TYPE_CHECKING:
    from pathlib import Path

    from rdbench.audio.load import ExcerptProtocol
    from rdbench.engine.pool import WorkerPool
    from rdbench.engine.progress import Progress
    from rdbench.rate.tables import Entry, Tables
    from rdbench.rate.validate import ClipCodes
    from rdbench.store.writer import RunWriter

PERPLEXITY = "codebook_perplexity"
USE = "codebook_use"
_VERSION = 1
"""Part of every key: raised when streams of the same tokens change their length."""


@dataclass
class _Corpus:
    """What one point made of the clips of one domain, in the order of their names."""

    codes: list[ClipCodes] = field(default_factory=list)
    sizes: Sequence[Sequence[int]] = ()
    side: float = 0.0
    seconds: float = 0.0
    failure: str = ""

    def add(self, payload: Payload) -> None:
        """Appends the tokens of a clip."""
        tokens = payload.encoded.payload
        assert isinstance(tokens, Tokens)
        self.codes += clip_codes(tokens)
        self.sizes = [stream.codebook_sizes for stream in tokens.streams]
        self.side += sum(side_bits(payload.encoded))
        self.seconds += _seconds(payload.encoded)


class BitsPass:
    """Counts bits for every system whose payload is tokens or a posterior.

    protocols: by domain. tables: of `rdbench fit-entropy`, None without. timeout: seconds that a
    codec of the pool may take for one clip at one point.
    """

    def __init__(
        self,
        *,
        protocols: Mapping[str, ExcerptProtocol],
        keys: UnitKeys,
        writer: RunWriter,
        progress: Progress,
        tables: Tables | None,
        timeout: float,
    ) -> None:
        self._protocols = protocols
        self._keys = keys
        self._writer = writer
        self._progress = progress
        self._tables = tables
        self._timeout = timeout

    def keys(self, systems: Iterable[System], clips: Sequence[PlannedClip]) -> set[str]:
        """The keys of every row that this pass may write."""
        return {
            key
            for system in systems
            for group in _groups(system, clips)
            for step in _steps(system)
            for key in self._step_keys(step, group)
        }

    def expected(
        self, systems: Iterable[System], clips: Sequence[PlannedClip]
    ) -> Iterator[tuple[Step, str, list[str], list[str]]]:
        """By step and domain: the rows of every clip and of the step (see `engine.expected`)."""
        for system in systems:
            for group in _groups(system, clips):
                for step in _steps(system):
                    kind = RateKind.KL if system.headline is RateKind.KL else RateKind.ENTROPY
                    labels = self._labels(step)
                    each = [f"{Kind.RATE}/{kind}/{label}" for label in labels]
                    whole = []
                    if system.headline is RateKind.NOMINAL:
                        whole = [f"{Kind.RATE}/{kind}/{_one_stream(label)}" for label in labels]
                        whole += [f"{Kind.USAGE}/{key}" for key in (PERPLEXITY, USE)]
                    yield step, group[0].clip.domain, each, whole

    def open(self, systems: Iterable[System], clips: Sequence[PlannedClip], done: set[str]) -> bool:
        """Whether anything is missing; systems that could not be built have nothing to count."""
        return not self.keys(systems, clips) <= done

    def run(
        self,
        systems: Iterable[System],
        clips: Sequence[PlannedClip],
        done: set[str],
        pool: WorkerPool,
    ) -> None:
        """Writes what is missing; `done` are the keys that the store has."""
        for system in systems:
            for group in _groups(system, clips):
                steps = [s for s in _steps(system) if not self._step_keys(s, group) <= done]
                if steps:
                    self._count(system, steps, group, pool)

    # -- what is asked for

    def _step_keys(self, step: Step, group: Sequence[PlannedClip]) -> set[str]:
        models = self._labels(step)
        keys = {self._clip_key(step, clip, label) for clip in group for label in models}
        if step.system.headline is RateKind.NOMINAL:
            wholes = [*(_one_stream(label) for label in models), PERPLEXITY, USE]
            keys |= {self._corpus_key(step, group, what) for what in wholes}
        return keys

    def _labels(self, step: Step) -> list[str]:
        """The models of a step, as rows name them."""
        entry = self._entry(step)
        if step.system.headline is RateKind.KL:
            return [self._fitted("Gaussian prior")] if entry and entry.prior else []
        fitted = [self._fitted(STATIC)] if entry and entry.tokens else []
        return [ORDER0, CONTEXT, *fitted]

    def _entry(self, step: Step) -> Entry | None:
        info = step.system.info
        if self._tables is None or info is None or step.system.codec is None:
            return None
        points = [step.point.name]
        if step.system.codec.nested:
            fitted = (e.point for e in self._tables.entries if e.codec == info.name)
            points += [point for point in fitted if point not in points]
        try:
            return self._tables.find(info.name, info.weights_sha256, points)
        except RdbenchError:
            return None

    def _fitted(self, what: str) -> str:
        assert self._tables is not None
        return f"{what}, {self._tables.label}"

    def _fit(self, step: Step, what: str) -> str:
        """Names the numbers of a fitted model, of which its label tells the files alone."""
        if self._tables is None or self._tables.label not in what:
            return ""
        entry = self._entry(step)
        assert entry is not None
        fitted = entry.prior if step.system.headline is RateKind.KL else entry.tokens
        assert fitted is not None
        return f"/{fitted.digest}"

    def _clip_key(self, step: Step, clip: PlannedClip, what: str) -> str:
        return self._keys.key(step, clip, f"bits/{_VERSION}/{what}{self._fit(step, what)}")

    def _corpus_key(self, step: Step, group: Sequence[PlannedClip], what: str) -> str:
        return digest([what, *(self._clip_key(step, clip, what) for clip in group)])[:32]

    # -- counting

    def _count(
        self,
        system: System,
        steps: Sequence[Step],
        group: Sequence[PlannedClip],
        pool: WorkerPool,
    ) -> None:
        by_point = {step.point.name: step for step in steps}
        corpora = {name: _Corpus() for name in by_point}

        def failed(clip: PlannedClip, reason: str) -> None:
            for name, step in by_point.items():
                corpora[name].failure = f"{clip.clip.name}: {reason}"
                self._writer.append(self._failed(step, clip, reason))

        found = payloads(
            system,
            [step.point for step in steps],
            group,
            protocols=self._protocols,
            pool=pool,
            timeout=self._timeout,
            failed=failed,
        )
        for clip, payload in found:
            step = by_point[payload.point]
            self._progress.at(f"{system.name} (bits)", payload.point)
            try:
                rates = list(self._rates(step, clip, payload))
                if isinstance(payload.encoded.payload, Tokens):
                    corpora[payload.point].add(payload)
            except RdbenchError as error:
                corpora[payload.point].failure = f"{clip.clip.name}: {error}"
                self._writer.append(self._failed(step, clip, str(error)))
                continue
            self._writer.append([self._rate_row(step, clip, rate) for rate in rates])
        if system.headline is RateKind.NOMINAL:
            for name, corpus in corpora.items():
                self._writer.append(self._corpus_rows(by_point[name], group, corpus))

    def _rates(self, step: Step, clip: PlannedClip, payload: Payload) -> Iterator[Rate]:
        encoded, name = payload.encoded, [clip.clip.name] * payload.encoded.clips
        entry = self._entry(step)
        for label in self._labels(step):
            if isinstance(encoded.payload, Posterior):
                assert entry is not None
                assert entry.prior is not None
                found = prior_rates(encoded, entry.prior, label, name)
            elif (reason := _impossible(label, encoded)) is not None:
                found = [reason] * encoded.clips
            else:
                model = self._model(step, label)
                found = entropy_rates(encoded, model, label=label, names=name)
            kind = found[0].kind
            yield gather_rates({kind: found}, payload.policy, payload.channels)[kind][0]

    def _model(self, step: Step, label: str) -> str | StaticTables:
        if label in (ORDER0, CONTEXT):
            return label
        entry = self._entry(step)
        assert entry is not None
        assert entry.tokens is not None
        return entry.tokens

    # -- rows

    def _corpus_rows(
        self, step: Step, group: Sequence[PlannedClip], corpus: _Corpus
    ) -> Iterator[Row]:
        domain = group[0].clip.domain
        for label in self._labels(step):
            if corpus.failure or not corpus.codes:
                reason = f"a clip of the stream could not be coded ({corpus.failure or 'none was'})"
                score = Score.failed(reason)
            elif label == CONTEXT and not all(context_fits(sizes) for sizes in corpus.sizes):
                score = Score.undefined(_TOO_LARGE)
            else:
                coded = measure_clips(corpus.codes, corpus.sizes, self._model(step, label))
                score = Score(coded.bits + corpus.side)
            whole = _one_stream(label)
            yield self._row(
                step, self._corpus_key(step, group, whole), domain, score,
                kind=Kind.RATE, key=RateKind.ENTROPY, unit="bit", backend=whole,
                seconds=corpus.seconds,
            )  # fmt: skip
        used = usage(StaticTables.fit(corpus.codes, corpus.sizes)) if corpus.codes else []
        for key, values, unit in (
            (PERPLEXITY, [one.perplexity for one in used], "entries"),
            (USE, [one.used for one in used], "share"),
        ):
            mean = math.fsum(values) / len(values) if values else math.nan
            broken = corpus.failure or not values
            score = Score.failed(f"not all clips: {corpus.failure}") if broken else Score(mean)
            yield self._row(
                step, self._corpus_key(step, group, key), domain, score,
                kind=Kind.USAGE, key=key, unit=unit, backend="mean over codebooks", seconds=0.0,
            )  # fmt: skip

    def _rate_row(self, step: Step, clip: PlannedClip, rate: Rate) -> Row:
        return self._row(
            step, self._clip_key(step, clip, rate.model), clip.clip.domain,
            Score(rate.bits, rate.status, rate.reason),
            kind=Kind.RATE, key=rate.kind, unit="bit", backend=rate.model, seconds=rate.seconds,
            clip=clip,
        )  # fmt: skip

    def _failed(self, step: Step, clip: PlannedClip, reason: str) -> list[Row]:
        posterior = step.system.headline is RateKind.KL
        kind = RateKind.KL if posterior else RateKind.ENTROPY
        return [
            self._row(
                step, self._clip_key(step, clip, label), clip.clip.domain, Score.failed(reason),
                kind=Kind.RATE, key=kind, unit="bit", backend=label, seconds=0.0, clip=clip,
            )
            for label in self._labels(step)
        ]  # fmt: skip

    @staticmethod
    def _row(
        step: Step,
        unit_key: str,
        domain: str,
        score: Score,
        *,
        kind: Kind,
        key: str,
        unit: str,
        backend: str,
        seconds: float,
        clip: PlannedClip | None = None,
    ) -> Row:
        return Row(
            unit_key=unit_key,
            system=step.system.name,
            curve=step.system.spec.curve,
            point=step.point.name,
            variant=step.variant.value,
            clip=clip.clip.name if clip else "",
            domain=domain,
            group=clip.clip.group if clip else "",
            seconds=seconds,
            kind=kind,
            key=str(key),
            value=score.value,
            unit=unit,
            backend=backend,
            status=score.status,
            reason=score.reason,
        )


def take_tables(path: Path, systems: Iterable[System], clips: Sequence[PlannedClip]) -> Tables:
    """Reads fitted tables, and gives their latent coders to the codecs that they are for.

    Raises TablesError for a file that cannot be used, or that was fitted on one of `clips`.
    """
    from rdbench.codecs.posterior.base import PosteriorCodec
    from rdbench.rate.tables import Tables

    tables = Tables.load(path)
    files = {clip.clip.path: clip.clip.name for clip in clips if not clip.failure}
    tables.check_apart((name, file_sha256(file)) for file, name in files.items())
    for system in systems:
        codec = system.codec
        if isinstance(codec, PosteriorCodec):
            for entry in tables.entries:
                if (entry.codec, entry.weights_sha256) == (
                    codec.info.name, codec.info.weights_sha256,
                ):  # fmt: skip
                    codec.coder = entry.latent
    return tables


_TOO_LARGE = "the codebooks have too many entries for contexts of tokens"


def _impossible(label: str, encoded: Encoded) -> Rate | None:
    """The undefined rate of a model that cannot be used with these codebooks."""
    from rdbench.types import Status

    tokens = encoded.payload
    assert isinstance(tokens, Tokens)
    if label != CONTEXT or all(context_fits(s.codebook_sizes) for s in tokens.streams):
        return None
    seconds = _seconds(encoded)
    return Rate(RateKind.ENTROPY, math.nan, seconds, label, Status.UNDEFINED, _TOO_LARGE)


def _one_stream(label: str) -> str:
    return f"{label}, {ONE_STREAM}"


def _seconds(encoded: Encoded) -> float:
    """Seconds of the clip, whose channels may have been encoded one by one."""
    return float(encoded.lengths[0]) / encoded.sample_rate


def _steps(system: System) -> list[Step]:
    """One step for each point, of the variant that carries the headline rate."""
    if system.codec is None or system.headline not in (RateKind.NOMINAL, RateKind.KL):
        return []
    return [step for step in system.steps if step.variant is system.variants[0]]


def _groups(system: System, clips: Sequence[PlannedClip]) -> list[list[PlannedClip]]:
    """The clips of each domain that a system takes, in the order of their names."""
    by_domain: dict[str, list[PlannedClip]] = {}
    for clip in sorted(clips, key=lambda planned: planned.clip.name):
        if system.takes(clip.clip.domain):
            by_domain.setdefault(clip.clip.domain, []).append(clip)
    return list(by_domain.values())
