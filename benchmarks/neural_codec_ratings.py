"""Which metric to believe of neural codecs: a public MUSHRA test that ships with its audio.

    git clone https://github.com/BenjSta/bernoulli-var-speech-codec ratings
    python benchmarks/neural_codec_ratings.py ratings/mushra_results_dataset work
    rdbench run work/ratings.yaml --out work/run
    rdbench import-scores work/answers.csv --run work/run --scale mushra
    rdbench metrics --against work/run --figure work/agreement.pdf

16 clips of speech, seven codec conditions (AudioDec, Lyra V2 at two rates, Stahl's coder at two
rates and two bandwidths), 19 listeners after the authors' screening: Stahl, Windtner and Sontacchi,
"A Bitrate-Scalable Variational Recurrent Mel-Spectrogram Coder for Real-Time Resynthesis-Based
Speech Coding", IEEE Access 12, 2024; CC BY 4.0. The anchor has no audio there. Nothing of it is
kept here.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import soundfile
import yaml

RATINGS = "ratings_formated_filtered.csv"
METRICS = (
    "pesq_wb", "stoi", "estoi", "visqol_speech", "visqol_audio", "si_sdr", "mel_dac_24k",
    "stft_dac_24k", "lsd", "mcd", "lf0_rmse", "voicing_error", "distill_mos", "dnsmos_ovrl",
    "dnsmos_sig", "dnsmos_p808", "loudness_difference", "spectral_tilt", "frechet_logmel",
    "kernel_logmel",
)  # fmt: skip


def main(source: Path, work: Path) -> None:
    """Writes into `work` a spec, its audio on one channel, and the answers as a table."""
    with (source / RATINGS).open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["file"]]
    manifest, answers, points = [], [], []
    for row in rows:
        clip, point = Path(row["file"]).parent.name, Path(row["file"]).stem
        reference = point == "ref"
        folder = work / ("reference" if reference else f"decoded/{point}")
        folder.mkdir(parents=True, exist_ok=True)
        samples, rate = soundfile.read(source / "audio" / row["file"], always_2d=True)
        # Both channels are the same.
        soundfile.write(folder / f"{clip}.wav", samples[:, 0], rate, subtype="PCM_16")
        if reference:
            manifest.append((f"{clip}.wav", "speech", speaker(row["signal"])))
            continue
        points.append(point)
        listeners = zip(json.loads(row["participant_ids"]), json.loads(row["ratings"]), strict=True)
        answers += [
            (f"codecs/{point}", f"{clip}.wav", f"p{who}", score) for who, score in listeners
        ]
    write(work / "reference" / "manifest.csv", ("file", "domain", "group"), manifest)
    write(work / "answers.csv", ("condition", "clip", "listener", "score"), answers)
    folders = {point: f"decoded/{point}" for point in dict.fromkeys(points)}
    spec = {
        "name": "neural_codec_ratings",
        "corpus": {"kind": "manifest", "path": "reference/manifest.csv"},
        "protocol": {
            "sample_rate": 24_000, "channels": "mono", "excerpt_seconds": None,
            "alignment": "residual",
        },
        "metrics": {"default": list(METRICS)},
        "systems": [{"codec": "files", "name": "codecs", "options": {"folders": folders}}],
        "costs": {"enabled": False},
    }  # fmt: skip
    (work / "ratings.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")


def speaker(signal: str) -> str:
    """Who speaks in VCTK_p229_293 (p229) or TSP_FB07_09 (FB, before a list's number)."""
    corpus, name, _ = signal.split("_")
    return f"{corpus}_{name if corpus == 'VCTK' else name[:2]}"


def write(path: Path, head: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """A CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *rows])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
