"""Names to codecs: a table of lazy import strings, entry points, and `module:Class` where allowed.

A factory is called as `factory(points=..., **options)`. `points` is what the spec lists: numbers
are kbps, strings are names of points, None means the family's default points. It returns a
`Codec` whose `points` are those asked for, cheapest first. A wrong option or point raises
CodecError.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, get_type_hints

from rdbench.codecs.base import Codec
from rdbench.identity import is_code
from rdbench.suggest import nearest
from rdbench.text import printable
from rdbench.types import CodecError, RdbenchError

ENTRY_POINT_GROUP = "rdbench.codecs"

BUILT_IN: Mapping[str, str] = {
    "identity": "rdbench.codecs.anchors:Identity",
    "lowpass": "rdbench.codecs.anchors:LowPass",
    "files": "rdbench.codecs.elsewhere.codec:Files",
    "command": "rdbench.codecs.packets.command.codec:Command",
    "opus": "rdbench.codecs.packets.pyav:Opus",
    "mp3": "rdbench.codecs.packets.pyav:Mp3",
    "aac": "rdbench.codecs.packets.pyav:Aac",
    "vorbis": "rdbench.codecs.packets.vorbis:Vorbis",
    "flac": "rdbench.codecs.packets.flac:Flac",
    "ac3": "rdbench.codecs.packets.dolby:Ac3",
    "eac3": "rdbench.codecs.packets.dolby:Eac3",
    "amr_nb": "rdbench.codecs.packets.telephony:AmrNb",
    "g722": "rdbench.codecs.packets.telephony:G722",
    "lyra": "rdbench.codecs.neural.lyra:Lyra",
    "encodec_24khz": "rdbench.codecs.neural.encodec:Encodec24",
    "encodec_48khz": "rdbench.codecs.neural.encodec:Encodec48",
    "dac_16khz": "rdbench.codecs.neural.dac:Dac16",
    "dac_24khz": "rdbench.codecs.neural.dac:Dac24",
    "dac_44khz": "rdbench.codecs.neural.dac:Dac44",
    "dac_44khz_16kbps": "rdbench.codecs.neural.dac:Dac44High",
    "mimi": "rdbench.codecs.audio_tokenizers.mimi:Mimi",
    "xcodec": "rdbench.codecs.audio_tokenizers.xcodec:Xcodec",
    "higgs_audio_v2": "rdbench.codecs.audio_tokenizers.xcodec:HiggsAudioV2",
    "xcodec2": "rdbench.codecs.audio_tokenizers.xcodec2:Xcodec2",
    "neucodec": "rdbench.codecs.audio_tokenizers.xcodec2:NeuCodec",
    "transformers_dac": "rdbench.codecs.audio_tokenizers.dac:Dac",
    "transformers_encodec": "rdbench.codecs.audio_tokenizers.encodec:Encodec",
    "vibevoice_acoustic": "rdbench.codecs.audio_tokenizers.latents:VibeVoiceAcoustic",
    "pocket_tts": "rdbench.codecs.audio_tokenizers.latents:PocketTts",
    "snac": "rdbench.codecs.neural.snac:Snac",
    "speechtokenizer": "rdbench.codecs.neural.speechtokenizer:SpeechTokenizerCodec",
    "focalcodec": "rdbench.codecs.neural.focalcodec:FocalCodec",
    "codicodec": "rdbench.codecs.neural.codicodec:CoDiCodec",
    "codicodec_latent": "rdbench.codecs.posterior.codicodec_latent:CoDiCodecLatent",
    "dacvae": "rdbench.codecs.posterior.dacvae:DacVae",
    "music2latent": "rdbench.codecs.posterior.music2latent:Music2Latent",
    "vae": "rdbench.codecs.posterior.vae:Vae",
    "diffusers": "rdbench.codecs.posterior.diffusers.codec:Diffusers",
    "oobleck": "rdbench.codecs.posterior.diffusers.codec:Oobleck",
}

ELSEWHERE: Mapping[str, str] = {
    "wavtokenizer": "rdbench.codecs.remote.adapters.wavtokenizer:WavTokenizer",
    "bigcodec": "rdbench.codecs.remote.adapters.bigcodec:BigCodec",
    "dualcodec": "rdbench.codecs.remote.adapters.dualcodec:DualCodec",
    "longcat": "rdbench.codecs.remote.adapters.longcat:LongCat",
    "moss": "rdbench.codecs.remote.adapters.moss:Moss",
    "nanocodec": "rdbench.codecs.remote.adapters.nanocodec:NanoCodec",
    "stable_codec": "rdbench.codecs.remote.adapters.stable_codec:StableCodec",
}
"""Codecs that run in an environment of their own, whose interpreter the spec names as `python`: for
each the class that runs there, whose arguments are its options."""


def names() -> list[str]:
    """Every codec name that a spec may use, built in or installed."""
    installed = (entry.name for entry in entry_points(group=ENTRY_POINT_GROUP))
    return sorted({*BUILT_IN, *ELSEWHERE, *installed})


RUNS_PROGRAMS = "command"
"""The codec that runs programs which the spec names: with permission, as any code of others."""


def create(
    name: str,
    *,
    points: Sequence[float | str] | None = None,
    options: Mapping[str, Any] | None = None,
    allow_code: bool = False,
    python: str = "",
) -> Codec:
    """Builds the codec called `name`.

    python: the interpreter of another environment, which builds and runs a `module:Class`, or one
        of the codecs that have an environment of their own.

    Raises CodecError for an unknown name, option or point, and for `module:Class` and programs
    without `allow_code`; MissingProgramError for a program or an interpreter that is not there.
    """
    if python or name in ELSEWHERE:
        return _connect(name, python, points, options, allow_code=allow_code)
    if name == RUNS_PROGRAMS and not allow_code:
        raise CodecError(
            f"codec {name!r} would run programs that the spec names{_programs(options or {})}; add "
            "--allow-code if you trust it"
        )
    factory = _factory(name, allow_code=allow_code)
    chosen = dict(options or {})
    _check_options(name, factory, chosen)
    try:
        codec = factory(points=points, **chosen)
    except RdbenchError:
        raise
    except Exception as error:  # the constructor is someone else's, and may raise anything
        if name in BUILT_IN:
            raise
        reason = f"{type(error).__name__}: {error}"
        raise CodecError(
            f"codec {name!r} cannot be built ({reason}); mend it or its options"
        ) from error
    if not isinstance(codec, Codec):
        raise CodecError(f"{name!r} made a {type(codec).__name__}; it must make an rdbench Codec")
    return codec


def _programs(options: Mapping[str, Any]) -> str:
    """The programs in the options of a command, as they are named."""
    named = [options.get(option) for option in ("encode", "decode", "version")]
    first = [str(one[0])[:80] for one in named if isinstance(one, list) and one]
    return f" ({printable(', '.join(dict.fromkeys(first)))})" if first else ""


def _connect(
    name: str,
    python: str,
    points: Sequence[float | str] | None,
    options: Mapping[str, Any] | None,
    *,
    allow_code: bool,
) -> Codec:
    from rdbench.codecs.remote.codec import connect

    if name in ELSEWHERE:
        if not python:
            raise CodecError(
                f"codec {name!r} runs in an environment of its own; name the interpreter that has "
                "its packages, as `python` beside `codec`"
            )
        _check_options(name, _imported(name, ELSEWHERE[name]), dict(options or {}))
    elif not is_code(name):
        raise CodecError(
            f"codec {name!r} runs in this environment; `python` is for code of your own, "
            f"`module:Class`, and for {', '.join(ELSEWHERE)}"
        )
    _check_allowed(name, allow_code)
    code = ELSEWHERE.get(name, name)
    return connect(code, python=python, points=points, options=options, name=name)


def _check_allowed(name: str, allow_code: bool) -> None:
    if not allow_code:
        raise CodecError(
            f"codec {name!r} is Python code that would be run; add --allow-code if you trust it"
        )


def _factory(name: str, *, allow_code: bool) -> Callable[..., Any]:
    if is_code(name):
        _check_allowed(name, allow_code)
        return _load(name, name)
    if name in BUILT_IN:
        return _load(name, BUILT_IN[name])
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name == name:
            return _load(name, entry.value)
    raise CodecError(f"there is no codec {name!r}; {nearest(name, names(), many='known codecs')}")


def _load(name: str, path: str) -> Callable[..., Any]:
    factory: object = _imported(name, path)
    attribute = path.partition(":")[2]
    if isinstance(factory, type) and not issubclass(factory, Codec):
        raise CodecError(
            f"codec {name!r}: {attribute} is no codec; derive it from rdbench.codecs.base.Codec, "
            "a VAE from rdbench.codecs.posterior.base.PosteriorCodec, a model with tokens from "
            "rdbench.codecs.tokens.TokenCodec, or name the `python` of "
            "another environment in which it runs"
        )
    if not callable(factory):
        raise CodecError(f"codec {name!r}: {path!r} is not a class or a function")
    return factory


def _imported(name: str, path: str) -> Any:
    module_name, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except ImportError as error:
        raise CodecError(
            f"codec {name!r} cannot be imported ({error}); rdbench looks beside the spec, in the "
            "current folder, in PYTHONPATH and among the installed packages"
        ) from error
    except AttributeError as error:
        there = [key for key in vars(sys.modules[module_name]) if not key.startswith("_")]
        hint = nearest(attribute, there, many="it has")
        raise CodecError(f"codec {name!r}: {module_name} has no {attribute!r}; {hint}") from error
    except Exception as error:  # the module is someone else's, and may raise anything
        if name in BUILT_IN:
            raise
        raise CodecError(
            f"codec {name!r}: {module_name} raised {type(error).__name__} when it was imported "
            f"({error}); mend that module"
        ) from error


def _check_options(name: str, factory: Callable[..., Any], options: Mapping[str, Any]) -> None:
    try:
        parameters = inspect.signature(factory).parameters
    except ValueError:  # some classes written in C tell nothing about their arguments
        parameters = MappingProxyType({})
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    if "points" not in parameters and name not in ELSEWHERE:
        raise CodecError(f"codec {name!r} cannot be built: it takes no argument `points`")
    known = sorted(set(parameters) - {"points"})
    for option in options:
        if option not in known:
            hint = nearest(option, known, many="it takes")
            raise CodecError(f"codec {name!r} has no option {option!r}; {hint}")
    for option in known:
        parameter = parameters[option]
        named = parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        if named and parameter.default is parameter.empty and option not in options:
            raise CodecError(f"codec {name!r} needs the option {option!r}; give it in the spec")
    if name in BUILT_IN or name in ELSEWHERE:
        _check_types(name, factory, options)


def _check_types(name: str, factory: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Holds options against the annotations of a codec of ours."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    target: Any = factory
    hints = get_type_hints(target.__init__ if isinstance(factory, type) else factory)
    for option, value in options.items():
        wanted = hints.get(option, Any)
        try:
            TypeAdapter(wanted, config=ConfigDict(strict=True)).validate_python(value)
        except ValidationError as error:
            what = getattr(wanted, "__name__", str(wanted)).replace("pathlib.", "")
            raise CodecError(
                f"codec {name!r}: its option {option!r} is {repr(value)[:60]}, which is no {what}; "
                "mend the spec"
            ) from error
