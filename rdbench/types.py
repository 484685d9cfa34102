"""The types that cross between the rooms of rdbench, and the errors it raises.

Nothing here computes a rate, a score or audio: these are the agreements that let each stage be
tested, replaced or re-run alone. `lengths` is the truth everywhere: samples or frames past a clip's
length are padding, and no rate, metric or statistic may depend on them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class RdbenchError(Exception):
    """A mistake that a user can mend: one sentence names the thing, what is wrong, what to do."""


class GoingWarning(FutureWarning):
    """Something that still works and will be taken away; says what takes its place."""


class SpecError(RdbenchError):
    """A benchmark spec, a recipe or a command-line value that cannot be used."""


class AudioError(RdbenchError):
    """A file or an excerpt that cannot be read, or holds no usable audio."""


class CodecError(RdbenchError):
    """A codec that cannot be built, or does not take this rate, layout or point."""


class WeightsError(CodecError):
    """Model weights that are absent, damaged, of another format, or not what they claim to be."""


class DownloadError(RdbenchError):
    """Something published that cannot be fetched, or is not what it was published as."""


class MissingProgramError(RdbenchError):
    """A program that a codec runs, or an interpreter, which this machine does not have."""


class MissingExtraError(RdbenchError):
    """An optional package that the asked-for codec or metric needs is not installed."""

    def __init__(self, thing: str, extra: str) -> None:
        super().__init__(
            f"{thing} needs an optional package that is not installed; "
            f"run `{install_command(extra)}`"
        )


REPOSITORIES: Mapping[str, str] = MappingProxyType(
    {
        "dacvae": "git+https://github.com/facebookresearch/dacvae",
        "focalcodec": "git+https://github.com/lucadellalib/focalcodec"
        "@912b7f2c0cd43d54a8aed296bbcc925dec7d4ea3",
    }
)
"""Where pip finds optional packages that are on no index: an index takes no extra with such an
address, so that they are none."""


def install_command(extra: str) -> str:
    """What brings an optional part of rdbench: an extra, or the package of a repository."""
    return f"pip install '{REPOSITORIES.get(extra, f'rdbench[{extra}]')}'"


class ChangedError(RdbenchError):
    """Something that is no longer what it was when the run was planned."""

    @classmethod
    def of(cls, what: str) -> ChangedError:
        """The error of a file, or of what was read of one."""
        return cls(
            f"{what} was changed while the run went on, and is no longer what was hashed when the "
            "run was planned; leave it as it is and run again"
        )


class StoreError(RdbenchError):
    """A results folder that cannot be read or written."""


@dataclass(frozen=True)
class AudioBatch:
    """Clips of one sample rate and channel count, padded to one length.

    samples: float32 (clips, channels, time), full scale at ±1.
    lengths: int64 (clips,), on the CPU; samples past a clip's length are zero padding.
    sample_rate: in hertz.
    """

    samples: torch.Tensor
    lengths: torch.Tensor
    sample_rate: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 3:
            raise ValueError(f"samples must be (clips, channels, time), not {self.samples.shape}")
        if self.lengths.shape != self.samples.shape[:1]:
            raise ValueError(f"lengths {self.lengths.shape} do not match {self.samples.shape}")

    @property
    def clips(self) -> int:
        """Number of clips."""
        return int(self.samples.shape[0])

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.samples.shape[1])

    @property
    def uniform(self) -> bool:
        """Whether no clip is padded."""
        return bool((self.lengths == self.samples.shape[-1]).all())

    @property
    def seconds(self) -> torch.Tensor:
        """Unpadded duration per clip, float64 (clips,)."""
        return self.lengths.double() / self.sample_rate

    def select(self, indices: Sequence[int]) -> AudioBatch:
        """The clips at `indices`, cut to the longest of them."""
        index = list(indices)
        lengths = self.lengths[index]
        longest = int(lengths.max()) if index else 0
        return AudioBatch(self.samples[index][..., :longest], lengths, self.sample_rate)

    def to(self, device: torch.device | str) -> AudioBatch:
        """The same batch with its samples on `device` (lengths stay on the CPU)."""
        return replace(self, samples=self.samples.to(device))


@dataclass(frozen=True)
class SideInformation:
    """What a stream carries beside its payload (scales, embeddings), and what it costs.

    values: any tensor whose first dimension is clips.
    bits: int64 (clips,), on the CPU: the bits that transmit `values` for each clip.
    """

    values: torch.Tensor
    bits: torch.Tensor


@dataclass(frozen=True)
class TokenStream:
    """Indices of one frame rate.

    codes: int64 (clips, codebooks, frames); frames past a clip's count are padding.
    frames: int64 (clips,), on the CPU: valid frames of each clip.
    codebook_sizes: entries of each codebook.
    frame_rate: frames per second (hertz).
    """

    codes: torch.Tensor
    frames: torch.Tensor
    codebook_sizes: tuple[int, ...]
    frame_rate: float

    def __post_init__(self) -> None:
        if self.codes.ndim != 3 or self.codes.shape[1] != len(self.codebook_sizes):
            raise ValueError(
                f"codes {tuple(self.codes.shape)} do not match {len(self.codebook_sizes)} codebooks"
            )

    @property
    def bits_per_frame(self) -> float:
        """Nominal bits of one frame: the sum of log2(codebook size)."""
        return math.fsum(math.log2(size) for size in self.codebook_sizes)


@dataclass(frozen=True)
class Tokens:
    """One or more token streams (several where a codec works at several frame rates)."""

    streams: tuple[TokenStream, ...]


@dataclass(frozen=True)
class Posterior:
    """A diagonal Gaussian q(z|x) per clip.

    mean, scale: float (clips, channels, frames); scale is the standard deviation σ > 0, or None
    for a latent that was trained without a prior (its KL is undefined).
    frames: int64 (clips,), on the CPU: valid frames of each clip.
    frame_rate: frames per second (hertz).
    """

    mean: torch.Tensor
    scale: torch.Tensor | None
    frames: torch.Tensor
    frame_rate: float


@dataclass(frozen=True)
class PacketStream:
    """One clip's packets in order, boundaries kept, and what surrounds them.

    packets: the codec's packets, each as it would be sent; their bytes are the payload.
    header: the codec's set-up data (`extradata`), sent once; counted in the container alone.
    container_bytes: size of the whole file that a muxer wrote; 0 where there is no file.
    file: that file, where it is what the decoder is given; else empty.
    """

    packets: tuple[bytes, ...]
    header: bytes
    container_bytes: int
    details: Mapping[str, int] = field(default_factory=dict)
    file: bytes = b""


@dataclass(frozen=True)
class Packets:
    """The packets of each clip.

    told_apart: whether packets are told apart from their container. Where they are not, there are
    whole files and no packets, and the container's bits alone are known.
    """

    clips: tuple[PacketStream, ...]
    told_apart: bool = True


@dataclass(frozen=True)
class Waveform:
    """Audio that stands in for a code: an anchor's payload, which has no rate.

    samples: float32 (clips, channels, time).
    """

    samples: torch.Tensor


@dataclass(frozen=True)
class Counted:
    """Bits that were counted where something was encoded elsewhere, in place of what was encoded.

    kind: which bits they are: of a bitstream (`payload`), of a whole file (`container`), or what
    somebody says of them (`stated`). bits: float64 (clips,), on the CPU.
    """

    kind: RateKind
    bits: torch.Tensor


@dataclass(frozen=True)
class Latent:
    """A continuous latent for a decoder: (clips, channels, frames), with valid frames per clip."""

    values: torch.Tensor
    frames: torch.Tensor


@dataclass(frozen=True)
class Encoded:
    """What an encoder made of a batch: all that rates and decoding need.

    payload: tokens, posterior, packets, or in their place (anchors) a waveform or counted bits.
    lengths: int64 (clips,), on the CPU: unpadded samples of each clip at `sample_rate`.
    sample_rate: the codec's own rate for this batch, in hertz.
    channels: channels of the audio that was encoded.
    side: side information by name; all of it is counted.
    also: bits of further kinds, which were counted where it was encoded elsewhere.
    """

    payload: Tokens | Posterior | Packets | Waveform | Counted
    lengths: torch.Tensor
    sample_rate: int
    channels: int
    side: Mapping[str, SideInformation] = field(default_factory=dict)
    also: tuple[Counted, ...] = ()

    @property
    def clips(self) -> int:
        """Number of clips."""
        return int(self.lengths.shape[0])


@dataclass(frozen=True)
class DecoderInput:
    """What a decoder is given, made from an `Encoded` under a variant; fields as in `Encoded`."""

    payload: Tokens | Packets | Latent | Waveform
    lengths: torch.Tensor
    sample_rate: int
    channels: int
    side: Mapping[str, SideInformation] = field(default_factory=dict)


class RateKind(StrEnum):
    """Which bits are counted. Kinds are never mixed unlabelled.

    `stated` are counted by nobody: a rate that a user says of audio that was made elsewhere.
    """

    NOMINAL = "nominal"
    ENTROPY = "entropy"
    KL = "kl"
    CODED = "coded"
    PAYLOAD = "payload"
    CONTAINER = "container"
    STATED = "stated"


def usual_kinds(headline: RateKind | None) -> tuple[RateKind, ...]:
    """The kinds of rate that a codec with this headline kind has, the headline first."""
    if headline is None:
        return ()
    together = {RateKind.PAYLOAD: (RateKind.PAYLOAD, RateKind.CONTAINER)}
    return together.get(headline, (headline,))


KL_PRIOR = "N(0, I)"
"""The model of a headline KL, as rows name it; KL to a fitted prior is another quantity."""


class Status(StrEnum):
    """How a unit of work ended. `undefined` is an answer; `failed` is not."""

    OK = "ok"
    UNDEFINED = "undefined"
    FAILED = "failed"


@dataclass(frozen=True)
class Rate:
    """Bits of one kind over the unpadded seconds of one clip.

    model: the probability model or prior under which the bits were counted, where there is one.
    status, reason: as in `Score`; bits are NaN where the rate is undefined.
    """

    kind: RateKind
    bits: float
    seconds: float
    model: str = ""
    status: Status = Status.OK
    reason: str = ""

    @property
    def kbps(self) -> float:
        """Kilobits (1000 bits) per second."""
        return self.bits / self.seconds / 1000.0


@dataclass(frozen=True)
class Score:
    """A measured value, or NaN with a status and a reason."""

    value: float
    status: Status = Status.OK
    reason: str = ""

    @classmethod
    def undefined(cls, reason: str) -> Score:
        """The quantity does not exist for this input (too short, silent, …)."""
        return cls(math.nan, Status.UNDEFINED, reason)

    @classmethod
    def failed(cls, reason: str) -> Score:
        """The computation did not succeed."""
        return cls(math.nan, Status.FAILED, reason)


@dataclass(frozen=True)
class Variant:
    """What is decoded from an `Encoded`, as a value; `rdbench.codecs.variants` knows them by name.

    name: in specs and rows. source: where the decoder's input comes from ("codes", "mean",
    "sample", "stream", "noise", or what a plugin calls its own). transmitted: whether one can
    transmit it at a stated rate. rate: the kind of rate that belongs to it, None for the headline
    kind of its system. seeded: whether it draws at random, from the seeds of the clips. digest:
    names the content of an input that comes from outside of the codec; part of every key.
    """

    name: str
    source: str
    transmitted: bool = False
    rate: RateKind | None = None
    seeded: bool = False
    digest: str = ""

    def __str__(self) -> str:
        return self.name


CODES = Variant("codes", "codes", transmitted=True)
"""Tokens or packets, as they are."""
SAMPLE = Variant("sample", "sample", transmitted=True, seeded=True)
"""A sample μ + σ ε of a posterior."""
MEAN = Variant("mean", "mean")
"""A posterior's mean: at the price of the KL nothing that one can transmit."""
CODED = Variant("coded", "stream", transmitted=True, rate=RateKind.CODED)
"""What the decodable stream of a posterior decodes to, at the stream's own rate."""


@dataclass(frozen=True)
class OperatingPoint:
    """One rate at which a codec can be run.

    name: unique within the codec, used in specs, rows and keys (for example "6" or "q9").
    target_kbps: the rate that the name promises (nominal or requested), for ordering and labels
        alone; None for anchors. Measured rates never come from here.
    settings: what the adapter needs to run at this point (for example {"n_codebooks": 8}).
    """

    name: str
    target_kbps: float | None
    settings: Mapping[str, Any] = field(default_factory=dict)


class RunsOn(StrEnum):
    """Where the engine runs a codec or a metric backend."""

    DEVICE = "device"
    POOL = "pool"


@dataclass(frozen=True)
class CodecInfo:
    """What the engine and the reader of a figure need to know of a codec.

    sample_rates: rates it takes natively, ascending; empty where any rate is taken.
    channels: channel counts it takes natively, ascending; empty where any count is taken.
    frame_rate: frames per second, None where it has none or it varies.
    delay: samples that the codec declares and its `decode` has already removed.
    parameters: number of model parameters, None for signal-processing codecs.
    weights_sha256: hash of the weights in use, "" where there are none; part of every unit's key.
    headline: the rate kind that stands for this family; None for anchors.
    """

    name: str
    family: str
    sample_rates: tuple[int, ...]
    channels: tuple[int, ...]
    headline: RateKind | None
    runs_on: RunsOn
    frame_rate: float | None = None
    delay: int = 0
    parameters: int | None = None
    weights_sha256: str = ""
    version: str = ""
    licence: str = ""
    citation: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def native_rate(self, reference_rate: int) -> int:
        """The native rate nearest to, and where possible not below, `reference_rate` (hertz)."""
        if not self.sample_rates:
            return reference_rate
        above = [rate for rate in self.sample_rates if rate >= reference_rate]
        return min(above) if above else max(self.sample_rates)
