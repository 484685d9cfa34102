"""What `evaluator_speed.py` measures: rdbench, the plain loop and single stages, each as a process.

    python benchmarks/evaluator_parts.py PART OPTIONS ANSWER

does one part on what OPTIONS (JSON) names, and writes what it measured to the file ANSWER.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SHARED = Path(
    os.environ.get("RDBENCH_SHARED", Path(__file__).resolve().parents[2] / "shared" / "data")
)
RATE = 16000
POOL = ["pesq_wb"]
TENSOR = ["stoi", "visqol_speech", "si_sdr", "mel_dac_16k", "stft_dac_16k", "lsd"]


def clip_files(count: int) -> list[tuple[Path, float]]:
    """Speech files with their start in seconds: the shared ones, else the embedded ones."""
    manifest = SHARED / "clips" / "manifest.csv"
    if manifest.is_file():
        with manifest.open(encoding="utf-8", newline="") as table:
            rows = [row for row in csv.DictReader(table) if row["domain"] == "speech"]
        found = [(manifest.parent / row["file"], float(row.get("start") or 0)) for row in rows]
    else:
        from rdbench.audio.corpus import embedded_corpus

        clips = embedded_corpus().select(domains=["speech"]).clips
        found = [(clip.path, clip.start) for clip in clips]
    return [found[i % len(found)] for i in range(count)]


def make_clips(folder: Path, count: int, seconds: float) -> None:
    """Equally long excerpts at 16 kHz, mono; a file that is too short is repeated."""
    import numpy as np
    import soundfile
    import torch

    from rdbench.audio.load import read
    from rdbench.audio.resample import resample

    for index, (path, start) in enumerate(clip_files(count)):
        samples, rate = read(path, start=start)
        wave = resample(samples.mean(0, keepdim=True), rate, RATE)[0].numpy()
        wave = np.resize(np.roll(wave, -1000 * index), round(seconds * RATE))
        soundfile.write(folder / f"{index:04d}.wav", wave, RATE, subtype="PCM_16")
    assert torch.get_num_threads() >= 1


def synthetic_clips(folder: Path, count: int, seconds: float = 1.0) -> None:
    """Short seeded clips: harmonics under a slow envelope, and noise."""
    import numpy as np
    import soundfile

    time_axis = np.arange(round(seconds * RATE)) / RATE
    for index in range(count):
        generator = np.random.default_rng(index)
        pitch = generator.uniform(90, 250)
        wave = sum(np.sin(2 * np.pi * k * pitch * time_axis) / k for k in range(1, 15))
        wave = 0.1 * wave * (1.2 + np.sin(2 * np.pi * 4 * time_axis))
        wave += 0.01 * generator.standard_normal(len(time_axis))
        soundfile.write(folder / f"{index:04d}.wav", wave, RATE, subtype="PCM_16")


def spec_of(folder: Path, systems: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> Any:
    from rdbench.spec.model import BenchmarkSpec

    return BenchmarkSpec.model_validate(
        {
            "name": "evaluator_speed",
            "corpus": {"kind": "folder", "path": str(folder), "domain": "speech"},
            "protocol": {"sample_rate": RATE, "channels": "mono", "excerpt_seconds": None},
            "metrics": {"speech": list(metrics)},
            "systems": list(systems),
            "costs": {"enabled": False},
        }
    )


# The parts, each in a process of its own


def run_rdbench(options: Mapping[str, Any]) -> dict[str, Any]:
    """A run of rdbench over a folder of clips, from an imported interpreter on."""
    from rdbench.engine.run import RunOptions, run_benchmark

    spec = spec_of(Path(options["clips"]), options["systems"], options["metrics"])
    how = RunOptions(device=options["device"], workers=options["workers"])
    start = time.perf_counter()
    summary = run_benchmark(spec, Path(options["out"]), how)
    return {
        "wall": time.perf_counter() - start,
        "written": summary.written,
        "failed": summary.failed,
    }


def run_loop(options: Mapping[str, Any]) -> dict[str, Any]:
    """Clip by clip, point by point, metric by metric, with the packages' own calls."""
    import pesq
    import pystoi
    import soundfile
    import torch
    import visqol

    from rdbench.codecs.registry import create
    from rdbench.metrics.registry import backend
    from rdbench.types import AudioBatch

    device = options["device"]
    api = visqol.VisqolApi()
    api.create(mode="speech", use_lattice_model=True)
    codecs = [
        create(item["codec"], points=item.get("points"), options=item.get("options", {})).to(device)
        for item in options["systems"]
    ]
    tensors = [backend(key) for key in options["metrics"] if key not in (*POOL, *TENSOR[:2])]

    def batch(wave: Any) -> AudioBatch:
        samples = torch.as_tensor(wave, dtype=torch.float32)[None, None].to(device)
        return AudioBatch(samples, torch.tensor([samples.shape[-1]]), RATE)

    def score(path: Path) -> float:
        from rdbench.audio.resample import fit_lengths, resample_batch

        wave, _ = soundfile.read(path, dtype="float32")
        reference, total = batch(wave), 0.0
        for codec in codecs:
            native = resample_batch(reference, codec.info.native_rate(RATE))
            for point in codec.points:
                with torch.inference_mode():
                    encoded = codec.encode(native, point)
                    given = codec.decoder_input(encoded, codec.variants[0], [0])
                    decoded = fit_lengths(
                        resample_batch(codec.decode(given).to(device), RATE), reference.lengths
                    )
                    other = decoded.samples[0, 0].cpu().numpy()
                    pesq.pesq(RATE, wave, other, "wb")
                    pystoi.stoi(wave, other, RATE)
                    api.measure_from_arrays(wave, other, RATE)
                    for metric in tensors:
                        metric.score(metric.prepare(reference), reconstruction=decoded)
                total += len(wave) / RATE
        return total

    paths = sorted(Path(options["clips"]).iterdir())
    score(paths[0])  # models, tables and numba's kernels
    start = time.perf_counter()
    seconds = sum(score(path) for path in sampled(paths, options["sample"]))
    return {"wall": time.perf_counter() - start, "seconds": seconds}


class Stages:
    """Seconds of every stage, one after another: of a core, or of a GPU that has caught up."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.spent: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str, *, on_device: bool) -> Iterator[None]:
        """Times what is done inside."""
        import torch

        on_gpu = on_device and self.device != "cpu"
        clock: Callable[[], float] = time.perf_counter if on_gpu else time.process_time
        if on_gpu:
            torch.cuda.synchronize()
        start = clock()
        yield
        if on_gpu:
            torch.cuda.synchronize()
        self.spent[f"{'gpu' if on_gpu else 'core'} {name}"] += clock() - start

    def evaluate(self, clip: Any, systems: Sequence[Any], metrics: Sequence[Any]) -> None:
        """One clip through every system and metric."""
        from rdbench.audio.align import residual_delay
        from rdbench.audio.load import ExcerptProtocol, load_excerpt
        from rdbench.engine.measure.batch import Batch

        with self.stage("load", on_device=False):
            excerpt = load_excerpt(clip.clip, ExcerptProtocol(RATE, "mono", None))
            batch = Batch([clip], [excerpt], self.device)
        for system in systems:
            for audio in self._decoded(system, batch, metrics):
                with self.stage("residual delay", on_device=True):
                    residual_delay(reference=batch.reference, reconstruction=audio)
                for metric in metrics:
                    self._score(metric, batch, audio)

    def _decoded(self, system: Any, batch: Any, metrics: Sequence[Any]) -> Iterator[Any]:
        """Reconstructions, whose stage has the rates and traces of what was encoded too."""
        import torch

        from rdbench.engine.measure.code import code
        from rdbench.engine.measure.passes import Passes
        from rdbench.engine.passes.rates import RatesPass
        from rdbench.engine.passes.scores import ScoresPass
        from rdbench.types import RunsOn

        passes = Passes([RatesPass(), ScoresPass({batch.domain: metrics})])
        on_cpu = system.info.runs_on is RunsOn.POOL
        reference = batch.reference.to("cpu") if on_cpu else batch.reference
        works = self._works(system, batch, passes)
        outcomes = code(system.codec, reference, works, passes)
        while True:
            with self.stage(f"codec {system.name}", on_device=not on_cpu), torch.inference_mode():
                outcome = next(outcomes, None)
            if outcome is None:
                return
            yield outcome.audio.to(self.device)

    @staticmethod
    def _works(system: Any, batch: Any, passes: Any) -> list[Any]:
        """Everything that the passes ask of a clip in the steps of a system."""
        from rdbench.engine.measure.work import Work
        from rdbench.engine.plan.open import OpenUnits

        wanted = OpenUnits()
        for step in system.steps:
            for clip in batch.clips:
                for one in passes.all:
                    wanted.add(step.id, clip.name, one.of_clip(step, batch.domain))
        return [
            Work(step, batch.clips, batch.seconds, wanted, lambda _: None) for step in system.steps
        ]

    def _score(self, metric: Any, batch: Any, audio: Any) -> None:
        from rdbench.metrics.base import DeviceBackend

        tensor = isinstance(metric.backend, DeviceBackend)
        with self.stage(metric.key, on_device=tensor):
            if tensor:
                metric.backend.score(batch.prepared(metric, [0]), reconstruction=audio)
                return
            reference, other = (
                item.samples[0, 0].cpu().numpy() for item in (batch.reference, audio)
            )
            made = metric.backend.prepare(reference, RATE)
            metric.backend.score(made, reconstruction=other, sample_rate=RATE)


def run_stages(options: Mapping[str, Any]) -> dict[str, Any]:
    """Core-seconds of every stage, one thread, nothing else: by name, for the sampled clips."""
    import torch

    from rdbench.engine.plan.clips import load_corpus, plan_clips
    from rdbench.engine.plan.metrics import resolve_metrics
    from rdbench.engine.plan.systems import build_systems

    torch.set_num_threads(1)
    spec = spec_of(Path(options["clips"]), options["systems"], options["metrics"])
    systems, metrics = build_systems(spec, allow_code=False), resolve_metrics(spec, "speech")
    for system in systems:
        system.codec.to(options["device"])
    stages, clips = Stages(options["device"]), plan_clips(load_corpus(spec), seed=0)
    stages.evaluate(clips[0], systems, metrics)
    stages.spent.clear()
    for clip in sampled(clips, options["sample"]):
        stages.evaluate(clip, systems, metrics)
    return {"stages": dict(stages.spent)}


def sampled(items: Sequence[Any], count: int) -> list[Any]:
    """`count` of the items, evenly."""
    count = min(count, len(items))
    return [items[round(i * (len(items) - 1) / max(1, count - 1))] for i in range(count)]


PARTS = {"rdbench": run_rdbench, "loop": run_loop, "stages": run_stages}


if __name__ == "__main__":
    part, given, answer = sys.argv[1:]
    Path(answer).write_text(json.dumps(PARTS[part](json.loads(given))), encoding="utf-8")
