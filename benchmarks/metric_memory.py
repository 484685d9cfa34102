"""Memory of a run whose processes load the models of metrics.

    python benchmarks/metric_memory.py                          the metrics that bring their models
    python benchmarks/metric_memory.py --metrics si_sdr         what is there without a model
    python benchmarks/metric_memory.py --workers 4

Runs Opus and the reference itself on clips of speech by `rdbench run`, in a folder that is removed
again, and prints the highest proportional set size (pages that processes share count once) of all
processes together and of one of them. Linux alone says what pages are shared.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from degradations import SHARED
from evaluator_speed import Watch

MODELS = (
    "distill_mos",
    "dnsmos_ovrl",
    "dnsmos_sig",
    "dnsmos_bak",
    "dnsmos_p808",
    "plcmos",
    "speaker_resemblyzer",
)


def spec(metrics: list[str], seconds: float) -> dict[str, Any]:
    """A benchmark of Opus on speech."""
    manifest = SHARED / "clips" / "manifest.csv"
    clips = {"kind": "manifest", "path": str(manifest.resolve())}
    return {
        "name": "metric_memory",
        "corpus": (clips if manifest.is_file() else {"kind": "embedded"}) | {"domains": ["speech"]},
        "protocol": {"sample_rate": 16000, "channels": "mono", "excerpt_seconds": seconds},
        "metrics": {"speech": metrics},
        "systems": [{"codec": "opus", "points": [6, 24]}, {"codec": "identity"}],
        "costs": {"enabled": False},
    }


def main() -> int:
    import psutil

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--metrics", nargs="+", default=list(MODELS), metavar="KEY")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0, help="longest excerpt")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec.yaml"  # JSON is YAML
        written = json.dumps(spec(arguments.metrics, arguments.seconds))
        path.write_text(written, encoding="utf-8")
        command = [sys.executable, "-m", "rdbench", "run", str(path), "--out", f"{folder}/run",
                   "--device", "cpu", "--workers", str(arguments.workers),
                   "--limit", str(arguments.clips)]  # fmt: skip
        with Path(os.devnull).open("w", encoding="utf-8") as nothing:
            process = psutil.Popen(command, stdout=nothing)
            watch = Watch(process, gpu=False)
            code = process.wait()
    found = watch.stop()
    print(
        f"{arguments.workers} workers, {arguments.clips} clips of up to {arguments.seconds:g} s, "
        f"{', '.join(arguments.metrics)}: {found['peak_mb']:.0f} MB together, "
        f"{found['child_mb']:.0f} MB the largest process, {found['core_seconds']:.0f} core-seconds"
    )
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
