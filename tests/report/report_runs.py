"""Runs for the tests of the HTML report: a spec for a real one, and rows for strange ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rdbench.store.audio import KEY, UNIT, open_audio, write_audio
from rdbench.store.schema import Kind, Row
from rdbench.store.writer import RunWriter
from rdbench.types import Status

EMBEDDED_SPEC = """
name: heard
corpus: {kind: embedded, domains: [speech], sample: {clips: 3}}
protocol: {sample_rate: 16000, channels: mono, excerpt_seconds: 2.0}
metrics: {default: [si_sdr, lsd]}
costs: {enabled: false}
systems:
  - {codec: opus, label: Opus, points: [8, 16, 32]}
  - {codec: mp3, label: MP3, points: [16, 48]}
  - {codec: identity, label: Identity}
"""

SIXTEEN = "0123456789abcdef"
HOSTILE = (
    "<img src=x onerror=\"window.ran='img'\">",
    "</script><script>window.ran='script'</script>",
    "javascript:window.ran='url'",
    "\"'><b onclick=window.ran=1>",
    "../../../../etc/passwd",
    "%{x} {{ 7 * 7 }} ${window.ran='template'}",
    "<a href=\"javascript:window.ran='link'\">click</a>",
    "a name with spaces and \N{PILE OF POO} emoji",
    "long " + SIXTEEN * 19,
    "constructor",
    "__proto__",
)


@dataclass(frozen=True)
class Strange:
    """What a run for a test holds.

    score: a value for every row, or NaN with the status. first: the score of the first clip at the
    first point.
    """

    systems: Sequence[str] = ("one", "two")
    points: Sequence[str] = ("8", "16")
    clips: Sequence[str] = ("a.wav", "b.wav", "c.wav")
    metrics: Sequence[str] = ("si_sdr",)
    domains: Sequence[str] = ("speech",)
    anchors: Sequence[str] = ()
    status: Status = Status.OK
    reason: str = ""
    audio: bool = False
    variants: Sequence[str] = ("codes",)
    first: float = 10.0

    def write(self, folder: Path) -> Path:
        """Writes the run and returns its folder."""
        with RunWriter(folder) as writer:
            writer.append(self._rows(open_audio(folder) if self.audio else None))
            writer.write_manifest(
                {
                    "name": self.systems[0],
                    "description": " ".join(self.systems)[:300],
                    "systems": {
                        name: {
                            "label": name,
                            "curve": name,
                            "headline": None if name in self.anchors else "payload",
                        }
                        for name in self.systems
                    },
                    "metrics": {
                        key: {"name": key, "unit": "dB", "direction": "higher"}
                        for key in self.metrics
                    },
                    "corpus": {"name": self.clips[0]},
                    "protocol": {"gain": self.systems[-1]},
                }
            )
        return folder

    def _rows(self, audio: Path | None) -> Iterator[Row]:
        for number, clip in enumerate(self.clips):
            base = Row(
                unit_key=f"{number}", system="", curve="", point="", variant="", clip=clip,
                domain=self.domains[number % len(self.domains)], group="", seconds=0.5,
                kind=Kind.AUDIO, key=KEY, value=0.5, unit=UNIT, backend="", status=Status.OK,
                reason="",
            )  # fmt: skip
            if audio is not None:
                write_audio(audio, base.unit_key, tone(number), 16_000)
                yield base
            for s, system in enumerate(self.systems):
                for p, point in enumerate(self.points):
                    for variant in self.variants:
                        here = replace(base, variant=variant)
                        yield from self._place(here, number, (s, system), (p, point), audio)

    def _place(
        self, base: Row, clip: int, system: tuple[int, str], point: tuple[int, str],
        audio: Path | None,
    ) -> Iterator[Row]:  # fmt: skip
        key = f"{clip}-{system[0]}-{point[0]}"
        if base.variant != self.variants[0]:
            key = f"{key}-{base.variant}"
        here = replace(base, unit_key=key, system=system[1], curve=system[1], point=point[1])
        if audio is not None:
            write_audio(audio, key, 0.9 * tone(clip), 16_000)
            yield here
        bits = 4000.0 * 2 ** point[0] * (1 + system[0] / 10)
        kind = "coded" if base.variant == "coded" else "payload"
        yield replace(
            here, unit_key=f"{key}-rate", kind=Kind.RATE, key=kind, value=bits, unit="bit"
        )
        for metric in self.metrics:
            value = self.first + point[0] + system[0] / 10 + clip
            yield replace(
                here, unit_key=f"{key}-{metric}", kind=Kind.METRIC, key=metric, unit="dB",
                value=value if self.status is Status.OK else math.nan, status=self.status,
                reason=self.reason,
            )  # fmt: skip


def tone(number: int) -> np.ndarray:
    """Half a second of a tone, float32 (1, time)."""
    at = np.arange(8000) / 16_000
    return (0.5 * np.sin(2 * np.pi * 220 * (number + 1) * at)).astype(np.float32)[None]
