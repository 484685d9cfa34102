"""`PosteriorCodec`: the base class for anyone's variational autoencoder.

A subclass gives three things:

    posterior(audio)    audio (clips, channels, time), all of one length, to mean and scale
    decode_latent(z)    a latent (clips, latents, frames) to audio (clips, channels, time)
    frame_rate          frames per second, handed to the constructor

and gets the rest: clips of unequal length in groups of equal length (no output depends on
padding), masks, rates (from mean and scale, in `rdbench.rate`), samples seeded per clip, and the
variants. The headline is `sample`: z = μ + σ ε, ε from a generator on the CPU that is seeded for
each clip, so that a sample is the same in any batch and on any device. `mean` is a second,
labelled variant: at the price of the KL it is not a point that anyone can transmit.

The variants `coded` and `coded_…` are those that can be transmitted: decoded from a stream alone
(`rdbench.rate.coded`), each at the stream's own rate. Others, on request, show how the decoder
takes what an encoder did not make: other amounts of noise, a part of the channels, a generator's
latents (`rdbench.codecs.variants`). Packages add more.

A model whose latent has no trained prior (`prior=False`) returns None for the scale: it then has
no KL, and no variant with a sample or noise of it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdbench.codecs.base import Codec
from rdbench.codecs.batches import by_length, check_audio, pad_stack
from rdbench.codecs.points import resolve
from rdbench.codecs.precision import full_precision
from rdbench.codecs.variants import (
    LatentRequest,
    is_of_latents,
    latent_coder,
    latent_moments,
    make_latent,
    names_of_latents,
)
from rdbench.types import (
    CODED,
    MEAN,
    SAMPLE,
    AudioBatch,
    CodecError,
    CodecInfo,
    DecoderInput,
    Encoded,
    Latent,
    OperatingPoint,
    Posterior,
    RateKind,
    RunsOn,
    Variant,
)

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from rdbench.rate.coded import LatentCoder
    from rdbench.rate.coded.fitted import FittedLatent
    from rdbench.rate.latent_moments import LatentMoments


VERSION = 1
"""Raised when this class makes other latents or audio of the same model; part of every version."""


class PosteriorCodec(Codec):
    """A codec with one operating point and a diagonal Gaussian posterior.

    `modules`, set by the subclass, is moved by `to`; `posterior` and `decode_latent` get tensors
    on its device.
    """

    modules: torch.nn.Module
    fitted: FittedLatent | None = None
    """What streams of the latent may rest on; where there is none, they send it with each clip."""

    def __init__(
        self,
        *,
        name: str,
        sample_rate: int,
        frame_rate: float,
        modules: torch.nn.Module,
        channels: tuple[int, ...] = (1,),
        points: Sequence[float | str] | None = None,
        target_kbps: float | None = None,
        prior: bool = True,
        family: str = "vae",
        weights_sha256: str = "",
        licence: str = "",
        citation: str = "",
        version: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Says what the codec is.

        Args:
            name: in messages and rows.
            sample_rate: in hertz.
            frame_rate: of the latent, in hertz.
            modules: the model.
            channels: channel counts that it takes.
            points: what a spec lists; there is one point, named by its target rate, or "posterior".
            target_kbps: the rate that training aimed at, None where it aimed at none.
            prior: whether the latent was trained towards N(0, I).
            family: for the engine's labels.
            weights_sha256: hash of the weights.
            licence: of the weights.
            citation: how to cite them.
            version: of the model.
            details: anything else a reader should know.

        Raises:
            CodecError: for an unknown point.
        """
        only = OperatingPoint(
            "posterior" if target_kbps is None else f"{target_kbps:g}", target_kbps
        )
        self.modules = modules
        self.points = resolve(name, points, [only])
        self.info = CodecInfo(
            name=name,
            family=family,
            sample_rates=(sample_rate,),
            channels=channels,
            headline=RateKind.KL if prior else None,
            runs_on=RunsOn.DEVICE,
            frame_rate=frame_rate,
            parameters=sum(p.numel() for p in modules.parameters()),
            weights_sha256=weights_sha256,
            version=", ".join(filter(None, (version, f"posterior {VERSION}"))),
            licence=licence,
            citation=citation,
            details=dict(details or {}),
        )

    @abstractmethod
    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Mean and standard deviation, (clips, latents, frames) each, of (clips, channels, time).

        The scale is σ > 0, never a log-variance; None where the latent has no trained prior.
        """

    @abstractmethod
    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        """Audio (clips, channels, time) of a latent (clips, latents, frames).

        What is longer than the clip is cut, what is shorter is filled with zeros.
        """

    @property
    def variants(self) -> tuple[Variant, ...]:
        """What is decoded unless a spec asks for more: `sample` and `mean`, or `mean` alone."""
        if self.info.headline is None:
            return (MEAN,)
        return (SAMPLE, MEAN)

    @property
    def variant_names(self) -> tuple[str, ...]:
        """Also streams that decode, other paths to the decoder, and what packages add."""
        others = names_of_latents(scale=self.info.headline is not None)
        return tuple(dict.fromkeys([*super().variant_names, *others]))

    def can_decode(self, variant: Variant) -> bool:
        """Whether it is one of those."""
        scale = self.info.headline is not None
        return variant in self.variants or is_of_latents(variant, scale=scale)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        import torch

        return torch.device(next(self.modules.parameters()).device)

    def to(self, device: torch.device | str) -> PosteriorCodec:
        """Moves the model to `device`."""
        self.modules.to(device)
        return self

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        """The posterior of every clip at its true length; padded frames have mean 0, scale 1."""
        import torch

        check_audio(self.info, audio)
        frame_rate = self.info.frame_rate
        assert frame_rate is not None

        def run(indices: list[int]) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
            length = int(audio.lengths[indices[0]])
            with torch.inference_mode(), full_precision():
                samples = audio.samples[indices][..., :length].to(self.device, torch.float32)
                mean, scale = self.posterior(samples)
            return [(mean[i], None if scale is None else scale[i]) for i in range(len(indices))]

        results = by_length(audio.lengths, run)
        means, frames = pad_stack([mean for mean, _ in results])
        found = [scale for _, scale in results if scale is not None]
        scales = None
        if found:
            padding = torch.arange(means.shape[-1]) >= frames[:, None]
            # A scale is positive everywhere, in the padding too.
            scales = pad_stack(found)[0].masked_fill(padding[:, None].to(means.device), 1.0)
        posterior = Posterior(means, scales, frames, frame_rate)
        return Encoded(posterior, audio.lengths, audio.sample_rate, audio.channels)

    def decoder_input(
        self,
        encoded: Encoded,
        variant: Variant,
        clip_seeds: Sequence[int],
        given: Sequence[NDArray[np.float32]] = (),
    ) -> DecoderInput:
        """The latent that `variant` makes of the posterior."""
        posterior = encoded.payload
        if not isinstance(posterior, Posterior) or not self.can_decode(variant):
            raise CodecError(f"{self.info.name} has no variant {variant.name!r}")

        def ready(values: torch.Tensor) -> DecoderInput:
            latent = Latent(values, posterior.frames)
            return DecoderInput(latent, encoded.lengths, encoded.sample_rate, encoded.channels)

        def reencode(values: torch.Tensor) -> torch.Tensor:
            again = self.encode(self.decode(ready(values)), self.points[0]).payload
            assert isinstance(again, Posterior)
            return again.mean

        coder, moments = self.latent_coder(variant), self.latent_moments(variant)
        request = LatentRequest(posterior, clip_seeds, coder, moments, given, reencode)
        return ready(make_latent(variant, request))

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        """Decodes every latent at its own number of frames, to the clip's length."""
        import torch

        latent = decoder_input.payload
        if not isinstance(latent, Latent):
            raise CodecError(f"{self.info.name} decodes a latent, not {type(latent).__name__}")
        lengths = decoder_input.lengths

        def run(indices: list[int]) -> list[torch.Tensor]:
            length, count = int(lengths[indices[0]]), int(latent.frames[indices[0]])
            with torch.inference_mode(), full_precision():
                z = latent.values[indices][..., :count].to(self.device, torch.float32)
                audio = self.decode_latent(z)
            return list(torch.nn.functional.pad(audio, (0, length - audio.shape[-1])))

        samples, _ = pad_stack(by_length(lengths, run))
        return AudioBatch(samples, lengths, decoder_input.sample_rate)

    def latent_coder(self, variant: Variant = CODED) -> LatentCoder:
        """What codes the latent for a variant; raises CodecError where it needs fitted tables."""
        from rdbench.rate.coded.fitted import FittedLatent

        return latent_coder(variant, self.fitted or FittedLatent())

    def latent_moments(self, variant: Variant) -> LatentMoments | None:
        """What a variant takes of the latent's moments, None where it takes nothing.

        Raises CodecError where it needs them and they were not fitted.
        """
        from rdbench.rate.coded.fitted import FittedLatent

        return latent_moments(variant, self.fitted or FittedLatent())
