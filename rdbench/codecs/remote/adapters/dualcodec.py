"""DualCodec, through its package, in an environment of its own.

J. Li et al., "DualCodec: A Low-Frame-Rate, Semantically-Enhanced Neural Audio Codec for Speech
Generation", Interspeech 2025 (arXiv:2505.13000). Mono, 24 kHz; a codebook of 16,384 for features
of w2v-BERT 2.0 and residual ones for what they leave:

    12hz_v1    12.5 Hz × (14 + 12 (n - 1)) bits = 0.175 to 1.225 kbps with n = 1 to 8 codebooks
    25hz_v1    25 Hz × (14 + 10 (n - 1)) bits   = 0.35 to 3.1 kbps with n = 1 to 12 codebooks

This file is imported by the interpreter that a spec names as `python`, which has the package
`dualcodec` and need not have rdbench. All is computed in float32, where the package computes in
float16. A clip is padded with zeros to whole frames, and by the 360 samples more that the last
window of its features takes: the package leaves its last frame out. Where the decoder's strides are
odd it ends up to 4 samples short of its last frame, which are zeros.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

FILES = {
    "12hz_v1": "dualcodec_12hz_16384_4096.safetensors",
    "25hz_v1": "dualcodec_25hz_16384_1024.safetensors",
}
STATISTICS = "w2vbert2_mean_var_stats_emilia.pt"
LAYER = 17
"""Whose output is the semantic feature."""
BEHIND = 360
"""Samples at 24 kHz that a window of 25 ms sees behind its step of 10 ms."""


class DualCodec:
    """A DualCodec model, at every number of its codebooks.

    weights: a folder with its file and the statistics of its features, as `amphion/dualcodec` has
    them. semantic: a folder of `facebook/w2v-bert-2.0` in transformers' layout. model: which one.
    """

    name = family = "dualcodec"
    version = "dualcodec adapter 1"
    packages = ("dualcodec", "transformers", "torchaudio")
    licence = "MIT (code)"
    citation = (
        "Li et al.: DualCodec: A Low-Frame-Rate, Semantically-Enhanced Neural Audio Codec for "
        "Speech Generation, Interspeech 2025, arXiv:2505.13000"
    )
    sample_rate = 24_000

    def __init__(self, *, weights: str, semantic: str, model: str = "12hz_v1") -> None:
        import torch

        if model not in FILES:
            raise ValueError(f"there is no model {model!r}; give one of: {', '.join(FILES)}")
        folder, place = (Path(one).expanduser().absolute() for one in (weights, semantic))
        files = [folder / name for name in (FILES[model], STATISTICS)]
        for path in (*files, place):
            if not path.exists():
                raise FileNotFoundError(f"there is no {path}")
        import dualcodec
        from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertModel

        self._model = dualcodec.get_model(model, str(folder))
        self._semantic = Wav2Vec2BertModel.from_pretrained(
            str(place), use_safetensors=True, local_files_only=True
        ).eval()
        self._features = SeamlessM4TFeatureExtractor.from_pretrained(
            str(place), local_files_only=True
        )
        statistics = torch.load(files[1], map_location="cpu", weights_only=True)
        self._mean, self._deviation = statistics["mean"], statistics["var"].sqrt()
        # TF32 has ten bits of mantissa, which flip codes.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        dac = self._model.dac
        self._hop = int(dac.hop_length)
        self.frame_rate = self.sample_rate / self._hop
        first = self._model.semantic_vq.codebook_size
        self.codebook_sizes = (first, *[dac.codebook_size] * dac.n_codebooks)
        bits = [math.log2(size) for size in self.codebook_sizes]
        self.points = {
            f"q{n}": self.frame_rate * sum(bits[:n]) / 1000 for n in range(1, len(bits) + 1)
        }
        kinds = (".json", ".safetensors")
        self.weight_files = [*files, *sorted(one for one in place.iterdir() if one.suffix in kinds)]
        both = [*self._model.parameters(), *self._semantic.parameters()]
        self.parameters = sum(one.numel() for one in both)

    def to(self, device: str) -> None:
        """Moves both models."""
        self._model.to(device)
        self._semantic.to(device)
        self._mean, self._deviation = self._mean.to(device), self._deviation.to(device)

    def encode(self, samples: Any, point: str) -> Any:
        """Codes (clips, codebooks, frames), the semantic one first."""
        import torch

        count = int(point[1:])
        behind = -samples.shape[-1] % self._hop + BEHIND
        audio = torch.nn.functional.pad(torch.from_numpy(samples), (0, behind))
        audio = audio.to(self._mean.device)
        semantic, acoustic = self._model.encode(
            audio, num_quantizers=count, semantic_repr=self._semantics(audio)
        )
        return semantic if acoustic is None else torch.cat([semantic, acoustic], dim=1)

    def _semantics(self, audio: Any) -> Any:
        """Features (clips, 1024, frames) of the audio."""
        import torch
        import torchaudio

        taken = torchaudio.functional.resample(audio[:, 0], self.sample_rate, 16_000).cpu().numpy()
        given = self._features(list(taken), sampling_rate=16_000, return_tensors="pt")
        hidden = self._semantic(
            input_features=given["input_features"].to(audio.device),
            attention_mask=given["attention_mask"].to(audio.device),
            output_hidden_states=True,
        ).hidden_states[LAYER]
        normal = ((hidden - self._mean) / self._deviation).transpose(1, 2)
        factor = self._model.semantic_downsample_factor
        return torch.nn.functional.avg_pool1d(normal, factor, factor)

    def decode(self, codes: Any, length: int) -> Any:
        """Samples (clips, 1, time), of whole frames."""
        import torch

        index = torch.from_numpy(codes).to(self._mean.device)
        acoustic = index[:, 1:] if index.shape[1] > 1 else None
        audio = self._model.decode_from_codes(index[:, :1], acoustic)
        return torch.nn.functional.pad(audio, (0, max(0, length - audio.shape[-1])))
