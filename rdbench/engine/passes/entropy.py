"""What streams really cost: entropy-coded tokens, and KL to fitted priors and probes.

A trained probe is a prior too (`rdbench.latent.probe_prior`).

For tokens there is, under every model, a rate per clip and one of all clips of a domain as one
stream (clip "", in the order of their names), and how the codebooks are used. Clips are coded where
the evaluation encodes them; what one stream needs of each clip, its tokens, travels with them. A
stream of all clips belongs to exactly these clips: where one of them fails, it has failed too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rdbench.audio.channels import spread_seeds
from rdbench.engine.measure.passes import Pass
from rdbench.engine.measure.work import Result, SetWork, Work
from rdbench.engine.plan.families import Columns, Needs, SetUnits
from rdbench.latent.probe_prior import ProbePrior
from rdbench.rate.adaptive import CONTEXT, ORDER0, context_fits
from rdbench.rate.entropy import measure_clips
from rdbench.rate.measure import entropy_rates, prior_rates, side_bits
from rdbench.rate.static import STATIC, StaticTables
from rdbench.rate.usage import usage
from rdbench.rate.validate import clip_codes
from rdbench.store.schema import ONE_STREAM, Kind, Quantity
from rdbench.types import KL_PRIOR, CodecError, Posterior, Rate, RateKind, Score, Status, Tokens

if TYPE_CHECKING:
    from pathlib import Path

    from rdbench.engine.measure.desk import Desk
    from rdbench.engine.measure.encoding import Encoding
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.systems import Step, System
    from rdbench.rate.tables import Entry, Tables
    from rdbench.rate.validate import ClipCodes
    from rdbench.spec.model import BenchmarkSpec

PERPLEXITY = Quantity(Kind.USAGE, "codebook_perplexity")
USE = Quantity(Kind.USAGE, "codebook_use")
TOKENS = Quantity(Kind.FEATURE, "tokens")
_TOO_LARGE = "the codebooks have too many entries for contexts of tokens"


@dataclass(frozen=True)
class ClipTokens:
    """What one stream needs of a clip. codes: of each encoded item (channels that were encoded one
    by one). sizes: entries of the codebooks, per token stream. side: bits of side information.
    """

    codes: list[ClipCodes]
    sizes: list[tuple[int, ...]]
    side: float
    seconds: float


@dataclass(frozen=True, eq=False)
class EntropyPass(Pass):
    """enabled: whether bits are counted. tables: of `rdbench fit-entropy`, None without. probes: by
    system, those that are a prior of its latents, whether or not the others are asked for.
    """

    enabled: bool
    tables: Tables | None
    probes: Mapping[str, ProbePrior] = field(default_factory=dict)
    name = "entropy"

    def owns(self, quantity: Quantity) -> bool:
        """Entropy rates, KL to fitted priors, and the use of codebooks."""
        if quantity.kind is Kind.RATE:
            fitted = quantity.key == RateKind.KL and quantity.model != KL_PRIOR
            return quantity.key == RateKind.ENTROPY or fitted
        return quantity in (PERPLEXITY, USE, TOKENS)

    def of_clip(self, step: Step, domain: str) -> Sequence[Quantity]:
        """A rate under every model, for the variant that stands for what was encoded."""
        kind = _kind(step)
        if kind is None:
            return []
        return [Quantity(Kind.RATE, kind.value, label) for label in self.labels(step)]

    def of_set(self, step: Step, clips: Sequence[PlannedClip]) -> Sequence[SetUnits]:
        """All clips of a domain as one stream, and how its codebooks are used."""
        if not self.enabled or _kind(step) is not RateKind.ENTROPY:
            return []
        streams = [
            Quantity(Kind.RATE, RateKind.ENTROPY.value, _one_stream(label))
            for label in self.labels(step)
        ]
        by_domain: dict[str, list[PlannedClip]] = {}
        for clip in sorted(clips, key=lambda clip: clip.name):
            by_domain.setdefault(clip.domain, []).append(clip)
        return [
            SetUnits(step, domain, tuple(members), (*streams, PERPLEXITY, USE), TOKENS)
            for domain, members in by_domain.items()
        ]

    def needs(self, quantity: Quantity) -> Needs:
        """All of it is measured on what was encoded."""
        return Needs.ENCODED

    def columns(self, quantity: Quantity) -> Columns:
        """Bits under their model; of codebooks, entries and the share of them."""
        if quantity.kind is Kind.USAGE:
            unit = "entries" if quantity == PERPLEXITY else "share"
            return Columns(unit, "mean over codebooks")
        return Columns("bit", quantity.model)

    def depends(self, step: Step | None, quantity: Quantity) -> Any:
        """The versions of the code that counts, and the numbers of a fitted model."""
        from rdbench import rate
        from rdbench.rate import entropy
        from rdbench.rate import usage as codebooks

        if quantity.kind is Kind.USAGE:
            return [self.name, codebooks.VERSION]
        fitted = self._fitted_model(step, quantity.model) if step else None
        return [self.name, rate.VERSION, entropy.VERSION, fitted.digest if fitted else ""]

    def labels(self, step: Step) -> list[str]:
        """The models of a step, as rows name them."""
        entry = self._entry(step) if self.enabled else None
        if step.system.headline is RateKind.KL:
            fitted = [self._label(prior.title) for prior in entry.priors] if entry else []
            probe = self.probes.get(step.system.name)
            return [*fitted, *([probe.label] if probe else [])]
        if not self.enabled:
            return []
        return [ORDER0, CONTEXT, *([self._label(STATIC)] if entry and entry.tokens else [])]

    def unfitted(self, systems: Iterable[System]) -> list[str]:
        """Sentences on systems for which the tables of the spec have nothing."""
        if not self.enabled or self.tables is None:
            return []
        return [
            f"{system.name} at {', '.join(points)}: the entropy tables have nothing for this codec "
            "with these weights, so no fitted model counts its bits; run `rdbench fit-entropy` "
            "with it in the spec"
            for system in systems
            if (points := [s.point.name for s in system.first_steps if self._lacks(s)])
        ]

    def on_encoded(self, work: Work, encoding: Encoding) -> None:
        """Records what one stream needs, and a rate under every model that is open."""
        assert work.step is not None
        if work.wants(TOKENS):
            for position, tokens in enumerate(_clip_tokens(work, encoding)):
                work.record(position, TOKENS, Score(1.0), tokens)
        for label in self.labels(work.step):
            self._count(work, encoding, label)

    def _count(self, work: Work, encoding: Encoding, label: str) -> None:
        """Records the rate under one model; that it cannot count a clip costs no other model."""
        assert work.step is not None
        kind = _kind(work.step)
        assert kind is not None
        quantity = Quantity(Kind.RATE, kind.value, label)
        if not work.wants(quantity):
            return
        try:
            rates = self._rates(work, label, encoding)
        except CodecError as error:
            if len(work.clips) > 1:
                raise
            work.fail(0, str(error), [quantity])
            return
        for position, rate in enumerate(encoding.gathered(kind, rates)):
            score = Score(rate.bits, rate.status, rate.reason)
            work.record(position, quantity, score, seconds=rate.seconds)

    def on_set(self, work: SetWork, step: Step, desk: Desk) -> Iterator[Result]:
        """The length of the one stream under every model, and how its codebooks are used."""
        clips: list[ClipTokens] = [work.arrays[c.name] for c in work.clips if c.name in work.arrays]
        failure = next((f"{name}: {why}" for name, why in work.failures.items()), "")
        codes = [item for clip in clips for item in clip.codes]
        sizes = clips[0].sizes if clips else []
        used = usage(StaticTables.fit(codes, sizes)) if codes else []
        for quantity in work.quantities:
            if failure or not codes:
                why = f"a clip of the stream could not be coded ({failure or 'none was'})"
                score = Score.failed(why)
            elif quantity == PERPLEXITY:
                score = Score(math.fsum(one.perplexity for one in used) / len(used))
            elif quantity == USE:
                score = Score(math.fsum(one.used for one in used) / len(used))
            else:
                score = self._one_stream(step, quantity, codes, sizes)
                if score.status is Status.OK:
                    score = Score(score.value + math.fsum(clip.side for clip in clips))
            seconds = math.fsum(c.seconds for c in clips) if quantity.kind is Kind.RATE else 0.0
            yield Result(step.id, "", work.domain, quantity, score, seconds)

    def _one_stream(
        self, step: Step, quantity: Quantity, codes: list[ClipCodes], sizes: list[tuple[int, ...]]
    ) -> Score:
        (label,) = [one for one in self.labels(step) if _one_stream(one) == quantity.model]
        if label == CONTEXT and not all(context_fits(stream) for stream in sizes):
            return Score.undefined(_TOO_LARGE)
        try:
            return Score(float(measure_clips(codes, sizes, self._model(step, label)).bits))
        except CodecError as error:
            return Score.failed(str(error))

    def _rates(self, work: Work, label: str, encoding: Encoding) -> Sequence[Rate]:
        step, clips, encoded = work.step, work.clips, encoding.encoded
        assert step is not None
        names = _names(work, encoding)
        if isinstance(encoded.payload, Posterior):
            prior = self._fitted_model(step, label)
            if isinstance(prior, ProbePrior):
                seeds = [clip.seed for clip in clips]
                prior = prior.drawn(spread_seeds(seeds, encoding.policy, encoding.channels))
            return prior_rates(encoded, prior, label, names)
        tokens = encoded.payload
        assert isinstance(tokens, Tokens)
        if label == CONTEXT and not all(context_fits(s.codebook_sizes) for s in tokens.streams):
            seconds = (encoded.lengths.double() / encoded.sample_rate).tolist()
            kind, status = RateKind.ENTROPY, Status.UNDEFINED
            return [Rate(kind, math.nan, one, label, status, _TOO_LARGE) for one in seconds]
        return entropy_rates(encoded, self._model(step, label), label=label, names=names)

    def _model(self, step: Step, label: str) -> str | StaticTables:
        if label in (ORDER0, CONTEXT):
            return label
        entry = self._entry(step)
        assert entry is not None
        assert entry.tokens is not None
        return entry.tokens

    def _lacks(self, step: Step) -> bool:
        return _kind(step) is not None and self._entry(step) is None

    def _entry(self, step: Step) -> Entry | None:
        if self.tables is None or step.system.codec is None:
            return None
        codec, weights = step.system.fitted_as
        points = [step.point.name]
        if step.system.codec.nested:
            fitted = (e.point for e in self.tables.entries if e.codec == codec)
            points += [point for point in fitted if point not in points]
        return self.tables.get(codec, weights, points)

    def _label(self, what: str) -> str:
        assert self.tables is not None
        return f"{what}, {self.tables.label}"

    def _fitted_model(self, step: Step, label: str) -> Any:
        """The fitted model or the probe that a label tells the files of; None for other models."""
        probe = self.probes.get(step.system.name)
        if probe is not None and probe.label == label:
            return probe
        entry = self._entry(step)
        if entry is None or self.tables is None or self.tables.label not in label:
            return None
        if step.system.headline is RateKind.KL:
            return next(one for one in entry.priors if self._label(one.title) == label)
        return entry.tokens


def take_tables(path: Path, systems: Iterable[System], clips: Sequence[PlannedClip]) -> Tables:
    """Reads fitted tables, and gives codecs what was fitted to their latents.

    Raises TablesError for a file that cannot be used, or that was fitted on one of `clips`.
    """
    from rdbench.codecs.posterior.base import PosteriorCodec
    from rdbench.rate.tables import Tables

    tables = Tables.load(path)
    files = {clip.clip.path: (clip.name, clip.file.sha256) for clip in clips if clip.file}
    tables.check_apart(files.values())
    for system in systems:
        codec = system.codec
        if isinstance(codec, PosteriorCodec):
            for entry in tables.entries:
                if (entry.codec, entry.weights_sha256) == (
                    codec.info.name, codec.info.weights_sha256,
                ):  # fmt: skip
                    codec.fitted = entry.latent
    return tables


def take_probes(
    spec: BenchmarkSpec, systems: Iterable[System], clips: Sequence[PlannedClip]
) -> dict[str, ProbePrior]:
    """Reads the probes that a spec names, by system.

    Raises WeightsError for a file that is none, ProbeError for one of another checkpoint or that
    was trained on one of `clips`, and PayloadError for one of means.
    """
    from rdbench.models.probe.checkpoint import load

    built = {system.name: system.info for system in systems if system.codec is not None}
    files = [(clip.name, clip.file.sha256) for clip in clips if clip.file]
    found = {}
    for item in spec.systems:
        info = built.get(item.name)
        if item.probe is not None and info is not None:
            trained = load(spec.locate(item.probe))
            trained.check_codec(item.name, info.weights_sha256)
            trained.check_apart(files)
            found[item.name] = ProbePrior(trained, spec.protocol.seed)
    return found


def _kind(step: Step) -> RateKind | None:
    """The kind of rate that this pass counts of a step; None where it counts nothing."""
    if step.system.codec is None or not step.first:
        return None
    kinds = {RateKind.NOMINAL: RateKind.ENTROPY, RateKind.KL: RateKind.KL}
    return kinds.get(step.system.headline) if step.system.headline else None


def _one_stream(label: str) -> str:
    return f"{label}, {ONE_STREAM}"


def _names(work: Work, encoding: Encoding) -> list[str]:
    """Of the clip of every encoded item."""
    return [clip.name for i, clip in enumerate(work.clips) for _ in encoding.items(i)]


def _clip_tokens(work: Work, encoding: Encoding) -> Iterator[ClipTokens]:
    tokens = encoding.encoded.payload
    assert isinstance(tokens, Tokens)
    codes, side = clip_codes(tokens, _names(work, encoding)), side_bits(encoding.encoded)
    sizes = [stream.codebook_sizes for stream in tokens.streams]
    for position in range(len(work.clips)):
        items = encoding.items(position)
        yield ClipTokens(
            [codes[item] for item in items],
            sizes,
            math.fsum(side[item] for item in items),
            float(encoding.encoded.lengths[items[0]]) / encoding.encoded.sample_rate,
        )
