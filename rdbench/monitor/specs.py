"""The spec of one evaluation: what a person gave, the model in the place of its systems."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.types import SpecError

if TYPE_CHECKING:
    from rdbench.spec.model import BenchmarkSpec
    from rdbench.types import CodecInfo

SECONDS = 3.0
"""Of each clip, where nobody says."""
_ANY: Mapping[str, Any] = {
    "name": "training",
    "corpus": {"kind": "embedded"},
    "protocol": {"sample_rate": 16_000},
    "metrics": {"default": ["lsd"]},
}
"""What the spec of a codec that is not known yet does not say itself."""


def content_of(spec: Any) -> tuple[dict[str, Any], Path, str]:
    """What a spec holds, the folder from which its paths start, and its name in messages.

    spec: a path or a name, a mapping as YAML would hold it (paths start from the current folder), a
    `BenchmarkSpec`, or None, which says nothing. Raises SpecError.
    """
    from rdbench.spec.load import read_content
    from rdbench.spec.model import BenchmarkSpec

    if spec is None:
        return {}, Path.cwd(), "the spec"
    if isinstance(spec, BenchmarkSpec):
        return spec.model_dump(mode="json"), spec.folder, f"spec {spec.name}"
    if isinstance(spec, Mapping):
        return dict(spec), Path.cwd(), "the spec"
    if isinstance(spec, str | Path):
        return read_content(spec)
    raise SpecError(
        f"a spec is a path, a mapping or a BenchmarkSpec, not {type(spec).__name__}; give one"
    )


def with_system(spec: Any, system: Mapping[str, Any], info: CodecInfo | None) -> BenchmarkSpec:
    """The spec with one system in the place of its own, and without costs.

    info: of the codec; what the spec does not say (corpus, protocol, metrics) is made to suit it:
    the embedded clips of the domains that its rate can hold, at its own rate and channels. None is
    a codec that is not known yet. Raises SpecError.
    """
    from rdbench.codecs.registry import names
    from rdbench.metrics.registry import keys
    from rdbench.spec.load import make_spec

    content, folder, name = content_of(spec)
    content = {**(_defaults(info) if info else _ANY), **content}
    content |= {"systems": [dict(system)], "costs": {"enabled": False}}
    return make_spec(content, where=name, folder=folder, metric_keys=keys(), codec_names=names())


def says_all(spec: Any) -> bool:
    """Whether a spec leaves nothing to be made to suit a codec."""
    content, _, _ = content_of(spec)
    return set(_ANY) <= set(content)


def _defaults(info: CodecInfo) -> dict[str, Any]:
    from rdbench.metrics.registry import keys

    rate = max(info.sample_rates, default=48_000)
    wide = rate >= 32_000
    mel = f"mel_dac_{rate // 1000}k"
    scores = ["si_sdr", *([mel] if mel in keys() else []), "lsd"]
    layout = {1: "mono", 2: "stereo"}.get(max(info.channels, default=1), "native")
    return {
        "name": "training",
        "corpus": {"kind": "embedded"} if wide else {"kind": "embedded", "domains": ["speech"]},
        "protocol": {"sample_rate": rate, "channels": layout, "excerpt_seconds": SECONDS},
        "metrics": {"default": scores, "speech": [*scores, "pesq_wb", "estoi"]},
    }
