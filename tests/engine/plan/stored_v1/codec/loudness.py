"""A codec of tokens for the stored run, whose keys hold the hash of this file: do not edit."""

from __future__ import annotations

import torch

from rdbench.codecs.base import Codec
from rdbench.types import (
    AudioBatch,
    CodecInfo,
    DecoderInput,
    Encoded,
    OperatingPoint,
    RateKind,
    RunsOn,
    Tokens,
    TokenStream,
)

RATE, HOP = 16000, 160


class Loudness(Codec):
    """A hop's loudness in 16 steps; decodes to silence."""

    def __init__(self, *, points: object = None) -> None:
        self.points = (OperatingPoint("only", 0.4),)
        self.info = CodecInfo(
            "loudness", "test", (RATE,), (1,), RateKind.NOMINAL, RunsOn.DEVICE, weights_sha256="ee"
        )

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        hops = audio.samples[:, 0].unflatten(-1, (-1, HOP)).square().mean(-1).sqrt()
        codes = (hops * 100).long().clamp(0, 15)[:, None]
        stream = TokenStream(codes, audio.lengths // HOP, (16,), RATE / HOP)
        return Encoded(Tokens((stream,)), audio.lengths, RATE, 1)

    def decode(self, decoder_input: DecoderInput) -> AudioBatch:
        longest = int(decoder_input.lengths.max())
        silence = torch.zeros(len(decoder_input.lengths), 1, longest)
        return AudioBatch(silence, decoder_input.lengths, RATE)
