"""Our own checkpoints: Gaussian models on the KL axis, and their residual-VQ siblings.

`Vae(weights=...)` takes a checkpoint that comes with rdbench by its name, or a file that
`rdbench train` wrote, and gives the codec that its header calls for:

- Gaussian: one operating point, named by the rate that training aimed at; variants `sample` (the
  headline) and `mean`. Its rate is the KL, measured per clip; the target is never a rate.
- residual VQ: one point per number of codebooks, named by its nominal kbps, nested.
- VQ: one point, of its one codebook or of both levels (a frame holds indices of either).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.codecs.base import Codec
from rdbench.codecs.credits import CREDITS
from rdbench.codecs.neural.residual import ResidualCodec
from rdbench.codecs.points import resolve
from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.types import CodecError, CodecInfo, OperatingPoint, RateKind, RunsOn

if TYPE_CHECKING:
    import torch

    from rdbench.models.autoencoder import Autoencoder
    from rdbench.models.checkpoint import Header

ADAPTER = 1
"""Raised when the same checkpoint gives other codes, posteriors or audio (`rdbench.models` too)."""

_DEFAULT_KBPS = (1.5, 3.0, 6.0, 12.0)


def Vae(
    *,
    points: Sequence[float | str] | None = None,
    weights: str | Path | None = None,
) -> Codec:
    """The codec of a checkpoint.

    Args:
        points: as in a spec; None means the one point that a Gaussian or a VQ model has, or for a
            residual quantizer those of 1.5, 3, 6 and 12 kbps that it has (all where it has none).
        weights: a shipped name or a path.

    Raises:
        CodecError: for an unknown point, or without `weights`.
        WeightsError: for a checkpoint that is absent, damaged, or of another format.
    """
    from rdbench.models import checkpoint, shipped

    if weights is None:
        raise CodecError(
            "codec 'vae' needs the option weights: a path, or one of "
            f"{', '.join(shipped.names()) or '(none is shipped)'}"
        )
    path = shipped.find(weights)
    model, header = checkpoint.load(path)
    return codec_of(model, header, name=path.stem, points=points)


def codec_of(
    model: Autoencoder, header: Header, *, name: str, points: Sequence[float | str] | None = None
) -> Codec:
    """The codec of a model that is in memory, and of what its checkpoint says, or would say."""
    kind = GaussianCodec if header.config.bottleneck.kind == "gaussian" else QuantizedCodec
    return kind(model, header, name=name, sha256=header.sha256, points=points)


class GaussianCodec(PosteriorCodec):
    """A Gaussian autoencoder of ours."""

    def __init__(
        self,
        model: Autoencoder,
        header: Header,
        *,
        name: str,
        sha256: str,
        points: Sequence[float | str] | None,
    ) -> None:
        config = header.config
        super().__init__(
            name=name,
            sample_rate=config.sample_rate,
            frame_rate=config.frame_rate,
            modules=model,
            channels=(config.channels,),
            points=points,
            target_kbps=header.target_kbps,
            weights_sha256=sha256,
            citation=CREDITS["vae"].citation,
            version=f"adapter {ADAPTER}",
            details=_details(header),
        )
        self.model = model

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and scale, (clips, latents, frames) each."""
        return self.model.posterior(audio)

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        """Audio of frames × hop samples."""
        return self.model.decode(z)


class QuantizedCodec(ResidualCodec):
    """A residual-VQ autoencoder of ours, nested where it was trained so, or one with plain VQ."""

    def __init__(
        self,
        model: Autoencoder,
        header: Header,
        *,
        name: str,
        sha256: str,
        points: Sequence[float | str] | None,
    ) -> None:
        config = header.config
        bottleneck = config.bottleneck
        assert bottleneck.kind != "gaussian"
        per_codebook = config.frame_rate * math.log2(bottleneck.codebook_size) / 1000.0
        self.model = model
        self.codebook_size = bottleneck.codebook_size
        every = tuple(
            OperatingPoint(f"{n * per_codebook:g}", n * per_codebook, {"n_codebooks": n})
            for n in range(1, sum(bottleneck.indices) + 1)
        )
        # Trained with all its codebooks alone, a model is no good at fewer.
        available = every if bottleneck.nested else every[-1:]
        usual = [p.name for p in available if p.target_kbps in _DEFAULT_KBPS]
        self.points = resolve(name, points, available, usual or None)
        self.nested = bottleneck.nested
        self.info = CodecInfo(
            name=name,
            family=bottleneck.kind,
            sample_rates=(config.sample_rate,),
            channels=(config.channels,),
            headline=RateKind.NOMINAL,
            runs_on=RunsOn.DEVICE,
            frame_rate=config.frame_rate,
            parameters=model.parameter_count,
            weights_sha256=sha256,
            citation=CREDITS["vae"].citation,
            version=f"adapter {ADAPTER}",
            details=_details(header),
        )

    def _encode(
        self, samples: torch.Tensor, n_codebooks: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self.model.codes(samples, n_codebooks), None

    def _decode(
        self, codes: torch.Tensor, scales: torch.Tensor | None, length: int
    ) -> torch.Tensor:
        audio: torch.Tensor = self.model.decode(self.model.dequantize(codes))
        return audio


def _details(header: Header) -> dict[str, Any]:
    known = header.provenance
    keys = ("steps", "seed", "commit", "data_sha256", "seconds")
    return {
        "backbone": header.config.backbone.kind,
        "latents": header.config.bottleneck.channels,
        **{key: known[key] for key in keys if key in known},
    }
