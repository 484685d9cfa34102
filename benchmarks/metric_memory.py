"""Memory of a run whose processes load the models of metrics.

    python benchmarks/metric_memory.py                          the metrics that bring their models
    python benchmarks/metric_memory.py --metrics si_sdr         what is there without a model
    python benchmarks/metric_memory.py --workers 4 --seconds 30

Runs Opus and the reference itself on clips of speech, and prints the highest proportional set size
(pages that processes share count once) of all processes together, and of one of them. Linux alone
says which pages are shared.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from degradations import SHARED, clip_files, load, spread
from evaluator_speed import run_part

RATE = 16000
MODELS = (
    "distill_mos",
    "dnsmos_ovrl",
    "dnsmos_sig",
    "dnsmos_bak",
    "dnsmos_p808",
    "plcmos",
    "speaker_resemblyzer",
)
SYSTEMS = ({"codec": "opus", "points": [6, 24]}, {"codec": "identity"})


def write_clips(folder: Path, count: int, seconds: float) -> None:
    """Speech of up to so many seconds, the longest clips there are."""
    import soundfile

    speech = [path for domain, path in clip_files(SHARED) if domain == "speech"]
    longest = sorted(speech, key=lambda path: -soundfile.info(str(path)).duration)
    for path in spread(longest[: 2 * count], count):
        samples = load(path, RATE, seconds).samples[0, 0].numpy()
        soundfile.write(str(folder / f"{path.stem}.wav"), samples, RATE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--metrics", nargs="+", default=list(MODELS), metavar="KEY")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0, help="longest clip")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "clips"
        folder.mkdir()
        write_clips(folder, arguments.clips, arguments.seconds)
        found = run_part(
            "rdbench", clips=str(folder), out=f"{place}/run", device="cpu",
            metrics=arguments.metrics, systems=SYSTEMS, workers=arguments.workers,
        )  # fmt: skip
    print(
        f"{arguments.workers} workers, {arguments.clips} clips of up to {arguments.seconds:g} s, "
        f"{', '.join(arguments.metrics)}: {found['peak_mb']:.0f} MB together, "
        f"{found['child_mb']:.0f} MB the largest worker; {found['core_seconds']:.0f} core-seconds, "
        f"{found['failed']} failed"
    )
    return int(found["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
