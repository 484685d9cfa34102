"""WavTokenizer, from a checkout of its repository.

S. Ji et al., "WavTokenizer: an Efficient Acoustic Discrete Codec Tokenizer for Audio Language
Modeling", ICLR 2025 (arXiv:2408.16532). Mono, 24 kHz; one codebook of 4096 at 40 or 75 Hz, by the
configuration: 0.48 or 0.9 kbps. The encoder fills up the last frame by itself.

The repository takes a codebook that was never trained for one that it shall fit to the first clip
that it sees; such weights are refused.
"""

from __future__ import annotations

import math
from typing import Any

from .loading import enter_checkout, existing, fill, imported_from, read_checkpoint

SOURCE = "https://github.com/jishengpeng/WavTokenizer"
PARTS = ("feature_extractor", "backbone", "head")


class WavTokenizer:
    """A WavTokenizer model at its one rate.

    checkout: the folder of the repository. config: a YAML file of its `configs`. weights: a
    checkpoint of its training (`.ckpt`), as its authors publish.
    """

    name = family = "wavtokenizer"
    version = "wavtokenizer adapter 1"
    licence = "MIT"
    citation = (
        "Ji et al.: WavTokenizer: an Efficient Acoustic Discrete Codec Tokenizer for Audio "
        "Language Modeling, ICLR 2025, arXiv:2408.16532"
    )
    packages = ("torchaudio",)
    sample_rate = 24_000

    def __init__(self, *, checkout: str, config: str, weights: str) -> None:
        folder = enter_checkout(checkout, "decoder/pretrained.py", SOURCE)
        settings, checkpoint = existing(config), existing(weights)
        import torch
        from decoder.pretrained import WavTokenizer as Model

        features, head = _checked(settings)
        hop, size = math.prod(features["dowmsamples"]), features["vq_bins"]
        if head["hop_length"] != hop:
            raise ValueError(f"{config} codes frames of {hop} samples, decodes others")
        self.model = Model.from_hparams0802(str(settings))
        fill(self.model, read_checkpoint(checkpoint)["state_dict"])
        layers = self.model.feature_extractor.encodec.quantizer.vq.layers
        if not all(layer._codebook.inited.all() for layer in layers):
            raise ValueError(f"{weights} has a codebook that was never trained")
        self.frame_rate = self.sample_rate / hop
        self.codebook_sizes = (size,)
        kbps = self.frame_rate * math.log2(size) / 1000
        self.points = {f"{kbps:.2f}": kbps}
        self.code_files = [*imported_from(folder), settings]
        self.weight_files = [checkpoint]
        self.parameters = self.model.parameters
        self._bandwidth = torch.tensor([0])

    def to(self, device: str) -> None:
        """Moves the model."""
        self.model.to(device)
        self._bandwidth = self._bandwidth.to(device)

    def encode(self, samples: Any, point: str) -> Any:
        """Codes (clips, 1, frames)."""
        import torch

        audio = torch.from_numpy(samples[:, 0]).to(self._bandwidth.device)
        _, codes = self.model.encode_infer(audio, bandwidth_id=self._bandwidth)
        return codes.transpose(0, 1)  # codebooks came first

    def decode(self, codes: Any, length: int) -> Any:
        """Samples (clips, 1, time), of whole frames."""
        import torch

        index = torch.from_numpy(codes).to(self._bandwidth.device).transpose(0, 1)
        features = self.model.codes_to_features(index)
        return self.model.decode(features, bandwidth_id=self._bandwidth)[:, None]


def _checked(path: Any) -> Any:
    """The arguments of feature extractor and head; a configuration names classes, which are run."""
    import yaml

    parts = yaml.safe_load(path.read_text(encoding="utf-8"))["model"]["init_args"]
    for part in PARTS:
        if not parts[part]["class_path"].startswith("decoder."):
            raise ValueError(f"{path} names a class that is not WavTokenizer's")
    return parts["feature_extractor"]["init_args"], parts["head"]["init_args"]
