"""A codec that runs in another Python environment, behind the interface of all others.

A person's old research code needs packages that cannot be installed beside rdbench's. In the spec

    {codec: "old:Old", python: /envs/old/bin/python, options: {checkpoint: ./old.pt}}

`Old` is built and run by that interpreter, which needs no more than numpy: see `docs/codecs.md` for
what the class has. Clips go there at their own lengths, those of one length together, so that it
sees no padding. Rates are computed here from what comes back, as of any codec.

Codecs that rdbench knows but cannot run itself go the same way: their classes are those of
`rdbench.codecs.remote.adapters`, a folder that is imported over there under a name of its own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from rdbench.codecs.base import Codec
from rdbench.codecs.batches import by_length, check_audio, pad_stack
from rdbench.codecs.points import resolve
from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.codecs.remote.description import Description
from rdbench.codecs.remote.process import RaisedError, WorkerDiedError, WorkerProcess
from rdbench.files import user_path
from rdbench.identity import as_one, behind_files, file_sha256
from rdbench.rate.validate import check_encoded
from rdbench.types import (
    AudioBatch,
    CodecError,
    CodecInfo,
    DecoderInput,
    Encoded,
    MissingProgramError,
    OperatingPoint,
    Packets,
    PacketStream,
    RateKind,
    RunsOn,
    SideInformation,
    Tokens,
    TokenStream,
    WeightsError,
)

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

T = TypeVar("T")

ADAPTER = 1
"""Raised when what is made of the same answers changes."""
BUILD_SECONDS = 900.0
"""How long a codec may take to be imported and built."""
ANSWER_SECONDS = 3600.0
"""How long one call may take; the engine's own limit is shorter and ends the process, too."""
MAX_SIDE_BITS = 2**32
"""Most bits of side information of one clip."""
ADAPTERS = Path(__file__).with_name("adapters")
"""The folder of classes that rdbench has for the other side."""
_OWN = "rdbench.codecs.remote.adapters."
_INSTALLED = ("site-packages", "dist-packages")
_NOT_INSTALLED = ("ImportError", "ModuleNotFoundError", "PackageNotFoundError")


def connect(
    code: str,
    *,
    python: str | os.PathLike[str],
    points: Sequence[float | str] | None = None,
    options: Mapping[str, Any] | None = None,
    name: str = "",
) -> Codec:
    """The codec `code`, built and run by another interpreter.

    Args:
        code: "module:Class"; the module lies where this process finds modules that are not
            installed, or is installed in the other environment; or is one of `adapters`.
        python: the interpreter: a path, or the name of a program.
        points: numbers in kbps or names; None means all.
        options: arguments of the class, as JSON can hold them.
        name: what messages call it; `code` where none is given.

    Raises:
        MissingProgramError: where the interpreter, or a package that an adapter needs, is missing.
        WeightsError: where an adapter cannot be built of what its options name.
        CodecError: for a codec that cannot be built, or is not what it has to be.
    """
    name = name or code
    host = _Host(name, code, _interpreter(name, python), dict(options or {}))
    kinds: Mapping[str, Callable[[_Host, Sequence[float | str] | None], Codec]] = {
        "tokens": RemoteTokens,
        "packets": RemotePackets,
        "posterior": RemotePosterior,
    }
    return kinds[host.description.payload](host, points)


class _Host:
    """The codec's process, started again when it has died."""

    def __init__(self, name: str, code: str, python: Path, options: Mapping[str, Any]) -> None:
        self.name, self.code, self.options = name, code, options
        self._python = python
        self.device = "cpu"
        self._process, self.description = self._build()

    def ask(
        self, doing: str, header: Mapping[str, Any], arrays: Sequence[Array] = ()
    ) -> tuple[dict[str, Any], list[Any]]:
        """See `WorkerProcess.ask`."""
        if not self._process.running:
            self._process, again = self._build()
            if again != self.description:
                raise CodecError(f"codec {self.name!r} is no longer what it was; run again")
            if self.device != "cpu":
                self._move()
        header = {"payload": self.description.payload, **header}
        return self._process.ask(doing, header, arrays, seconds=ANSWER_SECONDS)

    def move(self, device: torch.device | str) -> None:
        """Tells a codec that has a method `to` on which device it shall run."""
        if str(device) != self.device:
            self.device = str(device)
            self._move()

    def by_group(self, lengths: torch.Tensor, run: Callable[[list[int]], Sequence[T]]) -> list[T]:
        """As `by_length`, clip by clip where the codec takes no batches."""

        def each(indices: list[int]) -> Sequence[T]:
            if self.description.batched:
                return run(indices)
            return [one for index in indices for one in run([index])]

        return by_length(lengths, each)

    def info(self) -> CodecInfo:
        """What the description says, for the engine and the reader."""
        told, held = self.description, self.opens
        code = [held[file] for file in self.files] if self.is_own else []
        weights = [held[Path(file)] for file in told.weight_files] if self.is_own else []
        named = [f"code {as_one(code)[:16]}"] if code else []
        return CodecInfo(
            name=told.name,
            family=told.texts.get("family") or "remote",
            sample_rates=(told.sample_rate,),
            channels=tuple(sorted(set(told.channels))),
            headline=told.headline,
            runs_on=RunsOn.DEVICE,
            frame_rate=told.frame_rates[0] if len(told.frame_rates) == 1 else None,
            delay=told.delay,
            parameters=told.parameters,
            weights_sha256=as_one(weights) if weights else "",
            version=", ".join([told.version, *named, f"adapter {ADAPTER}"]),
            licence=told.texts.get("licence", ""),
            citation=told.texts.get("citation", ""),
            details={"code": self.code, "environment": dict(told.versions)},
        )

    @property
    def is_own(self) -> bool:
        """Whether its class is one of rdbench's, which has a version and says what it opens."""
        return self.code.startswith(_OWN)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of its code, and of its configuration; none of rdbench's."""
        # What another's class calls weights is held as its other files are.
        weights = () if self.is_own else self.description.weight_files
        told = (Path(file) for file in (*self.description.files, *weights))
        return tuple(file for file in told if ADAPTERS not in file.parents)

    @cached_property
    def opens(self) -> Mapping[Path, str]:
        """Of a class of rdbench's all files that it has opened, each with its SHA-256."""
        if not self.is_own:
            return MappingProxyType({})
        named = [*self.files, *map(Path, self.description.weight_files)]
        try:
            return {path: file_sha256(path) for path in named}
        except OSError as error:
            raise WeightsError(
                f"codec {self.name!r}: {error.filename} cannot be read ({error.strerror}); mend it"
            ) from None

    def _build(self) -> tuple[WorkerProcess, Description]:
        import torch

        process = WorkerProcess(self._python, name=self.name, threads=torch.get_num_threads())
        header = {
            "do": "build",
            "code": self.code.removeprefix(_OWN),
            "adapters": str(ADAPTERS) if self.is_own else "",
            "options": self.options,
            "folders": _folders(),
        }
        try:
            told, _ = process.ask("being built", header, seconds=BUILD_SECONDS)
            told.pop("arrays", None)
            return process, Description.read(self.name, told)
        except WorkerDiedError as error:
            raise MissingProgramError(
                f"{error}; `python` is {self._python}: name a Python 3.8 or newer with numpy and "
                "the codec's packages"
            ) from error
        except RaisedError as error:
            process.end()
            if not self.is_own:
                raise
            if error.kind in _NOT_INSTALLED:
                raise MissingProgramError(
                    f"{error}; install its packages in the environment of {self._python}"
                ) from error
            raise WeightsError(str(error)) from error
        except BaseException:
            process.end()
            raise

    def _move(self) -> None:
        if self.description.moves and self._process.running:
            header = {"do": "to", "device": self.device}
            self._process.ask("moving to its device", header, seconds=BUILD_SECONDS)


class _Remote(Codec):
    """A codec whose payload is made by a call of its own: tokens or packets."""

    def __init__(self, host: _Host, points: Sequence[float | str] | None) -> None:
        self._host = host
        self.info = host.info()
        self.points = resolve(self.info.name, points, host.description.operating_points())
        self.code_files = None if host.is_own else host.files
        self.opens = host.opens

    def to(self, device: torch.device | str) -> Codec:
        """Tells the process; returns itself."""
        self._host.move(device)
        return self

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        """Encodes clips in groups of one length."""
        check_audio(self.info, audio)

        def run(indices: list[int]) -> Sequence[tuple[Any, Mapping[str, SideInformation]]]:
            length = int(audio.lengths[indices[0]])
            samples = audio.samples[indices][..., :length].float().cpu().numpy()
            header = {"do": "encode", "point": point.name, **self._asked()}
            made = self._host.ask(f"encoding at {point.name}", header, [samples])
            return self._taken(len(indices), point, *made)

        results = self._host.by_group(audio.lengths, run)
        payload = self._payload([one for one, _ in results], point)
        side = self._side([side for _, side in results])
        encoded = Encoded(payload, audio.lengths, audio.sample_rate, audio.channels, side)
        check_encoded(encoded)  # what does not keep to its sizes and frame rate has no rate
        return encoded

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        """Decodes to the lengths that `decoder_input` states."""

        def run(indices: list[int]) -> list[torch.Tensor]:
            length = int(decoder_input.lengths[indices[0]])
            told, arrays = self._given(decoder_input, indices)
            header = {"do": "decode", "length": length, **self._asked(), **told}
            samples = _samples(self._host.ask("decoding", header, arrays), self.info.name)
            self._check_samples(samples, len(indices), decoder_input.channels, length)
            return list(samples[..., :length])

        samples, _ = pad_stack(self._host.by_group(decoder_input.lengths, run))
        on_device = samples.to(self._host.device)
        return AudioBatch(on_device, decoder_input.lengths, decoder_input.sample_rate)

    def _check_samples(self, samples: torch.Tensor, clips: int, channels: int, length: int) -> None:
        have = tuple(samples.shape)
        if samples.ndim != 3 or have[:2] != (clips, channels) or have[2] < length:
            raise CodecError(
                f"{self.info.name} decoded to an array of shape {have} where (clips, channels, "
                f"time) = {(clips, channels, length)} or longer was asked for"
            )

    def _asked(self) -> dict[str, Any]:
        """What every request says."""
        return {}

    @abstractmethod
    def _taken(
        self,
        clips: int,
        point: OperatingPoint,
        answer: Mapping[str, Any],
        arrays: Sequence[Array],
    ) -> Sequence[tuple[Any, Mapping[str, SideInformation]]]:
        """What was encoded of each clip, and its side information."""

    @abstractmethod
    def _payload(self, clips: Sequence[Any], point: OperatingPoint) -> Tokens | Packets:
        """All clips together."""

    @abstractmethod
    def _given(
        self, decoder_input: DecoderInput, indices: Sequence[int]
    ) -> tuple[dict[str, Any], list[Array]]:
        """What the decoder is sent of some clips."""

    def _side(self, clips: Sequence[Mapping[str, SideInformation]]) -> dict[str, SideInformation]:
        import torch

        names = {frozenset(one) for one in clips}
        shapes = {tuple((n, one[n].values.shape) for n in sorted(one)) for one in clips}
        if len(names) > 1 or len(shapes) > 1:
            raise CodecError(
                f"{self.info.name}: side information must be of one shape for every clip"
            )
        return {
            name: SideInformation(
                torch.cat([one[name].values for one in clips]),
                torch.cat([one[name].bits for one in clips]),
            )
            for name in clips[0]
        }


class RemoteTokens(_Remote):
    """Indices of one or more codebooks, at one or more frame rates."""

    def _asked(self) -> dict[str, Any]:
        return {"several": len(self._host.description.frame_rates) > 1, "side": []}

    def _taken(
        self,
        clips: int,
        point: OperatingPoint,
        answer: Mapping[str, Any],
        arrays: Sequence[Array],
    ) -> Sequence[tuple[list[torch.Tensor], Mapping[str, SideInformation]]]:
        import torch

        streams, bits = len(self._host.description.frame_rates), dict(answer.get("side", {}))
        tensors = [torch.from_numpy(one) for one in arrays]
        if len(tensors) != streams + len(bits):
            raise CodecError(
                f"{self.info.name} encoded to {len(tensors) - len(bits)} arrays of codes, and has "
                f"{streams} streams"
            )
        for codes, sizes in zip(tensors, self._host.description.sizes(point.name), strict=False):
            have = tuple(codes.shape)
            if codes.ndim != 3 or have[0] != clips or not 1 <= have[1] <= len(sizes):
                raise CodecError(
                    f"{self.info.name} encoded to codes of shape {have} where (clips, codebooks, "
                    f"frames) with {clips} clips and up to {len(sizes)} codebooks were expected"
                )
        for name, values in zip(bits, tensors[streams:], strict=True):
            if len(values) != clips or not values.isfinite().all():
                raise CodecError(
                    f"{self.info.name}: side information {name!r} must have finite values, of each "
                    "clip"
                )
            if not 0 < bits[name] <= MAX_SIDE_BITS:
                raise CodecError(
                    f"{self.info.name}: side information {name!r} is sent to the decoder in "
                    f"{bits[name]} bits; say how many it takes, from 1 to {MAX_SIDE_BITS}"
                )
        return [
            (
                [codes[clip] for codes in tensors[:streams]],
                {
                    name: SideInformation(values[clip : clip + 1], torch.tensor([bits[name]]))
                    for name, values in zip(bits, tensors[streams:], strict=True)
                },
            )
            for clip in range(clips)
        ]

    def _payload(self, clips: Sequence[list[torch.Tensor]], point: OperatingPoint) -> Tokens:
        told = self._host.description
        streams = []
        for number, (rate, sizes) in enumerate(
            zip(told.frame_rates, told.sizes(point.name), strict=True)
        ):
            of_clips = [one[number] for one in clips]
            if len({len(codes) for codes in of_clips}) > 1:
                raise CodecError(f"{self.info.name}: clips have differing numbers of codebooks")
            codes, frames = pad_stack(of_clips)
            streams.append(TokenStream(codes, frames, tuple(sizes[: codes.shape[1]]), rate))
        return Tokens(tuple(streams))

    def _given(
        self, decoder_input: DecoderInput, indices: Sequence[int]
    ) -> tuple[dict[str, Any], list[Array]]:
        payload, index = decoder_input.payload, list(indices)
        if not isinstance(payload, Tokens):
            raise CodecError(f"{self.info.name} decodes tokens, not {type(payload).__name__}")
        codes = [
            stream.codes[index][..., : int(stream.frames[index[0]])].cpu().numpy()
            for stream in payload.streams
        ]
        values = [one.values[index].cpu().numpy() for one in decoder_input.side.values()]
        return {"side": list(decoder_input.side)}, [*codes, *values]


class RemotePackets(_Remote):
    """Bytes: of each clip one packet, or several. There is no file around them."""

    @property
    def rate_kinds(self) -> tuple[RateKind, ...]:
        """The packets' bits alone."""
        return (RateKind.PAYLOAD,)

    def _taken(
        self,
        clips: int,
        point: OperatingPoint,
        answer: Mapping[str, Any],
        arrays: Sequence[Array],
    ) -> Sequence[tuple[PacketStream, Mapping[str, SideInformation]]]:
        counts = [int(count) for count in answer.get("packets", [])]
        if len(counts) != clips or sum(counts) != len(arrays):
            raise CodecError(f"{self.info.name} encoded {clips} clips to {len(counts)}")
        left = iter([one.tobytes() for one in arrays])
        streams: list[tuple[PacketStream, Mapping[str, SideInformation]]] = []
        for count in counts:
            packets = tuple(next(left) for _ in range(count))
            if not all(packets) or not packets:
                raise CodecError(f"{self.info.name} encoded a clip to a packet of 0 bytes")
            streams.append((PacketStream(packets, b"", 0), {}))
        return streams

    def _payload(self, clips: Sequence[PacketStream], point: OperatingPoint) -> Packets:
        return Packets(tuple(clips))

    def _given(
        self, decoder_input: DecoderInput, indices: Sequence[int]
    ) -> tuple[dict[str, Any], list[Array]]:
        import numpy as np

        payload = decoder_input.payload
        if not isinstance(payload, Packets):
            raise CodecError(f"{self.info.name} decodes packets, not {type(payload).__name__}")
        clips = [payload.clips[index].packets for index in indices]
        arrays: list[Array] = [np.frombuffer(one, np.uint8) for clip in clips for one in clip]
        return {"packets": [len(clip) for clip in clips]}, arrays


class RemotePosterior(PosteriorCodec):
    """A mean and a scale, or a mean alone where the latent has no prior."""

    def __init__(self, host: _Host, points: Sequence[float | str] | None) -> None:
        import torch

        told, info = host.description, host.info()
        self._host = host
        self.code_files = None if host.is_own else host.files
        self.opens = host.opens
        super().__init__(
            name=info.name,
            sample_rate=told.sample_rate,
            frame_rate=told.frame_rates[0],
            modules=torch.nn.Module(),
            channels=info.channels,
            points=points,
            prior=told.prior,
            version=info.version,
        )
        # No tensors are here to be hashed; what is fitted to the latent must know it all the same.
        source = repr(behind_files(host.files, dict(host.options)).source).encode()
        self.info = replace(
            info,
            version=self.info.version,
            weights_sha256=info.weights_sha256 or hashlib.sha256(source).hexdigest(),
        )

    @property
    def device(self) -> torch.device:
        """Where what comes back is put."""
        import torch

        return torch.device(self._host.device)

    def to(self, device: torch.device | str) -> PosteriorCodec:
        """Tells the process; returns itself."""
        self._host.move(device)
        return self

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        """The posterior of every clip, which lasts as long as the frame rate says."""
        encoded = super().encode(audio, point)
        check_encoded(encoded)
        return encoded

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Mean and standard deviation, (clips, latents, frames) each."""
        import torch

        header = {"do": "encode", "point": self.points[0].name}
        made = [
            [torch.from_numpy(one) for one in self._host.ask("encoding", header, [piece])[1]]
            for piece in self._pieces(audio)
        ]
        if {len(one) for one in made} != {2 if self._host.description.prior else 1}:
            raise CodecError(f"{self.info.name} must encode to a mean and, with a prior, a scale")
        both = [torch.cat(of_clips).to(self.device) for of_clips in zip(*made, strict=True)]
        if any(
            one.ndim != 3 or one.shape != both[0].shape or len(one) != len(audio) for one in both
        ):
            raise CodecError(
                f"{self.info.name} encoded to {[tuple(one.shape) for one in both]}, not to "
                "(clips, latents, frames) each"
            )
        return both[0], both[1] if len(both) > 1 else None

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        """Audio (clips, channels, time) of a latent (clips, latents, frames)."""
        import torch

        told = self._host.description
        length = round(z.shape[-1] * told.sample_rate / told.frame_rates[0])
        header = {"do": "decode", "length": length}
        made = [
            _samples(self._host.ask("decoding", header, [piece]), self.info.name)
            for piece in self._pieces(z)
        ]
        audio = torch.cat(made)
        if audio.ndim != 3 or len(audio) != len(z):
            raise CodecError(
                f"{self.info.name} decoded to an array of shape {tuple(audio.shape)}, not to "
                "(clips, channels, time)"
            )
        return audio.to(self.device)

    def _pieces(self, values: torch.Tensor) -> list[Array]:
        whole = values.float().cpu().numpy()
        return [whole] if self._host.description.batched else list(whole[:, None])


def _samples(answer: tuple[Mapping[str, Any], Sequence[Any]], name: str) -> torch.Tensor:
    import torch

    if len(answer[1]) != 1:
        raise CodecError(f"{name} decoded to {len(answer[1])} arrays, not to samples")
    return torch.from_numpy(answer[1][0])


def _interpreter(name: str, python: str | os.PathLike[str]) -> Path:
    """The program that is meant; links stay, since an environment is known by them."""
    path = user_path(python)
    found = shutil.which(path)
    if found is None:
        raise MissingProgramError(
            f"codec {name!r}: there is no interpreter {str(python)!r}; set `python` to that of the "
            "environment which has the codec's packages"
        )
    return Path(found).absolute()


def _folders() -> tuple[list[str], list[str]]:
    """Where a module of the user's may lie: what is on the path and is no environment's.

    Those of PYTHONPATH are apart: they may have packages of this environment, and come last there.
    """
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    own = [Path(prefix).resolve() for prefix in {sys.prefix, sys.base_prefix}]
    first: list[str] = []
    last: list[str] = []
    for entry in dict.fromkeys(sys.path):
        path = Path(entry or ".").absolute()
        installed = any(part in _INSTALLED for part in path.parts)
        library = any((prefix / "lib") in path.resolve().parents for prefix in own)
        if path.is_dir() and not installed and not library:
            (last if entry in given else first).append(str(path))
    return first, last
