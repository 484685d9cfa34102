"""SpeechTokenizer, through its package.

X. Zhang, D. Zhang, S. Li, Y. Zhou, X. Qiu, "SpeechTokenizer: Unified Speech Tokenizer for Speech
Language Models", ICLR 2024 (arXiv:2308.16692). Mono, 16 kHz; eight residual codebooks of 1024 at
50 Hz, of which the first is trained to hold what is said: 0.5 kbps each, 4 kbps together.

Point "q3" means three codebooks. Its recurrent layers run both ways, so that a clip is encoded
whole and at its own length; the last frame is filled up with zeros by its convolutions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from rdbench.codecs.credits import CREDITS
from rdbench.codecs.neural.residual import ResidualCodec
from rdbench.codecs.neural.trained import check_distinct_codes
from rdbench.codecs.points import resolve
from rdbench.types import (
    CodecInfo,
    MissingExtraError,
    OperatingPoint,
    RateKind,
    RunsOn,
)
from rdbench.weights.checkpoints import load_strict, read_checkpoint
from rdbench.weights.configs import build_bounded, config_named, read_config
from rdbench.weights.hub import folder_of, origin_of

if TYPE_CHECKING:
    import torch

NAME = "speechtokenizer"
ADAPTER = 1
"""Raised when the same weights give other codes or audio."""
CONFIG, WEIGHTS = "config.json", "SpeechTokenizer.pt"
SOURCE = "https://huggingface.co/fnlp/SpeechTokenizer (speechtokenizer_hubert_avg)"

Width = Annotated[int, Field(ge=1, le=16_384)]
Few = Annotated[int, Field(ge=0, le=64)]


class SpeechTokenizerCodec(ResidualCodec):
    """A SpeechTokenizer model, at every number of its codebooks."""

    def __init__(
        self,
        *,
        points: Sequence[float | str] | None = None,
        weights: str | Path | None = None,
        subfolder: str = "",
        revision: str = "main",
        check: bool = True,
    ) -> None:
        """Loads the model on the CPU.

        Args:
            points: rates in kbps, or names of points; None means all.
            weights: a folder with config.json and SpeechTokenizer.pt, as its authors publish them,
                or the id of such a model on the Hugging Face hub, whose files are in this machine's
                cache.
            subfolder: where the files lie in it.
            revision: of a model of the hub: a commit, or a branch.
            check: whether to refuse weights whose codebooks are hardly used.

        Raises:
            CodecError: without `weights`, or for an unknown point.
            MissingExtraError: without the package `speechtokenizer`.
            WeightsError: for weights that are absent, damaged, incomplete or of another model.
        """
        try:
            from speechtokenizer import SpeechTokenizer
        except ImportError as error:
            raise MissingExtraError("codec 'speechtokenizer'", "speechtokenizer") from error
        folder = folder_of(
            weights,
            subfolder,
            revision,
            codec="codec 'speechtokenizer'",
            package="speechtokenizer",
            names=(WEIGHTS,),
            wanted=f"a folder with {CONFIG} and {WEIGHTS}, from {SOURCE}",
        )
        path = folder / CONFIG
        config = read_config(path, SpeechTokenizerConfig, codec=f"codec {NAME!r}", source=SOURCE)
        checkpoint = read_checkpoint(folder / WEIGHTS)
        arguments = config.model_dump()
        self.model = build_bounded(
            lambda: SpeechTokenizer(arguments), path, codec=f"codec {NAME!r}"
        )
        load_strict(self.model, checkpoint, codec=f"codec {NAME!r}")
        self.codebook_size = config.codebook_size
        frame_rate = config.sample_rate / math.prod(config.strides)
        kbps = frame_rate * math.log2(self.codebook_size) / 1000
        every = [
            OperatingPoint(f"q{n}", n * kbps, {"n_codebooks": n}) for n in range(1, config.n_q + 1)
        ]
        self.points = resolve(NAME, points, every)
        self.info = CodecInfo(
            name=NAME,
            family=NAME,
            sample_rates=(config.sample_rate,),
            channels=(1,),
            headline=RateKind.NOMINAL,
            runs_on=RunsOn.DEVICE,
            frame_rate=frame_rate,
            parameters=sum(p.numel() for p in self.model.parameters()),
            weights_sha256=checkpoint.sha256,
            version=f"speechtokenizer {version('speechtokenizer')}, {config_named(path)}, "
            f"adapter {ADAPTER}",
            licence="Apache-2.0",
            citation=CREDITS["speechtokenizer"].citation,
            details={
                "weights": checkpoint.filename,
                "weights_bytes": (folder / WEIGHTS).stat().st_size,
                "weights_from": origin_of(str(weights), folder),
                "config": config.model_dump(),
            },
        )
        if check:
            check_distinct_codes(self, every[-1])

    def _encode(
        self, samples: torch.Tensor, n_codebooks: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        codes: torch.Tensor = self.model.encode(samples, n_q=n_codebooks)  # codebooks first
        return codes.transpose(0, 1), None

    def _decode(
        self, codes: torch.Tensor, scales: torch.Tensor | None, length: int
    ) -> torch.Tensor:
        samples: torch.Tensor = self.model.decode(codes.transpose(0, 1))
        return samples


class SpeechTokenizerConfig(BaseModel):
    """The part of `config.json` that a model is built from; the rest is of its training."""

    model_config = ConfigDict(frozen=True, strict=True)

    n_filters: Width
    strides: Annotated[list[Annotated[int, Field(ge=1, le=64)]], Field(min_length=1, max_length=8)]
    dimension: Width
    semantic_dimension: Width
    bidirectional: bool
    dilation_base: Few
    residual_kernel_size: Few
    n_residual_layers: Few
    lstm_layers: Few
    activation: Literal["ELU", "Snake"] = "ELU"
    sample_rate: Annotated[int, Field(ge=8000, le=192_000)]
    codebook_size: Annotated[int, Field(ge=2, le=2**20)]
    n_q: Annotated[int, Field(ge=1, le=64)]
