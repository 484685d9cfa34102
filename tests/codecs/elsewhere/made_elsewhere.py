"""Reconstructions and what they were decoded from, written out as somebody else would have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from rdbench.audio.corpus import folder_corpus
from rdbench.codecs.base import Codec
from rdbench.engine.plan.clips import plan_clips
from rdbench.types import AudioBatch, Encoded, Packets, Posterior, Tokens, Variant


def write_out(codec: Codec, clips: Path, root: Path, variant: Variant) -> dict[str, str]:
    """The reconstructions of each point as WAV, and beside them what was encoded.

    Returns the folders of the reconstructions by point; those of the rest are `root`/coded/POINT.
    """
    folders = {}
    for point in codec.points:
        decoded, coded = root / "decoded" / point.name, root / "coded" / point.name
        for folder in (decoded, coded):
            folder.mkdir(parents=True)
        for clip in plan_clips(folder_corpus(clips, domain="audio", group_by="file"), seed=0):
            samples, rate = soundfile.read(clip.clip.path, dtype="float32", always_2d=True)
            audio = AudioBatch(
                torch.from_numpy(samples.T)[None], torch.tensor([len(samples)]), rate
            )
            with torch.inference_mode():
                encoded = codec.encode(audio, point)
                made = codec.decode(codec.decoder_input(encoded, variant, [clip.seed]))
            name = Path(clip.name).with_suffix("")
            wave = made.samples[0].numpy().T
            soundfile.write(decoded / f"{name}.wav", wave, rate, subtype="FLOAT")
            WRITERS[type(encoded.payload)](encoded, coded / name)
        folders[point.name] = str(decoded)
    return folders


def _packets(encoded: Encoded, path: Path) -> None:
    assert isinstance(encoded.payload, Packets)
    path.with_suffix(".bin").write_bytes(b"".join(encoded.payload.clips[0].packets))


def _tokens(encoded: Encoded, path: Path) -> None:
    assert isinstance(encoded.payload, Tokens)
    np.save(path.with_suffix(".npy"), encoded.payload.streams[0].codes[0].numpy().astype(np.int16))


def _posterior(encoded: Encoded, path: Path) -> None:
    assert isinstance(encoded.payload, Posterior)
    assert encoded.payload.scale is not None
    mean, scale = (one[0].numpy() for one in (encoded.payload.mean, encoded.payload.scale))
    np.savez(path.with_suffix(".npz"), mean=mean, scale=scale)


WRITERS: dict[type, Callable[[Encoded, Path], Any]] = {
    Packets: _packets,
    Tokens: _tokens,
    Posterior: _posterior,
}
