"""The arguments of programs: lists of text in which `{name}` stands for a file or a number.

`{input}`, `{bitstream}` and `{output}` are files of a clip; `{sample_rate}` and `{channels}` are
the clip's; all else is of the point: `{kbps}`, `{bps}` (the same in bits per second), and what the
settings of the point name. `{{name}}` is the text `{name}`, and braces in the name of a folder or
file that is there are its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdbench.codecs import points as points_of
from rdbench.files import is_file
from rdbench.suggest import nearest
from rdbench.types import CodecError, OperatingPoint

Arguments = list[str | int | float]
Settings = dict[str, dict[str, str | int | float]]

ONLY = "default"
"""The point of a command that has but one."""

_PLACE = re.compile(r"\{\{([A-Za-z_]\w*)\}\}|\{([A-Za-z_]\w*)\}")
"""A name that is itself, and one that stands for something; all other braces are themselves."""
_FILES = {"encode": ("input", "bitstream"), "decode": ("bitstream", "output")}
_CLIP = ("sample_rate", "channels")
_RATES = ("kbps", "bps")
_NO_CHOICE = {"input", "bitstream", "output", "bps", *_CLIP}
_LOWEST, _HIGHEST = 0.01, 20_000.0  # kbps


@dataclass(frozen=True)
class Templates:
    """The two commands, each a program and its arguments."""

    encode: tuple[str, ...]
    decode: tuple[str, ...]

    @classmethod
    def of(cls, encode: Arguments, decode: Arguments) -> Templates:
        """Of the options; raises CodecError for what is no command."""
        return cls(texts_of("encode", encode), texts_of("decode", decode))

    @property
    def programs(self) -> tuple[str, str]:
        """The encoder and the decoder."""
        return self.encode[0], self.decode[0]

    @property
    def encoder(self) -> str:
        """The encoder as one would call it: the program, and the script that it interprets."""
        scripts = [text for text in self.encode[1:2] if is_file(Path(text))]
        return " ".join(Path(text).name for text in (self.encode[0], *scripts))

    @property
    def arguments(self) -> tuple[str, ...]:
        """All arguments of both."""
        return self.encode[1:] + self.decode[1:]

    def at(self, points: Sequence[OperatingPoint]) -> tuple[str, ...]:
        """All arguments of both, as they are at each of the points but for what is of a clip."""
        found = []
        for point in points:
            known = {name: _said(value) for name, value in _of_point(point.settings).items()}
            found += [_partly(text, known) for text in self.arguments]
        return tuple(dict.fromkeys(found))

    @property
    def used(self) -> set[str]:
        """The placeholders that are used anywhere."""
        return {*_places(self.arguments)}

    def check(self, points: Sequence[OperatingPoint]) -> None:
        """Raises CodecError where a file is not used, and for what stands for nothing."""
        for what, texts in (("encode", self.encode), ("decode", self.decode)):
            found = _places(texts[1:])
            for point in points:
                known = [*_FILES[what], *_CLIP, *_of_point(point.settings)]
                for name in found:
                    if name not in known:
                        hint = nearest(name, known, many="it may have")
                        raise CodecError(
                            f"command: {{{name}}} in {what} stands for nothing at "
                            f"{point.name!r}; {hint}"
                        )
            for wanted in _FILES[what]:
                if wanted not in found:
                    raise CodecError(f"command: {what} has no {{{wanted}}}; give it that argument")

    def filled(self, what: str, files: Mapping[str, Path], values: Mapping[str, Any]) -> list[str]:
        """The arguments behind the program's name.

        what: "encode" or "decode". values: of the clip, and the settings of the point.
        """
        known = {name: _said(value) for name, value in _of_point(values).items()}
        known |= {name: str(path) for name, path in files.items()}
        texts = {"encode": self.encode, "decode": self.decode}[what]
        return [_partly(text, known) for text in texts[1:]]


def texts_of(option: str, arguments: Arguments) -> tuple[str, ...]:
    """A command as text; raises CodecError where it does not begin with a program."""
    if not arguments or not str(arguments[0]) or _places([str(arguments[0])]):
        raise CodecError(
            f"command: {option} is {arguments!r}; list a program, and then its arguments"
        )
    program, *others = map(str, arguments)
    return (_partly(program, {}), *others)


def points_from(
    requested: Sequence[float | str] | None, settings: Settings | None, used: set[str]
) -> tuple[OperatingPoint, ...]:
    """The points that a spec means: of `settings`, of any kbps, or the only one there is.

    used: the placeholders that arguments have. Raises CodecError as `rdbench.codecs.points` does.
    """
    if settings is not None:
        return points_of.resolve("command", requested, _named(settings))
    if used & {*_RATES}:
        if requested is None:
            raise CodecError("command: list `points`, the kbps that {kbps} stands for")
        return points_of.continuous("command", requested, _LOWEST, _HIGHEST, ())
    return points_of.resolve("command", requested, [OperatingPoint(ONLY, None)])


def _named(settings: Settings) -> list[OperatingPoint]:
    """The points that `settings` name, with the kbps that they promise."""
    found = []
    for name, values in settings.items():
        kbps = values.get("kbps")
        number = isinstance(kbps, int | float) and _LOWEST <= kbps <= _HIGHEST
        if not number and (kbps is not None or len(settings) > 1):
            raise CodecError(
                f"command: settings of {name!r} have the kbps {kbps!r}; give the rate that the "
                "point promises, by which points are ordered"
            )
        if taken := sorted({*values} & _NO_CHOICE):
            raise CodecError(
                f"command: settings of {name!r} have {taken[0]!r}, which is not for them to say; "
                "call it otherwise"
            )
        found.append(OperatingPoint(name, None if kbps is None else float(kbps), dict(values)))
    return found


def _of_point(settings: Mapping[str, Any]) -> dict[str, Any]:
    kbps = settings.get("kbps")
    return {**settings} if kbps is None else {**settings, "bps": round(float(kbps) * 1000)}


def _partly(text: str, known: Mapping[str, str]) -> str:
    """With what is known in the place of its name."""
    path, rest = _behind_path(text)
    return path + _PLACE.sub(
        lambda found: f"{{{found[1]}}}" if found[1] else known.get(found[2], found[0]), rest
    )


def _places(texts: Sequence[str]) -> list[str]:
    found = (_PLACE.findall(_behind_path(text)[1]) for text in texts)
    return [name for names in found for _, name in names if name]


def _behind_path(text: str) -> tuple[str, str]:
    """As much of an absolute path as is there, and what is behind it."""
    if not Path(text).is_absolute() or "{" not in text:
        return "", text
    there = next(str(path) for path in (Path(text), *Path(text).parents) if path.exists())
    return (there, text[len(there) :]) if text.startswith(there) else ("", text)


def _said(value: Any) -> str:
    """A number as a user would write it: no 24.0."""
    return f"{value:.12g}" if isinstance(value, float) else str(value)
