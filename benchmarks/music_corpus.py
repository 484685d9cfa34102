"""Prepares the music that `recipes/music_44k.yaml` trains on, from packages of Debian 12.

    apt-get download wesnoth-1.16-music singularity-music
    python benchmarks/music_corpus.py *_all.deb --out FOLDER

writes four excerpts of 20 s of each piece, evenly spread (a shorter piece whole), as 16-bit FLAC of
44.1 kHz, stereo, and a `manifest.csv` of where each comes from, by whom and under which licence.
The packages are held against their SHA-256, so the same packages give the same excerpts, and with
the same versions of libsndfile and torchaudio the same samples. Nothing of them lies in rdbench.

Both packages are Vorbis: a model hears what that codec left. warzone2100-music, of four hours, is
not among them, since it is Opus, beside which the models are measured. Needs `dpkg-deb`.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from rdbench.audio.corpus import audio_files
from rdbench.audio.resample import resample
from rdbench.identity import file_sha256
from rdbench.types import AudioError, RdbenchError

RATE = 44_100
SECONDS = 20.0
EXCERPTS = 4
SILENCE = 1e-3  # RMS over full scale: the training data's own floor, −60 dB
COLUMNS = (
    "file", "domain", "group", "seconds", "licence", "attribution", "package", "path", "from",
    "sha256",
)  # fmt: skip


@dataclass(frozen=True)
class Package:
    """A Debian package of music.

    name: with its version. licence: of all its pieces, as the package states it. music: the folder
    of the pieces. by: who made them, where a piece does not say it.
    """

    name: str
    sha256: str
    licence: str
    music: str
    by: str


PACKAGES = (
    Package(
        "wesnoth-1.16-music 1:1.16.9-1",
        "f9bc3cde92b4ab30db5d7b85f89b4bcc3d788dd92602956d0347250850bf59bb",
        "GPL-2+",
        "usr/share/games/wesnoth/1.16/data/core/music",
        "the Battle for Wesnoth project",
    ),
    Package(
        "singularity-music 007-2",
        "139ba1e408eeb0a72f1fff3760ca46558b9f81bed97dc8c0efa108c4007f4845",
        "CC BY-SA 3.0",
        "usr/share/games/singularity/music",
        "Max McCracken",
    ),
)


def main() -> None:
    """Unpacks, cuts and writes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("packages", type=Path, nargs="+", help="the .deb files")
    parser.add_argument("--out", type=Path, required=True, help="folder of the training data")
    options = parser.parse_args()
    try:
        rows = prepare(options.packages, options.out)
    except RdbenchError as error:
        parser.exit(1, f"{error}\n")
    minutes = sum(float(row["seconds"]) for row in rows) / 60
    pieces = len({row["group"] for row in rows})
    print(f"{options.out}: {len(rows)} excerpts of {pieces} pieces, {minutes:.1f} minutes")


def prepare(files: Sequence[Path], out: Path) -> list[dict[str, str]]:
    """Writes the excerpts of all packages into `out`, and their manifest, whose rows it returns.

    Raises AudioError where a package is missing, unknown or altered.
    """
    found = _identified(files)
    rows = []
    for package in PACKAGES:
        with tempfile.TemporaryDirectory() as folder:
            unpack(found[package], Path(folder))
            rows += cut(package, Path(folder), out)
    with (out / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return rows


def _identified(files: Sequence[Path]) -> dict[Package, Path]:
    known = {package.sha256: package for package in PACKAGES}
    found = {}
    for file in files:
        if not file.is_file():
            raise AudioError(f"there is no file {str(file)!r}; fetch it with apt-get download")
        digest = file_sha256(file)
        if digest not in known:
            names = " and ".join(package.name for package in PACKAGES)
            raise AudioError(f"{file.name} is not what was prepared before; give {names}")
        found[known[digest]] = file
    for package in PACKAGES:
        if package not in found:
            raise AudioError(f"{package.name} is missing; fetch it with apt-get download")
    return found


def unpack(file: Path, folder: Path) -> None:
    """Unpacks a .deb into `folder`; raises AudioError without `dpkg-deb`."""
    if shutil.which("dpkg-deb") is None:
        raise AudioError("dpkg-deb is not installed; prepare the music on Debian or Ubuntu")
    subprocess.run(["dpkg-deb", "-x", str(file), str(folder)], check=True)


def cut(package: Package, unpacked: Path, out: Path) -> Iterator[dict[str, str]]:
    """Writes the excerpts of one unpacked package; yields their rows of the manifest."""
    out.mkdir(parents=True, exist_ok=True)
    for piece in audio_files(unpacked / package.music):
        path = piece.relative_to(unpacked / package.music)
        group = f"{package.name.split()[0]}_{path.with_suffix('').as_posix()}"
        group = group.replace("/", "_").replace(" ", "_")
        with soundfile.SoundFile(piece) as opened:
            by, rate = opened.copy_metadata().get("artist", package.by), opened.samplerate
            audio = opened.read(dtype="float32", always_2d=True)  # some are shorter than they say
        for number, start in enumerate(starts(len(audio) / rate)):
            samples = excerpt(audio, rate, start)
            if np.sqrt(np.mean(np.square(samples / 32768.0))) <= SILENCE:
                continue
            file = f"{group}_{number}.flac"
            soundfile.write(out / file, samples.T, RATE, format="FLAC", subtype="PCM_16")
            yield {
                "file": file,
                "domain": "music",
                "group": group,
                "seconds": f"{samples.shape[1] / RATE:.3f}",
                "licence": package.licence,
                "attribution": by,
                "package": package.name,
                "path": f"{package.music}/{path.as_posix()}",
                "from": f"{start:.3f}",
                "sha256": hashlib.sha256(np.ascontiguousarray(samples.T).tobytes()).hexdigest(),
            }


def starts(seconds: float) -> list[float]:
    """Where the excerpts of a piece begin, in seconds: as many as fit, at equal distances."""
    count = max(1, min(EXCERPTS, int(seconds // SECONDS)))
    gap = (seconds - count * SECONDS) / max(1, count - 1)
    return [number * (SECONDS + gap) for number in range(count)]


def excerpt(audio: np.ndarray, rate: int, start: float) -> np.ndarray:
    """SECONDS of a piece (time, channels) from `start` on, or what there is, int16 (2, time)."""
    first = round(start * rate)
    part = torch.from_numpy(audio[first : first + round(SECONDS * rate)].T.copy())
    wanted = resample(part, rate, RATE).clamp(-1.0, 1.0).expand(2, -1)
    return torch.round(wanted * 32767.0).to(torch.int16).numpy()


if __name__ == "__main__":
    main()
