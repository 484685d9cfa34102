"""The manifest: what a run was, so that its numbers can be read years later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdbench.audio.channels import policy
from rdbench.engine.environment import cores, hardware, machine_name, provenance
from rdbench.engine.plan.systems import variant_cards
from rdbench.types import CodecError

if TYPE_CHECKING:
    from rdbench.audio.clip import Corpus
    from rdbench.engine.plan.clips import PlannedClip
    from rdbench.engine.plan.metrics import Metric
    from rdbench.engine.plan.plan import Plan
    from rdbench.engine.plan.systems import System
    from rdbench.spec.model import BenchmarkSpec


def manifest(
    *,
    spec: BenchmarkSpec,
    corpus: Corpus,
    plan: Plan,
    metrics: Mapping[str, Metric],
    devices: Sequence[str],
    workers: int,
    batch_seconds: float,
    keep_audio: bool,
    cluster: str | None,
    finished: str | None,
) -> dict[str, Any]:
    """Everything beside the rows, to be written as JSON.

    `versions` and `hardware` are those of the last start; rows name theirs in `provenance`.

    cluster: whose workers measure; None for processes of this machine, which alone are counted in
    `workers`. finished: ISO 8601 in UTC, None while the run goes on.
    """
    from rdbench.audio.resample import RESAMPLER

    own = "cpu" if cluster else devices[0]
    name, told = provenance(own)
    return {
        "name": spec.name,
        "description": spec.description,
        "finished": finished,
        "spec": spec.model_dump(mode="json"),
        "protocol": {
            "fingerprint": spec.protocol.fingerprint(RESAMPLER),
            "resampler": RESAMPLER,
            **spec.protocol.model_dump(mode="json"),
        },
        "execution": {
            "device": ",".join(devices),
            "workers": workers,
            "batch_seconds": batch_seconds,
            "keep_audio": keep_audio,
            "machine": machine_name(own),
            **({"cluster": cluster} if cluster else {}),
            "threads_per_worker": spec.protocol.threads if tuple(devices) == ("cpu",) else 1,
            "cores": cores(),
            "determinism": _determinism(devices[0]),
        },
        "costs": plan.families.named("costs").protocol(),
        "corpus": {
            "name": corpus.name,
            "description": corpus.description,
            "sample": spec.corpus.sample.model_dump() if spec.corpus.sample else None,
            "clips": [_clip(planned) for planned in plan.clips],
        },
        "metrics": {key: metric.card() for key, metric in metrics.items()},
        "systems": {system.name: _system(system, spec) for system in plan.systems},
        "variants": variant_cards(plan.systems),
        "plan": plan.manifest(),
        "versions": told["versions"],
        "provenance": {name: told},
        "hardware": hardware(own),
    }


def _determinism(device: str) -> str:
    """What a second run may change, costs aside."""
    if not device.startswith("cuda"):
        return (
            "the same spec, weights, seed and versions give the same rows bit for bit on this kind "
            "of processor, whatever the number of workers; costs differ"
        )
    return (
        "not bit for bit: on a GPU the order of additions in convolutions, matrix products and "
        "FFTs may change with the card, the versions of CUDA and cuDNN and the size of a batch; "
        "float32 values differ in their last digits (TF32 is off), and a token whose two nearest "
        "codes are equally far may flip, with its rate and its scores; costs differ"
    )


def _clip(planned: PlannedClip) -> dict[str, Any]:
    clip = planned.clip
    return {
        "name": clip.name,
        "domain": clip.domain,
        "group": clip.group,
        "start": clip.start,
        "duration": clip.duration,
        "content": planned.content,
    }


def _system(system: System, spec: BenchmarkSpec) -> dict[str, Any]:
    card: dict[str, Any] = {
        "codec": system.spec.codec,
        "curve": system.spec.curve,
        "label": system.spec.label,
        "headline": str(system.headline) if system.headline else None,
        "rates": [str(kind) for kind in system.rate_kinds],
        "points": [point.name for point in system.points],
        "target_kbps": {point.name: point.target_kbps for point in system.points},
        "variants": [variant.name for variant in system.variants],
        "failure": system.failure,
    }
    info = system.info
    if info is None:  # its rows of an earlier start may stand, under what was known of it then
        return {**system.card, **card}
    return card | {
        "family": info.family,
        "version": info.version,
        "weights_sha256": info.weights_sha256,
        "parameters": info.parameters,
        "frame_rate_hz": info.frame_rate,
        "codebook_sizes": _codebooks(system),
        "declared_delay_samples": info.delay,
        "sample_rates_hz": list(info.sample_rates),
        "channels": _channel_policies(system, spec),
        "licence": info.licence,
        "citation": info.citation,
        "details": {key: str(value) for key, value in info.details.items()},
    }


def _codebooks(system: System) -> dict[str, list[int]]:
    """By point, the entries of each codebook of a frame, where one stream of tokens is all."""
    assert system.codec is not None
    found = {point.name: system.codec.codebooks_at(point) for point in system.points}
    return {name: list(sizes) for name, sizes in found.items() if sizes}


def _channel_policies(system: System, spec: BenchmarkSpec) -> dict[str, str]:
    """By layout of the protocol, how the reference meets the codec's channels."""
    assert system.info is not None
    policies = {}
    for layout in spec.protocol.channels.values():
        counts = {"mono": [1], "stereo": [2]}.get(layout, [1, 2])
        for count in counts:
            try:
                policies[f"{count}"] = policy(system.info, count).value
            except CodecError:
                policies[f"{count}"] = "refused"
    return policies
