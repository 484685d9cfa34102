"""The keys of units: what could change a value, and nothing else.

A key is the SHA-256 of a unit's parts: how its step codes (codec, weights, options, point,
variant), the content of its clips and how they are prepared, and what its pass says that the
quantity depends on. Names of systems, curves, clips, labels and groups are no part of it, so that
renaming re-labels rows and measures nothing again. Two systems that code alike, or two clips of one
content, are told apart by their order. Every part is hashed once, so that planning a hundred
thousand units takes seconds.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rdbench.engine.plan.digests import digest

if TYPE_CHECKING:
    from rdbench.audio.load import ExcerptProtocol
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.families import Families, Family
    from rdbench.engine.plan.systems import Step, StepId, System
    from rdbench.spec.model import ProtocolSpec
    from rdbench.store.schema import Quantity

KEY_DIGITS = 32  # 128 bits


class Keys:
    """Makes the keys of a run's units.

    device_class: "cpu" or "cuda". protocols: by domain.
    """

    def __init__(
        self,
        *,
        systems: Sequence[System],
        clips: Sequence[PlannedClip],
        families: Families[Family],
        protocol: ProtocolSpec,
        protocols: Mapping[str, ExcerptProtocol],
        device_class: str,
    ) -> None:
        from rdbench.audio import load
        from rdbench.audio.resample import RESAMPLER

        self._families = families
        self._seed = protocol.seed
        run = [
            load.VERSION,
            RESAMPLER,
            protocol.alignment,
            protocol.threads,
            protocol.dtype,
            device_class,
        ]
        prepared = {domain: digest([run, asdict(one)]) for domain, one in protocols.items()}
        self._clips = _told_apart(
            (clip.name, digest([prepared[clip.domain], clip.content])) for clip in clips
        )
        self._steps = _told_apart(
            (step.id, self._coding(step)) for system in systems for step in system.steps
        )
        self._given = {
            step.id: given for system in systems for step in system.steps if (given := step.given)
        }
        self._quantities: dict[tuple[StepId | None, Quantity], str] = {}

    def of_clip(
        self, step: Step | None, clip: PlannedClip, quantities: Iterable[Quantity]
    ) -> list[str]:
        """The keys of quantities of one clip in one step (None: of its reference)."""
        common = hashlib.sha256(f"{self._step(step)}|{self._clip(step, clip)}|".encode())
        return [
            self._key(common, step, quantity, self._text(clip, quantity)) for quantity in quantities
        ]

    def of_set(
        self, step: Step, clips: Sequence[PlannedClip], quantities: Iterable[Quantity]
    ) -> list[str]:
        """The keys of quantities of a set of clips, in whatever order they come."""
        members = digest(sorted(self._clip(step, clip) for clip in clips))
        common = hashlib.sha256(f"{self._step(step)}|{members}|".encode())
        return [
            self._key(common, step, quantity, self._grouping(clips, quantity))
            for quantity in quantities
        ]

    def _key(self, common: Any, step: Step | None, quantity: Quantity, more: str = "") -> str:
        own = common.copy()
        own.update(f"{self._quantity(step, quantity)}{more}".encode())
        return str(own.hexdigest()[:KEY_DIGITS])

    def _grouping(self, clips: Sequence[PlannedClip], quantity: Quantity) -> str:
        """Which clips are of one group, whatever it is called, where the quantity depends on it.

        The domain's name is with them, because it is the seed by which groups are drawn.
        """
        if not self._families.owner(quantity).by_groups(quantity):
            return ""
        groups: dict[str, list[str]] = {}
        for clip in clips:
            groups.setdefault(clip.clip.group or clip.name, []).append(self._clips[clip.name])
        members = [sorted(groups[name]) for name in sorted(groups)]
        return digest([clips[0].domain, members])

    def _text(self, clip: PlannedClip, quantity: Quantity) -> str:
        return digest(clip.clip.text) if self._families.owner(quantity).by_text(quantity) else ""

    def _quantity(self, step: Step | None, quantity: Quantity) -> str:
        where = (step.id if step else None, quantity)
        if where not in self._quantities:
            depends = self._families.owner(quantity).depends(step, quantity)
            parts = [quantity.kind.value, quantity.key, quantity.model, depends]
            self._quantities[where] = digest(parts)
        return self._quantities[where]

    def _step(self, step: Step | None) -> str:
        return self._steps[step.id] if step else "reference"

    def _clip(self, step: Step | None, clip: PlannedClip) -> str:
        """A clip, with what was made elsewhere of it."""
        own, given = self._clips[clip.name], step and self._given.get(step.id)
        return digest([own, given.content(clip.name)]) if given else own

    def _coding(self, step: Step) -> str:
        """How a step codes."""
        system, info, variant = step.system, step.system.info, step.variant
        coder, given = step.coder, step.given
        return digest(
            [
                system.recipe.name,
                _options(step),
                info and [info.version, info.weights_sha256, *system.source],
                step.point.name,
                dict(step.point.settings),
                [step.decoded, variant.source, variant.digest],
                self._seed if variant.seeded else None,
                coder and [coder.name, coder.digest],
                *([step.fitted] if step.fitted else []),
                *([given.source] if given and given.source else []),
            ]
        )


def _options(step: Step) -> Any:
    """The options of a codec; of one of files none, whose points say what theirs do to a value."""
    system = step.system
    if step.found:
        return {}
    return system.recipe.options if system.info is None else dict(system.spec.options)


def _told_apart(named: Iterable[tuple[Any, str]]) -> dict[Any, str]:
    """Digests by name; of equal ones the second, third, … with its number."""
    seen: Counter[str] = Counter()
    found = {}
    for name, one in named:
        seen[one] += 1
        found[name] = one if seen[one] == 1 else digest([one, seen[one]])
    return found
