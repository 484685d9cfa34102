"""What a report needs from a run's manifest: labels, headline rates, metric cards, the caption.

Read with patience: a manifest that lacks a label or a metric's card still gives a figure, which
then shows the plain key.

Used of the manifest (all optional):

    systems   name -> label, curve, headline (rate kind or None), failure, points (names, cheapest
              first); in the spec's order
    metrics   key -> the fields of `rdbench.metrics.base.MetricDefinition`; in the spec's order
    palette   curves in the order of their colours, and domains, name -> name to show: what
              `rdbench.report.config` adds
    variants  name -> what was decoded under it (`rdbench.store.variants`)
    corpus    its name, or a mapping with name or description
    costs     how times were taken
    protocol  mapping; its values (or mappings by domain) appear in the caption
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rdbench.analysis.aggregate import rate_distortion
from rdbench.analysis.stats.intervals import ENOUGH
from rdbench.report.names import clean
from rdbench.store.variants import VariantCard, first_stream, variants_of

if TYPE_CHECKING:
    import pandas as pd

RESIDUAL_DELAY = "residual_delay"
ARROWS = {"higher": "↑", "lower": "↓"}
TOLD_IN_FULL = ("resampler", "seed", "dtype", "threads")  # in table.md, not in captions

RATE_MEANING: Mapping[str, str] = {
    "nominal": "frames × Σ log2(codebook size), plus side information",
    "entropy": "length of a decodable stream under a probability model of the tokens",
    "kl": "KL(q(z|x) ‖ p(z)) / ln 2, a bound for a sample of the latent, not a bitstream",
    "coded": "length of a decodable stream of the latent (variants coded and coded_…)",
    "payload": "bits in the codec's packets",
    "container": "bits of the whole file",
    "stated": "somebody's word for a rate: nothing was measured",
}


@dataclass(frozen=True)
class SystemCard:
    """A system as a report names it.

    anchor: it has no rate by nature. streams: it has a variant with a rate of its own, as the
    stream of a latent. points: its operating points, cheapest first. look: colour,
    marker and dash that the report's configuration asks for. codec: the adapter's name. program:
    the encoder, where the adapter runs other people's programs.
    """

    name: str
    label: str
    curve: str
    headline: str | None
    anchor: bool
    points: tuple[str, ...] = ()
    family: str = ""
    codec: str = ""
    program: str = ""
    parameters: float = math.nan
    look: Mapping[str, str] = field(default_factory=dict)
    streams: bool = False

    @property
    def has_curve(self) -> bool:
        """Whether points of it stand on the rate axis."""
        return self.streams or not self.anchor

    @property
    def maker(self) -> str:
        """What codes it: the adapter; where one serves whatever others made, what they call it."""
        return f"{self.codec} {self.program or self.label}" if self._others else self.codec

    @property
    def kin(self) -> set[tuple[str, str]]:
        """What it shares with systems that are settings, versions or checkpoints of one thing."""
        family = "" if self._others else self.family
        kinds = (("maker", self.maker), ("family", family), ("label", self.label))
        return {kind for kind in kinds if kind[1]}

    @property
    def _others(self) -> bool:
        return self.codec in ("command", "files")


@dataclass(frozen=True)
class MetricCard:
    """A metric as a report names it.

    direction: "higher", "lower", or "" where unknown. scope: "clip", "clip_alone" (without its
    reference) or "set" (a value for all clips of a domain). identity: what the reference itself
    scores; NaN where nothing says, as for a clip alone.
    """

    key: str
    name: str
    unit: str = ""
    direction: str = ""
    lower: float = math.nan
    upper: float = math.nan
    identity: float = math.nan
    version: str = ""
    definition: str = ""
    citation: str = ""
    backend: str = ""
    scope: str = "clip"

    def count(self, ok: int, total: int) -> str:
        """How many clips a value rests on, "38/40"; of a set there is one value, whoever is in."""
        return "set" if self.scope == "set" else f"{ok}/{total}"

    @property
    def arrow(self) -> str:
        """Points to where better is."""
        return ARROWS.get(self.direction, "")

    @property
    def title(self) -> str:
        """Name and unit, "PESQ-WB (MOS-LQO)"."""
        if not self.unit:
            return self.name
        return f"{self.name}, {self.unit}" if ")" in self.name else f"{self.name} ({self.unit})"


@dataclass(frozen=True)
class RunCard:
    """A run as a report describes it; `systems` and `metrics` in the spec's order.

    variants: what was decoded under each name, what can be transmitted first. machine: the run's
    own, "" where the manifest names none. timing: how its times were taken, as the manifest tells
    it. palette: the curves in the order in which they are given colours, where it is not `curves`.
    domains: names to show instead of those in the rows.
    """

    systems: Mapping[str, SystemCard]
    metrics: Mapping[str, MetricCard]
    corpus: str
    protocol: str
    protocol_brief: str = ""
    variants: Mapping[str, VariantCard] = field(default_factory=dict)
    machine: str = ""
    timing: Mapping[str, Any] = field(default_factory=dict)
    palette: tuple[str, ...] = ()
    domains: Mapping[str, str] = field(default_factory=dict)

    @property
    def headlines(self) -> dict[str, str | None]:
        """Headline rate kind per system."""
        return {name: card.headline for name, card in self.systems.items()}

    @property
    def curves(self) -> tuple[str, ...]:
        """Curves on the rate axis, in order."""
        named = (card.curve for card in self.systems.values() if card.has_curve)
        return tuple(dict.fromkeys(named))

    def rate_distortion(self, points: pd.DataFrame, *, rate: str = "headline") -> pd.DataFrame:
        """`rdbench.analysis.aggregate.rate_distortion` of `points` as this run has it."""
        return rate_distortion(points, self.headlines, rate=rate, variants=self.variants)

    def variant(self, name: str) -> VariantCard:
        """What a variant is; one that no manifest describes cannot be transmitted."""
        return self.variants.get(name) or VariantCard(name, "", transmitted=False)

    @property
    def diagnostic(self) -> list[str]:
        """Variants of which tables tell, and not figures: other noise, further streams."""
        shown = first_stream(self.variants.values())
        return [
            name
            for name, card in self.variants.items()
            if card.source == "noise" or (card.stream and name != shown)
        ]

    @property
    def not_sent(self) -> list[str]:
        """Variants that no one can transmit: the mean, and other amounts of noise."""
        return [name for name, card in self.variants.items() if not card.transmitted]

    def domain_label(self, domain: str) -> str:
        """A domain as it is shown."""
        return clean(self.domains.get(domain, domain))

    def curve_family(self, curve: str) -> str:
        """The family of a curve's systems, "" where none is known."""
        named = (s.family for s in self.systems.values() if s.curve == curve and s.family)
        return next(named, "")

    def related(self, one: str, two: str) -> bool:
        """Whether systems of two curves are of one maker or family, or are called alike."""
        kinds = [
            {kind for s in self.systems.values() if s.curve == curve for kind in s.kin}
            for curve in (one, two)
        ]
        return bool(kinds[0] & kinds[1])

    def curve_label(self, curve: str) -> str:
        """The label of a curve: that of its systems where they share one."""
        labels = {card.label for card in self.systems.values() if card.curve == curve}
        return labels.pop() if len(labels) == 1 else clean(curve)


def describe(points: pd.DataFrame, manifest: Mapping[str, Any]) -> RunCard:
    """Reads `manifest`, and adds plain cards for what `points` holds beyond it."""
    systems = {
        name: _system(name, _mapping(entry))
        for name, entry in _mapping(manifest.get("systems")).items()
    }
    for name, curve in points[["system", "curve"]].drop_duplicates().itertuples(index=False):
        if name not in systems:
            headline = _likely_headline(points[points["system"] == name])
            systems[name] = _system(name, {"curve": curve, "headline": headline})
    variants = variants_of(manifest)
    for name in systems_with_streams(points, variants):
        systems[name] = replace(systems[name], streams=True)
    metrics = {
        key: _metric(key, _mapping(entry))
        for key, entry in _mapping(manifest.get("metrics")).items()
    }
    scores = points[points["kind"] == "metric"]
    for key, unit in scores[["key", "unit"]].drop_duplicates("key").itertuples(index=False):
        metrics.setdefault(key, _metric(key, {"unit": unit}))
    return RunCard(
        systems,
        metrics,
        _corpus(manifest.get("corpus")),
        _protocol(_mapping(manifest.get("protocol"))),
        _protocol(_mapping(manifest.get("protocol")), brief=True),
        dict(sorted(variants.items(), key=lambda v: (not v[1].transmitted, bool(v[1].rate)))),
        str(_mapping(manifest.get("execution")).get("machine") or ""),
        _mapping(manifest.get("costs")),
        tuple(map(str, manifest.get("palette") or ())),
        {str(k): str(v) for k, v in _mapping(manifest.get("domains")).items()},
    )


def systems_with_streams(rows: pd.DataFrame, variants: Mapping[str, VariantCard]) -> list[str]:
    """The systems with rows of a variant that has its own rate, with or without a headline."""
    streams = [name for name, card in variants.items() if card.rate]
    return [str(name) for name in rows.loc[rows["variant"].isin(streams), "system"].unique()]


def ordered(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """`names` without repetition, those in `known` first and in its order."""
    unique = list(dict.fromkeys(names))
    return [n for n in known if n in unique] + [n for n in unique if n not in known]


def scored_metrics(points: pd.DataFrame, card: RunCard) -> list[tuple[str, str]]:
    """The (key, backend) pairs of `points` that are scores of quality, in the spec's order."""
    scores = points[(points["kind"] == "metric") & (points["key"] != RESIDUAL_DELAY)]
    pairs = scores[["key", "backend"]].drop_duplicates()
    return [
        (key, backend)
        for key in ordered(list(pairs["key"]), list(card.metrics))
        for backend in pairs.loc[pairs["key"] == key, "backend"]
    ]


def records(frame: pd.DataFrame) -> list[Any]:
    """The rows as named tuples, whose fields are plain values."""
    return list(frame.itertuples(index=False))


def clips_text(points: pd.DataFrame) -> str:
    """How many clips and groups one domain's numbers rest on."""
    clips, groups = int(points["n_total"].max()), int(points["n_groups"].max())
    usable = int(points["n_ok"].max())
    text = f"{clips} clip{'s' * (clips != 1)}"
    if usable < clips:
        text += f", {usable} of them scored"
    return text if groups == usable else f"{text} in {groups} group{'s' * (groups != 1)}"


def few_groups(points: pd.DataFrame) -> str:
    """A caution where intervals rest on so few groups that they may be too narrow, else ""."""
    groups = int(points["n_groups"].max())
    if not 1 < groups < ENOUGH:
        return ""
    return (
        f"Only {groups} groups of clips: the intervals may be too narrow, and say little about "
        "other clips."
    )


def _system(name: str, entry: Mapping[str, Any]) -> SystemCard:
    headline, points = entry.get("headline"), entry.get("points")
    return SystemCard(
        name=name,
        label=clean(entry.get("label") or name),
        curve=str(entry.get("curve") or name),
        headline=str(headline) if headline else None,
        anchor=not headline and not entry.get("failure"),
        points=tuple(map(str, points)) if isinstance(points, list | tuple) else (),
        family=clean(entry.get("family") or ""),
        codec=str(entry.get("codec") or ""),
        program=clean(_mapping(entry.get("details")).get("encoder") or ""),
        parameters=_number(entry.get("parameters")),
        look={key: str(entry[key]) for key in ("colour", "marker", "dash") if entry.get(key)},
    )


def _likely_headline(points: pd.DataFrame) -> str | None:
    """For a system that the manifest does not know: the kind that a family is known by."""
    measured = set(points.loc[points["kind"] == "rate", "key"])
    return next((kind for kind in ("payload", "kl", "nominal", "stated") if kind in measured), None)


def _metric(key: str, entry: Mapping[str, Any]) -> MetricCard:
    scope = str(entry.get("scope") or "clip")
    return MetricCard(
        key=key,
        name=clean(entry.get("name") or key),
        unit=clean(entry.get("unit") or ""),
        direction=str(entry.get("direction") or ""),
        lower=_number(entry.get("lower")),
        upper=_number(entry.get("upper")),
        identity=math.nan if scope == "clip_alone" else _number(entry.get("identity")),
        version=str(entry.get("version") or ""),
        definition=clean(entry.get("definition") or "", longest=200),
        citation=clean(entry.get("citation") or "", longest=120),
        backend=clean(entry.get("backend_version") or entry.get("backend") or "", longest=120),
        scope=scope,
    )


def _corpus(entry: Any) -> str:
    if isinstance(entry, Mapping):
        entry = entry.get("description") or entry.get("name")
    return clean(str(entry), longest=160) if entry else "not named"


def _protocol(protocol: Mapping[str, Any], *, brief: bool = False) -> str:
    """The settings in words; brief: those that a caption of a paper has room for."""
    parts = [
        _setting(str(key), value)
        for key, value in protocol.items()
        if key != "fingerprint" and not isinstance(value, list | tuple)
        if not brief or key not in TOLD_IN_FULL
    ]
    return ", ".join(parts) or "not stated"


def _setting(key: str, value: Any) -> str:
    """One value of the protocol in words; a mapping is by domain."""
    name = clean(key.replace("_", " "))
    if isinstance(value, Mapping):
        if len(value) == 1:
            return _setting(key, next(iter(value.values())))
        return f"{name} " + " / ".join(
            f"{clean(str(domain))}: {_quantity(key, item)}" for domain, item in value.items()
        )
    if key == "excerpt_seconds":
        return "whole clips" if value is None else f"excerpts of {_quantity(key, value)}"
    return f"{name} {_quantity(key, value)}"


def _quantity(key: str, value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if key == "sample_rate":
            return f"{value / 1000:g} kHz"
        return f"{value:g} s" if key.endswith("_seconds") else f"{value:g}"
    return clean(str(value), longest=120)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
