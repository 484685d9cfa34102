"""How far a device's numbers lie from the CPU's: tensor metrics, and every codec of a model.

    python benchmarks/device_parity.py                  cuda beside the CPU
    python benchmarks/device_parity.py --device cpu     the CPU beside itself: whether it runs

One spec is run twice, and its rows are compared clip by clip. Opus is coded on the CPU in both, so
that its rows tell of metrics alone; those of models tell of encoder, decoder and metric together.
Metrics are those of 16 and 48 kHz, and of any rate, that need no model file. Models are the
checkpoints that come with rdbench; other codecs need weights that are not in the
repository. A run that was ended goes on. The results go to `device_parity.json`, and
`device_parity.md` is made from it: what was not measured says so.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

HERE = Path(__file__).resolve().parent
RECORD = "device_parity.json"
OPUS = "opus"
COLUMNS = ["system", "point", "variant", "domain", "clip", "kind", "key"]


def spec(limit: int) -> dict[str, Any]:
    """Every metric that runs on a device without a model file, and every shipped checkpoint."""
    from rdbench.models import shipped

    models = [
        {"codec": "vae", "name": name, "options": {"weights": name}, "domains": ["speech"]}
        for name in shipped.names()
    ]
    return {
        "name": "device_parity",
        "corpus": {"kind": "embedded", "sample": {"clips": limit}},
        "protocol": {
            "sample_rate": {"speech": 16000, "default": 48000},
            "channels": "mono",
            "excerpt_seconds": 3.0,
        },
        "metrics": {"speech": metrics(16000), "default": metrics(48000)},
        "systems": [{"codec": OPUS, "points": [12, 32]}, *models],
        "costs": {"enabled": False},
    }


def metrics(rate: int) -> list[str]:
    """The keys of metrics of a clip whose first backend is of tensors and needs no file."""
    from rdbench.metrics.registry import backend, definition, keys
    from rdbench.types import RdbenchError, RunsOn

    found = []
    for key in keys():
        try:
            one = backend(key)
            suits = definition(key).sample_rate in (None, rate)
        except RdbenchError:  # it needs a package or a model that is not here
            continue
        if one.runs_on is RunsOn.DEVICE and definition(key).scope.value != "set" and suits:
            found.append(key)
    return found


def run(folder: Path, limit: int, device: str, name: str) -> Any:
    """The rows of the spec on a device."""
    from rdbench.store.reader import read_rows

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec(limit)))
    out = folder / name
    command = [sys.executable, "-m", "rdbench", "run", str(path), "--out", str(out)]
    done = subprocess.run([*command, "--device", device, "--quiet"], check=False)
    if done.returncode not in (0, 1):  # 1: some rows failed, which the table counts
        sys.exit(done.returncode)
    return read_rows(out)


def compare(here: Any, there: Any) -> Iterator[dict[str, Any]]:
    """A row for each system and quantity: the largest difference over clips, points, variants."""
    both = here.merge(there, on=COLUMNS, suffixes=("", "_there"))
    both = both[both["kind"].isin(["rate", "metric"])]
    for (system, kind, key), rows in both.groupby(["system", "kind", "key"], sort=False):
        alike = rows["status"] == rows["status_there"]
        scored = rows[alike & (rows["status"] == "ok")]
        gaps = (scored["value"] - scored["value_there"]).abs().to_numpy(float)
        size = float(scored["value"].abs().max()) if len(scored) else float("nan")
        yield {
            "system": system, "kind": kind, "key": key, "rows": len(rows), "scored": len(scored),
            "outcomes that differ": int((~alike).sum()),
            "max": float(gaps.max()) if len(gaps) else float("nan"),
            "median": float(np.median(gaps)) if len(gaps) else float("nan"), "largest value": size,
        }  # fmt: skip


def machine(device: str) -> str:
    """What it ran on."""
    import torch

    name = torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor()
    return f"{name or platform.machine()}, torch {torch.__version__}"


def page(record: Mapping[str, Any]) -> Iterator[str]:
    """The table."""
    yield "# A device beside the CPU"
    yield ""
    yield f"Written by `benchmarks/device_parity.py`, from `{RECORD}`; not by hand."
    yield ""
    yield f"- {record.get('machine', 'cuda: not measured')}"
    yield ""
    if not record:
        return
    yield (
        "Largest and median absolute difference between the two, over clips, points and variants; "
        "of rates in bits. Opus is coded on the CPU on both sides."
    )
    yield ""
    yield "| system | quantity | rows | outcomes that differ | median | largest | largest value |"
    yield "|---|---|---|---|---|---|---|"
    for row in record["rows"]:
        yield (
            f"| {row['system']} | {row['key']} | {row['scored']} of {row['rows']} | "
            f"{row['outcomes that differ']} | {row['median']:.1e} | {row['max']:.1e} | "
            f"{row['largest value']:.4g} |"
        )


def main() -> None:
    """Measures, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--limit", type=int, default=20, help="clips")
    parser.add_argument("--work", type=Path, default=Path("runs/device_parity"))
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the results")
    arguments = parser.parse_args()
    # Another machine, or another torch, is another comparison.
    named = hashlib.sha256(machine(arguments.device).encode()).hexdigest()[:8]
    work = arguments.work / named
    here = run(work, arguments.limit, "cpu", "cpu")
    there = run(work, arguments.limit, arguments.device, "device")
    record = {
        "machine": f"{arguments.device}: {machine(arguments.device)}",
        "rows": list(compare(here, there)),
    }
    (arguments.out / RECORD).write_text(json.dumps(record, indent=1) + "\n")
    (arguments.out / RECORD).with_suffix(".md").write_text("\n".join(page(record)) + "\n")


if __name__ == "__main__":
    main()
