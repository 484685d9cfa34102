"""Stable Codec, through its package, which pins torch 2.4.

J. D. Parker, A. Smirnov, J. Pons, CJ Carr, Z. Zukowski, Z. Evans, X. Liu, "Scaling Transformers for
Low-bitrate High-Quality Speech Coding", ICLR 2025 (arXiv:2411.19842). Mono, 16 kHz, 25 Hz; the
points are the package's post-hoc quantizers, by the names that it has for them:

    1x46656_400bps      25 · log2 46656         = 0.388 kbps
    2x15625_700bps      25 · 2 · log2 15625     = 0.697 kbps
    4x729_1000bps       25 · 4 · log2 729       = 0.951 kbps

The quantizer of the training, 17⁶ values in one token, is no point: its tokens are summed up in
float32, which has not room for them, so that decoding them is not what the model codes.

The package brings files to −20 LUFS before it codes them, and never takes that back; here nothing
changes the level. Its attention sees a window of neighbours with FlashAttention alone, and all of a
clip without: a model that would run like that is refused.
"""

from __future__ import annotations

import json
import math
from typing import Any

from .loading import existing, fill, pad_to_frames


class StableCodec:
    """A Stable Codec model at its post-hoc quantizers.

    config: the model's JSON file. weights: its checkpoint (`.ckpt` or `.safetensors`).
    """

    name = family = "stable_codec"
    version = "stable_codec adapter 1"
    licence = "Stability AI Community License"
    citation = (
        "Parker et al.: Scaling Transformers for Low-bitrate High-Quality Speech Coding, ICLR "
        "2025, arXiv:2411.19842"
    )
    packages = ("stable-codec", "stable-audio-tools")

    def __init__(self, *, config: str, weights: str) -> None:
        settings, checkpoint = existing(config), existing(weights)
        from stable_audio_tools.models.utils import (
            load_ckpt_state_dict,
        )
        from stable_codec import StableCodec as Model
        from stable_codec.residual_fsq import (
            ResidualFSQBottleneck,
        )

        told = json.loads(settings.read_text(encoding="utf-8"))["model"]
        if told["io_channels"] != 1:
            raise ValueError(f"{config} is of a model with {told['io_channels']} channels")
        self.model = Model(model_config_path=str(settings))
        fill(self.model.model, load_ckpt_state_dict(str(checkpoint)))
        _check_attention(self.model.model)
        self._hop = int(told["downsampling_ratio"])
        self.sample_rate = int(self.model.sample_rate)
        self.frame_rate = self.sample_rate / self._hop
        self.quantizers = {
            name: ResidualFSQBottleneck(stages)
            for name, stages in self.model.preset_bottleneck_configs.items()
        }
        self.codebook_sizes = {
            name: tuple(one.codebook_size for one in quantizer.quantizers)
            for name, quantizer in self.quantizers.items()
        }
        self.points = {
            name: self.frame_rate * sum(map(math.log2, sizes)) / 1000
            for name, sizes in self.codebook_sizes.items()
        }
        self.code_files, self.weight_files = [settings], [checkpoint]
        self.parameters = self.model.parameters

    def to(self, device: str) -> None:
        """Moves the model and its quantizers."""
        import torch

        self.model.to(device)
        self.model.device = torch.device(device)
        for quantizer in self.quantizers.values():
            quantizer.to(device)

    def encode(self, samples: Any, point: str) -> Any:
        """Codes (clips, codebooks, frames)."""
        import torch

        audio = pad_to_frames(torch.from_numpy(samples), self._hop).to(self.model.device)
        self.model.residual_fsq = self.quantizers[point]
        _, tokens = self.model.encode(audio, posthoc_bottleneck=True)
        return torch.stack([one[..., 0] for one in tokens], 1)

    def decode(self, codes: Any, length: int) -> Any:
        """Samples (clips, 1, time), of whole frames."""
        import torch

        index = torch.from_numpy(codes).to(self.model.device)
        used = {len(sizes): name for name, sizes in self.codebook_sizes.items()}
        self.model.residual_fsq = self.quantizers[used[index.shape[1]]]
        tokens = [one[..., None] for one in index.unbind(1)]
        return self.model.decode(tokens, posthoc_bottleneck=True)


def _check_attention(model: Any) -> None:
    """Raises ValueError where a window of neighbours is meant that would not be kept to."""
    for module in model.modules():
        window = getattr(module, "sliding_window", None)
        if window and tuple(window) != (-1, -1) and not module.use_fa_flash:
            raise ValueError(
                "this model needs FlashAttention and a CUDA device: without them the package runs "
                "it with another attention than it was trained with"
            )
