"""FocalCodec at any of its rates, through its package.

L. Della Libera, F. Paissan, C. Subakan, M. Ravanelli, "FocalCodec: Low-Bitrate Speech Coding via
Focal Modulation Networks", NeurIPS 2025 (arXiv:2502.04465), and FocalCodec-Stream
(arXiv:2509.16195). Mono speech; one codebook, the signs of a vector. As published:

    50, 25, 12.5 Hz        8192 entries                  0.65, 0.325, 0.1625 kbps
    50 Hz, causal          2048, 4096, 65536 entries     0.55, 0.6, 0.8 kbps

All code 16 kHz, and the causal ones decode to 24 kHz: they are compared at 24 kHz, and the
resampling before them is theirs. A clip is padded with zeros to whole frames, and by the 80 samples
more that the last window of an encoder takes which is not causal: the package leaves them out, and
repeats its last sample in the place of the last frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rdbench.codecs.credits import CREDITS
from rdbench.codecs.neural.residual import ResidualCodec
from rdbench.codecs.neural.trained import check_distinct_codes
from rdbench.codecs.points import resolve
from rdbench.files import user_path
from rdbench.text import first_line
from rdbench.types import (
    CodecError,
    CodecInfo,
    MissingExtraError,
    OperatingPoint,
    RateKind,
    RdbenchError,
    RunsOn,
    WeightsError,
)
from rdbench.weights.checkpoints import Checkpoint, load_strict, read_checkpoint
from rdbench.weights.configs import build_bounded, config_named, no_config, read_config

if TYPE_CHECKING:
    import torch

NAME = "focalcodec"
CALLED = f"codec {NAME!r}"
ADAPTER = 1
"""Raised when the same weights give other codes or audio."""
CONFIG, WEIGHTS = "config.json", "model.safetensors"
SOURCE = "https://huggingface.co/lucadellalib/focalcodec_50hz (or another of that author)"
Number = bool | Annotated[int, Field(ge=0, le=65_536)] | float
Sizes = Annotated[list[Annotated[int, Field(ge=1, le=16_384)]], Field(min_length=1, max_length=16)]
Part = dict[str, Number | Sizes | None]


class FocalCodec(ResidualCodec):
    """A FocalCodec model; its one point has its one codebook."""

    def __init__(
        self,
        *,
        points: Sequence[float | str] | None = None,
        weights: str | Path | None = None,
        check: bool = True,
    ) -> None:
        """Loads the model on the CPU.

        Args:
            points: there is one, "q1", or its nominal kbps.
            weights: a folder with config.json and model.safetensors, as its author publishes them.
            check: whether to refuse weights whose codebook is hardly used.

        Raises:
            CodecError: without `weights`, or for an unknown point.
            MissingExtraError: without the package `focalcodec`.
            WeightsError: for weights that are absent, damaged, incomplete or of another model.
        """
        if weights is None:
            raise CodecError(
                f"{CALLED} needs the option weights: a folder with {CONFIG} and {WEIGHTS}, from "
                f"{SOURCE}"
            )
        try:
            import focalcodec
        except ImportError as error:
            raise MissingExtraError(CALLED, NAME) from error
        folder = user_path(weights)
        path = folder / CONFIG
        config = read_config(path, FocalCodecConfig, codec=CALLED, source=SOURCE)
        checkpoint = read_checkpoint(folder / WEIGHTS)
        arguments = config.arguments()
        build_bounded(lambda: focalcodec.FocalCodec(**arguments), path, codec=CALLED)
        # Positions, windows and the codebook are no part of a checkpoint.
        self.model = focalcodec.FocalCodec(**arguments)
        _check_parts(self.model, path)
        load_strict(self.model, _renamed(self.model, checkpoint), codec=CALLED)
        self.codebook_size = self.model.quantizer.codebook_size
        self._taken = self.model.encoder.downsample_factor * self.model.compressor.downsample_factor
        frame_rate = self.model.sample_rate_input / self._taken
        kbps = frame_rate * math.log2(self.codebook_size) / 1000
        only = OperatingPoint("q1", kbps, {"n_codebooks": 1})
        self.points = resolve(NAME, points, [only])
        self.info = CodecInfo(
            name=NAME,
            family=NAME,
            sample_rates=(self.model.sample_rate_output,),
            channels=(1,),
            headline=RateKind.NOMINAL,
            runs_on=RunsOn.DEVICE,
            frame_rate=frame_rate,
            parameters=sum(p.numel() for p in self.model.parameters()),
            weights_sha256=checkpoint.sha256,
            version=f"focalcodec {focalcodec.__version__}, {config_named(path)}, adapter {ADAPTER}",
            licence="Apache-2.0",
            citation=CREDITS["focalcodec"].citation,
            details={
                "weights": checkpoint.filename,
                "weights_bytes": (folder / WEIGHTS).stat().st_size,
                "config": config.model_dump(),
            },
        )
        if check:
            _try(self, only)

    def _encode(self, samples: torch.Tensor, n_codebooks: int) -> tuple[torch.Tensor, None]:
        import torch

        from rdbench.audio.resample import resample

        taken = resample(samples[:, 0], self.model.sample_rate_output, self.model.sample_rate_input)
        behind = -taken.shape[-1] % self._taken
        if not self.model.encoder.causal:
            behind += _window(self.model.encoder) - self.model.encoder.downsample_factor
        codes: torch.Tensor = self.model.sig_to_toks(torch.nn.functional.pad(taken, (0, behind)))
        return codes[:, None], None

    def _decode(
        self, codes: torch.Tensor, scales: torch.Tensor | None, length: int
    ) -> torch.Tensor:
        samples: torch.Tensor = self.model.toks_to_sig(codes[:, 0])
        return samples[:, None]


class FocalCodecConfig(BaseModel):
    """`config.json`: the classes that the package has, and what they are built with."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    encoder_name: Literal["WavLM"] = "WavLM"
    encoder_config: Part = {}
    compressor_name: Literal["FocalEncoder"] = "FocalEncoder"
    compressor_config: Part = {}
    quantizer_name: Literal["BinarySphericalQuantizer"] = "BinarySphericalQuantizer"
    quantizer_config: Part = {}
    decompressor_name: Literal["FocalDecoder"] = "FocalDecoder"
    decompressor_config: Part = {}
    decoder_name: Literal["WaveNeXt", "Vocos"] = "WaveNeXt"
    decoder_config: Part = {}

    def arguments(self) -> dict[str, Any]:
        """Those of the model, without what would only make it faster: its cache of positions."""
        told = self.model_dump()
        told["encoder_config"] |= {"max_cached_steps": 0, "use_flex_attention": False}
        return told


def _renamed(model: Any, checkpoint: Checkpoint) -> Checkpoint:
    """The tensors by the names of this release, where they have those of the first one."""
    try:
        state = model._remap_state_dict(dict(checkpoint.state), list(model.state_dict()))
    except KeyError as error:
        raise WeightsError(
            f"weights file {checkpoint.filename} does not fit {CALLED}: it lacks {error}; give the "
            "checkpoint of this model"
        ) from error
    return replace(checkpoint, state=state)


def _window(encoder: Any) -> int:
    """Samples that one frame of the encoder's convolutions sees."""
    seen = 1
    for size, stride in zip(encoder.kernel_sizes[::-1], encoder.strides[::-1], strict=True):
        seen = (seen - 1) * stride + size
    return int(seen)


def _check_parts(model: Any, path: Path) -> None:
    """Raises WeightsError where parts are not of one rate, or of one codebook."""
    compressor, decompressor = model.compressor, model.decompressor
    widths = {compressor.output_dim, decompressor.input_dim, model.quantizer.dim}
    if len(widths) > 1 or model.quantizer.codebook_size != 2**compressor.output_dim:
        raise no_config(path, "its codebook is not of the latent's signs", codec=CALLED)
    if compressor.downsample_factor != decompressor.upsample_factor:
        raise no_config(path, "compressor and decompressor differ in frames", codec=CALLED)


def _try(codec: FocalCodec, point: OperatingPoint) -> None:
    try:
        check_distinct_codes(codec, point, at_least=2)  # at 12.5 Hz the probe has seven frames
    except RdbenchError:
        raise
    except Exception as error:  # parts of widths that do not fit fail where the package has it
        raise WeightsError(
            f"{CALLED}: the model cannot encode a test signal ({first_line(error)}); give the "
            f"{CONFIG} that belongs to the weights"
        ) from error
