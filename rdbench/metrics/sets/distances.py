"""Every metric of sets: each comparison of two sets (`COMPARISONS`) on each embedding.

Its key is both their names: `frechet_logmel`, `kernel_encodec`. The sets are the references and the
reconstructions of a domain, or, with the option `reference`, what `rdbench reference-stats` saved
of other audio, and the reconstructions. With means m and covariances C of the features of the two,
F_n the distance on n groups of clips, and k a Gaussian kernel,

    frechet       F = |m₁ - m₂|² + tr(C₁ + C₂ - 2 (C₁ C₂)^½)
    frechet_inf   F_N + (F_N - mean F_n) / (mean N/n - 1), n windows of halves of the groups
    kernel        100 (mean k(x, x') + mean k(y, y') - 2 mean k(x, y))

of which the modules of the comparisons say more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from rdbench.files import user_path
from rdbench.metrics.base import (
    MODEL_FILE,
    REFERENCE_FILE,
    BackendFactory,
    Direction,
    Distance,
    MetricDefinition,
    Scope,
    SetBackend,
    without_model,
)
from rdbench.metrics.sets.embedding import Comparison, Embedding
from rdbench.metrics.sets.encodec_latents import EncodecLatents
from rdbench.metrics.sets.frechet import Extrapolated, Frechet
from rdbench.metrics.sets.kernel import Kernel
from rdbench.metrics.sets.logmel import LogMel
from rdbench.metrics.sets.networks import ClapAudio, SpeechLayer
from rdbench.metrics.sets.panns import Panns
from rdbench.metrics.sets.saved import Saved, read_saved
from rdbench.metrics.sets.vggish import Vggish
from rdbench.types import AudioBatch, SpecError

if TYPE_CHECKING:
    from pathlib import Path

    from rdbench.metrics.sets.embedding import Features

COMPARISONS: tuple[type[Comparison], ...] = (Frechet, Extrapolated, Kernel)
EMBEDDINGS: tuple[type[Embedding], ...] = (
    LogMel, EncodecLatents, SpeechLayer, ClapAudio, Vggish, Panns,
)  # fmt: skip
_FEWEST = {"frechet_logmel": 2}  # fewer dimensions than half a minute of audio has windows


class SetDistance(SetBackend):
    """A comparison of features of an embedding.

    reference: the saved statistics of other audio, where they stand for the references. Raises
    SpecError where they are of other features than the embedding's.
    """

    name = "torch"

    def __init__(self, key: str, *, reference: str | None = None, **options: Any) -> None:
        comparison, embedding = PARTS[key]
        self.key = key
        if embedding.source and options.get(MODEL_FILE) is None:
            raise without_model(key, embedding.source)
        self.embedding = embedding(**options)
        self.comparison = comparison(fixed_reference=reference is not None)
        self.tolerance = comparison.tolerance
        self._saved: Saved | None = None
        if reference is not None:
            self._saved = read_saved(user_path(reference), key=key)
            self._saved.check(self.embedding, key=key, fewest=_fewest(comparison, embedding))
            self.files: Mapping[Path, str] = {user_path(reference): self._saved.sha256}

    @cached_property
    def version(self) -> str:
        """Of the embedding, and of the saved statistics by their content."""
        saved = self._saved
        more = f", reference {saved.name}, sha256 {saved.sha256}" if saved else ""
        return f"{self.embedding.version}{more}"

    @cached_property
    def shared_features(self) -> tuple[str, str]:
        """The embedding's, whatever compares them with what."""
        return self.embedding.name, self.embedding.identity

    def check_rate(self, sample_rate: int) -> None:
        """Raises SpecError at another rate than that of the saved statistics."""
        if self._saved is not None and sample_rate != self._saved.sample_rate:
            raise SpecError(
                f"metric {self.key!r}: the reference {self._saved.name!r} is of "
                f"{self._saved.sample_rate} Hz, and the clips come at {sample_rate} Hz; save it "
                f"again with `rdbench reference-stats --sample-rate {sample_rate}`"
            )

    def feature(self, audio: AudioBatch) -> list[Features]:
        """The windows of each clip."""
        return self.embedding.windows(audio)

    def summary(self, features: Sequence[Features]) -> Any:
        """See `Comparison.summary`."""
        return self.comparison.summary(features)

    def distance(self, *, reference: Sequence[Any], reconstruction: Sequence[Any]) -> Distance:
        """See `Comparison.distance`; the saved reference comes first where there is one."""
        if self._saved is not None:
            reference = self.comparison.saved(self._saved)
        return self.comparison.distance(reference=reference, reconstruction=reconstruction)


def _fewest(comparison: type[Comparison], embedding: type[Embedding]) -> int:
    return _FEWEST.get(f"{comparison.name}_{embedding.name}", comparison.fewest_clips)


def _definition(comparison: type[Comparison], embedding: type[Embedding]) -> MetricDefinition:
    key = f"{comparison.name}_{embedding.name}"
    unit = embedding.unit + "²" if embedding.unit and comparison.squared else ""
    cited = "; ".join(filter(None, (comparison.citation, embedding.citation)))
    return MetricDefinition(
        key=key,
        version=1,
        name=f"{comparison.title} ({embedding.title})",
        unit=unit,
        direction=Direction.LOWER,
        lower=comparison.lower,
        upper=math.inf,
        identity=0.0,
        domains=embedding.domains,
        sample_rate=embedding.sample_rate,
        minimum_seconds=embedding.minimum_seconds,
        needs_alignment=False,
        definition=f"{comparison.what} {embedding.what}, of all references and of all "
        f"reconstructions of a domain at {embedding.at}",
        citation=cited,
        channels=embedding.channels,
        scope=Scope.SET,
        options=(*embedding.options, REFERENCE_FILE),
        needs_model=bool(embedding.source),
        minimum_clips=_fewest(comparison, embedding),
    )


PARTS: Mapping[str, tuple[type[Comparison], type[Embedding]]] = {
    f"{comparison.name}_{embedding.name}": (comparison, embedding)
    for embedding in EMBEDDINGS
    for comparison in COMPARISONS
}
DEFINITIONS: tuple[MetricDefinition, ...] = tuple(_definition(*parts) for parts in PARTS.values())


def backends(key: str) -> dict[str, BackendFactory]:
    """How to build each backend of `key`, the first being the default."""
    return {"torch": partial(SetDistance, key)}
