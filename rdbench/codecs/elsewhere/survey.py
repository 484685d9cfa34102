"""What is found in folders of reconstructions before a run: names, rates, lengths, delays, bits.

Nothing is scored. What is said of a file that cannot be used is what a run would give as the reason
of its rows.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.audio.places import place_of
from rdbench.codecs.elsewhere.places import Listing
from rdbench.types import CodecError, RdbenchError

if TYPE_CHECKING:
    from rdbench.audio.clip import Clip, Corpus
    from rdbench.codecs.elsewhere.clip_files import ClipFiles
    from rdbench.codecs.elsewhere.codec import Files
    from rdbench.types import OperatingPoint

LARGEST_DELAY = 0.001
"""Seconds of a delay that is told: less is what resampling and phase leave."""
_CONTAINERS = (b"OggS", b"RIFF", b"fLaC", b"ID3", b"caff", b"\x1aE\xdf\xa3", b"FORM")
_MP4 = b"ftyp"


@dataclass(frozen=True)
class ClipFound:
    """One clip at one point.

    problem: why it cannot be used, or "". reference_rate, rate: of clip and reconstruction, in
    hertz. longer: samples at `rate` by which it is longer than the clip, without its declared delay
    (negative: shorter). delay: samples at `rate` by which it is still late, None where there is
    none to speak of. kbps: of each kind of rate. seconds: of the clip. container: whether what is
    counted as a payload begins as whole files do.
    """

    clip: str
    problem: str = ""
    reference_rate: int = 0
    rate: int = 0
    longer: int = 0
    delay: float | None = None
    kbps: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    container: bool = False


@dataclass(frozen=True)
class PointFound:
    """One folder of reconstructions.

    strangers: its audio files that belong to no clip. instead: what folder may have been meant,
    where no file belongs to a clip.
    """

    point: str
    clips: tuple[ClipFound, ...]
    strangers: tuple[str, ...]
    instead: str = ""

    @property
    def good(self) -> tuple[ClipFound, ...]:
        """The clips that can be used."""
        return tuple(one for one in self.clips if not one.problem)

    def kbps(self, kind: str) -> float:
        """Total bits of a kind over total seconds; NaN without any."""
        seconds = sum(one.seconds for one in self.good)
        bits = sum(o.kbps[kind] * o.seconds for o in self.good)
        return bits / seconds if seconds else float("nan")

    @property
    def delay(self) -> float | None:
        """The median of the delays that are left, in samples; None without any."""
        known = [one.delay for one in self.good if one.delay is not None]
        return statistics.median(known) if known else None

    @property
    def findings(self) -> list[str]:
        """Sentences on what is wrong, or should be known before a run."""
        found = [self.instead] if self.instead else []
        found += [f"{one.clip}: {one.problem}" for one in self.clips if one.problem]
        found += [f"{name} belongs to no clip" for name in self.strangers]
        rates = sorted({one.rate for one in self.good})
        if len(rates) > 1:
            found.append(f"the reconstructions have several rates: {', '.join(map(str, rates))} Hz")
        if rates and self.delay is not None and abs(self.delay) > LARGEST_DELAY * rates[0]:
            late = f"{abs(self.delay):.1f} samples {'late' if self.delay > 0 else 'early'}"
            found.append(
                f"the reconstructions are {late} (median); declare `delay`, or set "
                "protocol.alignment to residual"
            )
        unlike = sum(one.delay is None for one in self.good)
        if 2 * unlike > len(self.good):
            found.append(
                f"{unlike} of {len(self.good)} reconstructions do not resemble the waveform of "
                "their clip; check that their names are those of the clips (a codec that makes up "
                "the phase may look so, too)"
            )
        off = [one.longer for one in self.good if one.longer]
        if off:
            found.append(
                f"{len(off)} of {len(self.good)} reconstructions are {_span(off)} samples longer "
                "than their clips; they are cut at the end, or filled up"
            )
        if any(one.container for one in self.good):
            found.append(
                "the bitstreams are whole files, with the headers of a container; set "
                "`container: true`, or give the packets alone"
            )
        return found


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:+d}" if low == high else f"{low:+d} to {high:+d}"


def corpus_of(reference: Path) -> Corpus:
    """The clips in a folder, or of a manifest; raises AudioError or SpecError without any."""
    from rdbench.audio.corpus import folder_corpus, manifest_corpus

    return manifest_corpus(reference) if reference.is_file() else folder_corpus(reference)


def survey(codec: Files, clips: Sequence[Clip], folder: Path) -> list[PointFound]:
    """What `codec` finds of clips, at each of its points; its paths are relative to `folder`.

    Raises CodecError for a folder that is not there, or that is the clips' own, SpecError for two
    clips with one place.
    """
    found = []
    for point in codec.points:
        _check_others(folder / codec.folder_of(point), clips)
        files = codec.find(point, [clip.name for clip in clips], lambda text: folder / text)
        own = tuple(_clip(codec, point, clip, files[clip.name]) for clip in clips)
        strangers = _strangers(codec, point, clips, folder)
        instead = _instead(folder / codec.folder_of(point), strangers, clips)
        missed = len(strangers) > 0 and all(one.problem for one in own)
        found.append(PointFound(point.name, own, strangers, instead if missed else ""))
    return found


def _check_others(folder: Path, clips: Sequence[Clip]) -> None:
    """Raises CodecError where every clip lies where it would be a reconstruction of itself."""
    root = folder.resolve()
    own = [(root / clip.name).resolve() == Path(clip.path).resolve() for clip in clips]
    if own and all(own):
        raise CodecError(
            f"{folder} holds the clips themselves; give the folder of what was decoded"
        )


def _instead(folder: Path, strangers: Sequence[str], clips: Sequence[Clip]) -> str:
    """Which folder was meant where names differ by the folders before them; "" where none was."""
    # Not the reconstructions themselves, where they lie in the folder of the clips.
    apart = [one for one in clips if folder.resolve() not in Path(one.path).resolve().parents]
    places = {place_of(clip.name) for clip in apart}
    theirs = {place_of(name) for name in strangers}
    if below := _outer(theirs, places):
        named = ", ".join(str(folder / inner) for inner in below)
        return f"what is named like the clips lies in {named}; give that as DECODED"
    if above := _outer(places, theirs):
        named = ", ".join(map(repr, above))
        return f"the files are named as the clips in {named} are; give that folder as REFERENCE"
    return ""


def _outer(places: Iterable[str], others: Collection[str]) -> list[str]:
    """The folders without which some of `places` are among `others`."""
    return sorted(
        {place[: -len(rest) - 1] for place in places for rest in _shorter(place) if rest in others}
    )


def _shorter(place: str) -> list[str]:
    """A place without its first folder, without its first two, …"""
    parts = place.split("/")
    return ["/".join(parts[number:]) for number in range(1, len(parts))]


def _clip(codec: Files, point: OperatingPoint, clip: Clip, files: ClipFiles) -> ClipFound:
    try:
        return _measured(codec, point, clip, files.checked())
    except RdbenchError as error:
        return ClipFound(clip.name, str(error))
    except Exception as error:  # somebody else's files may be anything
        return ClipFound(clip.name, f"it cannot be read: {type(error).__name__}: {error}")


def _measured(codec: Files, point: OperatingPoint, clip: Clip, files: ClipFiles) -> ClipFound:
    import torch

    from rdbench.audio.align import residual_delay
    from rdbench.audio.load import read
    from rdbench.audio.resample import resampled_length
    from rdbench.rate import rates
    from rdbench.types import AudioBatch

    assert files.audio is not None
    reference, rate = read(clip.path, start=clip.start, duration=clip.duration)
    raw, own = read(files.audio.path, planned=files.audio.held)
    audio = AudioBatch(reference[None], torch.tensor([reference.shape[-1]]), rate)
    encoded = codec.encode(audio, point, [files])
    decoded = codec.decode(codec.decoder_input(encoded, codec.variants[0], [0], [files]))
    (delay,) = residual_delay(reference=audio, reconstruction=decoded)
    wanted = resampled_length(reference.shape[-1], rate, own)
    return ClipFound(
        clip.name,
        reference_rate=rate,
        rate=own,
        longer=raw.shape[-1] - codec.info.delay - wanted,
        delay=None if delay is None else delay * own / rate,
        kbps={kind: found[0].kbps for kind, found in rates(encoded).items()},
        seconds=reference.shape[-1] / rate,
        container=_is_container(codec, files),
    )


def _is_container(codec: Files, files: ClipFiles) -> bool:
    """Whether what is counted as a payload begins as whole files do."""
    bitstream = files.coded.get("bitstreams")
    if bitstream is None or "payload" not in codec.rate_kinds:
        return False
    start = bitstream.read()[:12]
    return start.startswith(_CONTAINERS) or start[4:8] == _MP4


def _strangers(
    codec: Files, point: OperatingPoint, clips: Sequence[Clip], folder: Path
) -> tuple[str, ...]:
    from rdbench.codecs.elsewhere.clip_files import AUDIO

    known = {place_of(clip.name) for clip in clips}
    listing = Listing.of(folder / codec.folder_of(point), "folders")
    return tuple(
        path.relative_to(listing.folder).as_posix()
        for place, paths in listing.files.items()
        if place not in known
        for path in paths
        if path.name.lower().endswith(AUDIO.ends)
    )
