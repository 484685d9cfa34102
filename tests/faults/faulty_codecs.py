"""Codecs with one fault each beside those of tests/engine/fakes.py; `faulty_codecs:Class`."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence

import torch
from fakes import InPool, Quantizer

from rdbench.types import AudioBatch, DecoderInput, Encoded, OperatingPoint


class WrongChannels(Quantizer):
    """Decodes mono to stereo."""

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        audio = super().decode(decoder_input)
        return AudioBatch(audio.samples.repeat(1, 2, 1), audio.lengths, audio.sample_rate)


class HangsHere(Quantizer):
    """A model that never answers at its lower point."""

    nested = False

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        if point.name == "2bit":
            time.sleep(600)
        return super().encode(audio, point)


class NoMemory(Quantizer):
    """Finds no device memory, even for one clip."""

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        raise torch.cuda.OutOfMemoryError("injected")


class Slow(InPool):
    """Answers late, within its time."""

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        time.sleep(0.3)
        return super().encode(audio, point)


class Segfaults(InPool):
    """Reads address 0 at its lower point."""

    nested = False

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        if point.name == "2bit":
            import ctypes

            ctypes.string_at(0)
        return super().encode(audio, point)


class Jumps(InPool):
    """Lets the time of day jump in every process that has it, while a job is under way."""

    def __init__(self, *, hours: float, points: Sequence[float | str] | None = None) -> None:
        super().__init__(points=points)
        if multiprocessing.parent_process() is None:
            return
        real, began = time.time, time.monotonic()

        def jumping() -> float:
            return real() + (3600.0 * hours if time.monotonic() - began > 1.0 else 0.0)

        time.time = jumping

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        time.sleep(2.0)
        return super().encode(audio, point)
