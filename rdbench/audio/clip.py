"""What is evaluated: clips, each a whole file or a part of one, gathered in a corpus.

A clip knows where its audio lies and what it is (domain, group), and holds no audio. Its name is
the posix path relative to the corpus, with `#start+duration` behind it where a part of the file
is meant, and is unique within the corpus. The group (speaker, session, loop family) is the unit
of sampling of every statistic; the clip itself where nothing better is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rdbench.audio.sample import STRATA, order
from rdbench.suggest import nearest
from rdbench.types import SpecError


@dataclass(frozen=True)
class Clip:
    """A file, or a part of one.

    name: unique in its corpus. path: the file. domain: "speech", "music", "sound", …
    group: the unit of sampling that the clip belongs to.
    start, duration: the part that is meant, in seconds; None is up to the end of the file.
    text: what is said in it, or what it is a sound of; "" where nobody wrote that down.
    """

    name: str
    path: Path
    domain: str
    group: str
    start: float = 0.0
    duration: float | None = None
    text: str = ""


@dataclass(frozen=True)
class Corpus:
    """Clips under one name, in a fixed order; `description` says in words what they are.

    Raises SpecError where there are none, or where two have one name.
    """

    name: str
    clips: tuple[Clip, ...]
    description: str

    def __post_init__(self) -> None:
        if not self.clips:
            raise SpecError(f"corpus {self.name!r} holds no clips; add at least one")
        name, count = Counter(clip.name for clip in self.clips).most_common(1)[0]
        if count > 1:
            raise SpecError(
                f"corpus {self.name!r} holds the clip {name!r} {count} times; keep one of them"
            )

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains there are, in the order of their first clips."""
        return tuple(dict.fromkeys(clip.domain for clip in self.clips))

    def select(
        self, domains: Iterable[str] | None = None, names: Iterable[str] | None = None
    ) -> Corpus:
        """The clips of some `domains` and `names`, their order kept.

        Raises SpecError for a domain that no clip has, and for a name that is no clip's.
        """
        clips = self.clips
        if domains is not None:
            wanted = set(domains)
            for domain in sorted(wanted - set(self.domains)):
                hint = nearest(domain, self.domains, many="it has")
                raise SpecError(f"corpus {self.name!r} has no domain {domain!r}; {hint}")
            clips = tuple(clip for clip in clips if clip.domain in wanted)
        if names is not None:
            asked, there = set(names), [clip.name for clip in clips]
            for name in sorted(asked.difference(there)):
                hint = nearest(name, there, many="it has")
                raise SpecError(f"corpus {self.name!r} has no clip {name!r}; {hint}")
            clips = tuple(clip for clip in clips if clip.name in asked)
        return self._part(clips)

    def sample(self, clips: int, *, seed: int = 0, per: Sequence[str] = STRATA) -> Corpus:
        """At most so many `clips`, the same on every machine, in the order of the corpus.

        seed: another one takes others. per: what they are spread over, "domain" and "group"; one of
        each in turn (`rdbench.audio.sample`). Raises SpecError for less than one clip.
        """
        if clips < 1:
            raise SpecError(f"a sample of {clips} clips leaves nothing; ask for 1 or more")
        kept = {clip.name for clip in order(self.clips, seed=seed, per=per)[:clips]}
        return self._part(tuple(clip for clip in self.clips if clip.name in kept))

    def _part(self, clips: tuple[Clip, ...]) -> Corpus:
        if len(clips) == len(self.clips):
            return self
        part = f"{len(clips)} of {self.description}" if self.description else ""
        return replace(self, clips=clips, description=part)


def readable(text: str) -> str:
    r"""A name as text: what is no character of it (half a surrogate pair) is spelled out.

    So Python holds the bytes of file names that are not UTF-8.

    >>> readable("caf\udce9.wav")
    'caf\\udce9.wav'
    """
    return text.encode("utf-8", "backslashreplace").decode()


def name_problem(path: Path) -> str:
    """What is wrong with the name of a file, "" for one that is text."""
    if readable(str(path)) == str(path):
        return ""
    return "the name of its file, or of a folder above it, is not UTF-8; rename it"


def part_name(file: str, start: float, duration: float | None) -> str:
    """The name of a clip: `file`, with `#start+duration` (seconds) where a part is meant.

    >>> part_name("a/b.wav", 0.0, None), part_name("a/b.wav", 1.5, 2.0)
    ('a/b.wav', 'a/b.wav#1.5+2')
    """
    if start == 0.0 and duration is None:
        return file
    return f"{file}#{_seconds(start)}+{'end' if duration is None else _seconds(duration)}"


def _seconds(value: float) -> str:
    return repr(float(value)).removesuffix(".0")
