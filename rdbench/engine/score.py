"""Scores of audio that is there: no spec, no codec, no run.

`score` takes arrays or tensors, `score_pairs` pairs of them with their rates, as files give them.
Both go the way of a run from decoded audio on: batches of clips of one length, the residual delay
by `rdbench.audio.align`, metrics by `rdbench.engine.passes.scores`, and what cannot be scored is a
row with its reason. Reconstructions are brought to the rate and the length of their references as
those of the codec `files` are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rdbench.engine.devices import resolve_device
from rdbench.types import AudioError, Score, SpecError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    import torch

    from rdbench.engine.measure.batch import Batch
    from rdbench.engine.plan.metrics import Metric
    from rdbench.metrics.base import MetricDefinition
    from rdbench.store.schema import Quantity

    Audio = torch.Tensor | npt.ArrayLike
    Clips = Audio | Sequence[Audio]

TOLERANCE = 0.05
"""Seconds by which a reconstruction may be longer (it is cut) or shorter (it is filled up with
zeros) than its reference."""
COLUMNS = ("clip", "domain", "seconds", "kind", "key", "value", "unit", "backend", "status",
           "reason")  # fmt: skip
"""Of the table: those of a run's rows that do not name a system."""
ANY_DOMAIN = "any"
"""The domain of clips of which nobody said one; every metric that is asked for is valid on it."""
DEFAULT_KEYS = ("si_sdr", "lsd", "true_peak", "bandwidth", "spectral_tilt")
SPEECH_KEYS = ("pesq_wb", "estoi")
ALONE_KEYS = ("true_peak", "bandwidth")
_MEL_RATES = (16000, 24000, 44100, 48000)
_BATCH_SECONDS = 120.0
_TIMEOUT = 600.0  # seconds, of one clip by one metric; nothing waits for it in this process


@dataclass(frozen=True)
class Pair:
    """A reconstruction and its reference, if there is one.

    name: of the clip. samples: the reconstruction, float32 (channels, time) at `rate` hertz, None
    where there is none, for the reason in `problem`. reference: at `reference_rate`. note: what its
    scores say as their reason.
    """

    name: str
    samples: torch.Tensor | None
    rate: int
    reference: torch.Tensor | None = None
    reference_rate: int = 0
    problem: str = ""
    note: str = ""

    @property
    def seconds(self) -> float:
        """Of the reference, or of what there is without one."""
        if self.reference is not None:
            return int(self.reference.shape[-1]) / self.reference_rate
        return 0.0 if self.samples is None else int(self.samples.shape[-1]) / self.rate


def score(
    *,
    reconstruction: Clips,
    sample_rate: int,
    reference: Clips | None = None,
    metrics: Sequence[str | Mapping[str, Any]] | None = None,
    domain: str | None = None,
    alignment: Literal["metrics", "residual"] = "metrics",
    device: str = "cpu",
) -> pd.DataFrame:
    """Scores reconstructions against references, or alone.

    Args:
        reconstruction: what is scored: a clip (time,) or (channels, time), a batch (clips,
            channels, time), or a list of clips, which may differ in length and channels. NumPy
            arrays or tensors of floats, full scale at ±1.
        sample_rate: of all of it, in hertz.
        reference: of the same form; None scores with what needs no reference alone. A
            reconstruction that is 0.05 s longer or shorter is cut or filled up with zeros.
        metrics: keys (`rdbench metrics` lists them), or mappings of key, backend and options as in
            a spec. None is a choice that suits the domain.
        domain: of all clips ("speech", "music", …). Where it is given, metrics that are not valid
            on it are undefined; where it is not, each that is asked for is computed.
        alignment: "residual" removes the delay that is left before every metric, as a protocol
            does that says so; "metrics" before those that need it.
        device: where tensor metrics run.

    Returns:
        A row for each clip and metric, and one for its residual delay where there is a reference:
        clip (its number, from 0), domain, seconds, kind, key, value, unit, backend, status ("ok",
        "undefined" or "failed") and reason. A table and no dictionary, so that a clip without a
        score has a row with its reason, as in a run, and `pivot(index="clip", columns="key",
        values="value")` makes the rest.

    Raises:
        SpecError: for an unknown metric or option, and for audio of another form.
        MissingExtraError: for a metric whose package is not installed.
    """
    from rdbench.audio.arrays import checked_rate, clips_of

    mine = clips_of(reconstruction, "reconstruction")
    others: Sequence[torch.Tensor | None] = [None] * len(mine)
    if reference is not None:
        others = clips_of(reference, "reference")
    if len(mine) != len(others):
        raise SpecError(
            f"there are {len(mine)} reconstructions and {len(others)} references; give one for each"
        )
    rate = checked_rate(sample_rate)
    pairs = [
        Pair(str(number), clip, rate, other, rate)
        for number, (clip, other) in enumerate(zip(mine, others, strict=True))
    ]
    paired = reference is not None
    keys = metrics if metrics is not None else default_keys(rate, domain, paired=paired)
    found = score_pairs(
        pairs, chosen(keys), paired=paired, domain=domain, alignment=alignment, device=device
    )
    return as_table(found)


def default_keys(sample_rate: int, domain: str | None, *, paired: bool) -> tuple[str, ...]:
    """What is scored where nobody said: quick metrics of all kinds, for speech those of speech."""
    if not paired:
        return ALONE_KEYS
    nearest = min(_MEL_RATES, key=lambda rate: abs(rate - sample_rate))
    mel = f"mel_dac_{nearest // 1000}k"
    return (*DEFAULT_KEYS, mel, *(SPEECH_KEYS if domain == "speech" else ()))


def chosen(metrics: Sequence[str | Mapping[str, Any]]) -> tuple[Metric, ...]:
    """The metrics of keys or of mappings as in a spec; raises SpecError for what is not known."""
    from pydantic import ValidationError

    from rdbench.engine.plan.metrics import Metric
    from rdbench.metrics.base import Scope
    from rdbench.spec.model import MetricSpec

    if isinstance(metrics, str):
        raise SpecError(f"metrics is {metrics!r}; give a list of keys")
    found: dict[str, Metric] = {}
    for item in metrics:
        try:
            asked = MetricSpec.model_validate(item)
        except ValidationError as error:
            what = error.errors()[0]["msg"]
            raise SpecError(f"metric {item!r} is not a key, nor key and options: {what}") from None
        metric = Metric(asked.key, asked.backend, json.dumps(dict(asked.options), default=str))
        if metric.definition.scope is Scope.SET:
            raise SpecError(
                f"metric {asked.key!r} is of a set of clips and needs a run; write a spec with the "
                "codec files (docs/files.md)"
            )
        metric = replace(metric, backend_name=metric.backend.name)
        _ = metric.backend.version  # raises where its package is not installed
        if found.setdefault(asked.key, metric) != metric:
            raise SpecError(f"metric {asked.key!r} is asked for twice; keep one")
    if not found:
        raise SpecError("no metric is asked for; name one (`rdbench metrics` lists them)")
    return tuple(found.values())


def score_pairs(
    pairs: Iterable[Pair],
    metrics: Sequence[Metric],
    *,
    paired: bool,
    domain: str | None = None,
    alignment: str = "metrics",
    device: str = "cpu",
    threads: int | None = None,
) -> Iterator[list[dict[str, Any]]]:
    """Rows of the scores of pairs, those of a pair together and in order.

    paired: whether there are references; without, what needs one is undefined. Pairs are taken as
    they are needed, two minutes of audio at a time. threads: of torch from then on; None leaves
    them as they are.
    """
    import torch

    if alignment not in ("metrics", "residual"):
        raise SpecError(f"alignment is {alignment!r}; it must be 'metrics' or 'residual'")
    align, device = alignment == "residual", resolve_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    scorer = _Scorer(metrics, domain or ANY_DOMAIN, paired=paired, align=align, device=device)
    waiting: list[Pair] = []
    for pair in pairs:
        waiting.append(pair)
        if sum(one.seconds for one in waiting) >= _BATCH_SECONDS:
            yield from scorer.rows(waiting)
            waiting = []
    yield from scorer.rows(waiting)


def as_table(found: Iterable[Sequence[Mapping[str, Any]]]) -> pd.DataFrame:
    """Rows of pairs as one table."""
    import pandas as pd

    return pd.DataFrame([row for rows in found for row in rows], columns=list(COLUMNS))


class _Scorer:
    """Scores pairs of one domain by metrics that have been chosen."""

    def __init__(
        self, metrics: Sequence[Metric], domain: str, *, paired: bool, align: bool, device: str
    ) -> None:
        from rdbench.engine.passes.scores import ScoresPass

        self._metrics = tuple(metrics)
        self._domain = domain
        self._paired = paired
        self._device = device
        self._pass = ScoresPass({domain: self._metrics}, align)

    def rows(self, pairs: Sequence[Pair]) -> Iterator[list[dict[str, Any]]]:
        """The rows of each pair."""
        results: list[dict[Quantity, Score]] = [{} for _ in pairs]
        prepared = [_prepared(pair) for pair in pairs]
        groups: dict[tuple[Any, ...], list[int]] = {}
        for index, pair in enumerate(prepared):
            if pair.samples is not None:
                shape = (*pair.samples.shape, pair.rate, pair.note)
                groups.setdefault(shape, []).append(index)
        for members in groups.values():
            for index, found in self._scores(members, [prepared[index] for index in members]):
                results[index] |= found
        for pair, found in zip(prepared, results, strict=True):
            yield [
                self._row(pair, quantity, found.get(quantity) or self._without(pair, quantity))
                for quantity in self._asked
            ]

    def _scores(
        self, members: Sequence[int], pairs: Sequence[Pair]
    ) -> Iterator[tuple[int, dict[Quantity, Score]]]:
        """Scores of pairs of one form, by the numbers of `members`."""
        import torch

        from rdbench.engine.executors.pool import AtOnce
        from rdbench.engine.measure.decoded import Decoded
        from rdbench.engine.measure.desk import Desk
        from rdbench.engine.measure.work import Work
        from rdbench.engine.plan.open import OpenUnits
        from rdbench.types import AudioBatch

        batch = _batch(pairs, self._domain, self._device)
        found: dict[str, dict[Quantity, Score]] = {clip.name: {} for clip in batch.clips}
        opened = OpenUnits()
        computed = [one for one in self._asked if not self._barred(one)]
        for clip in batch.clips:
            opened.add(None, clip.name, computed)

        def deliver(results: Sequence[Any]) -> None:
            for result in results:
                found[result.clip][result.quantity] = result.score

        desk = Desk(self._device, {}, _TIMEOUT)
        desk.jobs = AtOnce()
        samples = torch.stack([pair.samples for pair in pairs if pair.samples is not None])
        audio = AudioBatch(samples.to(self._device), batch.reference.lengths, pairs[0].rate)
        work = Work(None, batch.clips, batch.seconds, opened, deliver, pairs[0].note)
        with torch.inference_mode():
            decoded = Decoded(audio, batch, range(len(pairs)))
            self._pass.on_decoded(work, decoded, desk)
        for index, clip in zip(members, batch.clips, strict=True):
            yield index, found[clip.name]

    @cached_property
    def _asked(self) -> list[Quantity]:
        """What has a row for each pair."""
        from rdbench.engine.passes.scores import RESIDUAL_DELAY, quantity_of

        delay = [RESIDUAL_DELAY] if self._paired else []
        return [*map(quantity_of, self._metrics), *delay]

    def _barred(self, quantity: Quantity) -> str:
        """Why a metric is computed of no pair, or ""."""
        from rdbench.engine.plan.metrics import valid_on
        from rdbench.metrics.base import Scope

        definition = self._definitions().get(quantity.key)
        if definition is None:
            return ""
        if self._domain != ANY_DOMAIN and not valid_on(definition, self._domain):
            return f"it is for {', '.join(definition.domains)}, and not for {self._domain}"
        if not self._paired and definition.scope is Scope.CLIP:
            return "it needs a reference, and there is none"
        return ""

    def _definitions(self) -> dict[str, MetricDefinition]:
        return {metric.key: metric.definition for metric in self._metrics}

    def _without(self, pair: Pair, quantity: Quantity) -> Score:
        """The score of what was not computed."""
        if pair.problem:
            return Score.failed(pair.problem)
        return Score.undefined(self._barred(quantity))

    def _row(self, pair: Pair, quantity: Quantity, found: Score) -> dict[str, Any]:
        columns = self._pass.columns(quantity)
        row = (
            pair.name, self._domain, pair.seconds, str(quantity.kind), quantity.key, found.value,
            columns.unit, columns.backend, str(found.status), found.reason,
        )  # fmt: skip
        return dict(zip(COLUMNS, row, strict=True))


def _prepared(pair: Pair) -> Pair:
    """The pair at one rate and of one length; without samples where it cannot be scored."""
    if pair.samples is None:
        return pair
    try:
        _check_finite(pair.samples, "reconstruction")
        if pair.reference is None:
            return pair
        _check_finite(pair.reference, "reference")
        fitted = _fitted(pair.samples, pair.rate, pair.reference, pair.reference_rate)
    except AudioError as error:
        return replace(pair, samples=None, problem=str(error))
    note = "" if pair.rate == pair.reference_rate else f"resampled from {pair.rate} Hz"
    return replace(pair, samples=fitted, rate=pair.reference_rate, note=note)


def _check_finite(samples: torch.Tensor, what: str) -> None:
    import torch

    if not samples.numel():
        raise AudioError(f"the {what} holds no samples")
    if bad := int((~torch.isfinite(samples)).sum()):
        raise AudioError(f"the {what} holds {bad} NaN or infinite sample{'s' * (bad != 1)}")


def _fitted(samples: torch.Tensor, rate: int, reference: torch.Tensor, wanted: int) -> torch.Tensor:
    """A reconstruction at the rate and of the length of its reference; AudioError for another."""
    import torch

    from rdbench.audio.resample import resample

    ours, theirs = samples.shape[0], reference.shape[0]
    if ours != theirs:
        raise AudioError(
            f"the reconstruction has {ours} channel{'s' * (ours != 1)} and the reference {theirs}; "
            "write both alike"
        )
    found, length = resample(samples, rate, wanted), int(reference.shape[-1])
    # At another rate, a length may be rounded up here and down there.
    rounded = 0.0 if rate == wanted else 1 / rate + 1 / wanted
    if abs(found.shape[-1] - length) > (TOLERANCE + rounded) * wanted:
        raise AudioError(
            f"the reconstruction lasts {found.shape[-1] / wanted:.4f} s and the reference "
            f"{length / wanted:.4f} s, more than {TOLERANCE:g} s apart; cut or fill it"
        )
    return torch.nn.functional.pad(found[:, :length], (0, max(0, length - found.shape[-1])))


def _batch(pairs: Sequence[Pair], domain: str, device: str) -> Batch:
    """References of one form as the engine has them; of pairs without, what takes their place."""
    from rdbench.audio.clip import Clip
    from rdbench.audio.load import Excerpt
    from rdbench.engine.measure.batch import Batch
    from rdbench.engine.plan.clips import PlannedClip

    clips, excerpts = [], []
    for number, pair in enumerate(pairs):
        samples = pair.samples if pair.reference is None else pair.reference
        assert samples is not None
        content = hashlib.sha256(samples.numpy().tobytes()).hexdigest()
        name = str(number)  # names of pairs need not differ
        clips.append(PlannedClip(Clip(name, Path(), domain, name), f"{content} {pair.rate}", 0))
        excerpts.append(Excerpt(samples, pair.rate))
    return Batch(clips, excerpts, device)
