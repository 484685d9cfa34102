"""What a benchmark spec may say: typed, frozen, nothing unknown allowed.

A spec holds only what its author wrote: paths stay as written (relative to the spec's folder), so
that a manifest made from `model_dump(mode="json")` says the same on every machine. Names of
metrics and codecs are checked where a spec is loaded (`rdbench.spec.load`), because the registries
belong to other rooms.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    StrictInt,
    StringConstraints,
    field_validator,
    model_validator,
)

from rdbench.spec.shipped import tables
from rdbench.types import GoingWarning, SpecError

DEFAULT = "default"
"""The key of a mapping by domain that stands for every domain not named (also written `*`)."""

MOST_SECONDS = 7 * 86_400
"""A week: the most that one clip may take at one point."""

T = TypeVar("T")
_COPY = re.compile(r"noise_-?[0-9]{1,2}(\.[0-9]+)?|room_(?!0*\.?0*$)([0-9](\.[0-9]+)?|10)")

# Names become parts of file names, table cells and legend entries.
NAME_PATTERN = r"^[^\x00-\x1f\x7f/\\]*[^\x00-\x20/\\.]$"
Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=80, pattern=NAME_PATTERN),
]
Channels = Literal["mono", "stereo", "native"]
SampleRate = Annotated[StrictInt, Field(ge=8000, le=192_000)]
Count = Annotated[StrictInt, Field(ge=1)]


def _by_domain(value: Any) -> Any:
    """One value for all domains becomes a mapping, so that there is one form from here on."""
    if not isinstance(value, dict):
        return {DEFAULT: value}
    if "*" in value and DEFAULT in value:
        raise ValueError(f"has both '*' and {DEFAULT!r}, which mean the same; keep one")
    return {DEFAULT if key == "*" else key: item for key, item in value.items()}


def _point(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a point is a number of kbps or the name of a point")
    if isinstance(value, str):
        if not value.strip():
            raise ValueError("the name of a point is empty")
    elif not math.isfinite(value) or value <= 0:
        raise ValueError("a rate in kbps must be a positive number")
    return value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Place = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Point = Annotated[int | float | str, BeforeValidator(_point)]
SampleRates = Annotated[dict[Name, SampleRate], BeforeValidator(_by_domain)]
ChannelLayouts = Annotated[dict[Name, Channels], BeforeValidator(_by_domain)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SampleSpec(_Model):
    """A part of a corpus that is the same on every machine (`rdbench.audio.sample`).

    clips: at most so many. seed: another one takes others.
    per: what the clips are spread over, one of each in turn: "domain", "group", or both; an empty
        list is none of them.
    """

    clips: Count
    seed: Annotated[StrictInt, Field(ge=0, lt=2**63)] = 0
    per: Annotated[tuple[Literal["domain", "group"], ...], BeforeValidator(_listed)] = (
        "domain",
        "group",
    )

    @field_validator("per")
    @classmethod
    def _no_duplicates(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _unique(value) or ()


class CorpusSpec(_Model):
    """Which clips.

    kind: the embedded default, every audio file of a folder, a CSV/JSONL manifest, or a public
        corpus by its name.
    name: of a public corpus, as `rdbench corpora` lists them.
    path: the folder or the manifest; relative to the spec's folder. Of a public corpus, where it
        lies; None is where `rdbench corpora fetch` puts it.
    root: where a manifest's files lie; None is the manifest's own folder.
    domains: only clips of these domains; None is all.
    domain: the domain of all files of a folder.
    group_by: of a folder, whether each file is a group of its own, or the files of one folder are
        (one folder for each speaker, say), or those whose paths have the same part at `{group}` of
        a form such as "{group}_*": intervals are over groups.
    clips: only the clips of these names; None is all.
    sample: a part of them that is the same on every machine.
    allow_outside: whether a manifest may name files outside its root.
    """

    kind: Literal["embedded", "folder", "manifest", "named"] = "embedded"
    name: Name | None = None
    path: str | None = None
    root: str | None = None
    domains: tuple[Name, ...] | None = Field(default=None, min_length=1)
    domain: Name | None = None
    group_by: Annotated[str, StringConstraints(min_length=1, max_length=200)] = "file"
    clips: tuple[Place, ...] | None = Field(default=None, min_length=1)
    sample: SampleSpec | None = None
    allow_outside: bool = False

    @model_validator(mode="before")
    @classmethod
    def _limit_is_a_sample(cls, value: Any) -> Any:
        """`limit: 2` is `sample: {clips: 2}`, until version 0.3."""
        if not isinstance(value, dict) or "limit" not in value:
            return value
        rest = {key: item for key, item in value.items() if key != "limit"}
        limit = value["limit"]
        if limit is None:
            return rest
        if rest.get("sample") is not None:
            raise ValueError("has both `limit` and `sample`; keep `sample`")
        warnings.warn(
            f"`corpus.limit` will be taken away: write `sample: {{clips: {limit}}}`",
            GoingWarning,
            stacklevel=2,
        )
        return rest | {"sample": {"clips": limit}}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.kind == "named") != (self.name is not None):
            raise ValueError(
                "`kind: named` and a `name` (`rdbench corpora` lists them) go together"
            )
        if self.kind == "embedded" and (self.path or self.root):
            raise ValueError("the embedded corpus takes no path; set `kind: folder` or `manifest`")
        if self.kind in ("folder", "manifest") and not self.path:
            raise ValueError(f"a {self.kind} corpus needs a `path`")
        if self.kind != "folder" and self.domain:
            raise ValueError("`domain` is for a folder; choose clips of others with `domains`")
        if self.kind != "folder" and self.group_by != "file":
            raise ValueError("`group_by` is for a folder; others know their groups")
        if self.kind != "manifest" and (self.root or self.allow_outside):
            raise ValueError("`root` and `allow_outside` are for a manifest")
        return self

    @property
    def unnamed_domain(self) -> str:
        """The domain of clips of which nothing says it.

        `domain`, or the only one that is asked for, so that a folder of speech stands in for the
        clips of a benchmark of speech.
        """
        only = self.domains[0] if self.domains and len(self.domains) == 1 else None
        return self.domain or only or "audio"


@dataclass(frozen=True)
class DomainProtocol:
    """The protocol on one domain.

    sample_rate: hertz. channels: mono, stereo or native. excerpt_seconds: None is whole clips.
    """

    sample_rate: int
    channels: Channels
    excerpt_seconds: float | None
    gain: str


class ProtocolSpec(_Model):
    """How clips are brought to one form before anything is encoded or scored.

    sample_rate (hertz), channels: one value, or a mapping by domain; kept as a mapping whose key
        `default` stands for the domains not named.
    excerpt_seconds: length of the excerpt of each clip; None is the whole clip.
    gain: `none` is the only one there is: a level taken from the reference is side information.
    alignment: `declared` removes the codec's declared delay; `residual` also removes the residual
        delay found by cross-correlation.
    seed: of everything drawn at random. dtype: of models and device metrics.
    threads: CPU threads of one model or metric, part of the protocol since results depend on it.
    """

    sample_rate: SampleRates = Field(min_length=1)
    channels: ChannelLayouts = Field(default={DEFAULT: "native"}, min_length=1)
    excerpt_seconds: float | None = Field(default=3.0, gt=0, le=3600)
    gain: Literal["none"] = "none"
    alignment: Literal["declared", "residual"] = "declared"
    seed: Annotated[StrictInt, Field(ge=0, lt=2**63)] = 0
    dtype: Literal["float32"] = "float32"
    threads: Annotated[StrictInt, Field(ge=1, le=1024)] = 1

    def for_domain(self, domain: str) -> DomainProtocol:
        """The protocol on `domain`; raises SpecError where the spec says nothing for it."""
        return DomainProtocol(
            sample_rate=_of_domain(self.sample_rate, domain, "protocol.sample_rate"),
            channels=_of_domain(self.channels, domain, "protocol.channels"),
            excerpt_seconds=self.excerpt_seconds,
            gain=self.gain,
        )

    def fingerprint(self, resampler: str) -> str:
        """SHA-256 (hex) of the canonical JSON of the protocol and the resampler's name."""
        content = self.model_dump(mode="json") | {"resampler": resampler}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


class MetricSpec(_Model):
    """A metric by key.

    backend: what computes it; "auto" is the registry's first. options: those that its definition
        has, a model file (`weights`) among them; see `BenchmarkSpec.options_for` for paths.
    """

    key: str
    backend: str = "auto"
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_key(cls, value: Any) -> Any:
        return {"key": value} if isinstance(value, str) else value


class SystemSpec(_Model):
    """A codec with its options and the points it is run at.

    codec: a registry name, or `module:Class` (code, which runs only with permission).
    python: the interpreter of another environment in which `module:Class` runs; a path (relative to
        the spec's folder) or the name of a program.
    name: unique in the spec; the curve, or else the codec, where none is given.
    curve: what figures join and BD-rate compares; the name where none is given.
    label: how tables and legends call it; the curve where none is given.
    points: kbps (numbers) or names of points (text); None is the codec's default.
    options: for the codec; see `BenchmarkSpec.options_for` for paths.
    domains: the domains it is run on; None is all. variants: None is the codec's default.
    seeds: by variant that draws at random, with how many seeds it is decoded and scored; scores
        stand on the protocol's alone, the others say how much they depend on it.
    predicted: where variants that are predicted have their latents from, one for each seed of the
        generator: folders, relative to the spec's folder, or plugins.
    probe: the file of a probe that was trained on this checkpoint's latents, relative to the spec's
        folder: one more prior under which their bits are counted.
    """

    codec: Annotated[str, StringConstraints(min_length=1)]
    python: Place | None = None
    name: Name
    curve: Name
    label: Annotated[str, StringConstraints(min_length=1, max_length=120)]
    points: tuple[Point, ...] | None = Field(default=None, min_length=1)
    options: dict[str, Any] = Field(default_factory=dict)
    domains: tuple[Name, ...] | None = Field(default=None, min_length=1)
    variants: tuple[Name, ...] | None = Field(default=None, min_length=1)
    seeds: dict[Name, Count] = Field(default_factory=dict)
    predicted: Annotated[tuple[Place, ...] | None, BeforeValidator(_listed)] = Field(
        default=None, min_length=1
    )
    probe: Place | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_names(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        filled = {key: item for key, item in value.items() if item is not None}
        if isinstance(codec := filled.get("codec"), str):
            # `module:Class` and paths are no names; the class is.
            short = codec.rpartition(":")[2].rpartition(".")[2] or codec
            filled.setdefault("name", filled.get("curve", short))
        if isinstance(name := filled.get("name"), str):
            filled.setdefault("curve", name)
        filled.setdefault("label", filled.get("curve", ""))
        return filled

    @field_validator("points", "domains", "variants")
    @classmethod
    def _no_duplicates(cls, value: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        return _unique(value)


class CostSpec(_Model):
    """Costs (`rdbench.engine.passes.costs`): on how many clips, how often each."""

    enabled: bool = True
    clips: Count = 2
    repeats: Annotated[StrictInt, Field(ge=1, le=1000)] = 5


class EntropySpec(_Model):
    """Entropy-coded bits (`rdbench.engine.passes.entropy`).

    enabled: whether they are counted, on what the evaluation encodes.
    tables: a file of `rdbench fit-entropy`, relative to the spec's folder; None counts under
        adaptive models alone.
    """

    enabled: bool = False
    tables: str | None = None


class LatentSpec(_Model):
    """What a continuous latent is worth to a generator.

    places: whether its statistics are taken (`rdbench.engine.passes.latents`), by places in the
        clip, on what the evaluation encodes.
    copies: degraded copies of each clip whose latents have the same statistics, by name:
        `noise_20` (white noise 20 dB below the clip), `room_0.5` (reverberation of 0.5 s), with
        other numbers; None is none.
    """

    places: bool = False
    copies: tuple[str, ...] | None = None

    @field_validator("copies")
    @classmethod
    def _known_copies(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in value or ():
            if not _COPY.fullmatch(name):
                raise ValueError(
                    f"there is no copy {name!r}; name noise_S (S dB below the clip) or room_T (a "
                    "reverberation time of T seconds, up to 10)"
                )
        return _unique(value)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.copies and not self.places:
            raise ValueError("`copies` are of the statistics by place; set `places: true`")
        return self


class TimeoutSpec(_Model):
    """Seconds that a clip may take at one point under one variant, while the machine is awake."""

    unit_seconds: float = Field(default=120.0, ge=0.1, le=MOST_SECONDS)


class BenchmarkSpec(_Model):
    """A whole benchmark. Made by `rdbench.spec.load.load_spec`, which knows the spec's folder."""

    name: Name
    description: str = ""
    corpus: CorpusSpec
    protocol: ProtocolSpec
    metrics: dict[Name, tuple[MetricSpec, ...]] = Field(min_length=1)
    systems: tuple[SystemSpec, ...] = Field(min_length=1)
    costs: CostSpec = CostSpec()
    entropy: EntropySpec = EntropySpec()
    latent: LatentSpec = LatentSpec()
    timeouts: TimeoutSpec = TimeoutSpec()
    traces: bool = False

    _folder: Path = PrivateAttr(default=Path())

    @field_validator("metrics", mode="before")
    @classmethod
    def _one_default(cls, value: Any) -> Any:
        return _by_domain(value) if isinstance(value, dict | list | tuple) else value

    @field_validator("metrics")
    @classmethod
    def _metrics_once(
        cls, value: dict[str, tuple[MetricSpec, ...]]
    ) -> dict[str, tuple[MetricSpec, ...]]:
        for domain, metrics in value.items():
            try:
                _unique(tuple(metric.key for metric in metrics))
            except ValueError as error:
                raise ValueError(f"{domain}: {error}") from None
        return value

    @field_validator("systems")
    @classmethod
    def _names_once(cls, value: tuple[SystemSpec, ...]) -> tuple[SystemSpec, ...]:
        names = [system.name for system in value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two systems are called {name!r}; give each its own `name`")
        return value

    @property
    def folder(self) -> Path:
        """Where its relative paths start: the folder of its file, or the current one."""
        return self._folder

    @property
    def corpus_path(self) -> Path | None:
        """The corpus folder or manifest; None for the embedded corpus and a fetched one."""
        return self._located(self.corpus.path)

    @property
    def corpus_root(self) -> Path | None:
        """Where a manifest's files lie; None is the manifest's own folder."""
        return self._located(self.corpus.root)

    @property
    def tables_path(self) -> Path | None:
        """The file of fitted entropy tables; None where the spec names none."""
        path = self._located(self.entropy.tables)
        return path and tables(path)

    def options_for(self, item: SystemSpec | MetricSpec) -> dict[str, Any]:
        """The options of a system for its codec, or of a metric for its backend.

        Text that starts with `./` or `../` is a path relative to the spec's folder, in lists and
        mappings too.
        """
        return {key: self._with_paths(value) for key, value in item.options.items()}

    def _with_paths(self, value: Any) -> Any:
        if isinstance(value, str) and value.startswith(("./", "../")):
            return str(self._located(value))
        if isinstance(value, list):
            return [self._with_paths(one) for one in value]
        if isinstance(value, dict):
            return {key: self._with_paths(one) for key, one in value.items()}
        return value

    def python_for(self, item: SystemSpec) -> str:
        """The interpreter that a system names, "" where it names none."""
        if item.python is None or os.sep not in item.python or item.python.startswith("~"):
            return item.python or ""
        return str(self.locate(item.python))

    def locate(self, path: str) -> Path:
        """A path of the spec, which is relative to its folder."""
        # os.path.normpath only tidies the text: resolving links would change what files are called.
        return Path(os.path.normpath(self._folder / path))

    def metrics_for(self, domain: str) -> tuple[MetricSpec, ...]:
        """The metrics of `domain`, in the spec's order.

        Raises SpecError where the spec says nothing for it.
        """
        return _of_domain(self.metrics, domain, "metrics")

    def _located(self, path: str | None) -> Path | None:
        return None if path is None else self.locate(path)


def _of_domain(by_domain: Mapping[str, T], domain: str, path: str) -> T:
    if domain in by_domain:
        return by_domain[domain]
    if DEFAULT in by_domain:
        return by_domain[DEFAULT]
    raise SpecError(
        f"the spec's `{path}` says nothing for the domain {domain!r} (it has: "
        f"{', '.join(by_domain)}); add {domain!r} or {DEFAULT!r} there, "
        "or choose domains in `corpus.domains`"
    )


def _unique(value: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    seen = set()
    for item in value or ():
        if item in seen:
            raise ValueError(f"{str(item)!r} is listed twice; list it once")
        seen.add(item)
    return value
