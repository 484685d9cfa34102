"""Examples to listen to: fixed crops, as they are and as each saved state decodes them.

    examples/reference_0.flac
    examples/step_000500_0.flac

16-bit FLAC at the model's rate; what is decoded is a sample (of a quantizer the codes), with the
same noise at every step.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.models.checkpoint import write_atomically
from rdbench.training.record.fixed import reconstruct

if TYPE_CHECKING:
    import torch

    from rdbench.models.autoencoder import Autoencoder

FOLDER = "examples"


def write_examples(
    folder: Path, model: Autoencoder, crops: torch.Tensor, *, step: int, seed: int
) -> None:
    """Writes what `model` makes of `crops` (clips, channels, time); raises OSError."""
    folder.mkdir(exist_ok=True)
    rate = model.config.sample_rate
    made = reconstruct(model, crops, seed).audio
    for number, (reference, decoded) in enumerate(zip(crops, made, strict=True)):
        first = folder / f"reference_{number}.flac"
        if not first.is_file():
            write_atomically(first, _flac(reference, rate))
        write_atomically(folder / f"step_{step:06d}_{number}.flac", _flac(decoded, rate))


def _flac(audio: torch.Tensor, sample_rate: int) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    samples = audio.clamp(-1.0, 1.0).T.numpy()
    soundfile.write(buffer, samples, sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()
