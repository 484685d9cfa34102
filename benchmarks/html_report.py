"""How long the HTML report takes to build and to open, and how large it is.

    python benchmarks/html_report.py [--keep FOLDER]        writes benchmarks/html_report.md

A synthetic run of 100 clips × 20 points × 10 metrics, with 5 s of audio at 16 kHz and a trace of
250 frames for every clip and point: tones and noise, as hard to compress as speech. The page is
opened in Chromium (Debian's package) from `file://`, without a cache, as a colleague would for the
first time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from rdbench.rate.trace import FRAME, Trace
from rdbench.report.html.write import write_html
from rdbench.store.audio import KEY, UNIT, open_audio, write_audio
from rdbench.store.schema import Kind, Row
from rdbench.store.writer import RunWriter
from rdbench.types import RateKind, Status

CLIPS, SYSTEMS, POINTS, METRICS = 100, 5, 4, 10
RATE, SECONDS, FRAMES = 16_000, 5.0, 250
OPENINGS = 5
OUTPUT = Path(__file__).with_suffix(".md")
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


def make_run(folder: Path) -> None:
    """Writes the synthetic run."""
    with RunWriter(folder) as writer:
        audio = open_audio(folder)
        for clip in range(CLIPS):
            rows = list(rows_of(clip, audio))
            writer.append(rows)
            for rate in rows:
                if rate.kind is Kind.RATE:
                    key = f"{rate.unit_key}/trace"
                    named = replace(rate, unit_key=key, kind=Kind.TRACE, key=FRAME)
                    writer.trace(named, frames_of(rate))
        writer.write_manifest(
            {
                "name": "synthetic",
                "systems": {
                    f"s{s}": {"label": f"System {s}", "curve": f"s{s}", "headline": "payload"}
                    for s in range(SYSTEMS)
                },
                "metrics": {
                    f"metric_{m}": {"name": f"Metric {m}", "direction": "higher"}
                    for m in range(METRICS)
                },
                "corpus": {"name": "synthetic"},
                "protocol": {"sample_rate": RATE},
            }
        )


def rows_of(clip: int, audio: Path) -> Iterator[Row]:
    """All rows of one clip; keeps its audio."""
    rng = np.random.default_rng(clip)
    signal = sound(rng)
    yield kept(place("", "", clip), clip, signal, audio)
    for system in range(SYSTEMS):
        for point in range(POINTS):
            name, kbps = f"{3 * 2**point}", 3 * 2**point * (1 + 0.1 * system)
            noise = rng.standard_normal(signal.shape).astype(np.float32)
            coded = signal + 0.05 / (point + 1) * noise * np.abs(signal)
            where = place(f"s{system}", name, clip)
            yield kept(where, clip, coded, audio)
            bits = 1000 * kbps * SECONDS * (1 + 0.05 * rng.standard_normal())
            yield row(where, Kind.RATE, "payload", bits, "bit")
            for metric in range(METRICS):
                score = 1 + np.log2(kbps) / 2 + 0.3 * rng.standard_normal()
                yield row(where, Kind.METRIC, f"metric_{metric}", score, "")


def frames_of(rate: Row) -> Trace:
    """The bits of a clip over 20 ms frames."""
    rng = np.random.default_rng(int(rate.value))
    shares = rng.dirichlet(np.full(FRAMES, 20.0))
    begins = np.arange(FRAMES) * SECONDS / FRAMES
    return Trace(
        RateKind.PAYLOAD, FRAME, tuple(range(FRAMES)), tuple(begins), tuple(rate.value * shares)
    )


def sound(rng: np.random.Generator) -> np.ndarray:
    """Voiced syllables with a noise floor, float32 (1, time)."""
    at = np.arange(int(RATE * SECONDS)) / RATE
    pitch = 2 * np.pi * 140 * (at + 0.01 * np.sin(2 * np.pi * 3 * at))
    tones = sum(np.sin(k * pitch + rng.uniform(0, 6)) / k for k in range(1, 25))
    loudness = np.clip(np.sin(2 * np.pi * 2.5 * at + rng.uniform(0, 6)), 0, 1) ** 2
    noise = 0.02 * rng.standard_normal(at.size)
    return (0.15 * (loudness * tones + noise)).astype(np.float32)[None]


def place(system: str, point: str, number: int) -> dict[str, object]:
    """The columns that say what a row is about."""
    return {
        "system": system, "curve": system, "point": point, "variant": "codes" if system else "",
        "clip": f"clip_{number:03d}.wav", "domain": "speech", "group": f"speaker_{number // 2}",
        "seconds": SECONDS,
    }  # fmt: skip


def row(where: dict[str, object], kind: Kind, key: str, value: float, unit: str) -> Row:
    """One measured value."""
    unit_key = "/".join(map(str, (where["system"], where["point"], where["clip"], kind, key)))
    return Row(
        **where, unit_key=unit_key, kind=kind, key=key, value=float(value), unit=unit,
        backend="", status=Status.OK, reason="",
    )  # type: ignore[arg-type]  # fmt: skip


def kept(where: dict[str, object], number: int, signal: np.ndarray, audio: Path) -> Row:
    """The row of a kept file."""
    key = f"{number:03d}{where['system']}{where['point']}"
    peak = write_audio(audio, key, signal, RATE)
    made = row(where, Kind.AUDIO, KEY, peak, UNIT)
    return Row(**{**made.__dict__, "unit_key": key})


def opening(page: Path) -> list[tuple[float, float, float]]:
    """Seconds until text is shown and until the figure is drawn, and the page's CPU seconds.

    Of several openings with an empty cache, the fastest first.
    """
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as play:
        for _ in range(OPENINGS):
            with tempfile.TemporaryDirectory() as profile:
                context = play.chromium.launch_persistent_context(
                    profile, executable_path=CHROMIUM, headless=True, args=FLAGS
                )
                tab = context.new_page()
                tab.goto("about:blank")
                session = context.new_cdp_session(tab)
                session.send("Performance.enable", {"timeDomain": "threadTicks"})
                began = time.perf_counter()
                tab.goto(page.absolute().as_uri(), wait_until="commit")
                tab.wait_for_selector("html[data-ready]", timeout=60_000)
                drawn = time.perf_counter() - began
                paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
                metrics = session.send("Performance.getMetrics")["metrics"]
                (busy,) = [m["value"] for m in metrics if m["name"] == "TaskDuration"]
                found.append((drawn, tab.evaluate(paint) / 1000, busy))
                context.close()
    return sorted(found)


def main() -> None:
    """Builds, opens, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keep", type=Path, help="leave run and report in this folder")
    keep = parser.parse_args().keep
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        make_run(folder / "run")
        began, cpu = time.perf_counter(), time.process_time()
        files = write_html(folder / "run", folder / "report")
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        heard = sum(path.stat().st_size for path in files if "audio" in path.parts[-3:-1])
        size = sum(path.stat().st_size for path in files)
        opened = opening(files[0])
    load = os.getloadavg()[0]
    lines = [
        "# The HTML report: time and size",
        "",
        f"`python benchmarks/html_report.py`: {CLIPS} clips × {SYSTEMS * POINTS} points × "
        f"{METRICS} metrics, {SECONDS:g} s of audio at {RATE // 1000} kHz each; {os.cpu_count()} "
        f"cores, load {load:.1f}.",
        "",
        "|  | measured | wanted |",
        "|---|---:|---:|",
        f"| building, wall time (CPU time) | {wall:.1f} s ({cpu:.1f} s) | ≤ 180 s |",
        f"| size without audio | {(size - heard) / 1e6:.2f} MB | ≤ 6 MB |",
        f"| audio | {heard / 1e6:.0f} MB | |",
        f"| opening until text is shown, median of {OPENINGS} | "
        f"{median(text for _, text, _ in opened):.2f} s | |",
        f"| opening until the figure is drawn, median of {OPENINGS} | "
        f"{median(drawn for drawn, *_ in opened):.2f} s | ≤ 2 s |",
        f"| the same, fastest | {opened[0][0]:.2f} s | |",
        f"| CPU time of the page while it opens, median | "
        f"{median(busy for *_, busy in opened):.2f} s | |",
    ]
    OUTPUT.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
