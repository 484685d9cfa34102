"""What is to be done: systems, clips, quantities, and the keys of their units.

A unit is one quantity (a metric, the rates, the residual delay) of one clip at one point and
variant of one system. Its key is built from digests of its parts, so that planning a hundred
thousand units takes seconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rdbench.engine.keys import clip_seed, digest
from rdbench.engine.source import name_weights, source_of
from rdbench.engine.worker import CodecRecipe
from rdbench.identity import file_sha256
from rdbench.metrics.base import Backend, MetricDefinition
from rdbench.store.audio import KEY as KEPT
from rdbench.store.schema import Kind
from rdbench.store.traces import AXES
from rdbench.types import (
    CodecError,
    CodecInfo,
    MissingExtraError,
    OperatingPoint,
    RateKind,
    SpecError,
    Variant,
    WeightsError,
)

if TYPE_CHECKING:
    from rdbench.audio.clip import Clip, Corpus
    from rdbench.codecs.base import Codec
    from rdbench.spec.model import BenchmarkSpec, SystemSpec

RESIDUAL_DELAY = "residual_delay"
AUDIO = f"{Kind.AUDIO}/{KEPT}"
"""Names a step's kept audio, where quantities are named."""
TRACES = f"{Kind.TRACE}/"
"""What the name of a step's trace along an axis begins with."""


@dataclass(frozen=True)
class Metric:
    """A metric of the spec with the backend that computes it here."""

    definition: MetricDefinition
    backend: Backend

    @property
    def key(self) -> str:
        """The metric's key."""
        return self.definition.key

    def card(self) -> dict[str, Any]:
        """What the manifest says of it."""
        values = asdict(self.definition)
        values["domains"] = list(self.definition.domains)
        return values | {
            "backend": self.backend.name,
            "backend_version": self.backend.version,
            "tolerance": self.backend.tolerance,
        }


@dataclass
class System:
    """A system of the spec, with its codec, or with the reason why it cannot be run.

    source: hash of the code of a codec that is not rdbench's own, whose version says too little.
    """

    spec: SystemSpec
    recipe: CodecRecipe
    codec: Codec | None
    failure: str = ""
    source: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The system's name."""
        return self.spec.name

    @property
    def info(self) -> CodecInfo | None:
        """What the codec says of itself."""
        return self.codec.info if self.codec else None

    @property
    def points(self) -> tuple[OperatingPoint, ...]:
        """The operating points; for a codec that could not be built, those that were asked for."""
        if self.codec:
            return self.codec.points
        return tuple(OperatingPoint(str(point), None) for point in self.spec.points or ("",))

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The variants to decode."""
        if self.spec.variants:
            return tuple(Variant(name) for name in self.spec.variants)
        return self.codec.variants if self.codec else (Variant.CODES,)

    @property
    def headline(self) -> RateKind | None:
        """The rate kind that stands for the system; None for anchors."""
        return self.codec.info.headline if self.codec else None

    @property
    def steps(self) -> list[Step]:
        """Every point under every variant, cheapest point first."""
        return [Step(self, point, variant) for point in self.points for variant in self.variants]

    def takes(self, domain: str) -> bool:
        """Whether the spec wants this system on `domain`."""
        return self.spec.domains is None or domain in self.spec.domains


StepId = tuple[str, str, Variant]


@dataclass(frozen=True, eq=False)
class Step:
    """One system at one operating point under one variant."""

    system: System
    point: OperatingPoint
    variant: Variant

    @property
    def id(self) -> StepId:
        """Names the step within its run."""
        return self.system.name, self.point.name, self.variant

    @property
    def rate_kind(self) -> RateKind | None:
        """The rate that belongs to what is decoded; None for anchors."""
        return RateKind.CODED if self.variant is Variant.CODED else self.system.headline

    def axes(self, *, frames: bool) -> tuple[str, ...]:
        """Along what its rate is traced: the channels of a posterior, and frames where asked for.

        One variant stands for what was encoded.
        """
        if not self.rate_kind or self.variant is not self.system.variants[0]:
            return ()
        wanted = {"frame": frames, "channel": self.system.headline is RateKind.KL}
        return tuple(axis for axis in AXES if wanted[axis])

    @property
    def coder(self) -> str:
        """Names what codes the latent for the variant `coded`; "" for the others."""
        if self.variant is not Variant.CODED:
            return ""
        coder = getattr(self.system.codec, "latent_coder", None)
        return f"{coder.name} {getattr(coder, 'digest', '')}" if coder else ""

    def __str__(self) -> str:
        return f"{self.system.name} at {self.point.name}"


@dataclass(frozen=True)
class PlannedClip:
    """A clip with the identity of its content.

    content: digest of the file's bytes and the part that is used; "" where it cannot be read.
    failure: why it cannot be read.
    """

    clip: Clip
    content: str
    seed: int
    failure: str = ""


def build_systems(spec: BenchmarkSpec, *, allow_code: bool) -> list[System]:
    """Builds every codec of the spec.

    Raises CodecError for what the user can mend in the spec (unknown names, options, points).
    Missing weights or extras are kept as the system's failure: the other systems go on.
    """
    systems = []
    for item in spec.systems:
        points = tuple(item.points) if item.points is not None else None
        recipe = CodecRecipe(
            item.codec, points, json.dumps(spec.options_for(item), sort_keys=True), allow_code
        )
        try:
            codec: Codec | None = recipe.build()
            failure = "; ".join(codec.self_check()) if codec else ""
        except (WeightsError, MissingExtraError) as error:
            codec, failure = None, str(error)
        if codec and points is not None and len(codec.points) != len(points):
            has = ", ".join(point.name for point in codec.points)
            raise CodecError(
                f"codec {item.codec!r} was asked for {len(points)} points and has {has}; its "
                "constructor must make the `points` that it is given"
            )
        if codec:
            _check_variants(item, codec)
            name_weights(codec)
        source = source_of(codec, recipe.options) if codec else ()
        systems.append(System(item, recipe, None if failure else codec, failure, source))
    return systems


def _check_variants(item: SystemSpec, codec: Codec) -> None:
    possible = [variant.value for variant in codec.possible_variants]
    for name in item.variants or ():
        if name not in possible:
            raise CodecError(
                f"system {item.name!r}: {codec.info.name} has no variant {str(name)!r}; it has: "
                f"{', '.join(possible)}"
            )


def plan_clips(corpus: Corpus, *, seed: int) -> list[PlannedClip]:
    """Identifies the content of every clip; a file that cannot be read becomes a failure."""
    hashes: dict[str, str] = {}
    planned = []
    for clip in corpus.clips:
        path = str(clip.path)
        try:
            if path not in hashes:
                hashes[path] = file_sha256(clip.path)
        except OSError as error:
            reason = f"{clip.name} cannot be read: {error.strerror or error}"
            planned.append(PlannedClip(clip, "", 0, reason))
            continue
        content = digest([hashes[path], clip.start, clip.duration])
        planned.append(PlannedClip(clip, content, clip_seed(seed, content)))
    return planned


def resolve_metrics(spec: BenchmarkSpec, domain: str) -> tuple[Metric, ...]:
    """The metrics of `domain` in the spec's order, those that are not valid on it left out.

    Raises SpecError where none is left.
    """
    from rdbench.metrics.registry import backend, definition

    chosen = [
        Metric(definition(item.key), backend(item.key, item.backend))
        for item in spec.metrics_for(domain)
        if valid_on(definition(item.key), domain)
    ]
    if not chosen:
        raise SpecError(not_valid(spec, domain))
    return tuple(chosen)


def valid_on(definition: MetricDefinition, domain: str) -> bool:
    """Whether a metric means something on `domain`."""
    return not definition.domains or domain in definition.domains


def not_valid(spec: BenchmarkSpec, domain: str) -> str:
    """A sentence on the metrics of the spec that are not valid on `domain`, or ""."""
    from rdbench.metrics.registry import definition

    left_out = [
        definition(item.key)
        for item in spec.metrics_for(domain)
        if not valid_on(definition(item.key), domain)
    ]
    if not left_out:
        return ""
    keys = ", ".join(item.key for item in left_out)
    meant_for = ", ".join(sorted({name for item in left_out for name in item.domains}))
    return (
        f"{keys}: for {meant_for}, so not computed on clips of the domain {domain!r}; if they are "
        f"{meant_for}, say so in `corpus.domain` or the manifest's column `domain`"
    )


def quantities(step: Step, metrics: Iterable[Metric]) -> list[str]:
    """What is measured of each clip in one step."""
    rates = [f"{Kind.RATE}/{step.rate_kind}"] if step.rate_kind else []
    return [*rates, RESIDUAL_DELAY, *(metric.key for metric in metrics)]


def batches_of(
    clips: Sequence[PlannedClip], *, seconds: float, longest: Mapping[str, float | None]
) -> list[list[PlannedClip]]:
    """Splits clips into batches of one domain, those of like duration together.

    seconds: of audio per batch (at least one clip). longest: length of the excerpts by domain,
    None for whole clips. Exact lengths are known only after loading, so that the engine groups
    again; sorting by the duration in the file's header keeps those groups full.
    """
    by_domain: dict[str, list[PlannedClip]] = {}
    for clip in clips:
        by_domain.setdefault(clip.clip.domain, []).append(clip)
    batches: list[list[PlannedClip]] = []
    for domain, members in by_domain.items():
        limit = longest[domain] or math.inf
        hints = {c.clip.name: min(limit, _duration_hint(c)) for c in members}
        room = 0.0
        for clip in sorted(members, key=lambda c: (-hints[c.clip.name], c.clip.name)):
            duration = hints[clip.clip.name]
            if not batches or room < duration or batches[-1][0].clip.domain != domain:
                batches.append([])
                room = seconds
            batches[-1].append(clip)
            room -= duration
    return batches


def _duration_hint(planned: PlannedClip) -> float:
    clip = planned.clip
    if clip.duration is not None:
        return clip.duration
    if planned.failure:
        return 0.0
    import soundfile

    try:
        return float(soundfile.info(str(clip.path)).duration)
    except (OSError, RuntimeError):
        return 0.0
