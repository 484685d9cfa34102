"""Clips, and what is done to them before metrics are compared: codecs, noise, filters, gaps.

The degradations of `metric_speed.py`. Every one keeps a clip's rate and length.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rdbench.audio.corpus import embedded_corpus
from rdbench.audio.resample import fit_lengths, resample_batch
from rdbench.codecs.registry import create
from rdbench.types import AudioBatch

SHARED = Path(
    os.environ.get("RDBENCH_SHARED", Path(__file__).resolve().parents[2] / "shared" / "data")
)
CODED = (
    ("opus", 6),
    ("opus", 12),
    ("opus", 24),
    ("opus", 64),
    ("mp3", 32),
    ("mp3", 64),
    ("aac", 32),
    ("aac", 64),
)

Signal = np.ndarray[Any, np.dtype[np.float32]]


# Clips


def clip_files(folder: Path) -> list[tuple[str, Path]]:
    """(domain, file) of every shared clip, or of the embedded ones where there are none."""
    manifest = folder / "clips" / "manifest.csv"
    if not manifest.is_file():
        return [(clip.domain, clip.path) for clip in embedded_corpus().clips]
    with manifest.open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    return [(row["domain"], manifest.parent / row["file"]) for row in rows]


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """`count` of the items, evenly."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / max(1, count - 1))] for i in range(count)]


def load(path: Path, rate: int, seconds: float) -> AudioBatch:
    """The first channel of a file at `rate` hertz, as a batch of one."""
    import soundfile

    samples, native = soundfile.read(path, dtype="float32", always_2d=True)
    wave = torch.from_numpy(samples[: int(seconds * native), :1].T.copy())
    whole = AudioBatch(wave[None], torch.tensor([wave.shape[-1]]), native)
    return resample_batch(whole, rate)


def stack(clips: Sequence[AudioBatch]) -> AudioBatch:
    """Batches of one clip as one batch."""
    lengths = torch.cat([clip.lengths for clip in clips])
    longest = int(lengths.max())
    samples = [
        torch.nn.functional.pad(clip.samples, (0, longest - clip.samples.shape[-1]))
        for clip in clips
    ]
    return AudioBatch(torch.cat(samples), lengths, clips[0].sample_rate)


# Degradations


def through(codec: str, kbps: float, clip: AudioBatch, **options: Any) -> AudioBatch:
    """A clip after a codec, at its own rate and length again."""
    program = create(codec, points=[kbps], options=options)
    native = resample_batch(clip, program.info.native_rate(clip.sample_rate))
    encoded = program.encode(native, program.points[0])
    variant = program.variants[0]
    decoded = program.decode(program.decoder_input(encoded, variant, [0] * clip.clips))
    return fit_lengths(resample_batch(decoded, clip.sample_rate), clip.lengths)


def on_signal(change: Callable[[Signal, int], Signal], clip: AudioBatch) -> AudioBatch:
    """A clip after a change of its samples."""
    changed = change(clip.samples[0, 0].numpy(), clip.sample_rate)
    samples = torch.from_numpy(np.ascontiguousarray(changed, dtype=np.float32))[None, None]
    return AudioBatch(samples, clip.lengths, clip.sample_rate)


def noise(decibels: float, signal: Signal, _rate: int) -> Signal:
    drawn = np.random.default_rng(1).standard_normal(len(signal))
    return signal + drawn * np.sqrt(np.mean(signal**2)) * 10 ** (-decibels / 20)


def low_pass(hertz: float, signal: Signal, rate: int) -> Signal:
    from scipy.signal import butter, sosfilt

    return sosfilt(butter(6, hertz, fs=rate, output="sos"), signal)


def gain(factor: float, signal: Signal, _rate: int) -> Signal:
    return signal * np.float32(factor)


def clipping(share: float, signal: Signal, _rate: int) -> Signal:
    top = share * np.abs(signal).max()
    return np.clip(signal, -top, top)


def delay(milliseconds: float, signal: Signal, rate: int) -> Signal:
    shift = round(milliseconds * rate / 1000)
    padded = np.pad(signal, (max(shift, 0), max(-shift, 0)))
    return padded[: len(signal)] if shift > 0 else padded[-len(signal) :]


def dropouts(count: int, milliseconds: float, signal: Signal, rate: int) -> Signal:
    out, length = signal.copy(), round(milliseconds * rate / 1000)
    for start in np.random.default_rng(2).integers(0, max(1, len(signal) - length), count):
        out[start : start + length] = 0.0
    return out


def silence(signal: Signal, _rate: int) -> Signal:
    return np.zeros_like(signal)


def unrelated(signal: Signal, _rate: int) -> Signal:
    return 0.1 * np.random.default_rng(3).standard_normal(len(signal))


def degradations(rate: int) -> dict[str, Callable[[AudioBatch], AudioBatch]]:
    """By name; the codecs first."""
    coded = {f"{name} {kbps:g}": partial(through, name, kbps) for name, kbps in CODED}
    if rate == 16000 and (SHARED / "lyra").is_dir():
        lyra = {"models": str(SHARED / "lyra")}
        coded |= {f"lyra {kbps:g}": partial(through, "lyra", kbps, **lyra) for kbps in (3.2, 9.2)}
    changes: Mapping[str, Callable[[Signal, int], Signal]] = {
        "identity": partial(gain, 1.0),
        **{f"noise {level} dB": partial(noise, level) for level in (0, 20, 40)},
        **{f"low-pass {hertz} Hz": partial(low_pass, hertz) for hertz in (3400, 7000)},
        **{f"gain × {factor:g}": partial(gain, factor) for factor in (0.1, 2.0)},
        **{f"clipping at {share:g}": partial(clipping, share) for share in (0.1, 0.5)},
        **{f"delay {ms:g} ms": partial(delay, ms) for ms in (-100, -0.7, 0.3, 10, 100)},
        "dropouts 3 × 60 ms": partial(dropouts, 3, 60),
        "dropouts 6 × 150 ms": partial(dropouts, 6, 150),
        "silence": silence,
        "unrelated": unrelated,
    }
    return coded | {name: partial(on_signal, change) for name, change in changes.items()}
