"""A small run folder with everything that a run may have, made without measuring."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

CLIPS = tuple((f"c{i}.wav", ("speech", "music")[i % 2], f"g{i // 4}") for i in range(8))
SYSTEMS = {
    "opus": ("payload", ("6", "12", "24")),
    "vae": ("kl", ("3",)),
    "identity": (None, ("-",)),
}
METRICS = ("pesq_wb", "si_sdr")
SET = "frechet_logmel"
RATE = 8000


def make_sound(folder: Path) -> Path:
    """A small run with everything that a run may have, and a baseline and answers beside it."""
    from rdbench.analysis.gate.baseline import write_baseline
    from rdbench.analysis.listeners.ratings import import_scores
    from rdbench.analysis.runs import read_run
    from rdbench.rate.trace import Trace
    from rdbench.store.audio import open_audio, write_audio
    from rdbench.store.writer import RunWriter
    from rdbench.types import RateKind

    run = folder / "sound"
    made = rows()
    with RunWriter(run) as writer:
        writer.append(row for row, _ in made)
        for row, place in _beside(made):
            if row.kind == "trace":
                bits = tuple(10.0 + i for i in range(6))
                seconds = tuple(0.1 * i for i in range(6))
                trace = Trace(RateKind.KL, row.key, tuple(range(6)), seconds, bits, 6)
                writer.trace(row, trace)
            elif row.kind == "feature":
                writer.feature(row, np.linspace(1.0, 2.0, place))
        writer.write_manifest(manifest())
        audio = open_audio(run)
        for row, place in made:
            if row.kind == "audio":
                samples = 0.3 * np.sin(np.arange(RATE) / (5 + place)).astype(np.float32)
                write_audio(audio, row.unit_key, samples[None], RATE)
    answers = folder / "answers.csv"
    lines = [f"{s}/{p},{c},l{n},{3 + n}" for s, p in (("opus", "6"), ("opus", "24"))
             for c, *_ in CLIPS[:4] for n in range(2)]  # fmt: skip
    answers.write_text("\n".join(["condition,clip,listener,score", *lines]) + "\n")
    import_scores(run, answers, scale="mos")
    write_baseline(folder / "baseline.csv", read_run(run))
    return run


def rows() -> list[tuple[Any, int]]:
    from rdbench.store.schema import Row
    from rdbench.types import Status

    rows: list[tuple[Any, int]] = []

    def add(place: int, kind: str, key: str, value: float, **labels: Any) -> None:
        given = dict.fromkeys(
            ("system", "curve", "point", "variant", "clip", "domain", "group"), ""
        )
        row = Row(
            unit_key=f"{len(rows):032x}", **given | labels, seconds=2.0, kind=kind, key=key,
            value=value, unit="", backend="r", status=Status.OK, reason="",
        )  # fmt: skip
        rows.append((row, place))

    for system, (kind, points) in SYSTEMS.items():
        for level, point in enumerate(points):
            labels = {"system": system, "curve": system, "point": point}
            for variant in ("sample", "mean") if system == "vae" else ("codes",):
                for place, (clip, domain, group) in enumerate(CLIPS):
                    own = {"variant": variant, "clip": clip, "domain": domain, "group": group}
                    for key in METRICS:
                        add(place, "metric", key, 1.0 + level + 0.1 * place, **labels, **own)
                    if kind:
                        bits = 2000.0 * float(point) + place
                        add(place, "rate", kind, bits, **labels, **own)
                    if (system, point) == ("opus", "12"):
                        add(place, "audio", "flac", 0.3, **labels, **own)
                add(0, "metric", SET, 3.0 - level, **labels, variant=variant, domain="speech")
    for place, (clip, domain, group) in enumerate(CLIPS):
        add(place, "audio", "flac", 0.3, clip=clip, domain=domain, group=group)
    add(0, "note", "silent", 1.0, clip="c0.wav", domain="speech")
    add(0, "cost", "encode_rtf", 0.1, system="opus", curve="opus", point="6", variant="codes")
    failed, _ = rows[3]
    rows[3] = (replace(failed, status=Status.FAILED, reason="it broke", value=float("nan")), 0)
    return rows


def _beside(rows: Sequence[tuple[Any, int]]) -> list[tuple[Any, int]]:
    """Traces and features for some of the rows."""
    made = []
    for number, (row, _) in enumerate(rows):
        key = f"{number:016x}{'f' * 16}"
        if (row.system, row.key, row.variant) == ("vae", "kl", "sample"):
            for axis in ("channel", "frame"):
                made.append((replace(row, unit_key=key[:-1] + axis[0], kind="trace", key=axis), 6))
        if row.key == SET:
            for model, size in (("jackknife", 2), ("bootstrap", 50)):
                one = replace(row, unit_key=key + model[0], kind="feature", backend=model)
                made.append((one, size))
    return made


def manifest() -> dict[str, Any]:
    cards = {
        key: {"name": key, "unit": "", "direction": "higher", "version": 1, "scope": "clip"}
        for key in METRICS
    } | {SET: {"name": SET, "direction": "lower", "version": 1, "scope": "set"}}
    plan = [
        {"system": system, "point": point, "variant": variant, "domain": domain,
         "each": [["metric", key, ""] for key in METRICS], "whole": []}
        for system, (_, points) in SYSTEMS.items() for point in points
        for variant in (("sample", "mean") if system == "vae" else ("codes",))
        for domain in ("speech", "music")
    ]  # fmt: skip
    return {
        "name": "sound", "description": "a run", "finished": "2026-01-01T00:00:00+00:00",
        "spec": {"systems": []}, "versions": {"rdbench": "0"}, "hardware": {"processor": "p"},
        "protocol": {"fingerprint": "f", "sample_rate": {"default": RATE}, "seed": 0},
        "execution": {"machine": "m"},
        "corpus": {"name": "c", "clips": [
            {"name": name, "domain": domain, "group": group,
             "content": f"{zlib.crc32(name.encode()):x}"}
            for name, domain, group in CLIPS
        ]},
        "metrics": cards,
        "systems": {
            name: {"headline": kind, "points": list(points), "label": name.title(), "curve": name}
            for name, (kind, points) in SYSTEMS.items()
        },
        "plan": plan,
    }  # fmt: skip
