"""MOSS audio tokenizer, from a checkout of its repository, whose code transformers runs.

Y. Gong et al., "MOSS-Audio-Tokenizer: Scaling Audio Tokenizers for Future Audio Foundation Models",
2026 (arXiv:2602.10934). Mono, 24 kHz; up to 32 residual codebooks of 1024 at 12.5 Hz: 0.125 kbps
each. Point "q8" has the first eight.

The repository pads a clip to whole frames and then takes the last of them, where it was padded, for
silence; here a clip is padded before, so that its end is coded. Clips are coded one by one: a batch
has other codes.
"""

from __future__ import annotations

import json
import math
from typing import Any

from .loading import as_package, existing, fill, imported_from, pad_to_frames

SOURCE = "https://github.com/OpenMOSS/MOSS-Audio-Tokenizer"


class Moss:
    """A MOSS audio tokenizer at powers of two of its codebooks, and at all.

    checkout: the folder of the repository, or of a model that comes with the same code. weights: a
    folder with `config.json` and safetensors, as its authors publish.
    """

    name = family = "moss"
    version = "moss adapter 1"
    licence = "Apache-2.0"
    citation = (
        "Gong et al.: MOSS-Audio-Tokenizer: Scaling Audio Tokenizers for Future Audio Foundation "
        "Models, 2026, arXiv:2602.10934"
    )
    packages = ("transformers",)
    batched = False

    def __init__(self, *, checkout: str, weights: str) -> None:
        folder = as_package(checkout, "moss", "modeling_moss_audio_tokenizer.py", SOURCE)
        place = existing(weights)
        files = sorted(place.glob("*.safetensors"))
        if not files:
            raise FileNotFoundError(f"{weights} is no folder with safetensors")
        from moss.configuration_moss_audio_tokenizer import (
            MossAudioTokenizerConfig,
        )
        from moss.modeling_moss_audio_tokenizer import (
            MossAudioTokenizerModel,
        )
        from safetensors.torch import load_file

        settings = place / "config.json"
        config = MossAudioTokenizerConfig(**json.loads(settings.read_text(encoding="utf-8")))
        self.model = MossAudioTokenizerModel(config)
        fill(self.model, {name: one for file in files for name, one in load_file(file).items()})
        self.sample_rate = int(config.sampling_rate)
        self._hop = int(config.downsample_rate)
        self.frame_rate = self.sample_rate / self._hop
        most = int(config.num_quantizers)
        self.codebook_sizes = (int(self.model.quantizer.codebook_size),) * most
        kbps = self.frame_rate * math.log2(self.codebook_sizes[0]) / 1000
        counts = sorted({most, *(2**n for n in range(most.bit_length()))})
        self.points = {f"q{count}": count * kbps for count in counts}
        self.code_files, self.weight_files = [*imported_from(folder), settings], files
        self.parameters = self.model.parameters

    def to(self, device: str) -> None:
        """Moves the model."""
        self.model.to(device)

    def encode(self, samples: Any, point: str) -> Any:
        """Codes (clips, codebooks, frames)."""
        import torch

        audio = pad_to_frames(torch.from_numpy(samples), self._hop).to(self.model.device)
        made = self.model.encode(audio, num_quantizers=int(point[1:]), return_dict=True)
        return made.audio_codes.transpose(0, 1)

    def decode(self, codes: Any, length: int) -> Any:
        """Samples (clips, 1, time), of whole frames."""
        import torch

        index = torch.from_numpy(codes).to(self.model.device).transpose(0, 1)
        return self.model.decode(index, return_dict=True).audio
