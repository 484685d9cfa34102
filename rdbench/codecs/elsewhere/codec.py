"""Reconstructions that were made elsewhere: folders of audio whose files are named like the clips.

A point is a folder. What its rate is depends on what lies beside the audio:

    bitstreams, byte_counts   payload (of whole files with headers: container)
    tokens                    nominal, and entropy where the spec asks for it
    latents                   KL to N(0, I)
    stated_kbps               stated: somebody's word, which nothing here can check
    nothing                   none: it is shown as an anchor is

Nothing is encoded or decoded here, so that nothing is timed. The audio is brought to the protocol's
rate, without the delay that is declared, and cut or padded with zeros to the clip's length where it
is no further off than the tolerance. Clips are taken whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rdbench.codecs import points as points_of
from rdbench.codecs.base import GivenCodec
from rdbench.codecs.elsewhere import clip_files, payloads
from rdbench.codecs.elsewhere.places import Listing, places_of
from rdbench.codecs.elsewhere.sizes import read_sizes
from rdbench.types import (
    CODES,
    MEAN,
    SAMPLE,
    AudioBatch,
    CodecError,
    CodecInfo,
    DecoderInput,
    Encoded,
    OperatingPoint,
    RateKind,
    RunsOn,
    Variant,
    Waveform,
)

if TYPE_CHECKING:
    import torch

ADAPTER = 1
"""Raised when rates or audio of the same files change."""

BITS = ("bitstreams", "byte_counts", "tokens", "latents", "stated_kbps")
"""The options that say where a rate comes from."""
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

    `bitstreams`, `byte_counts`, `tokens`, `latents` and `stated_kbps` take, as `folders` does, one
    value or one for each point, and exclude each other.

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
    ) -> None:
        given = dict(
            zip(BITS, (bitstreams, byte_counts, tokens, latents, stated_kbps), strict=True)
        )
        self._source = _one_source(given)
        _check_companions(self._source, container, codebook_sizes, decoded_from)
        _check_numbers(delay, tolerance_seconds)
        if not folders:
            raise CodecError("files: name a folder of reconstructions under `folders`")
        self._folders = (
            {Path(folders).name or folders: folders} if isinstance(folders, str) else (folders)
        )
        self._bits = _by_point(self._source, given.get(self._source), self._folders)
        self._sizes = codebook_sizes
        self._decoded_from = decoded_from
        settings = {
            "source": self._source,
            "delay": delay,
            "tolerance_seconds": tolerance_seconds,
            "codebook_sizes": codebook_sizes,
        }
        self.points = points_of.resolve("files", points, self._available(settings))
        self.info = CodecInfo(
            name="files",
            family="files",
            sample_rates=(),
            channels=(),
            headline=_headline(self._source, container),
            runs_on=RunsOn.POOL,
            delay=delay,
            version=f"adapter {ADAPTER}",
            details={
                "made": "elsewhere; nothing is coded or timed here",
                "rate": self._source or "none is given",
                "tolerance_seconds": tolerance_seconds,
                "delay_unit": "samples at the rate of the files",
            },
        )

    @property
    def variants(self) -> tuple[Variant, ...]:
        """What was decoded elsewhere: codes, or of a latent a sample or the mean."""
        return ({"sample": SAMPLE, "mean": MEAN}.get(self._decoded_from or "", CODES),)

    def folder_of(self, point: OperatingPoint) -> str:
        """The folder of the reconstructions at a point, as the options name it."""
        return self._folders[point.name]

    def find(
        self, point: OperatingPoint, clips: Sequence[str], locate: Callable[[str], Path]
    ) -> Mapping[str, clip_files.ClipFiles]:
        """The files of each clip at a point; see `GivenCodec.find`."""
        places = places_of(clips)
        audio = Listing.of(locate(self._folders[point.name]), "folders")
        found = clip_files.find_audio(audio, places)
        kinds = {
            "bitstreams": clip_files.BITSTREAM,
            "tokens": clip_files.TOKENS,
            "latents": clip_files.LATENT,
        }
        if self._source == "byte_counts":
            sizes = read_sizes(locate(self._bits[point.name]), point.name)
            return clip_files.add_sizes(found, sizes, places)
        if self._source not in kinds:
            return found
        listing = Listing.of(locate(self._bits[point.name]), self._source)
        return clip_files.add_coded(found, listing, places, kinds[self._source])

    def encode(
        self,
        audio: AudioBatch,
        point: OperatingPoint,
        given: Sequence[clip_files.ClipFiles] = (),
    ) -> Encoded:
        """What the rates of the clips follow from; `audio` says how long these are."""
        checked = [one.checked() for one in given]
        payload: Any
        if self._source in ("bitstreams", "byte_counts"):
            assert self.info.headline is not None
            payload = payloads.counted(self.info.headline, checked)
        elif self._source == "tokens":
            assert self._sizes is not None
            payload = payloads.tokens(checked, audio, self._sizes)
        elif self._source == "latents":
            payload = payloads.posterior(checked, audio)
        elif self._source == "stated_kbps":
            payload = payloads.stated(float(self._bits[point.name]), audio)
        else:
            payload = Waveform(self._waveform(audio, checked))
        return Encoded(payload, audio.lengths.clone(), audio.sample_rate, audio.channels)

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
            if self._source == "stated_kbps":
                target = own["stated_kbps"] = float(self._bits[name])
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
        """A reconstruction (channels, time) without its delay, at the rate of `audio`."""
        from rdbench.audio.load import read
        from rdbench.audio.resample import resample

        assert given.audio is not None
        path, wanted = given.audio.path, audio.sample_rate
        # What is far too long is refused by its header, before it fills the memory.
        most = 2 * (length / wanted + 1) + self.info.delay / 1000
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
        if abs(found.shape[-1] - length) > (tolerance + rounded) * wanted:
            less = f" without its delay of {self.info.delay} samples" if self.info.delay else ""
            raise CodecError(
                f"{path} lasts {found.shape[-1] / wanted:.4f} s{less}, and the clip "
                f"{given.clip!r} {length / wanted:.4f} s; write it of the clip's length, or raise "
                f"tolerance_seconds (now {tolerance:g})"
            )
        return found


def _one_source(given: Mapping[str, Any]) -> str:
    """The option that the rate comes from, or ""."""
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise CodecError(
            f"files: a rate comes from one of {', '.join(BITS)}, and {' and '.join(named)} are "
            "given; make two systems of it, or keep one"
        )
    return named[0] if named else ""


def _check_companions(
    source: str, container: bool, codebook_sizes: Any, decoded_from: str | None
) -> None:
    """Options that belong to one source alone."""
    if container and source not in ("bitstreams", "byte_counts"):
        raise CodecError("files: container says what bitstreams or byte_counts are; name one")
    for option, value, owner in (
        ("codebook_sizes", codebook_sizes, "tokens"),
        ("decoded_from", decoded_from, "latents"),
    ):
        if (value is not None) != (source == owner):
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


def _headline(source: str, container: bool) -> RateKind | None:
    counted = RateKind.CONTAINER if container else RateKind.PAYLOAD
    kinds = {
        "bitstreams": counted,
        "byte_counts": counted,
        "tokens": RateKind.NOMINAL,
        "latents": RateKind.KL,
        "stated_kbps": RateKind.STATED,
    }
    return kinds.get(source)


def _number_in(name: str) -> float | None:
    """The first number in a point's name, by which points are ordered."""
    found = re.search(r"[0-9]+(?:\.[0-9]+)?", name)
    return float(found[0]) if found else None
