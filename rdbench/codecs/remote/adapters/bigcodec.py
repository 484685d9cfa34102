"""BigCodec, from a checkout of its repository.

D. Xin, X. Tan, S. Takamichi, H. Saruwatari, "BigCodec: Pushing the Limits of Low-Bitrate Neural
Speech Codec", 2024 (arXiv:2409.05377). Mono, 16 kHz; one codebook of 8192 at 80 Hz: 1.04 kbps.

Clips are filled up with zeros to whole frames of 200 samples; the authors' `inference.py` adds a
frame of zeros to a clip that has whole frames already, which is not done here.
"""

from __future__ import annotations

import math
from typing import Any

from .loading import enter_checkout, existing, fill, imported_from, pad_to_frames, read_checkpoint

SOURCE = "https://github.com/Aria-K-Alethia/BigCodec"


class BigCodec:
    """The BigCodec model at its one rate.

    checkout: the folder of the repository. weights: `bigcodec.pt`, as its authors publish it.
    """

    name = family = "bigcodec"
    version = "bigcodec adapter 1"
    licence = "MIT"
    citation = (
        "Xin, Tan, Takamichi, Saruwatari: BigCodec: Pushing the Limits of Low-Bitrate Neural "
        "Speech Codec, 2024, arXiv:2409.05377"
    )
    sample_rate = 16_000

    def __init__(self, *, checkout: str, weights: str) -> None:
        folder = enter_checkout(checkout, "vq/codec_decoder.py", SOURCE)
        file = existing(weights)
        from vq import CodecDecoder, CodecEncoder

        state = read_checkpoint(file)
        self.encoder, self.decoder = CodecEncoder(), CodecDecoder()
        fill(self.encoder, state["CodecEnc"])
        fill(self.decoder, state["generator"])
        self._hop = int(self.encoder.hop_length)
        self.frame_rate = self.sample_rate / self._hop
        self.codebook_sizes = tuple(layer.codebook_size for layer in self.decoder.quantizer.layers)
        kbps = self.frame_rate * sum(map(math.log2, self.codebook_sizes)) / 1000
        self.points = {f"{kbps:.2f}": kbps}
        self.code_files, self.weight_files = imported_from(folder), [file]
        both = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.parameters = sum(one.numel() for one in both)

    def to(self, device: str) -> None:
        """Moves the model."""
        self.encoder.to(device)
        self.decoder.to(device)

    @property
    def _device(self) -> Any:
        return next(self.decoder.parameters()).device

    def encode(self, samples: Any, point: str) -> Any:
        """Codes (clips, 1, frames)."""
        import torch

        audio = pad_to_frames(torch.from_numpy(samples), self._hop).to(self._device)
        _, codes, _ = self.decoder(self.encoder(audio), vq=True)
        return codes.transpose(0, 1)  # codebooks came first

    def decode(self, codes: Any, length: int) -> Any:
        """Samples (clips, 1, time), of whole frames."""
        import torch

        index = torch.from_numpy(codes).to(self._device).transpose(1, 2)
        return self.decoder(self.decoder.vq2emb(index).transpose(1, 2), vq=False)
