"""A first spec for the clips and the codec of a user: what can be found out, with comments.

Of the clips the headers are read: rate, channels, length, and whether folders group them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from rdbench.codecs.elsewhere.draft import path_from, quoted
from rdbench.identity import names_class
from rdbench.suggest import nearest
from rdbench.types import AudioError, SpecError

if TYPE_CHECKING:
    from rdbench.audio.clip import Corpus

MANIFESTS = ("manifest.csv", "manifest.jsonl")
SPEECH = "speech"
UNKNOWN = "audio"
"""The domain of clips of which nobody said one."""
WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt")
LOWEST_RATE, HIGHEST_RATE = 8000, 192_000  # hertz, of a protocol
_MEL_RATES = (16_000, 24_000, 44_100, 48_000)
_EXCERPTS = (5.0, 3.0)  # seconds


@dataclass(frozen=True)
class Headers:
    """What the headers of the clips of one domain say.

    rates, channels: how many clips have each. seconds: of each clip.
    """

    rates: Counter[int] = field(default_factory=Counter)
    channels: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    @property
    def sample_rate(self) -> int:
        """The rate of most clips, in hertz, within what a protocol may have."""
        (rate, _), *_ = self.rates.most_common(1)
        return min(max(rate, LOWEST_RATE), HIGHEST_RATE)

    @property
    def layout(self) -> str:
        """mono, unless most clips are of two channels."""
        return "stereo" if self.channels.most_common(1)[0][0] == 2 else "mono"


@dataclass(frozen=True)
class Survey:
    """What was found out of a corpus.

    kind, name, path: of the corpus in a spec; no path of the embedded one, and of one by its name.
    domains: those with clips that
    can be read. unreadable: how many clips cannot. grouped: whether the files of one folder belong
    together.
    """

    kind: str
    name: str
    path: Path | None
    domains: Mapping[str, Headers]
    unreadable: int
    grouped: bool

    @property
    def seconds(self) -> list[float]:
        """Of every clip."""
        return [one for headers in self.domains.values() for one in headers.seconds]

    @property
    def excerpt_seconds(self) -> float | None:
        """A length that most clips have; None where they are short."""
        return next((length for length in _EXCERPTS if median(self.seconds) >= length), None)


def survey(clips: Path | None, domain: str | None = None) -> Survey:
    """Looks at a folder, a manifest, a public corpus (its name), or (None) rdbench's own clips.

    domain: of the files of a folder; the others say their own.

    Raises AudioError or SpecError where there are no clips, or none that can be read.
    """
    from rdbench.audio.corpus import embedded_corpus, folder_corpus, manifest_corpus
    from rdbench.corpora.clips import named_corpus
    from rdbench.corpora.entries import names

    path = clips
    if clips is not None and clips.is_dir():
        path = next((clips / name for name in MANIFESTS if (clips / name).is_file()), clips)
    if path is None:
        corpus, kind = embedded_corpus(), "embedded"
    elif not path.exists() and str(path) in names():
        corpus, kind, path = named_corpus(str(path)), "named", None
    elif path.is_file():
        corpus, kind = manifest_corpus(path), "manifest"
    else:
        corpus, kind = folder_corpus(path, domain=domain or UNKNOWN), "folder"
    if kind != "folder" and domain is not None and domain not in corpus.domains:
        hint = nearest(domain, corpus.domains, many="it has")
        raise SpecError(f"corpus {corpus.name!r} has no domain {domain!r}; {hint}")
    if kind != "folder" and domain is not None:
        corpus = corpus.select([domain])
    return _surveyed(corpus, kind, path)


def _surveyed(corpus: Corpus, kind: str, path: Path | None) -> Survey:
    import soundfile

    domains: dict[str, Headers] = {}
    unreadable = 0
    for clip in corpus.clips:
        try:
            header = soundfile.info(str(clip.path))
        except (OSError, RuntimeError):
            unreadable += 1
            continue
        found = domains.setdefault(clip.domain, Headers())
        found.rates[int(header.samplerate)] += 1
        found.channels[int(header.channels)] += 1
        found.seconds.append(float(header.duration if clip.duration is None else clip.duration))
    if not domains:
        raise AudioError(f"no file of {corpus.name!r} can be read as audio; give others")
    parents = Counter(clip.path.parent for clip in corpus.clips)
    grouped = kind == "folder" and path not in parents and 1 < len(parents) < len(corpus.clips)
    name = corpus.name if kind == "named" else ""
    return Survey(kind, name, path, domains, unreadable, grouped)


def draft(found: Survey, codecs: Sequence[str], out: Path) -> str:
    """The text of a spec that is written to `out`, whose paths are relative to its folder.

    codecs: names of the registry, `module:Class`, or files of weights of an rdbench checkpoint.

    Raises SpecError for what is none of these.
    """
    lines = [
        f"# What rdbench found out; every key: docs/spec.md. Run it: rdbench run {out.name}",
        f"name: {quoted(out.stem.rstrip('.') or 'mine')}",
        *_corpus(found, out),
        *_protocol(found),
        *_metrics(found),
        "systems:  # `rdbench codecs` lists what there is",
        *(_system(codec, out) for codec in dict.fromkeys(codecs)),
        *_others(found, codecs),
        "costs: {enabled: true}  # time and memory of this machine, measured last",
    ]
    return "\n".join(lines) + "\n"


def _corpus(found: Survey, out: Path) -> list[str]:
    lines = ["corpus:", f"  kind: {found.kind}"]
    if found.name:
        lines.append(f"  name: {found.name}  # `rdbench corpora` lists them")
    if found.path is not None:
        lines.append(f"  path: {quoted(path_from(out, found.path))}  # from this file's folder")
    if found.kind != "folder":
        named = ", ".join(quoted(domain) for domain in found.domains)
        return [*lines, f"  domains: [{named}]  # never pooled"]
    (domain,) = found.domains
    known = "" if domain != UNKNOWN else "; `speech` adds PESQ, ESTOI and ViSQOL's speech mode"
    lines.append(f"  domain: {quoted(domain)}  # of all files{known}")
    by, why = (
        ("folder", "the files of one folder are of one speaker, say")
        if found.grouped
        else ("file", "each file is a group of its own")
    )
    return [*lines, f"  group_by: {by}  # intervals are over groups: {why}"]


def _protocol(found: Survey) -> list[str]:
    domains = found.domains.items()
    rates = {name: one.sample_rate for name, one in domains}
    odd = sum(len(one.seconds) - one.rates[rates[name]] for name, one in domains)
    rest = f"of all but {odd} clips, which are resampled" if odd else "that of the files"
    seconds = found.excerpt_seconds
    length = "null" if seconds is None else f"{seconds:g}"
    said = "whole clips" if seconds is None else "of the middle of each clip; null: whole clips"
    return [
        "protocol:  # reference and reconstruction are scored like this",
        f"  sample_rate: {_by_domain(rates)}  # {rest}",
        f"  channels: {_by_domain({name: one.layout for name, one in domains})}",
        f"  excerpt_seconds: {length}  # {said}",
    ]


def _by_domain(values: Mapping[str, object]) -> str:
    """One value, or a mapping where domains differ."""
    if len(set(values.values())) == 1:
        return str(next(iter(values.values())))
    return f"{{{', '.join(f'{quoted(name)}: {value}' for name, value in values.items())}}}"


def _metrics(found: Survey) -> list[str]:
    lines = ["metrics:  # `rdbench metrics` lists them"]
    for name, headers in found.domains.items():
        rate = headers.sample_rate
        mel = f"mel_dac_{min(_MEL_RATES, key=lambda one: abs(one - rate)) // 1000}k"
        pesq = "pesq_wb" if rate >= 16_000 else "pesq_nb"
        keys = f"visqol_audio, si_sdr, {mel}, lsd"
        if name == SPEECH:
            keys = f"{pesq}, estoi, visqol_speech, si_sdr, {mel}"
        lines.append(f"  {quoted(name)}: [{keys}]")
    return lines


def _system(codec: str, out: Path) -> str:
    from rdbench.codecs.registry import names

    path = Path(codec)
    if path.suffix in WEIGHTS:
        place = path_from(out, path)
        weights = place if place.startswith("../") else f"./{place}"
        options = f"{{weights: {quoted(weights)}}}"
        return f"  - {{codec: vae, name: {quoted(path.stem)}, options: {options}}}"
    if codec in names():
        return f"  - {{codec: {quoted(codec)}}}  # `rdbench codecs {codec}` says its options"
    if names_class(codec):
        name = codec.rpartition(":")[2].rpartition(".")[2] or codec.rpartition(":")[2]
        return (
            f"  - {{codec: {quoted(codec)}, name: {quoted(name)}}}  # code: add --allow-code; "
            "`points: [6, 12]` chooses some"
        )
    hint = nearest(codec, names(), many="codecs")
    raise SpecError(
        f"{codec!r} is no codec ({hint}), no module:Class, and no file of weights "
        f"({', '.join(WEIGHTS)}); for audio that was decoded already: rdbench import-files"
    )


def _others(found: Survey, asked_for: Sequence[str]) -> list[str]:
    """What to compare with, beside what was asked for, at rates (kbps) that suit the clips."""
    suited: dict[tuple[str, str], list[str]] = {}
    for name, headers in found.domains.items():
        suited.setdefault(_rates(headers), []).append(name)
    lines = []
    for codec, label in enumerate(("Opus", "MP3")):
        for points, domains in suited.items():
            key, where, named = label.lower(), "", ""
            if key in asked_for:
                continue
            if len(suited) > 1:
                named = f", name: {quoted(f'{key} {domains[0]}')}, curve: {key}"
                where = f", domains: [{', '.join(map(quoted, domains))}]"
            asked = f"points: {points[codec]}"
            lines.append(f"  - {{codec: {key}{named}, label: {label}, {asked}{where}}}")
    anchors = {
        "identity": "{codec: identity, label: Identity}  # no rate: what the metrics say of the "
        "reference",
        "lowpass": "{codec: lowpass, label: Low-pass}  # no rate: of the reference with less "
        "bandwidth",
    }
    return [*lines, *(f"  - {said}" for key, said in anchors.items() if key not in asked_for)]


def _rates(headers: Headers) -> tuple[str, str]:
    """Points of Opus and of MP3."""
    if headers.layout == "stereo":
        return "[32, 48, 64, 96, 128]", "[48, 64, 96, 128]"
    if headers.sample_rate > 24_000:
        return "[12, 16, 24, 32, 48, 64]", "[32, 48, 64, 96]"
    return "[6, 8, 12, 16, 24, 32]", "[8, 16, 24, 32, 48]"
