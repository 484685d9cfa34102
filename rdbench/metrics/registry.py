"""Metric keys to definitions and backends, imported when first used.

Each family module holds `DEFINITIONS: tuple[MetricDefinition, ...]` and a function
`backends(key) -> dict[str, BackendFactory]`: what each backend is called and how to build it, the
default first. A package adds such a module by entry points of the group `rdbench.metrics`, one for
each key: the key is the entry point's name, the module its value.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType

from rdbench.metrics.base import BackendFactory, DeviceBackend, MetricDefinition, PoolBackend
from rdbench.types import SpecError

ENTRY_POINT_GROUP = "rdbench.metrics"

# Which module defines a key, so that listing keys imports nothing. "mel_dac_*" and the like are
# listed one by one: a key is a promise.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "rdbench.metrics.signal.snr": ("snr", "si_sdr"),
    "rdbench.metrics.signal.spectral": (
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
    "rdbench.metrics.perceptual.pesq": ("pesq_wb", "pesq_nb"),
    "rdbench.metrics.perceptual.stoi": ("stoi", "estoi"),
    "rdbench.metrics.perceptual.visqol": (
        "visqol_audio",
        "visqol_speech",
        "visqol_speech_exponential",
    ),
}


def keys() -> list[str]:
    """Every metric key: those of rdbench in its order, then those of installed packages."""
    return list(dict.fromkeys([*_built_in(), *sorted(_installed())]))


@cache
def definition(key: str) -> MetricDefinition:
    """The definition of `key`.

    Raises SpecError with the nearest key where there is none, and for a package whose module does
    not define what its entry point says.
    """
    module = _module(key)
    found = next((item for item in getattr(module, "DEFINITIONS", ()) if item.key == key), None)
    if not isinstance(found, MetricDefinition):
        raise SpecError(
            f"metric {key!r}: {module.__name__} has no MetricDefinition of this key in DEFINITIONS"
        )
    return found


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
    module = _module(key)
    found: dict[str, BackendFactory] = getattr(module, "backends", lambda _: {})(key)
    if not found:
        raise SpecError(f"metric {key!r}: {module.__name__} has no backend of this key")
    return found


def _module(key: str) -> ModuleType:
    path = _built_in().get(key) or _installed().get(key)
    if path is None:
        near = difflib.get_close_matches(key, keys(), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known metrics: {', '.join(keys())}"
        raise SpecError(f"there is no metric {key!r}; {hint}")
    try:
        return importlib.import_module(path)
    except ImportError as error:
        raise SpecError(f"metric {key!r} cannot be imported from {path!r}: {error}") from error


def _built_in() -> dict[str, str]:
    return {key: module for module, family in FAMILIES.items() for key in family}


def _installed() -> dict[str, str]:
    """Keys of other packages and their modules; what rdbench defines cannot be replaced."""
    return {entry.name: entry.value for entry in entry_points(group=ENTRY_POINT_GROUP)}
