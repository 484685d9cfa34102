"""A codec to listen to: its latents of clips, and the sounds that its decoder makes of latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rdbench.latent.listening.heard import Group, Sound
from rdbench.latent.sounds import level_dbfs
from rdbench.rate.validate import check_posterior
from rdbench.text import first_line
from rdbench.types import (
    MEAN,
    SAMPLE,
    AudioBatch,
    CodecError,
    DecoderInput,
    Encoded,
    Latent,
    Posterior,
    RdbenchError,
    Variant,
)

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from rdbench.codecs.posterior.base import PosteriorCodec
    from rdbench.rate.tables import Entry

    Samples = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class HeardClip:
    """A clip as the codec has it.

    audio: float32 (channels, time) at the codec's rate. given: a generator's latent of it, where
    the spec names one.
    """

    name: str
    seed: int
    audio: torch.Tensor
    encoded: Encoded
    given: NDArray[np.float32] | None = None

    @property
    def samples(self) -> Samples:
        """The audio, on the host."""
        found: Samples = self.audio.cpu().numpy()
        return found


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """system: its name in the spec. entry: what was fitted to its latent; None for nothing.

    variants: that the spec names for it, none where it leaves them to the codec.
    """

    system: str
    codec: PosteriorCodec
    entry: Entry | None = None
    variants: tuple[Variant, ...] = ()

    @property
    def sample_rate(self) -> int:
        """Of the codec, in hertz."""
        return self.codec.info.sample_rates[0]

    def encode(self, audio: torch.Tensor, name: str) -> Encoded:
        """The posterior of audio (channels, time).

        Raises CodecError for one that is not finite, or that the codec cannot make.
        """
        length = audio.shape[-1]
        batch = AudioBatch(audio[None], _full(1, length), self.sample_rate)
        try:
            encoded = self.codec.encode(batch, self.codec.points[0])
        except RdbenchError:
            raise
        except Exception as error:  # somebody's model
            raise _fault(f"{self.system} cannot encode {name}", error) from error
        check_posterior(_posterior(encoded), [name])
        return encoded

    def mean(self, encoded: Encoded) -> torch.Tensor:
        """μ, float32 (channels, frames)."""
        return _posterior(encoded).mean[0].cpu()

    def sample(self, clip: HeardClip) -> torch.Tensor:
        """What the decoder was trained on: the sample that belongs to the clip's seed, or the mean
        of a latent without a scale. Float32 (channels, frames).
        """
        variant = SAMPLE if SAMPLE in self.codec.variants else MEAN
        return self.latent(clip, variant)

    def latent(self, clip: HeardClip, variant: Variant) -> torch.Tensor:
        """What the decoder is given of a clip, float32 (channels, frames); raises CodecError."""
        from rdbench.codecs.variants import is_predicted

        given = (clip.given,) if clip.given is not None and is_predicted(variant) else ()
        try:
            made = self.codec.decoder_input(clip.encoded, variant, [clip.seed], given)
        except RdbenchError:
            raise
        except Exception as error:  # somebody's variant
            raise _fault(f"{self.system} has no {variant.name} of {clip.name}", error) from error
        assert isinstance(made.payload, Latent)
        return made.payload.values[0].cpu()

    def decode(self, latents: Sequence[torch.Tensor], length: int, channels: int) -> list[Samples]:
        """Sounds (channels, length) of latents (channels, frames) of one shape.

        Raises CodecError for latents or sounds that are not finite, and where the decoder fails.
        """
        import torch

        values = torch.stack(list(latents)).float()
        if not values.isfinite().all():
            raise CodecError(
                f"{self.system} was to decode a latent that is not finite; mend what made it"
            )
        given = DecoderInput(
            Latent(values.to(self.codec.device), _full(len(values), values.shape[-1])),
            _full(len(values), length),
            self.sample_rate,
            channels,
        )
        try:
            audio = self.codec.decode(given).samples.detach().cpu().float().numpy()
        except RdbenchError:
            raise
        except Exception as error:  # somebody's model
            raise _fault(f"{self.system} cannot decode a latent", error) from error
        if not np.isfinite(audio).all():
            raise CodecError(
                f"the decoder of {self.system} made samples that are not finite; mend the model"
            )
        return list(audio)

    def group(
        self,
        part: str,
        title: str,
        reference: Samples,
        sounds: Sequence[Sound],
        note: str = "",
    ) -> Group:
        """Its sounds as a group, with a note on those that a file must clip."""
        loud = [one.name for one in sounds if np.abs(one.samples).max(initial=0.0) > 1.0]
        clipped = f"Beyond full scale, clipped in the file: {', '.join(loud)}." if loud else ""
        said = " ".join(filter(None, (note, clipped)))
        return Group(self.system, part, title, self.sample_rate, reference, tuple(sounds), said)


def sound(name: str, samples: Samples, latent: torch.Tensor, numbers: Mapping[str, float]) -> Sound:
    """A sound with its level, and ‖z‖²/D of the latent (channels, frames) that it was made of."""
    own = {"level": level_dbfs(samples), "norm": float(latent.double().square().mean())}
    return Sound(name, samples, {**numbers, **own})


def _posterior(encoded: Encoded) -> Posterior:
    if not isinstance(encoded.payload, Posterior):
        raise CodecError(f"{type(encoded.payload).__name__} is no continuous latent")
    return encoded.payload


def _full(count: int, value: int) -> torch.Tensor:
    import torch

    return torch.full((count,), value, dtype=torch.int64)


def _fault(what: str, error: Exception) -> CodecError:
    return CodecError(f"{what} ({type(error).__name__}: {first_line(error)}); mend the model")
