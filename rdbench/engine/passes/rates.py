"""The rates of what was encoded, and where their bits lie.

Every kind that follows from a payload is a unit of every step; a step that is decoded from a stream
has the rate of that stream and no other. Traces along the channels of a posterior come with every
run, along frames on request; one variant stands for what was encoded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdbench.audio.channels import spread_seeds
from rdbench.engine.measure.passes import Pass
from rdbench.engine.measure.work import Work
from rdbench.engine.plan.families import Columns, Needs
from rdbench.store.schema import Kind, Quantity
from rdbench.store.traces import AXES
from rdbench.types import KL_PRIOR, Rate, RateKind, Score

if TYPE_CHECKING:
    from rdbench.engine.measure.encoding import Encoding
    from rdbench.engine.plan.systems import Step

_MODELS = {RateKind.KL: KL_PRIOR}


@dataclass(frozen=True, eq=False)
class RatesPass(Pass):
    """frames: whether bits are traced along frames too."""

    frames: bool = False
    name = "rates"

    def owns(self, quantity: Quantity) -> bool:
        """Rates that need no fitted or learnt model but the stream's own, and traces."""
        if quantity.kind is not Kind.RATE:
            return quantity.kind is Kind.TRACE
        fitted = quantity.key == RateKind.KL and quantity.model != KL_PRIOR
        return quantity.key != RateKind.ENTROPY and not fitted

    def of_clip(self, step: Step, domain: str) -> Sequence[Quantity]:
        """The rates that belong to the step, and its traces."""
        return [*_rates(step), *self._traces(step, frames=self.frames)]

    def may_stay(self, step: Step, domain: str) -> Sequence[Quantity]:
        """Traces along frames that an earlier start asked for."""
        return self._traces(step, frames=True)

    def needs(self, quantity: Quantity) -> Needs:
        """All of it is measured on what was encoded."""
        return Needs.ENCODED

    def columns(self, quantity: Quantity) -> Columns:
        """Bits, under the model that counted them."""
        return Columns("bit", quantity.model)

    def depends(self, step: Step | None, quantity: Quantity) -> Any:
        """The versions of the code that counts, and of the stream where there is one."""
        from rdbench import rate
        from rdbench.rate import coded, trace

        parts: list[Any] = [self.name, rate.VERSION]
        if quantity.kind is Kind.TRACE:
            parts.append(trace.VERSION)
        if step is not None and (coder := step.coder):
            parts += [coded.VERSION, coder.name, coder.digest]
        return parts

    def on_encoded(self, work: Work, encoding: Encoding) -> None:
        """Records rates and traces of every clip."""
        from rdbench.rate.trace import join_channels, traces

        found = _measured(work, encoding)
        for position in range(len(work.clips)):
            for rate in (items[position] for items in found.values()):
                quantity = Quantity(Kind.RATE, rate.kind.value, rate.model)
                score = Score(rate.bits, rate.status, rate.reason)
                work.record(position, quantity, score, seconds=rate.seconds)
            absent = [one for one in work.wanted(position) if one.kind is Kind.RATE]
            there = ", ".join(found) or "none"
            owned = [one for one in absent if self.owns(one)]
            said = f"{work.step} has no such rate; it has: {there}"
            headline = work.step.rate_kind if work.step else None
            for quantity in owned:  # packets without a file around them, say
                if quantity.key != headline and headline in found:
                    work.record(position, quantity, Score.undefined(said))
            left = work.wanted(position)
            work.fail(position, said, [quantity for quantity in owned if quantity in left])
        axes = [axis for axis in AXES if work.wants(Quantity(Kind.TRACE, axis))]
        if axes:
            frame_rate = encoding.codec.info.frame_rate
            made = traces(encoding.encoded, frame_rate, axes=axes)
            for position in range(len(work.clips)):
                for one in join_channels([made[item] for item in encoding.items(position)]):
                    total = Score(math.fsum(one.bits))
                    work.record(position, Quantity(Kind.TRACE, one.axis), total, one)
                for axis in axes:
                    none = Score.undefined("the payload has no such trace")
                    work.record(position, Quantity(Kind.TRACE, axis), none)

    def _traces(self, step: Step, *, frames: bool) -> list[Quantity]:
        if not step.rate_kind or not step.first:
            return []
        wanted = {"frame": frames, "channel": step.system.headline is RateKind.KL}
        return [Quantity(Kind.TRACE, axis) for axis in AXES if wanted[axis]]


def _rates(step: Step) -> list[Quantity]:
    kind = step.rate_kind
    if kind is None:
        return []
    if coder := step.coder:
        return [Quantity(Kind.RATE, kind.value, coder.name)]
    kinds = step.system.rate_kinds if kind is step.system.headline else (kind,)
    return [Quantity(Kind.RATE, one.value, _MODELS.get(one, "")) for one in kinds]


def _measured(work: Work, encoding: Encoding) -> Mapping[RateKind, Sequence[Rate]]:
    from rdbench.rate import coded_rates

    assert work.step is not None
    coder = work.step.coder
    if coder is None:
        return encoding.rates
    names = [clip.name for i, clip in enumerate(work.clips) for _ in encoding.items(i)]
    seeds = spread_seeds([clip.seed for clip in work.clips], encoding.policy, encoding.channels)
    found = coded_rates(encoding.encoded, coder, names=names, seeds=seeds)
    return {RateKind.CODED: encoding.gathered(RateKind.CODED, found)}
