"""Metric keys to definitions and backends, imported when first used.

Each family module holds `DEFINITIONS: tuple[MetricDefinition, ...]` and a function
`backends(key) -> dict[str, BackendFactory]`: what each backend is called and how to build it, the
default first; options that a spec sets are given to it by keyword. A package adds such a module by
entry points of the group `rdbench.metrics`, one for each key: the key is the entry point's name,
the module its value.

A metric without a package is named `module:Class`, which is its key in rows: a backend whose
attribute `definition` says what it means. Asking for it imports that module, so whoever reads a
spec of others asks for permission before.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType, ModuleType
from typing import Any

from rdbench.files import is_file, user_path
from rdbench.identity import behind, is_code
from rdbench.metrics.base import (
    MODEL_FILE,
    REFERENCE_FILE,
    Backend,
    BackendFactory,
    MetricDefinition,
    Scope,
    SetBackend,
)
from rdbench.suggest import nearest
from rdbench.types import RdbenchError, SpecError
from rdbench.weights.model_files import ModelFiles, find_model, sha256_of

_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})
ENTRY_POINT_GROUP = "rdbench.metrics"

# Which module defines a key, so that listing keys imports nothing. "mel_dac_*" and the like are
# listed one by one: a key is a promise.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "rdbench.metrics.signal.snr": ("snr", "si_sdr", "snr_unaligned", "si_sdr_unaligned"),
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
    "rdbench.metrics.signal.loudness": ("loudness_difference",),
    "rdbench.metrics.signal.true_peak": ("true_peak",),
    "rdbench.metrics.signal.stereo": ("stereo_level", "stereo_correlation"),
    "rdbench.metrics.signal.pre_echo": ("pre_echo",),
    "rdbench.metrics.signal.long_term": ("bandwidth", "spectral_tilt"),
    "rdbench.metrics.perceptual.pesq": ("pesq_wb", "pesq_nb"),
    "rdbench.metrics.perceptual.stoi": ("stoi", "estoi"),
    "rdbench.metrics.perceptual.visqol": (
        "visqol_audio",
        "visqol_speech",
        "visqol_speech_exponential",
    ),
    "rdbench.metrics.pitch.f0": ("lf0_rmse", "voicing_error"),
    "rdbench.metrics.pitch.cepstral": ("mcd",),
    "rdbench.metrics.neural.opinion.distill_mos": ("distill_mos",),
    "rdbench.metrics.neural.opinion.dnsmos": (
        "dnsmos_ovrl",
        "dnsmos_sig",
        "dnsmos_bak",
        "dnsmos_p808",
    ),
    "rdbench.metrics.neural.opinion.plcmos": ("plcmos",),
    "rdbench.metrics.neural.resemblyzer": ("speaker_resemblyzer",),
    "rdbench.metrics.neural.recognition": (
        "wer_basic",
        "cer_basic",
        "wer_basic_transcript",
        "cer_basic_transcript",
        "wer_english",
        "cer_english",
        "wer_english_transcript",
        "cer_english_transcript",
    ),
    "rdbench.metrics.neural.speaker": ("speaker_xvector",),
    "rdbench.metrics.neural.semantic": ("semantic_similarity", "speech_bert_score"),
    "rdbench.metrics.neural.clap": ("clap_text", "clap_audio"),
    "rdbench.metrics.neural.opinion.squim": (
        "squim_stoi",
        "squim_pesq",
        "squim_si_sdr",
        "squim_mos",
    ),
    "rdbench.metrics.neural.opinion.utmos": ("utmos",),
    "rdbench.metrics.neural.opinion.nisqa": (
        "nisqa",
        "nisqa_noisiness",
        "nisqa_discontinuity",
        "nisqa_coloration",
        "nisqa_loudness",
    ),
    "rdbench.metrics.neural.opinion.scoreq": ("scoreq", "scoreq_ref"),
    "rdbench.metrics.neural.opinion.audiobox": (
        "audiobox_quality",
        "audiobox_complexity",
        "audiobox_enjoyment",
        "audiobox_usefulness",
    ),
    "rdbench.metrics.sets.distances": tuple(
        f"{comparison}_{embedding}"
        for embedding in ("logmel", "encodec", "speech", "clap", "vggish", "panns")
        for comparison in ("frechet", "frechet_inf", "kernel")
    ),
}


def keys() -> list[str]:
    """Every metric key: those of rdbench in its order, then those of installed packages."""
    return list(dict.fromkeys([*_built_in(), *sorted(_installed())]))


def definition(key: str) -> MetricDefinition:
    """The definition of `key`.

    Raises SpecError with the nearest key where there is none, and for a package whose module does
    not define what its entry point says.
    """
    if is_code(key):  # its module may be reloaded, and have another class of this name then
        meant: MetricDefinition = _class(key).definition
        return replace(meant, key=key)
    return _of_module(key)


@cache
def _of_module(key: str) -> MetricDefinition:
    module = _module(key)
    found = next((item for item in getattr(module, "DEFINITIONS", ()) if item.key == key), None)
    if not isinstance(found, MetricDefinition):
        raise SpecError(
            f"metric {key!r}: {module.__name__} has no MetricDefinition of this key in DEFINITIONS"
        )
    return found


def backend(key: str, name: str = "auto", options: Mapping[str, Any] = _NO_OPTIONS) -> Backend:
    """The backend `name` of `key` with `options`; "auto" is the first one its module lists.

    One object for one (key, name, options), model and, of a metric that is not rdbench's own, for
    what its code holds now: a module that was edited and reloaded is another metric. Raises
    SpecError for an option that the definition has not, and SpecError or WeightsError for a model
    that is absent.
    """
    available = _factories(key)
    if name != "auto" and name not in available:
        raise SpecError(
            f"metric {key!r} has no backend {name!r}; {nearest(name, ['auto', *available])}"
        )
    chosen = next(iter(available)) if name == "auto" else name
    known = definition(key).options
    for option in options:
        if option not in known:
            near = nearest(option, known, many="it takes")
            raise SpecError(f"metric {key!r} has no option {option!r}; {near}")
    weights = options.get(MODEL_FILE)
    model = None if weights is None else find_model(str(weights), named=f"metric {key!r}")
    read = [*(model.files if model else ())]
    if (saved := options.get(REFERENCE_FILE)) is not None and is_file(user_path(str(saved))):
        read.append(user_path(str(saved)))
    stamps = tuple(file.stat().st_mtime_ns for file in read)
    as_json = json.dumps(dict(options), sort_keys=True, default=str)  # YAML knows dates
    code: tuple[object, ...] = ()
    if key not in _built_in():
        module = key.partition(":")[0] if is_code(key) else _installed()[key]
        code = (available[chosen] if is_code(key) else None, *behind(module).source)
    return _built(key, chosen, as_json, model, (*stamps, *code))


@cache
def _built(
    key: str, name: str, options: str, found: ModelFiles | None, _held: tuple[object, ...]
) -> Backend:
    chosen = json.loads(options)
    meant = definition(key)
    try:
        built = _factories(key)[name](**chosen)
    except RdbenchError:
        raise
    except Exception as error:  # a constructor may be anyone's, and raise anything
        if key in _built_in():
            raise
        raise SpecError(
            f"metric {key!r} cannot be built ({type(error).__name__}: {error}); mend it or its "
            "options"
        ) from error
    if isinstance(built, SetBackend) is not (meant.scope is Scope.SET):
        raise SpecError(
            f"metric {key!r}: its scope is {meant.scope.value!r}, and its backend {name!r} is a "
            f"{type(built).__name__}; a set takes a SetBackend, and nothing else does"
        )
    model = found.hashes() if found else {}
    code = behind(type(built).__module__)
    about = {
        "options": MappingProxyType(chosen),
        "model_sha256": sha256_of(model) if model else "",
        "source": code.source,
        "files": {**model, **built.files, **code.files},
    }
    for attribute, value in about.items():
        object.__setattr__(built, attribute, value)  # a backend may be a frozen dataclass
    return built


def backend_names(key: str) -> list[str]:
    """The backends of `key`, the default first."""
    return list(_factories(key))


def _factories(key: str) -> dict[str, BackendFactory]:
    if is_code(key):
        backend = _class(key)
        return {getattr(backend, "name", "code"): backend}
    module = _module(key)
    found: dict[str, BackendFactory] = getattr(module, "backends", lambda _: {})(key)
    if not found:
        raise SpecError(f"metric {key!r}: {module.__name__} has no backend of this key")
    return found


def _module(key: str) -> ModuleType:
    path = _built_in().get(key) or _installed().get(key)
    if path is None:
        raise SpecError(f"there is no metric {key!r}; {nearest(key, keys(), many='metrics')}")
    try:
        return importlib.import_module(path)
    except ImportError as error:
        raise SpecError(f"metric {key!r} cannot be imported from {path!r}: {error}") from error
    except Exception as error:  # a module may be anyone's, and raise anything
        if key in _built_in():
            raise
        raise SpecError(_broken(key, path, error)) from error


def _class(key: str) -> Any:
    """The backend that `module:Class` names; raises SpecError for what is none."""
    name, _, attribute = key.partition(":")
    try:
        found: object = getattr(importlib.import_module(name), attribute)
    except ImportError as error:
        raise SpecError(
            f"metric {key!r} cannot be imported ({error}); rdbench looks beside the spec, in the "
            "current folder, in PYTHONPATH and among the installed packages"
        ) from error
    except AttributeError as error:
        there = [item for item in vars(sys.modules[name]) if not item.startswith("_")]
        hint = nearest(attribute, there, many="it has")
        raise SpecError(f"metric {key!r}: {name} has no {attribute!r}; {hint}") from error
    except Exception as error:  # as above
        raise SpecError(_broken(key, name, error)) from error
    meant = getattr(found, "definition", None)
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise SpecError(
            f"metric {key!r}: {attribute} is no metric; derive it from PoolBackend, DeviceBackend "
            "or SetBackend of rdbench.metrics.base"
        )
    if not isinstance(meant, MetricDefinition):
        raise SpecError(
            f"metric {key!r}: {attribute} has no MetricDefinition as its attribute `definition`"
        )
    return found


def _broken(key: str, module: str, error: Exception) -> str:
    return (
        f"metric {key!r}: {module} raised {type(error).__name__} when it was imported ({error}); "
        "mend that module"
    )


def _built_in() -> dict[str, str]:
    return {key: module for module, family in FAMILIES.items() for key in family}


def _installed() -> dict[str, str]:
    """Keys of other packages and their modules; what rdbench defines cannot be replaced."""
    return {entry.name: entry.value for entry in entry_points(group=ENTRY_POINT_GROUP)}
