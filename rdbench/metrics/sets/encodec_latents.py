"""Latents of EnCodec at 24 kHz before they are quantized: 75 windows a second, 128 dimensions.

A. Défossez, J. Copet, G. Synnaeve, Y. Adi, "High Fidelity Neural Audio Compression", 2022
(arXiv:2210.13438), by the package `encodec`; as an embedding in Gui et al., "Adapting Frechet Audio
Distance for generative music evaluation", ICASSP 2024 (there `encodec-emb`). They see how audio
sounds rather than what it is of, and favour what EnCodec itself decodes.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from rdbench.metrics.base import MODEL_FILE
from rdbench.metrics.packages import distribution_version
from rdbench.metrics.ragged import cut, equal_lengths
from rdbench.metrics.sets.embedding import Embedding
from rdbench.types import AudioBatch

if TYPE_CHECKING:
    from rdbench.metrics.sets.embedding import Features

_SAMPLES = 2**20


class EncodecLatents(Embedding):
    """Latents of frames, float32 (frames, 128) per clip. weights: the checkpoint of the model."""

    name = "encodec"
    title = "EnCodec"
    what = "EnCodec's latents at 24 kHz, before they are quantized"
    at = "24 kHz"
    sample_rate = 24_000
    minimum_seconds = 0.5
    options = (MODEL_FILE,)
    source = "the file encodec_24khz-d7cc33bc.th (`rdbench weights fetch encodec_24khz` brings it)"
    citation = "Défossez et al., High Fidelity Neural Audio Compression, arXiv 2210.13438"

    @cached_property
    def version(self) -> str:
        """Of the package."""
        return f"encodec {distribution_version('encodec', self.name)}"

    def windows(self, audio: AudioBatch) -> list[Features]:
        """See the class; raises WeightsError for a file that is no such model."""
        import torch

        model = _model(str(self.files.path), str(audio.samples.device))
        found: dict[int, Features] = {}
        with torch.no_grad():
            for length, indices in equal_lengths(audio, limit=_SAMPLES):
                latents = model.encoder(cut(audio, indices, length)).transpose(1, 2)
                found |= dict(zip(indices, latents.cpu().numpy(), strict=True))
        return [found[index] for index in range(audio.clips)]


@cache
def _model(weights: str, device: str) -> Any:
    from encodec import EncodecModel

    from rdbench.weights.checkpoints import load_strict, read_checkpoint, without_memory

    with without_memory():
        model = EncodecModel.encodec_model_24khz(pretrained=False)
    load_strict(model, read_checkpoint(weights), codec="the embedding encodec")
    return model.to(device)
