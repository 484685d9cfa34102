"""Metric keys to definitions and backends, imported when first used.

Each family module holds `DEFINITIONS: tuple[MetricDefinition, ...]` and a function
`backends(key) -> dict[str, BackendFactory]`: what each backend is called and how to build it.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from functools import cache

from rdbench.metrics.base import BackendFactory, DeviceBackend, MetricDefinition, PoolBackend
from rdbench.types import SpecError

# Which module defines a key, so that listing keys imports nothing. "mel_dac_*" and the like are
# listed one by one: a key is a promise.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "rdbench.metrics.signal": ("snr", "si_sdr"),
    "rdbench.metrics.spectral": (
        "mel_dac_16k",
        "mel_dac_24k",
        "mel_dac_44k",
        "mel_dac_48k",
        "stft_dac_16k",
        "stft_dac_24k",
        "stft_dac_44k",
        "stft_dac_48k",
        "lsd",
    ),
    "rdbench.metrics.pesq": ("pesq_wb", "pesq_nb"),
    "rdbench.metrics.stoi": ("stoi", "estoi"),
    "rdbench.metrics.visqol": (
        "visqol_audio",
        "visqol_speech",
        "visqol_speech_exponential",
    ),
}


def keys() -> list[str]:
    """Every metric key."""
    return [key for family in FAMILIES.values() for key in family]


@cache
def definition(key: str) -> MetricDefinition:
    """The definition of `key`; raises SpecError with the nearest key where there is none."""
    definitions: tuple[MetricDefinition, ...] = importlib.import_module(_module(key)).DEFINITIONS
    return next(item for item in definitions if item.key == key)


@cache
def backend(key: str, name: str = "auto") -> DeviceBackend | PoolBackend:
    """The backend `name` of `key`; "auto" is the first one its module lists."""
    available = _factories(key)
    if name == "auto":
        return next(iter(available.values()))()
    if name not in available:
        raise SpecError(
            f"metric {key!r} has no backend {name!r}; it has: {', '.join(['auto', *available])}"
        )
    return available[name]()


def backend_names(key: str) -> list[str]:
    """The backends of `key`, the default first."""
    return list(_factories(key))


def _factories(key: str) -> dict[str, BackendFactory]:
    found: dict[str, BackendFactory] = importlib.import_module(_module(key)).backends(key)
    return found


def _module(key: str) -> str:
    for module, family in FAMILIES.items():
        if key in family:
            return module
    near = difflib.get_close_matches(key, keys(), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known metrics: {', '.join(keys())}"
    raise SpecError(f"there is no metric {key!r}; {hint}")
