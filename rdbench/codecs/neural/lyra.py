"""Lyra v2: a neural speech codec with discrete tokens, by its three TFLite models.

An encoder makes 64 features of every hop of 320 samples (16 kHz mono, 50 hops per second); a
residual quantizer turns them into up to 46 indices of 4 bits; a decoder makes 320 samples of the
features that the indices stand for. k codebooks are k · 4 bits · 50 / s = 0.2·k kbps exactly, with
no header: Google names 16, 30 and 46 of them (3.2, 6 and 9.2 kbps). The quantizer is nested, so one
encode at the highest point serves the lower ones.

Encoder and decoder stream: they carry state from hop to hop, and `reset_all_variables` does not
clear it, so each clip gets fresh interpreters. A clip's last hop is filled with zeros.

The models are data from github.com/google/lyra (lyra/model_coeffs, Apache-2.0), named by the
option `models`. Indices depend on the kernels that TFLite chooses for the machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.codecs.base import Codec
from rdbench.codecs.batches import check_audio
from rdbench.codecs.credits import CREDITS
from rdbench.codecs.neural.residual import cut_codebooks, only_stream
from rdbench.codecs.points import resolve
from rdbench.files import is_file, user_path
from rdbench.identity import read_hashed
from rdbench.native import stderr_held
from rdbench.stopwatch import Side, charged_to
from rdbench.types import (
    AudioBatch,
    CodecError,
    CodecInfo,
    DecoderInput,
    Encoded,
    MissingExtraError,
    OperatingPoint,
    RateKind,
    RunsOn,
    Tokens,
    TokenStream,
    WeightsError,
)

if TYPE_CHECKING:
    import numpy as np
    import torch

ADAPTER = 1
"""Raised when what this adapter makes of the same models changes."""

SAMPLE_RATE = 16_000
HOP = 320
CODEBOOKS = 46
CODEBOOK_SIZE = 16
UNUSED = -1
MAX_BYTES = 64 * 2**20
"""Largest model file that is read; the published ones have 0.3 to 2.4 MB."""
SOURCE = "lyra/model_coeffs of github.com/google/lyra"
FILES = ("soundstream_encoder.tflite", "quantizer.tflite", "lyragan.tflite")


class Lyra(Codec):
    """Lyra v2 at 16 kHz mono.

    Args:
        points: kbps, multiples of 0.2 up to 9.2; None means 3.2, 6 and 9.2.
        models: the folder with soundstream_encoder.tflite, quantizer.tflite and lyragan.tflite.

    The files are read once, and hashed as they were read; of what was read, interpreters are made
    for each clip.

    Raises:
        MissingExtraError: without the package ai-edge-litert.
        WeightsError: where a model file is missing.
        CodecError: without `models`, and for a point that does not exist.
    """

    nested = True

    def __init__(
        self, *, points: Sequence[float | str] | None = None, models: str | Path | None = None
    ) -> None:
        if find_spec("ai_edge_litert") is None:
            raise MissingExtraError("codec 'lyra'", "lyra")
        self._encoder, self._quantizer, self._decoder = found = _models(models)
        available = [
            OperatingPoint(f"{k / 5:g}", k / 5, {"codebooks": k}) for k in range(1, CODEBOOKS + 1)
        ]
        self.points = resolve("lyra", points, available, default=("3.2", "6", "9.2"))
        self.info = CodecInfo(
            name="lyra",
            family="neural",
            sample_rates=(SAMPLE_RATE,),
            channels=(1,),
            headline=RateKind.NOMINAL,
            runs_on=RunsOn.POOL,
            frame_rate=SAMPLE_RATE / HOP,
            weights_sha256=_sha256(found),
            version=f"Lyra v2, ai-edge-litert {version('ai-edge-litert')}, adapter {ADAPTER}",
            licence="Apache-2.0",
            citation=CREDITS["lyra"].citation,
            details={"codebooks": CODEBOOKS, "kernels": "TFLite's choice, one thread"},
        )

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        """Encodes each clip by itself with the codebooks of `point`."""
        import torch

        check_audio(self.info, audio)
        count = int(point.settings["codebooks"])
        frames = (audio.lengths + HOP - 1) // HOP
        codes = torch.zeros(audio.clips, count, int(frames.max()), dtype=torch.int64)
        quantize = _interpreter(self._quantizer).get_signature_runner("encode")
        for index, length in enumerate(audio.lengths.tolist()):
            clip = audio.samples[index, 0, :length]
            codes[index, :, : int(frames[index])] = self._encode_clip(clip, count, quantize)
        stream = TokenStream(codes, frames, (CODEBOOK_SIZE,) * count, SAMPLE_RATE / HOP)
        return Encoded(Tokens((stream,)), audio.lengths.clone(), SAMPLE_RATE, 1)

    def codebooks_at(self, point: OperatingPoint) -> tuple[int, ...]:
        """Entries of the codebooks that `point` has."""
        return (CODEBOOK_SIZE,) * int(point.settings["codebooks"])

    def at(self, encoded: Encoded, point: OperatingPoint) -> Encoded:
        """The first codebooks of `encoded`, as many as `point` has."""
        return cut_codebooks("lyra", encoded, int(point.settings["codebooks"]), point)

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        """Decodes to (clips, 1, time)."""
        import torch

        stream = only_stream("lyra", decoder_input.payload)
        lengths = decoder_input.lengths
        samples = torch.zeros(len(lengths), 1, int(lengths.max()))
        dequantize = _interpreter(self._quantizer).get_signature_runner("decode")
        for index, length in enumerate(lengths.tolist()):
            codes = stream.codes[index, :, : int(stream.frames[index])]
            samples[index, 0, :length] = self._decode_clip(codes, dequantize)[:length]
        return AudioBatch(samples, lengths.clone(), SAMPLE_RATE)

    def _encode_clip(self, clip: torch.Tensor, count: int, quantize: Any) -> torch.Tensor:
        """Samples (time,) to indices (count, frames)."""
        import numpy as np
        import torch

        hops = -(-len(clip) // HOP)
        padded = np.zeros((hops, 1, HOP), dtype=np.float32)
        padded.reshape(-1)[: len(clip)] = clip.detach().cpu().numpy()
        features = _stream_through(self._encoder, padded)
        used = np.array(count, dtype=np.int32)
        codes = [
            quantize(input_frames=hop, num_quantizers=used)["output_0"].reshape(-1)[:count]
            for hop in features
        ]
        return torch.from_numpy(np.stack(codes, axis=1).astype(np.int64))

    def _decode_clip(self, codes: torch.Tensor, dequantize: Any) -> torch.Tensor:
        """Indices (codebooks, frames) to samples (frames · 320,)."""
        import numpy as np
        import torch

        count, frames = codes.shape
        indices = np.full((frames, CODEBOOKS, 1, 1), UNUSED, dtype=np.int32)
        indices[:, :count, 0, 0] = codes.cpu().numpy().T
        features = np.stack([dequantize(encoding_indices=hop)["output_0"] for hop in indices])
        return torch.from_numpy(_stream_through(self._decoder, features).reshape(-1))


@dataclass(frozen=True)
class _Model:
    """A TFLite file as it was read."""

    path: Path
    content: bytes
    sha256: str


def _stream_through(model: _Model, hops: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Runs a streaming model over (hops, …) from a clear state; returns (hops, …)."""
    import numpy as np

    interpreter = _interpreter(model)
    into = interpreter.get_input_details()[0]["index"]
    out = interpreter.get_output_details()[0]["index"]
    results = []
    for hop in hops:
        interpreter.set_tensor(into, hop)
        interpreter.invoke()
        results.append(interpreter.get_tensor(out))
    return np.stack(results)


def _interpreter(model: _Model) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    try:
        # Models are read once where a codec is used; LiteRT notes on stderr which delegate it uses.
        with charged_to(Side.NOBODY), stderr_held():
            interpreter = Interpreter(model_content=model.content, num_threads=1)
            interpreter.allocate_tensors()
        return interpreter
    except (ValueError, RuntimeError) as error:
        raise WeightsError(
            f"codec 'lyra': {model.path} cannot be read as a TFLite model; fetch it again from "
            f"{SOURCE}"
        ) from error


def _models(models: str | Path | None) -> list[_Model]:
    """The three models, in the order of `FILES`."""
    if models is None:
        raise CodecError(
            f"codec 'lyra' needs the option `models`: a folder with {', '.join(FILES)}, "
            f"from {SOURCE}"
        )
    folder = user_path(models)
    for name in FILES:
        if not is_file(folder / name):
            raise WeightsError(
                f"codec 'lyra' finds no {name} in {folder}; fetch it from {SOURCE} into that folder"
            )
    found = []
    for name in FILES:
        try:
            found.append(_Model(folder / name, *read_hashed(folder / name, limit=MAX_BYTES)))
        except OSError as error:
            raise WeightsError(
                f"codec 'lyra': {folder / name} cannot be read ({error.strerror}); fetch it again "
                f"from {SOURCE}"
            ) from error
    return found


def _sha256(models: Sequence[_Model]) -> str:
    """One hash of the three files."""
    whole = hashlib.sha256()
    for model in models:
        whole.update(bytes.fromhex(model.sha256))
    return whole.hexdigest()
