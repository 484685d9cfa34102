"""NanoCodec, through NVIDIA's NeMo, in an environment of its own.

E. Casanova et al., "NanoCodec: Towards High-Quality Ultra Fast Speech LLM Inference", Interspeech
2025 (arXiv:2508.05835). Mono speech, 22.05 kHz. Each codebook is a group of finite scalar
quantizers, whose number of entries is the product of their levels and no power of two:

    12.5 Hz     4 × 4032 (9 · 8 · 8 · 7)     0.599 kbps
    12.5 Hz    13 × 2016 (8 · 7 · 6 · 6)     1.784 kbps
    21.5 Hz     8 × 2016                     1.891 kbps

This file is imported by the interpreter that a spec names as `python`, which has the package
`nemo_toolkit` and need not have rdbench. A `.nemo` file is a tar of a configuration in YAML and of
a checkpoint; both are read as data, and of the model its encoder, quantizer and decoder are built:
classes of NeMo's own modules, and no others. Clips are filled up with zeros to whole frames, and to
four of them: the encoder mirrors the ends of what it is given and takes no less.
"""

from __future__ import annotations

import math
import tarfile
from importlib import import_module
from pathlib import Path
from typing import Any

from .loading import existing, fill, pad_to_frames

MODULES = "nemo.collections.tts.modules."
PARTS = ("audio_encoder", "vector_quantizer", "audio_decoder")
CONFIG, CHECKPOINT = "model_config.yaml", "model_weights.ckpt"
LEAST_FRAMES = 4


class NanoCodec:
    """A NanoCodec model at its one rate.

    weights: a `.nemo` file, as its authors publish it.
    """

    name = family = "nanocodec"
    version = "nanocodec adapter 1"
    packages = ("nemo_toolkit",)
    licence = "NVIDIA Open Model License (weights), Apache-2.0 (code)"
    citation = (
        "Casanova et al.: NanoCodec: Towards High-Quality Ultra Fast Speech LLM Inference, "
        "Interspeech 2025, arXiv:2508.05835"
    )

    def __init__(self, *, weights: str) -> None:
        import torch

        file = existing(weights)
        config, state = _read(file)
        _check(config, file)
        built: dict[str, Any] = {part: _built(config[part], file) for part in PARTS}
        self._encoder, self._quantizer, self._decoder = built.values()
        self.model = torch.nn.ModuleDict(built)
        fill(self.model, state)
        self.sample_rate, self._hop = int(config["sample_rate"]), int(config["samples_per_frame"])
        self.frame_rate = self.sample_rate / self._hop
        size, count = self._quantizer.codebook_size, self._quantizer.num_codebooks
        self.codebook_sizes = (int(size),) * int(count)
        kbps = self.frame_rate * sum(map(math.log2, self.codebook_sizes)) / 1000
        self.points = {f"{kbps:.2f}": kbps}
        self.weight_files = [file]
        self.parameters = self.model.parameters

    def to(self, device: str) -> None:
        """Moves the model."""
        self.model.to(device)

    @property
    def _device(self) -> Any:
        return next(self.model.parameters()).device

    def encode(self, samples: Any, point: str) -> Any:
        """Codes (clips, codebooks, frames)."""
        import torch

        audio = pad_to_frames(torch.from_numpy(samples[:, 0]), self._hop).to(self._device)
        missing = LEAST_FRAMES * self._hop - audio.shape[-1]
        audio = torch.nn.functional.pad(audio, (0, max(0, missing)))
        encoded, frames = self._encoder(audio=audio, audio_len=_lengths(audio))
        codes = self._quantizer.encode(inputs=encoded, input_len=frames)
        return codes.transpose(0, 1)  # codebooks came first

    def decode(self, codes: Any, length: int) -> Any:
        """Samples (clips, 1, time), of whole frames."""
        import torch

        index = torch.from_numpy(codes).to(self._device)
        frames = _lengths(index)
        latents = self._quantizer.decode(indices=index.transpose(0, 1), input_len=frames)
        audio, _ = self._decoder(inputs=latents, input_len=frames)
        return audio[:, None]


def _lengths(batch: Any) -> Any:
    """That each clip of a batch is as long as it is."""
    import torch

    return torch.full((len(batch),), batch.shape[-1], device=batch.device)


def _read(file: Path) -> tuple[Any, Any]:
    """Configuration and tensors of a `.nemo` file; code in it is refused, not run."""
    import torch
    import yaml

    with tarfile.open(file) as archive:
        members = {Path(one.name).name: one for one in archive.getmembers() if one.isfile()}
        if not {CONFIG, CHECKPOINT} <= set(members):
            raise ValueError(f"{file} holds no {CONFIG} and {CHECKPOINT}; give a .nemo file")
        config: Any = archive.extractfile(members[CONFIG])
        checkpoint: Any = archive.extractfile(members[CHECKPOINT])
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        return yaml.safe_load(config), state


def _check(config: Any, file: Path) -> None:
    """Raises ValueError for the configuration of another model."""
    missing = {"sample_rate", "samples_per_frame", *PARTS} - set(config)
    if missing:
        raise ValueError(f"{file} says no {sorted(missing)[0]!r}; give the file of an audio codec")
    rate = config["sample_rate"]
    if config.get("output_sample_rate", rate) != rate:
        raise ValueError(f"{file} decodes to another rate than it codes, which is not run")
    if config.get("semantic_codec") or config.get("semantic_codec_path"):
        raise ValueError(f"{file} has a second codec for semantics, which is not run")


def _built(settings: Any, file: Path) -> Any:
    """A module as a configuration has it: a class of NeMo's by its name, and its arguments."""
    target = str(settings.get("_target_", ""))
    if not target.startswith(MODULES):
        raise ValueError(f"{file} names the class {target[:80]!r}, which is not NeMo's; see to it")
    module, _, name = target.rpartition(".")
    arguments = {key: value for key, value in settings.items() if not key.startswith("_")}
    return getattr(import_module(module), name)(**arguments)
