"""The systems of a run, and their steps: each point of each system under each variant."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rdbench.engine.plan.source import code_of, name_weights
from rdbench.identity import Behind
from rdbench.store.variants import VariantCard, with_seed
from rdbench.types import (
    CODES,
    CodecError,
    CodecInfo,
    MissingExtraError,
    MissingProgramError,
    OperatingPoint,
    RateKind,
    StoreError,
    Variant,
    WeightsError,
)
from rdbench.weights.published import with_downloads

if TYPE_CHECKING:
    from pathlib import Path

    from rdbench.codecs.base import Codec
    from rdbench.engine.plan.given import FoundClips, GivenClips
    from rdbench.engine.plan.predicted import Predictions
    from rdbench.rate.coded import LatentCoder
    from rdbench.spec.model import BenchmarkSpec, SystemSpec

StepId = tuple[str, str, str]
"""Names a step within its run: system, point, variant (as rows call it)."""


@dataclass(frozen=True)
class CodecRecipe:
    """What rebuilds a codec in another process.

    points: as in the spec. options: the spec's options as JSON, so that a recipe can be hashed.
    python: the interpreter of another environment in which it runs, "" for this one.
    """

    name: str
    points: tuple[float | str, ...] | None
    options: str
    allow_code: bool
    python: str = ""

    def build(self) -> Codec:
        """The codec; raises CodecError as the registry does."""
        from rdbench.codecs.registry import create

        return create(
            self.name,
            points=self.points,
            options=json.loads(self.options),
            allow_code=self.allow_code,
            python=self.python,
        )


@dataclass(eq=False)
class System:
    """A system of the spec, with its codec, or with the reason why it cannot be run.

    source: hash of the code of a codec that is not rdbench's own, whose version says too little;
    files: the files that were hashed for it, each with its hash.
    card: of a system that cannot be built and was measured before, what the manifest says of it.
    predictions: what its predicted variants decode, one for each seed of the generator. found: of a
    codec of files, by point what there is of the clips.
    """

    spec: SystemSpec
    recipe: CodecRecipe
    codec: Codec | None
    failure: str = ""
    source: tuple[str, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[Path, str] = field(default_factory=dict)
    predictions: tuple[Predictions, ...] = ()
    found: Mapping[str, FoundClips] = field(default_factory=dict)

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
        """The operating points; for a codec that could not be built, those that were measured, or
        else those that are asked for.
        """
        if self.codec:
            return self.codec.points
        if self.card:
            targets = self.card["target_kbps"]
            return tuple(OperatingPoint(name, targets[name]) for name in self.card["points"])
        return tuple(OperatingPoint(str(point), None) for point in self.spec.points or ("",))

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The variants to decode, in the spec's order or the codec's own."""
        from rdbench.codecs.variants import variant

        if names := self.spec.variants or self.card.get("variants"):
            return tuple(variant(name) for name in names)
        return self.codec.variants if self.codec else (CODES,)

    @property
    def headline(self) -> RateKind | None:
        """The rate kind that stands for the system; None for anchors."""
        if self.info:
            return self.info.headline
        return RateKind(self.card["headline"]) if self.card.get("headline") else None

    @property
    def steps(self) -> list[Step]:
        """Every point under every variant with every seed, cheapest point first."""
        decoded = [
            (variant, seed) for variant in self.variants for seed in range(self._seeds(variant))
        ]
        return [Step(self, point, *one) for point in self.points for one in decoded]

    @property
    def first_steps(self) -> list[Step]:
        """One step for each point: the variant that stands for what was encoded."""
        return [Step(self, point, self.variants[0]) for point in self.points]

    def _seeds(self, variant: Variant) -> int:
        from rdbench.codecs.variants import is_predicted

        if is_predicted(variant):
            return max(1, len(self.predictions))
        return self.spec.seeds.get(variant.name, 1)

    def takes(self, domain: str) -> bool:
        """Whether the spec wants this system on `domain`."""
        return self.spec.domains is None or domain in self.spec.domains


@dataclass(frozen=True, eq=False)
class Step:
    """One system at one operating point under one variant.

    seed: with which of several seeds a variant draws that draws at random; 0 is the protocol's. Of
    one that is predicted, the number of the generator's seed.
    """

    system: System
    point: OperatingPoint
    variant: Variant
    seed: int = 0

    @property
    def id(self) -> StepId:
        """Names the step within its run."""
        return self.system.name, self.point.name, self.decoded

    @property
    def decoded(self) -> str:
        """What rows call the variant, with the number of the seed behind it where there is one."""
        return with_seed(self.variant.name, self.seed)

    @property
    def rate_kind(self) -> RateKind | None:
        """The rate that belongs to what is decoded; None for anchors."""
        return self.variant.rate or self.system.headline

    @property
    def first(self) -> bool:
        """Whether its variant stands for what was encoded, of which there is one for a point."""
        return self.variant == self.system.variants[0] and not self.seed

    @property
    def coder(self) -> LatentCoder | None:
        """What codes the latent, where the variant is decoded from a stream."""
        if self.variant.rate is not RateKind.CODED:
            return None
        make = getattr(self.system.codec, "latent_coder", None)
        coder: LatentCoder | None = make(self.variant) if make else None
        return coder

    @property
    def fitted(self) -> str:
        """The digest of what the variant takes of the latent's moments on other clips, or ""."""
        from rdbench.codecs.posterior.base import PosteriorCodec

        codec = self.system.codec
        moments = codec.latent_moments(self.variant) if isinstance(codec, PosteriorCodec) else None
        return moments.digest if moments else ""

    @property
    def predictions(self) -> Predictions | None:
        """Where the latents come from, of a variant that is predicted."""
        from rdbench.codecs.variants import is_predicted

        if not is_predicted(self.variant) or not self.system.predictions:
            return None
        return self.system.predictions[self.seed]

    @property
    def found(self) -> FoundClips | None:
        """What there is of the clips, of a codec of files; None for one that codes by itself."""
        return self.system.found.get(self.point.name)

    @property
    def given(self) -> GivenClips | None:
        """What was made elsewhere for the clips, of either kind."""
        return self.predictions or self.found

    def __str__(self) -> str:
        return f"{self.system.name} at {self.point.name}"


def recipe_of(spec: BenchmarkSpec, item: SystemSpec, *, allow_code: bool) -> CodecRecipe:
    """What builds the codec of a system of `spec`."""
    points = tuple(item.points) if item.points is not None else None
    options = json.dumps(spec.options_for(item), sort_keys=True)
    return CodecRecipe(item.codec, points, options, allow_code, spec.python_for(item))


def build_systems(
    spec: BenchmarkSpec, *, allow_code: bool, fetching: Callable[[str], None] | None = None
) -> list[System]:
    """Builds every codec of the spec.

    fetching: where published weights that are not on this machine may be fetched, who is told what
    was.

    Raises CodecError or SpecError for what the user can mend in the spec (unknown names, options,
    points, variants). Missing weights, extras, programs or interpreters are kept as the system's
    failure: the other systems go on.
    """
    systems = []
    for item in spec.systems:
        recipe = recipe_of(spec, item, allow_code=allow_code)
        points = recipe.points
        try:
            codec: Codec | None = with_downloads(recipe.build, fetching)
            failure = "; ".join(codec.self_check()) if codec else ""
        except (WeightsError, MissingExtraError, MissingProgramError) as error:
            codec, failure = None, str(error)
        if codec and points is not None and len(codec.points) != len(points):
            has = ", ".join(point.name for point in codec.points)
            raise CodecError(
                f"codec {item.codec!r} was asked for {len(points)} points and has {has}; its "
                "constructor must make the `points` that it is given"
            )
        if codec:
            name_weights(codec)
        code = code_of(codec, recipe.options) if codec else Behind((), {})
        system = System(
            item, recipe, None if failure else codec, failure, code.source, files=code.files
        )
        _check_variants(system, codec)
        systems.append(system)
    return systems


def _check_variants(system: System, codec: Codec | None) -> None:
    from rdbench.codecs.variants import is_predicted

    asked = system.variants
    if codec is None:
        return
    for variant in asked:
        if not codec.can_decode(variant):
            raise CodecError(
                f"system {system.name!r}: {codec.info.name} has no variant {variant.name!r}; it "
                f"has: {', '.join(codec.variant_names)}"
            )
    predicted = [variant.name for variant in asked if is_predicted(variant)]
    if predicted and not system.spec.predicted:
        raise CodecError(
            f"system {system.name!r}: the variant {predicted[0]} needs latents; name the folder of "
            "a generator's under `predicted`"
        )
    if system.spec.predicted and not predicted:
        raise CodecError(
            f"system {system.name!r} has predicted latents, and no variant that decodes them; add "
            "predicted to its `variants`"
        )
    seeded = [one.name for one in asked if one.seeded and one.name not in predicted]
    for name in system.spec.seeds:
        if name not in seeded:
            raise CodecError(
                f"system {system.name!r}: `seeds` names {name!r}, which is no variant of it that "
                f"draws at random; it has: {', '.join(seeded) or 'none'}"
            )


def take_up(systems: Sequence[System], manifest: Mapping[str, Any], protocol: str) -> None:
    """Lets systems that cannot be built stand for what `manifest` says was measured of them.

    What was measured otherwise (under another protocol, of another codec or with other options)
    stands for nothing here. protocol: today's fingerprint. Raises StoreError for a manifest that is
    damaged.
    """
    try:
        if manifest["protocol"]["fingerprint"] != protocol:
            return
        options = {one["name"]: one["options"] for one in manifest["spec"]["systems"]}
        for system in systems:
            card = manifest.get("systems", {}).get(system.name, {})
            same = (card.get("codec"), options.get(system.name)) == (
                system.spec.codec, system.spec.model_dump(mode="json")["options"],
            )  # fmt: skip
            if system.codec is None and same and "family" in card:
                system.card = card
                _ = system.steps, system.headline
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            "the systems in manifest.json are damaged; restore the file from a copy, or delete it "
            "and run again: the measurements stay"
        ) from error


def variant_cards(systems: Sequence[System]) -> Mapping[str, Mapping[str, Any]]:
    """What the manifest says of the variants that are decoded, by name."""
    return {
        step.decoded: VariantCard(
            step.decoded,
            step.variant.source,
            step.variant.transmitted,
            step.variant.rate or "",
            step.predictions.digest if step.predictions else step.variant.digest,
            step.variant.name if step.seed else "",
        ).as_dict()
        for system in systems
        for step in system.steps
    }
