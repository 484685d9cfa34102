"""A small synthesizer: the music and the sounds of the embedded corpus.

Every piece is a function of a seeded generator alone, rendered in float64 at 44.1 kHz. They are
made to trouble a codec in different ways: attacks and dense decays (plucked strings, drums),
modulated harmonics and a moving stereo image (pad), inharmonic partials (bells), wide-band noise
(rain), and a pitch that glides under noise (engine).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

Signal = npt.NDArray[np.float64]

RATE = 44_100
SECONDS = 3.6
SAMPLES = round(RATE * SECONDS)


@dataclass(frozen=True)
class Piece:
    """Something the synthesizer plays: (channels, SAMPLES) from a generator of random numbers."""

    name: str
    domain: str
    seed: int
    play: Callable[[np.random.Generator], Signal]

    def render(self) -> Signal:
        """The piece as (channels, SAMPLES), its peak at −3 dBFS, faded in and out."""
        return finished(self.play(np.random.default_rng(self.seed)), RATE)


def finished(signal: Signal, rate: int, *, peak: float = 10 ** (-3 / 20)) -> Signal:
    """`signal` (channels, time) with its `peak` set, and with 5 and 50 ms of fade at its ends."""
    envelope = np.ones(signal.shape[-1])
    for seconds, part in ((0.005, np.s_[:]), (0.05, np.s_[::-1])):
        count = round(seconds * rate)
        envelope[part][:count] *= 0.5 - 0.5 * np.cos(np.pi * np.arange(count) / count)
    faded: Signal = signal * envelope
    faded *= peak / np.abs(faded).max()
    return faded


def room(
    generator: np.random.Generator, rate: int, *, channels: int, decay: float, wet: float
) -> Signal:
    """An impulse response (channels, time): the direct sound, then noise that decays and darkens.

    decay: seconds in which it falls by 60 dB. wet: energy of the tail, of the direct sound's.
    """
    time = np.arange(round(decay * rate)) / rate
    tail = generator.standard_normal((channels, time.size)) * 10 ** (-3 * time / decay)
    dark: Signal = sosfilt(butter(1, min(5000, 0.4 * rate), fs=rate, output="sos"), tail)
    dark[:, : round(0.004 * rate)] = 0.0  # nothing returns before the nearest wall
    dark *= math.sqrt(wet) / np.sqrt((dark**2).sum(-1, keepdims=True))
    dark[:, 0] = 1.0
    return dark


def _in_room(dry: Signal, response: Signal) -> Signal:
    wet: Signal = fftconvolve(dry, response, axes=-1)[:, :SAMPLES]
    return wet


def _midi(note: float) -> float:
    return float(440.0 * 2 ** ((note - 69) / 12))


def _time(seconds: float) -> Signal:
    return np.arange(round(seconds * RATE)) / RATE


def _mix(channels: int) -> Signal:
    return np.zeros((channels, SAMPLES))


def _add(mix: Signal, sound: Signal, at: float, *, pan: float = 0.0) -> None:
    """Adds a mono `sound` from `at` seconds on; `pan` from −1 (left) to 1 (right), equal power."""
    first = round(at * RATE)
    sound = sound[: max(0, SAMPLES - first)]
    angle = (pan + 1) * math.pi / 4
    gains = (1.0,) if len(mix) == 1 else (math.cos(angle), math.sin(angle))
    for channel, gain in zip(mix, gains, strict=True):
        channel[first : first + sound.size] += gain * sound


def _noise(generator: np.random.Generator, seconds: float, low: float, high: float) -> Signal:
    sos = butter(2, (low, min(high, 0.49 * RATE)), btype="band", fs=RATE, output="sos")
    filtered: Signal = sosfilt(sos, generator.standard_normal(round(seconds * RATE)))
    return filtered


def _pluck(generator: np.random.Generator, frequency: float, seconds: float) -> Signal:
    """A plucked string (Karplus and Strong, Computer Music Journal 7(2), 1983)."""
    period = RATE / frequency
    whole = int(period - 0.5)
    fraction = period - 0.5 - whole  # the averaging filter delays by half a sample
    burst = np.zeros(round(seconds * RATE))
    burst[: whole + 1] = generator.uniform(-1, 1, whole + 1)
    burst = lfilter([0.6, 0.4], [1.0], burst)
    loop = 0.998 * np.convolve([0.5, 0.5], [1 - fraction, fraction])
    string: Signal = lfilter([1.0], np.concatenate([[1.0], np.zeros(whole - 1), -loop]), burst)
    return string


def _plucked_chords(generator: np.random.Generator) -> Signal:
    mix = _mix(2)
    chords = (
        (45, 52, 57, 60, 64),
        (41, 53, 57, 60, 65),
        (48, 55, 60, 64, 67),
        (43, 50, 55, 59, 67),
    )
    for index, chord in enumerate(chords):
        for string, note in enumerate(chord if index % 2 == 0 else chord[::-1]):
            at = 0.88 * index + 0.018 * string + generator.uniform(0, 0.004)
            level = generator.uniform(0.7, 1.0)
            _add(mix, level * _pluck(generator, _midi(note), 1.6), at, pan=0.35 * string - 0.7)
        top = _pluck(generator, _midi(chord[-1] + 12), 0.6)
        _add(mix, 0.6 * top, 0.88 * index + 0.44, pan=0.5)
    response = room(generator, RATE, channels=2, decay=0.7, wet=0.15)
    return _in_room(mix, response)


def _electric_piano(frequency: float, seconds: float) -> Signal:
    """Two operators by frequency modulation: a body, and a tine that dies away at once."""
    t = _time(seconds)
    body = np.sin(
        2 * np.pi * frequency * t + 1.4 * np.exp(-3 * t) * np.sin(2 * np.pi * frequency * t)
    )
    tine = np.sin(
        2 * np.pi * frequency * t + 0.8 * np.exp(-12 * t) * np.sin(2 * np.pi * 14 * frequency * t)
    )
    tone: Signal = (0.7 * body + 0.3 * tine) * np.exp(-1.8 * t) * (1 - np.exp(-t / 0.002))
    return tone


def _kick() -> Signal:
    t = _time(0.28)
    return np.sin(2 * np.pi * (48 * t + 5.5 * (1 - np.exp(-t * 32)))) * np.exp(-11 * t)


def _snare(generator: np.random.Generator) -> Signal:
    t = _time(0.22)
    rattle = _noise(generator, 0.22, 900, 9000) * np.exp(-20 * t)
    return 0.5 * np.sin(2 * np.pi * 185 * t) * np.exp(-24 * t) + 0.6 * rattle


def _hat(generator: np.random.Generator, seconds: float) -> Signal:
    t = _time(seconds)
    return _noise(generator, seconds, 6500, 19000) * np.exp(-5 * t / seconds)


def _piano_and_drums(generator: np.random.Generator) -> Signal:
    mix = _mix(2)
    beat = 60 / 126
    for bar, chord in enumerate(((50, 57, 60, 65, 69), (43, 59, 62, 65, 69))):
        for hit in (0.0, 1.5, 2.5):
            for voice, note in enumerate(chord):
                tone = _electric_piano(_midi(note), 1.4)
                at = (4 * bar + hit) * beat + generator.uniform(0, 0.008)
                _add(mix, 0.22 * tone, at, pan=0.2 * voice - 0.4)
    for half in range(16):
        at = half * beat / 2
        _add(mix, 0.16 * _hat(generator, 0.18 if half % 4 == 3 else 0.05), at, pan=0.3)
        if half % 8 in (0, 5):
            _add(mix, 0.9 * _kick(), at)
        if half % 4 == 2:
            _add(mix, 0.4 * _snare(generator), at, pan=-0.1)
    return mix


def _chorus(signal: Signal, depth: float, rate: float, phase: float) -> Signal:
    """`signal` read at a place that sways by `depth` seconds, `rate` times a second."""
    index = np.arange(signal.size, dtype=np.float64)
    sway = 0.012 + depth * np.sin(2 * np.pi * rate * index / RATE + phase)
    return np.interp(index - RATE * sway, index, signal)


def _pad(generator: np.random.Generator) -> Signal:
    t = _time(SECONDS)
    dry = np.zeros(SAMPLES)
    for note in (45, 52, 59, 61, 64, 68):
        frequency = _midi(note) * (1 + generator.uniform(-0.001, 0.001))
        for partial in range(1, 19):
            swell = 1 + 0.5 * np.sin(2 * np.pi * generator.uniform(0.1, 0.9) * t + partial)
            tone = np.sin(2 * np.pi * (partial * frequency * t + generator.uniform()))
            dry += swell * tone / partial**1.3
    dry *= np.minimum(1, t / 0.5)
    air = 0.05 * _noise(generator, SECONDS, 3000, 12000) * (1 + np.sin(2 * np.pi * 0.6 * t))
    left = dry + _chorus(dry, 0.004, 0.7, 0.0) + air
    right = dry + _chorus(dry, 0.004, 0.9, 1.6) + np.roll(air, 400)
    return np.stack([left, right])


def _rain(generator: np.random.Generator) -> Signal:
    mix = np.stack([_noise(generator, SECONDS, 500, 14000) for _ in range(2)])
    mix *= 0.12 * (1 + 0.3 * np.sin(2 * np.pi * 0.4 * _time(SECONDS)))
    for _ in range(420):
        t = _time(generator.uniform(0.004, 0.03))
        frequency = generator.uniform(700, 7000)
        drop = np.sin(2 * np.pi * frequency * t * (1 + 4 * t)) * np.exp(-5 * t / t[-1])
        level = 0.3 * generator.exponential()
        _add(mix, level * drop, generator.uniform(0, SECONDS), pan=generator.uniform(-1, 1))
    thunder = _noise(generator, 2.4, 30, 180) * np.hanning(round(2.4 * RATE))
    _add(mix, 0.8 * thunder, 0.9, pan=-0.3)
    return mix


def _engine(generator: np.random.Generator) -> Signal:
    t = _time(SECONDS)
    firing = 38 + 40 * np.clip((t - 0.6) / 2.0, 0, 1) ** 1.5 + 0.8 * np.sin(2 * np.pi * 7 * t)
    phase = np.cumsum(firing) / RATE
    pulses = np.where(np.diff(np.floor(phase), prepend=0.0) > 0, 1.0, 0.0)
    pulses *= 1 + 0.25 * generator.standard_normal(SAMPLES)  # no two explosions alike
    exhaust = np.zeros(SAMPLES)
    formants = ((95, 40, 1.0), (240, 90, 0.6), (610, 200, 0.4), (1900, 600, 0.2))
    for frequency, width, gain in formants:
        radius = math.exp(-math.pi * width / RATE)
        poles = [1.0, -2 * radius * math.cos(2 * math.pi * frequency / RATE), radius**2]
        exhaust += gain * lfilter([1.0, 0.0, -1.0], poles, pulses)
    hiss = _noise(generator, SECONDS, 1500, 16000) * (0.4 + 0.6 * (phase % 1.0)) * firing / 78
    mono: Signal = exhaust / exhaust.std() + 0.12 * hiss / hiss.std()
    return mono[None]


def _bell(frequency: float, seconds: float) -> Signal:
    """Partials of a church bell: hum, prime, tierce, quint, nominal, and those above."""
    t = _time(seconds)
    bell = np.zeros(t.size)
    ratios: Sequence[float] = (0.5, 1.0, 1.19, 1.5, 2.0, 2.52, 3.01, 4.17, 5.43, 6.79, 8.21, 11.3)
    for index, ratio in enumerate(ratios):
        for beating in (-0.4, 0.4):  # a casting is never quite round
            tone = np.sin(2 * np.pi * (frequency * ratio + beating) * t + index)
            bell += tone * np.exp(-t * (0.9 + 0.55 * index)) / (1 + 0.35 * index)
    bell *= 1 - np.exp(-t / 0.0008)
    return bell


def _bells(generator: np.random.Generator) -> Signal:
    mix = _mix(1)
    for at, note in ((0.02, 76), (0.55, 72), (1.05, 79), (1.6, 67), (2.3, 84), (2.75, 72)):
        _add(mix, generator.uniform(0.7, 1.0) * _bell(_midi(note), 2.5), at)
        clapper = _noise(generator, 0.02, 2000, 15000) * np.exp(-_time(0.02) / 0.004)
        _add(mix, 0.8 * clapper, at)
    response = room(generator, RATE, channels=1, decay=0.5, wet=0.08)
    return _in_room(mix, response)


PIECES: tuple[Piece, ...] = (
    Piece("music_plucked_chords", "music", 101, _plucked_chords),
    Piece("music_piano_and_drums", "music", 102, _piano_and_drums),
    Piece("music_pad", "music", 103, _pad),
    Piece("sound_rain", "sound", 201, _rain),
    Piece("sound_engine", "sound", 202, _engine),
    Piece("sound_bells", "sound", 203, _bells),
)
