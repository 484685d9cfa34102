"""LongCat audio codec, from a checkout of its repository.

X. Zhao et al., "LongCat-Audio-Codec: An Audio Tokenizer and Detokenizer Solution Designed for
Speech Large Language Models", 2025 (arXiv:2510.15227). Mono speech; 16.67 Hz; one semantic codebook
of 8192 and up to three acoustic ones of 90² = 8100: point "q3" has the semantic and two acoustic.

    q2   16.67 · (13 + 12.98)        = 0.433 kbps
    q3   16.67 · (13 + 2 · 12.98)    = 0.650 kbps
    q4   16.67 · (13 + 3 · 12.98)    = 0.866 kbps

It codes at 16 kHz and decodes to 16 or 24 kHz, by its decoder; the resampling before is its own.
Its authors ask for clips below 30 s: others are refused.
"""

from __future__ import annotations

import math
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .loading import enter_checkout, existing, fill, imported_from, read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = "https://github.com/meituan-longcat/LongCat-Audio-Codec"
LONGEST_SECONDS = 30
_COMPUTED = "semantic_tokenizer.feature_extractor."


class LongCat:
    """A LongCat audio codec with one of its decoders.

    checkout: the folder of the repository, with the published files in its `ckpts`. decoder: which
    one, as in `configs/LongCatAudioCodec_decoder_….yaml`: 16k_4codebooks, 24k_4codebooks or
    24k_2codebooks.
    """

    name = family = "longcat"
    version = "longcat adapter 1"
    licence = "MIT"
    citation = (
        "Zhao et al.: LongCat-Audio-Codec: An Audio Tokenizer and Detokenizer Solution Designed "
        "for Speech Large Language Models, 2025, arXiv:2510.15227"
    )
    packages = ("torchaudio",)

    def __init__(self, *, checkout: str, decoder: str) -> None:
        folder = enter_checkout(checkout, "networks/semantic_codec/model_loader.py", SOURCE)
        stem = "LongCatAudioCodec_"
        settings = [
            existing(str(folder / "configs" / f"{stem}{part}.yaml"))
            for part in ("encoder", f"decoder_{decoder}")
        ]
        os.chdir(folder)  # its configurations name files from there
        import yaml
        from networks.semantic_codec.LongCatAudioCodec_model import (
            LongCatAudioCodecDecoder,
            LongCatAudioCodecEncoder,
        )

        first, second = (
            yaml.safe_load(file.read_text(encoding="utf-8"))["codec_config"] for file in settings
        )
        files = [existing(first["ckpt_path"]), existing(second["ckpt_path"])]
        with _without_first_weights():
            self.encoder = LongCatAudioCodecEncoder(
                encoder_dim=first["encoder_dim"],
                encoder_rates=first["codec_enc_ratios"],
                latent_dim=first["codec_dimension"],
                n_codebooks=first["codec_codebooks"],
                codebook_size=first["codec_codebook_size"],
                codebook_dim=first["codec_codebook_search_dim"],
                input_sample_rate=first["input_sample_rate"],
                semantic_tokenizer_type=first["semantic_tokenizer_type"],
            )
            self.decoder = LongCatAudioCodecDecoder(
                latent_dim=second["codec_dimension"],
                decoder_dim=second["decoder_dim"],
                decoder_rates=second["codec_dec_ratios"],
                semantic_dim=second["semantic_dim"],
                decoder_type=second["decoder_type"],
                n_codebooks=second["codec_codebooks"],
                codebook_size=second["codec_codebook_size"],
                codebook_dim=second["codec_codebook_search_dim"],
                semantic_token_nums=second["semantic_token_nums"],
            )
        fill(self.encoder, read_checkpoint(files[0]), computed=_COMPUTED)
        fill(self.decoder, read_checkpoint(files[1]))
        self.sample_rate = int(self.decoder.output_rate)
        self.frame_rate = first["input_sample_rate"] / math.prod(first["codec_enc_ratios"])
        self._hop = math.prod(second["codec_dec_ratios"])
        acoustic = second["codec_codebook_size"] ** 2
        most = min(first["codec_codebooks"], second["codec_codebooks"])
        self.codebook_sizes = (second["semantic_token_nums"],) + (acoustic,) * most
        bits = [math.log2(size) for size in self.codebook_sizes]
        self.points = {
            f"q{count}": self.frame_rate * sum(bits[:count]) / 1000 for count in range(2, most + 2)
        }
        means = sorted((folder / "ckpts").glob("*.npy"))
        yamls = sorted((folder / "semantic_tokenizer_general" / "configs").glob("*.yaml"))
        self.code_files = [*imported_from(folder), *settings, *yamls]
        self.weight_files = [*files, *means]
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
        """Codes (clips, codebooks, frames)."""
        import torch

        if samples.shape[-1] >= LONGEST_SECONDS * self.sample_rate:
            raise ValueError(f"longer than the {LONGEST_SECONDS} s that its authors ask for")
        audio = torch.from_numpy(samples).to(self._device)
        semantic, acoustic = self.encoder(audio, self.sample_rate, int(point[1:]) - 1)
        frames = min(semantic.shape[-1], acoustic.shape[-1])  # all that the decoder looks at
        return torch.cat([semantic[:, None, :frames], acoustic[..., :frames]], 1)

    def decode(self, codes: Any, length: int) -> Any:
        """Samples (clips, 1, time), of whole frames."""
        import torch

        index = torch.from_numpy(codes).to(self._device)
        return self.decoder(index[:, 0], index[:, 1:])


@contextmanager
def _without_first_weights() -> Iterator[None]:
    """Leaves out orthogonal matrices, three quarters of the time to build: files replace them."""
    from torch.nn import init

    orthogonal, init.orthogonal_ = init.orthogonal_, lambda tensor, *_, **__: tensor
    try:
        yield
    finally:
        init.orthogonal_ = orthogonal
