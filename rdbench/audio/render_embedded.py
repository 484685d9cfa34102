"""Renders the embedded corpus: `python -m rdbench.audio.render_embedded OUT`.

Speech is spoken by espeak-ng (which must be installed), with the sound of a small room and a
little noise around it, since a codec meets no voice without them; music and sounds come from our
own synthesizer. Everything is seeded: a second rendering gives the same samples, for speech with
the same version of espeak-ng, which the manifest records. The FLAC files that ship with rdbench
were made by this module.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from scipy.signal import butter, fftconvolve, sosfilt

from rdbench.audio.synthesizer import PIECES, RATE, SECONDS, Piece, Signal, finished, room
from rdbench.types import AudioError, RdbenchError

FIELDS = ("file", "domain", "group", "source")


@dataclass(frozen=True)
class Utterance:
    """A sentence of ours, and the espeak-ng voice that says it."""

    name: str
    voice: str
    words_per_minute: int
    seed: int
    text: str


UTTERANCES: tuple[Utterance, ...] = (
    Utterance(
        "speech_english_us",
        "en-us",
        160,
        301,
        "The small boat crossed the harbour before sunrise, and nobody heard it leave the shore.",
    ),
    Utterance(
        "speech_english_gb",
        "en-gb+f3",
        155,
        302,
        "She chose six fresh peaches from the basket, then asked what the cheese would cost.",
    ),
    Utterance(
        "speech_german",
        "de+m3",
        150,
        303,
        "Zwischen den Häusern spielte ein Kind, und über den Dächern zogen Schwalben nach Süden.",
    ),
    Utterance(
        "speech_french",
        "fr+f2",
        155,
        304,
        "Le train de nuit s'arrête ici, juste avant le pont, et repart quand la pluie a cessé.",
    ),
)


class _Job(NamedTuple):
    name: str
    domain: str
    group: str
    source: str
    play: Callable[[], tuple[Signal, int]]


def espeak_version() -> str | None:
    """The version of the installed espeak-ng ("1.51"); None where there is none."""
    if shutil.which("espeak-ng") is None:
        return None
    shown = subprocess.run(
        ["espeak-ng", "--version"], check=True, capture_output=True, text=True
    ).stdout
    return shown.partition(":")[2].split()[0]


def speak(utterance: Utterance) -> tuple[Signal, int]:
    """The utterance in its room, (1, time), SECONDS long, and its rate in hertz.

    Raises AudioError where espeak-ng is missing or says too little.
    """
    if espeak_version() is None:
        raise AudioError("espeak-ng is not installed; install it with your system's packages")
    with tempfile.TemporaryDirectory() as folder:
        wave = Path(folder, "speech.wav")
        voice = ["-v", utterance.voice, "-s", str(utterance.words_per_minute)]
        command = ["espeak-ng", *voice, "-w", str(wave), utterance.text]
        subprocess.run(command, check=True, capture_output=True)
        dry, rate = soundfile.read(wave, dtype="float64")
    spoken = np.flatnonzero(np.abs(dry) > 0.01)
    length = round(SECONDS * rate)
    lead = round(0.1 * rate)
    dry = np.concatenate([np.zeros(lead), dry[spoken[0] :]])
    if spoken[-1] - spoken[0] + lead < length:
        raise AudioError(f"{utterance.name} is shorter than {SECONDS} s; give it a longer text")
    generator = np.random.default_rng(utterance.seed)
    response = room(generator, rate, channels=1, decay=0.28, wet=0.12)[0]
    wet = fftconvolve(dry[:length] / np.abs(dry[:length]).max(), response)[:length]
    hum = sosfilt(butter(1, 700, fs=rate, output="sos"), generator.standard_normal(length))
    noise = 1.5e-3 * hum / hum.std() + 2e-4 * generator.standard_normal(length)
    return finished((wet + noise)[None], int(rate)), int(rate)


def render(folder: Path) -> list[Path]:
    """Writes every clip as 16-bit FLAC into `folder`, and manifest.csv beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    version = espeak_version()
    rows, files = [], []
    for job in _jobs(version):
        signal, rate = job.play()
        file = folder / f"{job.name}.flac"
        soundfile.write(file, signal.T, rate, format="FLAC", subtype="PCM_16")
        rows.append((file.name, job.domain, job.group, job.source))
        files.append(file)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(FIELDS)
        writer.writerows(rows)
    return files


def _jobs(version: str | None) -> list[_Job]:
    spoken = [
        _Job(
            u.name,
            "speech",
            f"espeak_{u.voice}",
            f"espeak-ng {version} {u.voice}",
            partial(speak, u),
        )
        for u in UTTERANCES
    ]
    played = [
        _Job(p.name, p.domain, p.name, "rdbench.audio.synthesizer", partial(_play, p))
        for p in PIECES
    ]
    return spoken + played


def _play(piece: Piece) -> tuple[Signal, int]:
    return piece.render(), RATE


def main(arguments: Sequence[str]) -> int:
    """Renders into the folder that is the only argument."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("usage: python -m rdbench.audio.render_embedded OUT\n")
        return 2
    try:
        files = render(Path(arguments[0]))
    except (RdbenchError, OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    size = sum(file.stat().st_size for file in files)
    sys.stdout.write(f"{len(files)} clips, {size / 1e6:.2f} MB, in {arguments[0]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
