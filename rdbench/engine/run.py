"""One run of a benchmark: from a spec to a results folder.

`run_benchmark` plans the units, takes from the store what is already there, evaluates the rest,
measures costs, and leaves the manifest beside the rows. Tables and figures are made from the
folder by `rdbench.report`, never from here.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rdbench.engine.environment import cores, hardware, versions
from rdbench.engine.plan import (
    Metric,
    PlannedClip,
    System,
    UnitKeys,
    build_systems,
    plan_clips,
    resolve_metrics,
)
from rdbench.engine.progress import Progress
from rdbench.types import SpecError

if TYPE_CHECKING:
    from pathlib import Path

    from rdbench.audio.clip import Corpus
    from rdbench.audio.load import ExcerptProtocol
    from rdbench.engine.costs import CostPass
    from rdbench.engine.evaluate import Evaluator
    from rdbench.engine.ledger import Ledger
    from rdbench.engine.pool import WorkerPool
    from rdbench.spec.model import BenchmarkSpec
    from rdbench.store.writer import RunWriter

DEFAULT_BATCH_SECONDS = 60.0


@dataclass(frozen=True)
class RunOptions:
    """How to run, where the spec does not say.

    device: "auto" is the first CUDA device, else the CPU. workers: processes of the pool; None is
    one for each core. batch_seconds: audio in one batch. allow_code: whether `module:Class` may
    run. costs: what the cost pass of the spec does: measure what is "missing", all of it "again"
    (costs want a machine that does nothing else), or "none".
    """

    device: str = "auto"
    workers: int | None = None
    batch_seconds: float = DEFAULT_BATCH_SECONDS
    allow_code: bool = False
    costs: Literal["missing", "again", "none"] = "missing"


@dataclass(frozen=True)
class RunSummary:
    """How a run ended: rows written now, and the failed ones that its folder holds."""

    folder: Path
    written: int
    failed: int


def run_benchmark(
    spec: BenchmarkSpec,
    folder: Path,
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> RunSummary:
    """Runs `spec` into `folder`, doing only what is missing there.

    Raises SpecError, CodecError, AudioError or StoreError for what the user can mend before any
    work is done; failures of single units are rows.
    """
    options = options or RunOptions()
    return _Run(spec, folder, options, progress or Progress()).go()


class _Run:
    """The state of one call of `run_benchmark`."""

    def __init__(
        self, spec: BenchmarkSpec, folder: Path, options: RunOptions, progress: Progress
    ) -> None:
        self.spec = spec
        self.folder = folder
        self.options = options
        self.progress = progress
        self.device = resolve_device(options.device)
        self.workers = options.workers or cores()
        self.domains: list[str] = []

    def go(self) -> RunSummary:
        from rdbench.audio.resample import RESAMPLER
        from rdbench.engine.corpora import load_corpus
        from rdbench.store.writer import RunWriter

        corpus = load_corpus(self.spec)
        self.domains = list(dict.fromkeys(clip.domain for clip in corpus.clips))
        metrics = {domain: resolve_metrics(self.spec, domain) for domain in self.domains}
        systems = build_systems(self.spec, allow_code=self.options.allow_code)
        clips = plan_clips(corpus, seed=self.spec.protocol.seed)
        by_key = {metric.key: metric for chosen in metrics.values() for metric in chosen}
        keys = UnitKeys(
            fingerprint=self.spec.protocol.fingerprint(RESAMPLER),
            machine=[hardware(self.device), versions()["torch"]],
            device_class=self.device.partition(":")[0],
            dtype=self.spec.protocol.dtype,
            seed=self.spec.protocol.seed,
            metrics=by_key,
        )
        with RunWriter(self.folder) as writer:
            self._write_manifest(writer, corpus, clips, systems, by_key, finished=False)
            summary = self._evaluate(writer, keys, systems, metrics, clips)
            self._write_manifest(writer, corpus, clips, systems, by_key, finished=True)
        return summary

    def _evaluate(
        self,
        writer: RunWriter,
        keys: UnitKeys,
        systems: Sequence[System],
        metrics: Mapping[str, Sequence[Metric]],
        clips: Sequence[PlannedClip],
    ) -> RunSummary:
        from rdbench.engine.costs import UNITS
        from rdbench.engine.ledger import Ledger
        from rdbench.engine.pool import worker_pool
        from rdbench.store.reader import count_failed, done_keys

        writer.retire(keep=keys.all(systems, metrics, clips, UNITS))
        done = done_keys(self.folder)
        ledger = Ledger(writer, keys, metrics, done, self.progress)
        asked = missing = 0
        for system in systems:
            for clip in clips:
                if system.takes(clip.clip.domain):
                    for step in system.steps:
                        asked += 1
                        missing += ledger.open_step(step, clip)
        self.progress.start(asked, asked - missing)
        for system in systems:
            if system.failure:
                self.progress.say(f"{system.name} cannot be run: {system.failure}")
        try:
            if missing:
                with worker_pool(self.workers) as pool:
                    self._evaluator(systems, metrics, ledger, pool).run(clips)
            if self.spec.costs.enabled and self.options.costs != "none":
                known = done if self.options.costs == "missing" else set()
                self._cost_pass(systems, keys, writer).run(clips, known)
        finally:
            self.progress.stop()
        writer.flush()
        return RunSummary(self.folder, ledger.written, count_failed(self.folder))

    def _evaluator(
        self,
        systems: Sequence[System],
        metrics: Mapping[str, Sequence[Metric]],
        ledger: Ledger,
        pool: WorkerPool,
    ) -> Evaluator:
        import torch

        from rdbench.engine.evaluate import Evaluator, Settings

        torch.set_num_threads(self.spec.protocol.threads)
        # TF32 would flip codes; float32 means float32.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        for system in systems:
            if system.codec:
                system.codec.to(self.device)
        return Evaluator(
            systems=systems,
            metrics=metrics,
            protocols=excerpt_protocols(self.spec, self.domains),
            ledger=ledger,
            pool=pool,
            settings=Settings(
                device=self.device,
                batch_seconds=self.options.batch_seconds,
                timeout=self.spec.timeouts.unit_seconds,
                align=self.spec.protocol.alignment == "residual",
            ),
            progress=self.progress,
        )

    def _cost_pass(self, systems: Sequence[System], keys: UnitKeys, writer: RunWriter) -> CostPass:
        from rdbench.engine.costs import CostPass

        return CostPass(
            systems=systems,
            protocols=excerpt_protocols(self.spec, self.domains),
            keys=keys,
            writer=writer,
            progress=self.progress,
            device=self.device,
            clips=self.spec.costs.clips,
            repeats=self.spec.costs.repeats,
            threads=self.spec.protocol.threads,
        )

    def _write_manifest(
        self,
        writer: RunWriter,
        corpus: Corpus,
        clips: Sequence[PlannedClip],
        systems: Sequence[System],
        metrics: Mapping[str, Metric],
        *,
        finished: bool,
    ) -> None:
        from rdbench.engine.describe import manifest

        writer.write_manifest(
            manifest(
                spec=self.spec,
                corpus=corpus,
                clips=clips,
                systems=systems,
                metrics=metrics,
                device=self.device,
                workers=self.workers,
                batch_seconds=self.options.batch_seconds,
                finished=_now() if finished else None,
            )
        )


def excerpt_protocols(spec: BenchmarkSpec, domains: Sequence[str]) -> dict[str, ExcerptProtocol]:
    """How the clips of each domain are prepared."""
    from rdbench.audio.load import ExcerptProtocol

    wanted = {domain: spec.protocol.for_domain(domain) for domain in domains}
    return {
        domain: ExcerptProtocol(p.sample_rate, p.channels, p.excerpt_seconds, p.gain)
        for domain, p in wanted.items()
    }


def resolve_device(name: str) -> str:
    """Resolves "auto"; raises SpecError for one that this machine has not."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SpecError(f"there is no device {name!r}; use cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SpecError(
            f"device {name!r} is not on this machine, which has "
            f"{torch.cuda.device_count()} CUDA devices; use --device cpu"
        )
    return name


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
