"""A synthetic run for the tests of reports: made by formulas, not by codecs.

Scores rise with rate and saturate, clips differ by speaker, some scores are undefined or failed,
and no random generator is used, so that golden files hold on every machine.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from rdbench.metrics.base import Direction, MetricDefinition
from rdbench.store.schema import COLUMNS, SCHEMA_VERSION, Kind, Row
from rdbench.store.writer import RunWriter
from rdbench.types import Status

GOLDEN = (math.sqrt(5) - 1) / 2


def metric(key: str, name: str, unit: str, direction: str, *more: Any) -> MetricDefinition:
    lower, upper, identity, domains = more
    return MetricDefinition(
        key=key, version=1, name=name, unit=unit, direction=Direction(direction), lower=lower,
        upper=upper, identity=identity, domains=domains, sample_rate=None, minimum_seconds=0.25,
        needs_alignment=False, definition="for tests",
    )  # fmt: skip


METRICS = (
    metric("pesq_wb", "PESQ-WB", "MOS-LQO", "higher", 1.04, 4.644, 4.644, ("speech",)),
    metric("stoi", "STOI", "", "higher", 0.0, 1.0, 1.0, ("speech",)),
    metric("visqol_audio", "ViSQOL audio", "MOS-LQO", "higher", 1.0, 4.75, 4.73, ()),
    metric("si_sdr", "SI-SDR", "dB", "higher", -math.inf, 100.0, 100.0, ()),
    metric("mel_dac_16k", "mel distance, DAC 16 kHz", "", "lower", 0.0, math.inf, 0.0, ()),
)

# name, label, curve, headline, variants, {point: kbps}, rate at which half the quality is reached
SYSTEMS: tuple[tuple[str, str, str, str | None, tuple[str, ...], dict[str, float], float], ...] = (
    ("opus", "Opus", "Opus", "payload", ("codes",),
     {"6": 6.3, "9": 9.2, "12": 12.4, "16": 16.5, "24": 24.4, "32": 32.6, "64": 65.0}, 8.0),
    ("mp3", "MP3", "MP3", "payload", ("codes",),
     {"16": 16.2, "24": 24.1, "32": 32.1, "64": 64.2}, 20.0),
    ("lyra", "Lyra v2", "Lyra v2", "nominal", ("codes",),
     {"3.2": 3.2, "6": 6.0, "9.2": 9.2}, 6.0),
    *(
        (f"vae_{kbps}", f"VAE {kbps}", "VAE", "kl", ("sample", "mean", "coded"),
         {str(kbps): kbps * 1.06}, 3.0)
        for kbps in (1.5, 3, 6, 12, 24)
    ),
    ("rvq", "RVQ nested", "RVQ nested", "nominal", ("codes",),
     {"1.5": 1.5, "3": 3.0, "4": 4.0, "6": 6.0, "8": 8.0, "12": 12.0}, 4.5),
    ("rvq_6", "RVQ 6 kbps only", "RVQ single", "nominal", ("codes",), {"6": 6.0}, 4.0),
    ("identity", "identity", "identity", None, ("codes",), {"-": math.inf}, 1.0),
    ("lowpass_3500", "low-pass 3.5 kHz", "low-pass 3.5 kHz", None, ("codes",), {"-": 7.0}, 4.0),
    ("lowpass_7000", "low-pass 7 kHz", "low-pass 7 kHz", None, ("codes",), {"-": 25.0}, 3.0),
)  # fmt: skip

QUALITY_RANGE = {  # at no rate, at infinite rate
    "pesq_wb": (1.05, 4.644), "stoi": (0.4, 1.0), "visqol_audio": (1.2, 4.73),
    "si_sdr": (-8.0, 22.0), "mel_dac_16k": (2.4, 0.0),
}  # fmt: skip


def spread(*parts: Any) -> float:
    """A repeatable number in −1 … 1 for a place."""
    place = sum((i + 1) * ord(c) for i, c in enumerate("/".join(map(str, parts))))
    return 2 * math.fmod(place * GOLDEN, 1.0) - 1


def clips() -> list[tuple[str, str, str, float]]:
    """(clip, domain, group, seconds)."""
    speech = [(f"s{i:02d}", "speech", f"speaker{i % 9}", 4.0) for i in range(18)]
    music = [(f"m{i:02d}", "music", "", 4.0 + i % 2) for i in range(8)]
    return speech + music


def quality(where: dict[str, Any], key: str, kbps: float, half: float) -> float:
    clip, group, variant = where["clip"], where["group"], where["variant"]
    worst, best = QUALITY_RANGE[key]
    if math.isinf(kbps):
        return 100.0 if key == "si_sdr" else best
    kbps *= {"mean": 1.35, "coded": 0.8}.get(variant, 1.0)
    hard = half * math.exp(0.35 * spread(group or clip, "hard") + 0.12 * spread(clip, key))
    share = kbps**1.3 / (kbps**1.3 + hard**1.3)
    return worst + share * (best - worst)


def make_frame() -> pd.DataFrame:
    """All rows of the run."""
    rows: list[Row] = []
    for system, _, curve, headline, variants, kbps_of, half in SYSTEMS:
        for point, kbps in kbps_of.items():
            owner = {"unit_key": "", "system": system, "curve": curve, "point": point}
            for variant in variants:
                for clip, domain, group, seconds in clips():
                    if system.startswith("lyra") and domain == "music":
                        continue
                    where = {
                        **owner, "variant": variant, "clip": clip, "domain": domain,
                        "group": group, "seconds": seconds,
                    }  # fmt: skip
                    rows += rate_rows(where, headline, kbps)
                    rows += score_rows(where, kbps, half)
            for variant in variants:
                rows += cost_rows({**owner, "variant": variant}) if variant != "mean" else []
    return pd.DataFrame([row.as_dict() for row in rows], columns=list(COLUMNS))


def rate_rows(where: dict[str, Any], headline: str | None, kbps: float) -> list[Row]:
    if headline is None:
        return []
    kind, varies = headline, 0.0 if headline == "nominal" else 0.08
    if where["variant"] == "coded":
        kind, kbps = "coded", kbps * 1.3
    bits = 1000 * kbps * where["seconds"] * (1 + varies * spread(where["clip"], headline))
    found = {kind: bits}
    if kind == "payload":
        found["container"] = bits + 4000
    return [
        Row(**where, kind=Kind.RATE, key=name, value=value, unit="bit", backend="",
            status=Status.OK, reason="")
        for name, value in found.items()
    ]  # fmt: skip


def score_rows(where: dict[str, Any], kbps: float, half: float) -> list[Row]:
    rows = []
    for item in METRICS:
        if item.domains and where["domain"] not in item.domains:
            continue
        value = quality(where, item.key, kbps, half)
        status, reason = Status.OK, ""
        if item.key == "pesq_wb" and where["clip"] == "s07" and kbps < 4:
            status, reason, value = Status.UNDEFINED, "no utterance was found", math.nan
        if where["system"] == "mp3" and where["point"] == "16" and where["clip"] in ("m02", "s02"):
            status, reason, value = Status.FAILED, "the encoder returned no packets", math.nan
        rows.append(
            Row(**where, kind=Kind.METRIC, key=item.key, value=value, unit=item.unit,
                backend="reference", status=status, reason=reason)
        )  # fmt: skip
    delay = 0.0625 if where["system"] == "opus" else 0.0
    rows.append(
        Row(**where, kind=Kind.METRIC, key="residual_delay", value=delay, unit="ms",
            backend="cross-correlation", status=Status.OK, reason="")
    )  # fmt: skip
    return rows


def cost_rows(owner: dict[str, Any]) -> list[Row]:
    where = {**owner, "clip": "", "domain": "", "group": "", "seconds": 0.0}
    model, stream = owner["system"].startswith(("vae", "rvq")), owner["variant"] == "coded"
    times = {"encode_rtf": 0.031 if model else 0.012, "decode_rtf": 0.044 if model else 0.004}
    costs = {"clip_length": (4.0, "s")}
    for key, value in times.items():
        middle = value + 0.1 * stream
        for end, factor in {"": 1.0, "_q1": 0.9, "_q3": 1.2}.items():
            costs[f"{key}{end}"] = (factor * middle, "s/s")
    if model:
        costs |= {"parameters": (2_790_432, "1"), "device_memory_peak": (151.3 * 2**20, "byte")}
    return [
        Row(**where, kind=Kind.COST, key=key, value=value, unit=unit, backend="",
            status=Status.OK, reason="")
        for key, (value, unit) in costs.items()
    ]  # fmt: skip


def make_manifest() -> dict[str, Any]:
    """What a report uses of a manifest."""
    return {
        "schema_version": SCHEMA_VERSION,
        "systems": {
            name: {"label": label, "curve": curve, "headline": headline}
            for name, label, curve, headline, *_ in SYSTEMS
        },
        "metrics": {
            item.key: asdict(item) | {"direction": item.direction.value} for item in METRICS
        },
        "corpus": {"name": "synthetic scores"},
        "costs": {
            "version": 2,
            "clips": 2,
            "batch": 1,
            "warm_up": 1,
            "repeats": 5,
            "threads": 1,
        },
        "protocol": {
            "fingerprint": "5e1f",
            "sample_rate": {"default": 16000},
            "channels": {"speech": "mono", "music": "stereo"},
            "excerpt_seconds": 4.0,
            "gain": "none",
        },
    }


def write_run(folder: Path, frame: pd.DataFrame) -> None:
    """Leaves `frame` in a results folder, under the manifest of `make_manifest`."""
    rows = []
    for number, row in enumerate(frame.to_dict("records")):
        named = {
            "unit_key": str(number),
            "kind": Kind(row["kind"]),
            "status": Status(row["status"]),
        }
        rows.append(Row(**{**row, **named}))
    with RunWriter(folder) as writer:
        writer.append(rows)
        writer.write_manifest(make_manifest())
