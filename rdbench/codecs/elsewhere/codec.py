"""Reconstructions that were made elsewhere: folders of audio whose files are named like the clips.

A point is a folder. What its rates are depends on what lies beside the audio; the first that is
given is the headline, and the others stand beside it:

    tokens                    nominal, and entropy where the spec asks for it
    latents                   KL to N(0, I)
    bitstreams, byte_counts   payload (of whole files with headers: container)
    stated_kbps               stated: somebody's word, which nothing here can check
    nothing                   none: it is shown as an anchor is

Nothing is encoded or decoded here, so that nothing is timed. The audio is brought to the protocol's
rate, without the delay that is declared, and cut or padded with zeros to the clip's length where it
is no further off than the tolerance. Where the protocol takes a part of a clip, and these are of
whole clips, the same part is taken of the audio and, in whole frames, of tokens and latents;
bitstreams cannot be cut, so that a part has the share of their bits that it has of the clip's time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from rdbench.audio.places import places_of
from rdbench.codecs import points as points_of
from rdbench.codecs.base import GivenCodec
from rdbench.codecs.elsewhere import clip_files, payloads
from rdbench.codecs.elsewhere.places import Listing
from rdbench.codecs.elsewhere.sizes import read_sizes
from rdbench.types import (
    CODES,
    MEAN,
    SAMPLE,
    AudioBatch,
    CodecError,
    CodecInfo,
    Counted,
    DecoderInput,
    Encoded,
    OperatingPoint,
    Posterior,
    RateKind,
    RunsOn,
    Tokens,
    Variant,
    Waveform,
)

if TYPE_CHECKING:
    import torch

    from rdbench.audio.load import Part

ADAPTER = 1
"""Raised when rates or audio of the same files change."""

BITS = ("tokens", "latents", "bitstreams", "byte_counts", "stated_kbps")
"""The options that say where a rate comes from, the headline first."""
_EXCLUDE = (("tokens", "latents"), ("bitstreams", "byte_counts"))
_LARGEST_CODEBOOK = 2**31 - 1
_MOST_KBPS = 1e6


class Files(GivenCodec):
    """Audio, and perhaps what it was decoded from, in folders whose files are named like the clips.

    Args:
        points: names of points, or the numbers in them; None means all.
        folders: the folder of the reconstructions, or a folder for each point, by its name. Paths
            are relative to the spec's folder. The endings of files are of no account.
        bitstreams: folders of the bitstreams: every byte of a clip's file is counted.
        byte_counts: tables (CSV: file, bytes) of the bytes of each clip's bitstream; with a column
            `point`, one table serves all points.
        container: whether bitstreams or bytes are those of whole files, headers and all.
        tokens: folders of arrays (codebooks, frames) of whole numbers, `.npy` or `.npz`.
        codebook_sizes: entries of every codebook, or of each; by the name of the array, where an
            `.npz` has several.
        latents: folders of `.npz` with the arrays mean and scale (σ), (channels, frames).
        decoded_from: of latents, what was decoded: a "sample", or the "mean", which no one can
            transmit at the price of the KL.
        stated_kbps: a rate that is not measured.
        delay: samples, at the rate of the files, by which the reconstructions are late.
        tolerance_seconds: by how much a reconstruction may be longer (it is cut) or shorter (it is
            filled up with zeros) than its clip.
        made_of: of what all this was made where the protocol takes excerpts of clips: of the whole
            "clip" or of the "excerpt". Must be stated there.

    `bitstreams`, `byte_counts`, `tokens`, `latents` and `stated_kbps` take, as `folders` does, one
    value or one for each point. A codec decodes tokens or latents, and its bytes are of bitstreams
    or of a table; otherwise several of them may be given.

    Raises:
        CodecError: for options that do not go together, and for points that are not there.
    """

    def __init__(
        self,
        *,
        points: Sequence[float | str] | None = None,
        folders: str | dict[str, str],
        bitstreams: str | dict[str, str] | None = None,
        byte_counts: str | dict[str, str] | None = None,
        container: bool = False,
        tokens: str | dict[str, str] | None = None,
        codebook_sizes: int | list[int] | dict[str, int | list[int]] | None = None,
        latents: str | dict[str, str] | None = None,
        decoded_from: Literal["sample", "mean"] | None = None,
        stated_kbps: float | dict[str, float] | None = None,
        delay: int = 0,
        tolerance_seconds: float = 0.05,
        made_of: Literal["clip", "excerpt"] | None = None,
    ) -> None:
        given = dict(
            zip(BITS, (tokens, latents, bitstreams, byte_counts, stated_kbps), strict=True)
        )
        self._sources = _sources(given)
        _check_companions(self._sources, container, codebook_sizes, decoded_from)
        _check_numbers(delay, tolerance_seconds)
        if not folders:
            raise CodecError("files: name a folder of reconstructions under `folders`")
        self._folders = (
            {Path(folders).name or folders: folders} if isinstance(folders, str) else (folders)
        )
        self._bits = {one: _by_point(one, given[one], self._folders) for one in self._sources}
        self._kinds = _kinds(self._sources, container)
        self.made_of = made_of
        self._sizes = codebook_sizes
        self._decoded_from = decoded_from
        settings = {
            "source": " + ".join(self._sources),
            "delay": delay,
            "tolerance_seconds": tolerance_seconds,
            "codebook_sizes": codebook_sizes,
            **({"made_of": made_of} if made_of else {}),
        }
        self.points = points_of.resolve("files", points, self._available(settings))
        self.info = CodecInfo(
            name="files",
            family="files",
            sample_rates=(),
            channels=(),
            headline=self._kinds[0] if self._kinds else None,
            runs_on=RunsOn.POOL,
            delay=delay,
            version=f"adapter {ADAPTER}",
            details={
                "made": "elsewhere; nothing is coded or timed here",
                "rate": ", ".join(self._sources) or "none is given",
                "made_of": _MADE_OF.get(made_of or "", "whole clips"),
                "tolerance_seconds": tolerance_seconds,
                "delay_unit": "samples at the rate of the files",
            },
        )

    @property
    def rate_kinds(self) -> tuple[RateKind, ...]:
        """One for each source that is given; nobody knows what of a bitstream is packets."""
        return self._kinds

    @property
    def variants(self) -> tuple[Variant, ...]:
        """What was decoded elsewhere: codes, or of a latent a sample or the mean."""
        return ({"sample": SAMPLE, "mean": MEAN}.get(self._decoded_from or "", CODES),)

    def folder_of(self, point: OperatingPoint) -> str:
        """The folder of the reconstructions at a point, as the options name it."""
        return self._folders[point.name]

    def find(
        self,
        point: OperatingPoint,
        clips: Sequence[str],
        locate: Callable[[str], Path],
        *,
        parts: Mapping[str, Part] = MappingProxyType({}),
    ) -> Mapping[str, clip_files.ClipFiles]:
        """The files of each clip at a point; see `GivenCodec.find`."""
        places = places_of(clips)
        audio = Listing.of(locate(self._folders[point.name]), "folders")
        found = clip_files.find_audio(audio, places, parts)
        for source in self._sources:
            value = self._bits[source][point.name]
            if source == "byte_counts":
                sizes = read_sizes(locate(value), point.name)
                found = clip_files.add_sizes(found, sizes, places)
            elif kind := clip_files.KINDS.get(source):
                listing = Listing.of(locate(value), source)
                found = clip_files.add_coded(found, listing, places, kind)
        return found

    def encode(
        self,
        audio: AudioBatch,
        point: OperatingPoint,
        given: Sequence[clip_files.ClipFiles] = (),
    ) -> Encoded:
        """What the rates of the clips follow from; `audio` says how long these are."""
        checked = [one.checked() for one in given]
        found: list[Any] = [
            self._payload(source, kind, point, audio, checked)
            for source, kind in zip(self._sources, self._kinds, strict=True)
        ] or [Waveform(self._waveform(audio, checked))]
        return Encoded(
            found[0],
            audio.lengths.clone(),
            audio.sample_rate,
            audio.channels,
            also=tuple(found[1:]),
        )

    def _payload(
        self,
        source: str,
        kind: RateKind,
        point: OperatingPoint,
        audio: AudioBatch,
        given: Sequence[clip_files.ClipFiles],
    ) -> Tokens | Posterior | Counted:
        if source == "tokens":
            assert self._sizes is not None
            return payloads.tokens(given, audio, self._sizes)
        if source == "latents":
            return payloads.posterior(given, audio)
        if source == "stated_kbps":
            return payloads.stated(float(self._bits[source][point.name]), audio)
        return payloads.counted(kind, given)

    def decoder_input(
        self,
        encoded: Encoded,
        variant: Variant,
        clip_seeds: Sequence[int],
        given: Sequence[clip_files.ClipFiles] = (),
    ) -> DecoderInput:
        """The reconstructions, at the rate and of the lengths of the clips."""
        import torch

        lengths, longest = encoded.lengths, int(encoded.lengths.max())
        like = torch.empty((len(lengths), encoded.channels, longest))
        audio = AudioBatch(like, lengths, encoded.sample_rate)
        samples = self._waveform(audio, [one.checked() for one in given])
        return DecoderInput(Waveform(samples), lengths, encoded.sample_rate, encoded.channels)

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        """The reconstructions that `decoder_input` holds."""
        payload = decoder_input.payload
        if not isinstance(payload, Waveform):
            raise CodecError(f"files decodes waveforms, not {type(payload).__name__}")
        return AudioBatch(payload.samples, decoder_input.lengths.clone(), decoder_input.sample_rate)

    def _available(self, settings: Mapping[str, Any]) -> list[OperatingPoint]:
        """A point for each folder; its target is what is stated, else the number in its name."""
        found = []
        for name in self._folders:
            own = dict(settings)
            target = _number_in(name)
            if "stated_kbps" in self._sources:
                target = own["stated_kbps"] = float(self._bits["stated_kbps"][name])
                if not 0 < target <= _MOST_KBPS:
                    raise CodecError(
                        f"files: stated_kbps of {name!r} is {target:g}; give kilobits per second, "
                        f"more than 0 and at most {_MOST_KBPS:g}"
                    )
            found.append(OperatingPoint(name, target, own))
        return found

    def _waveform(self, audio: AudioBatch, given: Sequence[clip_files.ClipFiles]) -> torch.Tensor:
        """Float32 (clips, channels, time): the reconstructions, zero past each clip's length."""
        import torch

        samples = torch.zeros((audio.clips, audio.channels, int(audio.lengths.max())))
        for index, (one, length) in enumerate(zip(given, audio.lengths.tolist(), strict=True)):
            kept = self._read(one, audio, length)[:, :length]
            samples[index, :, : kept.shape[-1]] = kept
        return samples

    def _read(self, given: clip_files.ClipFiles, audio: AudioBatch, length: int) -> torch.Tensor:
        """A reconstruction (channels, time) without its delay, at the rate of `audio`.

        length: of what is scored, in samples; of a part of a clip the reconstruction is longer.
        """
        from rdbench.audio.load import read
        from rdbench.audio.resample import resample

        assert given.audio is not None
        path, wanted, part = given.audio.path, audio.sample_rate, given.part
        whole = part.total if part else length
        # What is far too long is refused by its header, before it fills the memory.
        most = 2 * (whole / wanted + 1) + self.info.delay / 1000
        samples, rate = read(path, planned=given.audio.held, most_seconds=most)
        if len(samples) != audio.channels:
            raise CodecError(
                f"{path} has {len(samples)} channels where the protocol gives {audio.channels}; "
                "write it so, or set protocol.channels"
            )
        found = resample(samples[:, self.info.delay :], rate, wanted)
        # At another rate, a length may be rounded up here and down there.
        rounded = 0.0 if rate == wanted else 1 / rate + 1 / wanted
        tolerance = float(self.info.details["tolerance_seconds"])
        if abs(found.shape[-1] - whole) > (tolerance + rounded) * wanted:
            less = f" without its delay of {self.info.delay} samples" if self.info.delay else ""
            raise CodecError(
                f"{path} lasts {found.shape[-1] / wanted:.4f} s{less}, and the clip "
                f"{given.clip!r} {whole / wanted:.4f} s; write it of the clip's length, or raise "
                f"tolerance_seconds (now {tolerance:g})"
            )
        return found[:, part.offset :] if part else found


_MADE_OF = {
    "clip": "whole clips; where the protocol takes a part, it is cut, and bytes are shared by time",
    "excerpt": "the excerpts that the protocol takes",
}


def _sources(given: Mapping[str, Any]) -> tuple[str, ...]:
    """The options that rates come from, in the order of `BITS`."""
    named = tuple(name for name, value in given.items() if value is not None)
    for pair in _EXCLUDE:
        if set(pair) <= set(named):
            raise CodecError(
                f"files: {' and '.join(pair)} are given, of which a system has one; make two "
                "systems of it, or keep one"
            )
    return named


def _check_companions(
    sources: Sequence[str], container: bool, codebook_sizes: Any, decoded_from: str | None
) -> None:
    """Options that belong to one source alone."""
    if container and not {"bitstreams", "byte_counts"} & set(sources):
        raise CodecError("files: container says what bitstreams or byte_counts are; name one")
    for option, value, owner in (
        ("codebook_sizes", codebook_sizes, "tokens"),
        ("decoded_from", decoded_from, "latents"),
    ):
        if (value is not None) != (owner in sources):
            raise CodecError(f"files: {owner} and {option} go together; give both, or neither")
    for size in _sizes_in(codebook_sizes):
        if not 1 <= size <= _LARGEST_CODEBOOK:
            raise CodecError(
                f"files: codebook_sizes has {size}; give the number of entries, 1 to "
                f"{_LARGEST_CODEBOOK}"
            )
    if codebook_sizes is not None and not _sizes_in(codebook_sizes):
        raise CodecError("files: codebook_sizes is empty; give the entries of each codebook")


def _sizes_in(sizes: Any) -> list[int]:
    if isinstance(sizes, int):
        return [sizes]
    parts = sizes.values() if isinstance(sizes, Mapping) else sizes or ()
    return [size for part in parts for size in _sizes_in(part)]


def _check_numbers(delay: int, tolerance_seconds: float) -> None:
    if delay < 0:
        raise CodecError(f"files: delay is {delay}; give samples, 0 or more")
    if not 0 <= tolerance_seconds <= 1:
        raise CodecError(f"files: tolerance_seconds is {tolerance_seconds:g}; give seconds, 0 to 1")


def _by_point(option: str, value: Any, points: Mapping[str, str]) -> dict[str, Any]:
    """A value for each point of `points`, of one value or of those by name."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        if len(points) > 1 and option != "byte_counts":
            raise CodecError(f"files: give {option} for each of the points {', '.join(points)}")
        return dict.fromkeys(points, value)
    if set(value) != set(points):
        raise CodecError(
            f"files: {option} is of the points {', '.join(value) or 'none'}, and folders of "
            f"{', '.join(points)}; name the same"
        )
    return dict(value)


def _kinds(sources: Sequence[str], container: bool) -> tuple[RateKind, ...]:
    """The kind of rate that comes of each source."""
    counted = RateKind.CONTAINER if container else RateKind.PAYLOAD
    kinds = {
        "bitstreams": counted,
        "byte_counts": counted,
        "tokens": RateKind.NOMINAL,
        "latents": RateKind.KL,
        "stated_kbps": RateKind.STATED,
    }
    return tuple(kinds[source] for source in sources)


def _number_in(name: str) -> float | None:
    """The first number in a point's name, by which points are ordered."""
    found = re.search(r"[0-9]+(?:\.[0-9]+)?", name)
    return float(found[0]) if found else None
