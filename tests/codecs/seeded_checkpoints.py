"""Checkpoints with seeded weights, in the formats in which EnCodec's and DAC's authors publish.

The genuine weights cannot be had where the tests run. Codebooks are seeded with noise of the
latents' own size, so that many different codes occur; DAC's layers are narrower than published
(its files record their widths), its rates and codebooks are the published ones.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch

from rdbench.codecs.neural.trained import probe
from rdbench.types import AudioBatch


def seeded_encodec(sample_rate: int) -> Any:
    """An EnCodec model of the package; `sample_rate` is 24000 or 48000."""
    from encodec import EncodecModel

    torch.manual_seed(sample_rate)
    model = getattr(EncodecModel, f"encodec_model_{sample_rate // 1000}khz")(pretrained=False)
    samples = probe(sample_rate, model.channels).samples
    with torch.inference_mode():
        if model.normalize:
            samples = samples / samples.mean(1, keepdim=True).pow(2).mean().sqrt()
        latents = model.encoder(samples)[0]
    _standardize(model.encoder.model[-1].conv, latents)
    for index, layer in enumerate(model.quantizer.vq.layers):
        book = layer._codebook
        book.embed.normal_(std=0.9**index)
        book.inited.fill_(1)
    return model


def _standardize(last: Any, latents: torch.Tensor) -> None:
    """Gives the encoder's output, (channels, frames), zero mean and unit variance over time.

    A random encoder's output is nearly constant; its small changes would be quantized next to
    float32's rounding, and codes would flip between a batch and a clip alone.
    """
    center, spread = latents.mean(1), latents.std(1).mean()
    with torch.no_grad():
        if last.norm_type == "weight_norm":
            last.conv.weight_g /= spread
            last.conv.bias.copy_((last.conv.bias - center) / spread)
        else:
            last.norm.weight /= spread
            last.norm.bias.copy_((last.norm.bias - center) / spread)


def save_encodec(folder: Path, sample_rate: int) -> Path:
    """Writes a state dict under the published name, as the package's `repository` expects it."""
    names = {24_000: "encodec_24khz-d7cc33bc.th", 48_000: "encodec_48khz-7e698e3e.th"}
    path = folder / names[sample_rate]
    torch.save(seeded_encodec(sample_rate).state_dict(), path)
    return path


DAC_ARGUMENTS: dict[str, dict[str, Any]] = {
    "dac_16khz": {
        "sample_rate": 16_000,
        "n_codebooks": 12,
        "encoder_rates": [2, 4, 5, 8],
        "decoder_rates": [8, 5, 4, 2],
    },
    "dac_24khz": {
        "sample_rate": 24_000,
        "n_codebooks": 32,
        "encoder_rates": [2, 4, 5, 8],
        "decoder_rates": [8, 5, 4, 2],
    },
    "dac_44khz": {"sample_rate": 44_100, "n_codebooks": 9},
    "dac_44khz_16kbps": {"sample_rate": 44_100, "n_codebooks": 18, "latent_dim": 128},
}


def save_dac(folder: Path, name: str) -> Path:
    """Writes {"state_dict", "metadata"} with the package's own `save`."""
    from dac import DAC

    torch.manual_seed(7)
    model = DAC(encoder_dim=16, decoder_dim=96, **DAC_ARGUMENTS[name])
    path = folder / f"{name}.pth"
    model.save(path, package=False)
    return path


def real_audio(shared: Path, domain: str, rate: int, channels: int, length: int) -> AudioBatch:
    """`length` samples of the first long enough clip of `domain`, (1, channels, length)."""
    from rdbench.audio.load import read
    from rdbench.audio.resample import resample

    with (shared / "clips" / "manifest.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["domain"] == domain]
    for row in rows:
        samples, native = read(shared / "clips" / row["file"])
        samples = resample(samples, native, rate)
        if samples.shape[-1] < length or samples.shape[0] < channels:
            continue
        layout = samples.mean(0, keepdim=True) if channels == 1 else samples[:channels]
        start = (samples.shape[-1] - length) // 2
        cut = layout[None, :, start : start + length].contiguous()
        return AudioBatch(cut, torch.tensor([length]), rate)
    raise AssertionError(f"no clip of {domain} with {channels} channels and {length} samples")


def ragged(audio: AudioBatch, lengths: list[int]) -> AudioBatch:
    """Clips of these lengths, each from another place of `audio`, zeros behind."""
    samples = torch.zeros(len(lengths), audio.channels, max(lengths))
    for i, length in enumerate(lengths):
        start = min(i * 1000, audio.samples.shape[-1] - length)
        samples[i, :, :length] = audio.samples[0, :, start : start + length]
    return AudioBatch(samples, torch.tensor(lengths), audio.sample_rate)


def agreement(one: torch.Tensor, other: torch.Tensor) -> float:
    """Share of equal codes."""
    assert one.shape == other.shape
    return float((one == other).double().mean())
