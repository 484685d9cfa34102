"""CoDiCodec: tokens, and a consistency model that decodes them, through its package.

M. Pasini, S. Lattner, G. Fazekas, "CoDiCodec: Unifying Continuous and Discrete Compressed
Representations of Audio", ISMIR 2025 (arXiv:2509.09836). Stereo; 128 tokens of 11⁴ = 14,641 entries
for each 32,768 samples:

    44.1 kHz    13.84 bits × 172.27 Hz = 2.384 kbps
    48 kHz      13.84 bits × 187.5 Hz  = 2.595 kbps

What is before their rounding is the latent of `rdbench.codecs.posterior.codicodec_latent`. The
decoder turns noise into a spectrogram, in parallel and by the package's five steps: each clip is
decoded by itself, from the generator of its device, which is seeded by the clip's codes. All is
computed in float32, where the package computes in float16.

The package's spectrogram has no padding: what it gives back fades in and out over 1024 samples. A
clip is therefore given as many zeros before, and behind as many as whole pieces of 32,768 samples
take; all tokens of a piece are sent, so that short clips cost more than the label says.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.codecs.base import Codec
from rdbench.codecs.batches import by_length, check_audio, pad_stack
from rdbench.codecs.credits import CREDITS
from rdbench.codecs.neural.residual import only_stream
from rdbench.codecs.points import resolve
from rdbench.codecs.precision import full_precision
from rdbench.codecs.seeds import noise_seed, seeded
from rdbench.files import user_path
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
)
from rdbench.weights.checkpoints import load_strict, read_checkpoint

if TYPE_CHECKING:
    import torch

NAME = PACKAGE = "codicodec"
ADAPTER = 1
"""Raised when the same weights give other codes, latents or audio."""
WEIGHTS = "codicodec.pt"
UNDER = "gen_state_dict"
SOURCE = f"https://huggingface.co/SonyCSLParis/codicodec/resolve/main/{WEIGHTS}"
LICENCE = "CC-BY-NC-4.0"
RATES = (44_100, 48_000)
PIECE, TOKENS = 32_768, 128
"""Samples of a piece, and its tokens."""
FADE = 1024
MAX_STEPS = 100


class CoDiCodecModel:
    """The network of the package with its weights: audio to vectors, and vectors to audio.

    A vector is what a token stands for, 4 values within ±1; there are 128 for a piece.
    """

    def __init__(
        self, name: str, weights: str | Path | None, *, sample_rate: int, steps: int
    ) -> None:
        """Reads the weights, onto the CPU; see `CoDiCodec`. name: of the codec, for sentences."""
        if weights is None:
            raise CodecError(
                f"codec {name!r} needs the option weights: the file {WEIGHTS}, from {SOURCE}"
            )
        if sample_rate not in RATES:
            raise CodecError(
                f"codec {name!r}: its option sample_rate is {sample_rate}; give 44100 or 48000"
            )
        if not 1 <= steps <= MAX_STEPS:
            raise CodecError(
                f"codec {name!r}: its option steps is {steps}; give one from 1 to {MAX_STEPS}"
            )
        models = _package(name)
        path = user_path(weights)
        path = path / WEIGHTS if path.is_dir() else path
        checkpoint = read_checkpoint(path, UNDER)
        self.network = models.UNet()  # its quantizer cannot be built without memory
        load_strict(self.network, checkpoint, codec=f"codec {name!r}")
        self._steps = steps
        self.sha256 = checkpoint.sha256
        self.version = f"{PACKAGE} {version(PACKAGE)}, adapter {ADAPTER}"
        self.details = {
            "weights": checkpoint.filename,
            "weights_bytes": path.stat().st_size,
            "steps": steps,
        }

    @property
    def codebook_size(self) -> int:
        """How many values a token may have."""
        return int(self.network.fsq.codebook_size)

    def encode(self, audio: torch.Tensor, *, rounded: bool) -> torch.Tensor:
        """Vectors (clips, tokens, 4) of audio (clips, 2, time), as they are or rounded to codes."""
        import torch
        from codicodec.audio import to_representation_encoder

        behind = -(FADE + audio.shape[-1]) % PIECE + FADE
        padded = torch.nn.functional.pad(audio, (FADE, behind))
        spectra = to_representation_encoder(padded)
        vectors: torch.Tensor = self.network.encoder_forward(spectra, dont_quantize=not rounded)
        return vectors

    def decode(self, vectors: torch.Tensor) -> torch.Tensor:
        """Audio (2, time) of the vectors (tokens, 4) of one clip, from its first sample on.

        Noise is drawn from torch's generators. Pieces are decoded in pairs, the last with one of
        zeros.
        """
        import torch
        from codicodec.audio import to_waveform

        count = len(vectors)
        paired = torch.nn.functional.pad(vectors[None], (0, 0, 0, -count % (2 * TOKENS)))
        made = self.network.decode_single_parallel(paired, denoising_steps=self._steps)
        spectra = made[..., : made.shape[-1] * count // paired.shape[-2]]
        audio: torch.Tensor = to_waveform(spectra)[0, :, FADE:]
        return audio


class CoDiCodec(Codec):
    """A CoDiCodec model; its one point has all its tokens."""

    def __init__(
        self,
        *,
        points: Sequence[float | str] | None = None,
        weights: str | Path | None = None,
        sample_rate: int = 44_100,
        steps: int = 5,
    ) -> None:
        """Loads the model on the CPU.

        Args:
            points: there is one, called by its nominal kbps.
            weights: codicodec.pt as its authors publish it, or its folder.
            sample_rate: 44100 or 48000, in hertz: the model is the same.
            steps: of the decoder, from noise to audio.

        Raises:
            CodecError: without `weights`, for an unknown point, another rate, or a number of steps
                that there cannot be.
            MissingExtraError: without the package `codicodec`.
            WeightsError: for weights that are absent, damaged, incomplete or of another model.
        """
        self.model = CoDiCodecModel(NAME, weights, sample_rate=sample_rate, steps=steps)
        self._size = self.model.codebook_size
        frame_rate = sample_rate * TOKENS / PIECE
        kbps = frame_rate * math.log2(self._size) / 1000
        self.points = resolve(NAME, points, [OperatingPoint(f"{kbps:.2f}", kbps)])
        self.info = CodecInfo(
            name=NAME,
            family=NAME,
            sample_rates=(sample_rate,),
            channels=(2,),
            headline=RateKind.NOMINAL,
            runs_on=RunsOn.DEVICE,
            frame_rate=frame_rate,
            parameters=sum(p.numel() for p in self.model.network.parameters()),
            weights_sha256=self.model.sha256,
            version=self.model.version,
            licence=LICENCE,
            citation=CREDITS[NAME].citation,
            details=self.model.details,
        )

    def to(self, device: torch.device | str) -> Codec:
        """Moves the model to `device`."""
        self.model.network.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        import torch

        return torch.device(next(self.model.network.parameters()).device)

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        """Encodes clips in groups of one length."""
        import torch

        check_audio(self.info, audio)

        def run(indices: list[int]) -> list[torch.Tensor]:
            length = int(audio.lengths[indices[0]])
            samples = audio.samples[indices][..., :length].to(self.device, torch.float32)
            with torch.inference_mode(), full_precision():
                vectors = self.model.encode(samples, rounded=True)
                codes = self.model.network.fsq.codes_to_indexes(vectors)
            return list(codes[:, None].long())

        codes, frames = pad_stack(by_length(audio.lengths, run))
        assert self.info.frame_rate is not None
        stream = TokenStream(codes, frames, (self._size,), self.info.frame_rate)
        return Encoded(Tokens((stream,)), audio.lengths, audio.sample_rate, audio.channels)

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        """Decodes each clip by itself, to its length."""
        import torch

        stream = only_stream(NAME, decoder_input.payload)
        made = []
        for clip, length in enumerate(decoder_input.lengths.tolist()):
            codes = stream.codes[clip, 0, : int(stream.frames[clip])].to(self.device)
            if len(codes) % TOKENS or len(codes) * PIECE < (FADE + length) * TOKENS:
                raise CodecError(
                    f"{NAME} was given {len(codes)} tokens for {length} samples: codes and lengths "
                    "do not belong together"
                )
            noise = seeded(noise_seed([codes]), self.device)
            with torch.inference_mode(), full_precision(), noise:
                samples = self.model.decode(self.model.network.fsq.indexes_to_codes(codes))
            made.append(samples[:, :length])
        samples, _ = pad_stack(made)
        return AudioBatch(samples, decoder_input.lengths, decoder_input.sample_rate)


def _package(name: str) -> Any:
    """The module of the model; what importing it sets for the whole process is put back."""
    import torch

    benchmark, cache = torch.backends.cudnn.benchmark, os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    tf32 = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    try:
        from codicodec import models
    except ImportError as error:
        raise MissingExtraError(f"codec {name!r}", PACKAGE) from error
    finally:
        torch.backends.cudnn.benchmark = benchmark
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = tf32
        os.environ.pop("TORCHINDUCTOR_CACHE_DIR", None)
        if cache is not None:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
    return models
