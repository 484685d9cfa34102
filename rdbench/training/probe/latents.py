"""The latents of a training corpus: encoded once by a checkpoint, cached, drawn in crops.

The cache is a safetensors file named by what it depends on: the checkpoint's SHA-256 and the clips'
content. Values are in half precision, read from the file even where they were just computed, so
that a run that finds the cache equals one that made it. A clip that cannot be read is left out,
with a note in the log.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from rdbench.identity import file_sha256
from rdbench.models import checkpoint
from rdbench.models.bottleneck import DEAD_NATS, kl_nats
from rdbench.models.config import GaussianConfig
from rdbench.models.probe.condition import coarse_log_mel
from rdbench.types import AudioError, RdbenchError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rdbench.audio.clip import Clip, Corpus
    from rdbench.models.autoencoder import Autoencoder

_LOG = logging.getLogger(__name__)
VERSION = 1
"""Raised when the same checkpoint and clips give another cache."""
_BLOCK = 2**15  # frames at once
_TENSORS = ("mean", "scale", "condition", "frames")


class Crops(NamedTuple):
    """Crops of one length: mean, scale (clips, frames, channels), condition (clips, frames, bands).

    valid: bool (clips, frames), False where a clip has ended.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    condition: torch.Tensor
    valid: torch.Tensor


class Statistics(NamedTuple):
    """Over all frames, float32: m_c and s_c (channels,), s_c² = Var μ + E σ²; the log-mel's mean
    and standard deviation (bands,); and the KL of every channel in nats per frame (channels,).
    """

    latent_mean: torch.Tensor
    latent_scale: torch.Tensor
    condition_mean: torch.Tensor
    condition_scale: torch.Tensor
    nats: torch.Tensor


@dataclass(frozen=True)
class Latents:
    """The posteriors and log-mels of clips, one behind the other.

    mean, scale: (frames, channels). condition: (frames, bands). frames: int64 (clips,). frame_rate
    and sample_rate in hertz. codec, codec_sha256: the checkpoint. fitted_on: SHA-256 of the audio
    files. sha256: of all this.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    condition: torch.Tensor
    frames: torch.Tensor
    frame_rate: float
    sample_rate: int
    codec: str
    codec_sha256: str
    fitted_on: tuple[str, ...] = ()
    sha256: str = ""

    @cached_property
    def statistics(self) -> Statistics:
        """What latents and log-mels are standardised by."""
        means, squares, noise, told, told_squares, nats = self._moments()
        spread = (squares - means.square() + noise).clamp_min(1e-12).sqrt()
        told_spread = (told_squares - told.square()).clamp_min(1e-6).sqrt()
        found = (means, spread, told, told_spread, nats)
        return Statistics(*(one.float() for one in found))

    def _moments(self) -> list[torch.Tensor]:
        """Means over frames of μ, μ², σ², the log-mel, its square and the KL, in float64."""
        sums: list[torch.Tensor] = []
        for start in range(0, len(self.mean), _BLOCK):
            mean, scale, told = (
                part[start : start + _BLOCK].double()
                for part in (self.mean, self.scale, self.condition)
            )
            # σ below half precision's smallest number is 0, of which there is no logarithm.
            nats = kl_nats(mean, scale.clamp_min(2.0**-24))
            parts = (mean, mean.square(), scale.square(), told, told.square(), nats)
            of_block = [part.sum(0) for part in parts]
            sums = [a + b for a, b in zip(sums, of_block, strict=True)] if sums else of_block
        return [one / len(self.mean) for one in sums]

    @property
    def live(self) -> tuple[int, ...]:
        """The channels that are not dead; raises WeightsError where all are."""
        found = torch.nonzero(self.statistics.nats >= DEAD_NATS).flatten().tolist()
        if not found:
            raise WeightsError(
                f"the latent of {self.codec} says nothing: all {self.mean.shape[1]} channels have "
                f"a KL below {DEAD_NATS} nat per frame; give another checkpoint"
            )
        return tuple(found)

    def crops(self, length: int, *, seed: int, step: int, size: int, rank: int = 0) -> Crops:
        """`size` crops of `length` frames, a function of (seed, step, rank) alone, float32.

        Clips are chosen in proportion to their frames; a shorter one is taken whole and padded.
        """
        generator = np.random.default_rng(np.random.SeedSequence((seed, step, rank)))
        ends = self.frames.cumsum(0).numpy()
        clips = np.searchsorted(ends, generator.integers(0, ends[-1], size), side="right")
        counts = self.frames.numpy()[clips]
        starts = ends[clips] - counts + generator.integers(0, np.maximum(counts - length, 0) + 1)
        offsets = np.arange(length)
        valid = torch.from_numpy(offsets < counts[:, None])
        rows = torch.from_numpy(np.minimum(starts[:, None] + offsets, ends[clips, None] - 1))
        kept = valid[..., None]
        mean, scale, condition = (
            part[rows].float() * kept for part in (self.mean, self.scale, self.condition)
        )
        return Crops(mean, scale, condition, valid)


def latents_of(weights: Path, name: str, corpus: Corpus, folder: Path) -> Latents:
    """The latents of `corpus` by the checkpoint `weights`, from the cache in `folder` or encoded.

    name: what messages call the checkpoint. Raises WeightsError for a checkpoint that cannot be
    used, AudioError where no clip can be, RdbenchError where the cache cannot be written.
    """
    model, header = checkpoint.load(weights)
    if not isinstance(header.config.bottleneck, GaussianConfig):
        raise WeightsError(
            f"{name} has no posterior, and no continuous latent; give a Gaussian model"
        )
    clips = [(clip, digest) for clip in corpus.clips if (digest := _digest(clip))]
    content = [[digest, clip.start, clip.duration] for clip, digest in clips]
    key = json.dumps([VERSION, header.sha256, content])
    named = hashlib.sha256(key.encode()).hexdigest()
    path = folder / f"{Path(name).name}-{named[:16]}.safetensors"
    if not path.is_file():
        _LOG.info("%s: encodes %d clips into %s", name, len(clips), path)
        _write(path, _encode(model, corpus, clips, name))
    return _read(path, model, name, header.sha256)


def _digest(clip: Clip) -> str:
    """SHA-256 of a clip's file, "" where it cannot be read."""
    try:
        return file_sha256(clip.path)
    except OSError as error:
        _LOG.warning("left out of training: %s cannot be read: %s", clip.name, error.strerror)
        return ""


@torch.no_grad()
def _encode(
    model: Autoencoder, corpus: Corpus, clips: list[tuple[Clip, str]], name: str
) -> tuple[Mapping[str, torch.Tensor], Mapping[str, Any]]:
    config = model.config
    parts: list[tuple[torch.Tensor, ...]] = []
    used = set()
    for clip, digest in clips:
        try:
            audio = _audio(clip, config.sample_rate, config.channels)
        except RdbenchError as error:
            _LOG.warning("left out of training: %s", error)
            continue
        mean, scale = (part[0].T.half() for part in model.posterior(audio[None]))
        if not bool(mean.isfinite().all() and scale.isfinite().all()):
            raise WeightsError(
                f"the latent of {name} is not finite in half precision on {clip.name}; "
                "give another checkpoint"
            )
        told = coarse_log_mel(audio, config.sample_rate, len(mean), config.frame_rate)
        parts.append((mean, scale, told.half()))
        used.add(digest)
    if not parts:
        raise AudioError(f"corpus {corpus.name!r} has no clip to train on; give other data")
    mean, scale, told = (torch.cat(of_all) for of_all in zip(*parts, strict=True))
    frames = torch.tensor([len(part[0]) for part in parts])
    tensors = dict(zip(_TENSORS, (mean, scale, told, frames), strict=True))
    return tensors, {"fitted_on": sorted(used)}


def _audio(clip: Clip, sample_rate: int, channels: int) -> torch.Tensor:
    from rdbench.audio.load import read
    from rdbench.audio.resample import resample

    samples, rate = read(clip.path, start=clip.start, duration=clip.duration)
    if samples.shape[0] != channels:
        samples = samples.mean(0, keepdim=True).expand(channels, -1)
    return resample(samples, rate, sample_rate)


def _write(path: Path, content: tuple[Mapping[str, torch.Tensor], Mapping[str, Any]]) -> None:
    from safetensors.torch import save as to_bytes

    tensors, about = content
    # Runs of several seeds may encode at the same time: each writes a file of its own.
    own = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = {name: value.contiguous() for name, value in tensors.items()}
        checkpoint.write_atomically(own, to_bytes(whole, {"rdbench.latents": json.dumps(about)}))
        own.replace(path)
    except OSError as error:
        raise RdbenchError(
            f"latents cannot be written to {path}: {error.strerror}; make room and run again"
        ) from error


def _read(path: Path, model: Autoencoder, name: str, codec_sha256: str) -> Latents:
    from safetensors import SafetensorError, safe_open

    damaged = f"{path} is damaged or no cache of latents; remove it and run again"
    try:
        sha256 = file_sha256(path)
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["rdbench.latents"])
            mean, scale, told, frames = (file.get_tensor(part) for part in _TENSORS)
        fitted_on = tuple(map(str, about["fitted_on"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RdbenchError(damaged) from error
    config = model.config
    fine = mean.shape == scale.shape == (int(frames.sum()), config.bottleneck.channels)
    if not fine or len(told) != len(mean):
        raise RdbenchError(damaged)
    return Latents(
        mean, scale, told, frames, config.frame_rate, config.sample_rate,
        name, codec_sha256, fitted_on, sha256,
    )  # fmt: skip
