"""Features that a trained network makes of clips.

It is a `rdbench.metrics.neural.network.Network`, which hears signals of exactly equal length
together, so that no feature depends on padding or on other clips of a batch.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from rdbench.metrics.base import MODEL_FILE
from rdbench.metrics.ragged import cut, equal_lengths
from rdbench.metrics.sets.embedding import Embedding
from rdbench.types import AudioBatch

if TYPE_CHECKING:
    from rdbench.metrics.neural.network import Network
    from rdbench.metrics.sets.embedding import Features


class NetworkEmbedding(Embedding):
    """Features that a network makes of signals at its rate. at_once: samples that go together."""

    options: ClassVar[tuple[str, ...]] = (MODEL_FILE,)
    at_once: ClassVar[int] = 60 * 16_000

    @abstractmethod
    def network(self, device: str) -> Network:
        """The model on a device, loaded once."""

    def windows(self, audio: AudioBatch) -> list[Features]:
        """See `Embedding`; raises WeightsError for what is no such model."""
        import torch

        network = self.network(str(audio.samples.device))
        found: dict[int, Features] = {}
        with torch.inference_mode():
            for length, indices in equal_lengths(audio, limit=self.at_once):
                heard = network.hear(cut(audio, indices, length)[:, 0])
                made = (one.float().cpu().numpy() for one in heard)
                found |= dict(zip(indices, made, strict=True))
        return [found[index] for index in range(audio.clips)]
