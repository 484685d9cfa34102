"""Metrics of a set of clips: a feature for each clip, and a value that comes from the groups.

The feature of a clip is kept in the run, so that a clip that is added costs itself alone. Metrics
that compare the same features share it: what an embedding makes of a clip is made once. The value
is that of all clips of a domain; its replicates under the one bootstrap over groups
(`rdbench.resampling`), and the values without each group, are kept beside it, so that intervals and
paired differences need neither the features nor the metric's code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdbench.audio.resample import resample_batch
from rdbench.engine.measure.passes import Pass
from rdbench.engine.measure.work import Result, SetWork, Work
from rdbench.engine.plan.families import Columns, Needs, SetUnits
from rdbench.metrics.base import SetBackend
from rdbench.metrics.channels import batch_under
from rdbench.metrics.sets.score import score_set
from rdbench.resampling import RESAMPLES, domain_seed, group_names, resample_weights
from rdbench.store.schema import Kind, Quantity
from rdbench.types import Score, Status

if TYPE_CHECKING:
    from pathlib import Path

    from rdbench.engine.measure.batch import Batch
    from rdbench.engine.measure.decoded import Decoded
    from rdbench.engine.measure.desk import Desk
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.metrics import Metric
    from rdbench.engine.plan.systems import Step
    from rdbench.types import AudioBatch

BOOTSTRAP, JACKKNIFE = "bootstrap", "jackknife"
"""Models of the features that hold a value's replicates, and the values without each group."""


@dataclass(frozen=True, eq=False)
class SetMetricsPass(Pass):
    """metrics: by domain, those with one value for a set of clips. align: whether the residual
    delay is removed from reconstructions first.
    """

    metrics: Mapping[str, Sequence[Metric]]
    align: bool = False
    name = "sets"
    scores = True

    def owns(self, quantity: Quantity) -> bool:
        """Values, their replicates, and the features that they are made of."""
        if quantity in self._by_feature():
            return True
        return quantity.kind in (Kind.METRIC, Kind.FEATURE) and quantity.key in self._by_key()

    def of_clip(self, step: Step, domain: str) -> Sequence[Quantity]:
        """The features that the metrics are made of, each once."""
        return self.of_reference(domain)

    def of_reference(self, domain: str) -> Sequence[Quantity]:
        """The same of the reference."""
        return list(self._of_domain(domain))

    def of_set(self, step: Step, clips: Sequence[PlannedClip]) -> Sequence[SetUnits]:
        """A value for every metric of every domain."""
        units = []
        for domain in dict.fromkeys(clip.domain for clip in clips):
            members = tuple(clip for clip in clips if clip.domain == domain)
            for metric in self.metrics[domain]:
                units.append(
                    SetUnits(
                        step, domain, members, of_metric(metric.key), metric.feature, keep=True
                    )
                )
        return units

    def needs(self, quantity: Quantity) -> Needs:
        """Features are made from audio."""
        return Needs.DECODED

    def columns(self, quantity: Quantity) -> Columns:
        """The metric's unit and the program that computes it; of arrays, what they are."""
        if quantity.kind is Kind.FEATURE:
            return Columns("", quantity.model)
        metric = self._by_key()[quantity.key]
        return Columns(metric.definition.unit, metric.backend_name)

    def depends(self, step: Step | None, quantity: Quantity) -> Any:
        """The metric's identity, or the feature's; of replicates, how many there are."""
        if made := self._by_feature().get(quantity):
            return made.feature_identity(everywhere=self.align)
        resampled = [RESAMPLES] if quantity.model == BOOTSTRAP else []
        identity = self._by_key()[quantity.key].identity(everywhere=self.align)
        return [*identity, *resampled]

    def files(self) -> Mapping[str, Mapping[Path, str]]:
        """Those of the metrics."""
        found: dict[str, dict[Path, str]] = {}
        for one in self._by_key().values():
            for key in {one.key, one.feature.key}:
                found.setdefault(key, {}).update(one.files)
        return found

    def on_reference(self, work: Work, batch: Batch, desk: Desk) -> None:
        """Records the features of references."""
        audio = batch.part(batch.places(work.clips))
        for quantity, metric in self._open(work):
            self._record(work, audio, quantity, metric)

    def on_decoded(self, work: Work, decoded: Decoded, desk: Desk) -> None:
        """Records the features of reconstructions."""
        for quantity, metric in self._open(work):
            compared = decoded.compared(metric.definition, everywhere=self.align)
            self._record(work, compared.audio, quantity, metric)

    def _open(self, work: Work) -> list[tuple[Quantity, Metric]]:
        """The features that are wanted, each with a metric that makes it."""
        features = self._of_domain(work.clips[0].domain)
        return [(quantity, one) for quantity, one in features.items() if work.wants(quantity)]

    def _record(self, work: Work, audio: AudioBatch, quantity: Quantity, metric: Metric) -> None:
        backend = metric.backend
        assert isinstance(backend, SetBackend)
        shortest = metric.definition.minimum_seconds
        if work.seconds < shortest:
            reason = f"{work.seconds:.3f} s is shorter than the {shortest:g} s needed"
            for position in range(len(work.clips)):
                work.record(position, quantity, Score.undefined(reason))
            return
        rate = metric.definition.sample_rate or audio.sample_rate
        try:
            layout = batch_under(metric.definition.channels, resample_batch(audio, rate))
            features = backend.feature(layout)
        except Exception as error:  # the backend may be someone else's: its own rows fail
            if len(work.clips) > 1:
                for position in range(len(work.clips)):
                    part = work.part([position])
                    self._record(part, audio.select([position]), quantity, metric)
                return
            work.fail(0, f"{quantity.key} raised {type(error).__name__}: {error}", [quantity])
            return
        for position, feature in enumerate(features):
            work.record(position, quantity, Score(float(len(feature))), feature)

    def by_groups(self, quantity: Quantity) -> bool:
        """Replicates, which are drawn by groups in the order of their names."""
        return quantity.kind is Kind.FEATURE

    def on_set(self, work: SetWork, step: Step, desk: Desk) -> Iterator[Result]:
        """The value, its replicates, and the values without each group."""
        yield from values_of_set(self._by_key()[work.quantities[0].key], work)

    def _by_key(self) -> dict[str, Metric]:
        return {one.key: one for chosen in self.metrics.values() for one in chosen}

    def _of_domain(self, domain: str) -> dict[Quantity, Metric]:
        """Each feature of a domain, with the first metric that it is made for."""
        return {one.feature: one for one in reversed(self.metrics[domain])}

    def _by_feature(self) -> dict[Quantity, Metric]:
        return {one.feature: one for chosen in self.metrics.values() for one in chosen}


def of_metric(key: str) -> tuple[Quantity, ...]:
    """What a set of clips has of a metric: the value, and what its interval is made of."""
    return (
        Quantity(Kind.METRIC, key),
        Quantity(Kind.FEATURE, key, BOOTSTRAP),
        Quantity(Kind.FEATURE, key, JACKKNIFE),
    )


def values_of_set(metric: Metric, work: SetWork) -> Iterator[Result]:
    """The quantities of a set, from the features of its clips alone."""
    found = _values(metric, work)
    for quantity in work.quantities:
        score, array = found[quantity.model]
        yield Result(work.step, "", work.domain, quantity, score, 0.0, array)


def _values(metric: Metric, work: SetWork) -> dict[str, tuple[Score, Any]]:
    """The value (""), its replicates and the values without each group, each with its array."""
    if work.failures:
        name, reason = next(iter(work.failures.items()))
        text = f"{len(work.failures)} of {len(work.clips)} clips have no value ({name}: {reason})"
        return dict.fromkeys(("", BOOTSTRAP, JACKKNIFE), (Score.failed(text), None))
    backend = metric.backend
    assert isinstance(backend, SetBackend)
    there = [clip for clip in work.clips if len(work.arrays.get(clip.name, ()))]
    groups = {clip.name: clip.clip.group for clip in there}
    count = len(group_names(groups))
    weights = resample_weights(max(count, 1), seed=domain_seed(0, work.domain))[:, :count]
    found = score_set(
        metric.definition,
        backend,
        reference=work.references,
        reconstruction=work.arrays,
        groups=groups,
        weights=weights,
    )
    if found.score.status is not Status.OK:
        return dict.fromkeys(("", BOOTSTRAP, JACKKNIFE), (found.score, None))
    return {
        "": (found.score, None),
        BOOTSTRAP: (Score(float(len(weights))), found.bootstrap),
        JACKKNIFE: (Score(float(count)), found.jackknife),
    }
