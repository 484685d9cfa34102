"""One run of a benchmark: from a spec to a results folder.

`run_benchmark` plans the units, takes from the store what is already there, evaluates the rest,
measures costs, and leaves the manifest beside the rows. Tables and figures are made from the
folder by `rdbench.report`, never from here.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rdbench.engine.devices import default_workers, resolve_devices
from rdbench.engine.environment import full_precision, hardware, versions
from rdbench.engine.plan import (
    Metric,
    PlannedClip,
    System,
    build_systems,
    not_valid,
    plan_clips,
    resolve_metrics,
)
from rdbench.engine.progress import Progress
from rdbench.engine.unit_keys import UnitKeys
from rdbench.types import StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from rdbench.audio.clip import Corpus
    from rdbench.audio.load import ExcerptProtocol
    from rdbench.engine.bits import BitsPass
    from rdbench.engine.costs import CostPass
    from rdbench.engine.execute import Execution
    from rdbench.engine.ledger import Ledger
    from rdbench.rate.tables import Tables
    from rdbench.spec.model import BenchmarkSpec
    from rdbench.store.writer import RunWriter

DEFAULT_BATCH_SECONDS = 60.0


@dataclass(frozen=True)
class RunOptions:
    """How to run, where the spec does not say.

    device: "auto" is the first CUDA device, else the CPU; several with commas between them, or
    "cuda:all", are used at the same time; "cpu:0" treats the CPU as a GPU is treated. workers:
    processes of the pool; None is one for each core. batch_seconds: audio in one batch.
    allow_code: whether `module:Class` may run. costs: what the cost pass of the spec does: measure
    what is "missing", all of it "again" (costs want a machine that does nothing else), or "none".
    keep_audio: leave reconstructions and
    references in the folder too, as FLAC (`rdbench.store.audio`). traces: leave bits per frame
    (`rdbench.store.traces`), even where the spec does not ask for them.
    """

    device: str = "auto"
    workers: int | None = None
    batch_seconds: float = DEFAULT_BATCH_SECONDS
    allow_code: bool = False
    costs: Literal["missing", "again", "none"] = "missing"
    keep_audio: bool = False
    traces: bool = False


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
        self.devices = resolve_devices(options.device)
        self.device = self.devices[0]
        self.workers = options.workers or default_workers(self.device, spec.protocol.threads)
        self.domains: list[str] = []
        self.tables: Tables | None = None
        self.plan: list[dict[str, Any]] = []

    def go(self) -> RunSummary:
        from rdbench.audio.resample import RESAMPLER
        from rdbench.engine.corpora import load_corpus, unread
        from rdbench.engine.pool import start_server
        from rdbench.store.writer import RunWriter

        if not self.folder.exists():
            start_server()  # there is work for sure, and it takes seconds to start
        self._prepare_torch()
        corpus = load_corpus(self.spec)
        self.domains = list(dict.fromkeys(clip.domain for clip in corpus.clips))
        metrics = {domain: resolve_metrics(self.spec, domain) for domain in self.domains}
        systems = build_systems(self.spec, allow_code=self.options.allow_code)
        clips = plan_clips(corpus, seed=self.spec.protocol.seed)
        self._take_tables(systems, clips)
        by_key = {metric.key: metric for chosen in metrics.values() for metric in chosen}
        keys = UnitKeys(
            fingerprint=self.spec.protocol.fingerprint(RESAMPLER),
            machine=[hardware(self.device), versions()["torch"]],
            device_class=self.device.partition(":")[0],
            dtype=self.spec.protocol.dtype,
            seed=self.spec.protocol.seed,
            metrics=by_key,
        )
        _check_folder(self.folder)
        notes = [*(not_valid(self.spec, domain) for domain in self.domains), unread(self.spec)]
        for sentence in filter(None, notes):
            self.progress.say(sentence)
        with RunWriter(self.folder) as writer:
            self.plan = self._expected(keys, writer, systems, metrics, clips)
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
        from rdbench.engine.execute import move
        from rdbench.engine.ledger import Ledger
        from rdbench.engine.pool import worker_pool
        from rdbench.store.attachments import lost_keys
        from rdbench.store.audio import kept_files
        from rdbench.store.reader import count_failed, done_keys, index

        asked = (
            keys.all(systems, metrics, clips)
            | self._cost_keys(keys, systems, clips)
            | self._bits_keys(keys, writer, systems, clips)
        )
        writer.flush()
        writer.recall(asked)
        writer.retire(index(self.folder).beyond(asked))
        done = done_keys(self.folder) - lost_keys(self.folder)
        ledger = Ledger(
            writer,
            keys,
            metrics,
            done,
            self.progress,
            kept=kept_files(self.folder),
            keep_audio=self.options.keep_audio,
            frames=self.spec.traces or self.options.traces,
        )
        missing = self._open(ledger, systems, clips)
        try:
            if missing:
                self._execution().run(systems, metrics, keys, ledger, clips)
                writer.flush()
            bits = self._bits_pass(keys, writer)
            if self.spec.entropy.enabled and bits.open(systems, clips, done):
                with worker_pool(self.workers) as pool:
                    move(systems, self.device)
                    bits.run(systems, clips, done, pool)
                    move(systems, "cpu")
            if self._wants_costs:
                known = done if self.options.costs == "missing" else set()
                with worker_pool(1) as pool:
                    self._cost_pass(keys, writer).run(systems, clips, known, pool)
        finally:
            self.progress.stop()
        writer.flush()
        return RunSummary(self.folder, ledger.written, count_failed(self.folder))

    def _open(self, ledger: Ledger, systems: Sequence[System], clips: Sequence[PlannedClip]) -> int:
        """Notes what is missing of every step, and says how much; 0 where nothing is to be done."""
        asked = missing = 0
        for system in systems:
            for clip in clips:
                if system.takes(clip.clip.domain):
                    for step in system.steps:
                        asked += 1
                        missing += ledger.open_step(step, clip)
        references = sum(ledger.wants_reference(clip) for clip in clips)
        self.progress.start(asked, asked - missing)
        for system in systems:
            if system.failure:
                self.progress.say(f"{system.name} cannot be run: {system.failure}")
        return missing + references

    def _prepare_torch(self) -> None:
        import torch

        torch.set_num_threads(self.spec.protocol.threads)
        full_precision()

    def _execution(self) -> Execution:
        from rdbench.engine.execute import Execution

        return Execution(
            spec=self.spec,
            protocols=excerpt_protocols(self.spec, self.domains),
            devices=self.devices,
            workers=self.workers,
            batch_seconds=self.options.batch_seconds,
            audio=self.folder if self.options.keep_audio else None,
            progress=self.progress,
        )

    def _take_tables(self, systems: Sequence[System], clips: Sequence[PlannedClip]) -> None:
        """Reads the fitted entropy tables of the spec, and gives latent coders to their codecs."""
        if path := self.spec.tables_path:
            from rdbench.engine.bits import take_tables

            self.tables = take_tables(path, systems, clips)

    def _bits_keys(
        self,
        keys: UnitKeys,
        writer: RunWriter,
        systems: Sequence[System],
        clips: Sequence[PlannedClip],
    ) -> set[str]:
        if not self.spec.entropy.enabled:
            return set()
        return self._bits_pass(keys, writer).keys(systems, clips)

    def _bits_pass(self, keys: UnitKeys, writer: RunWriter) -> BitsPass:
        from rdbench.engine.bits import BitsPass

        return BitsPass(
            protocols=excerpt_protocols(self.spec, self.domains),
            keys=keys,
            writer=writer,
            progress=self.progress,
            tables=self.tables,
            timeout=self.spec.timeouts.unit_seconds,
        )

    @property
    def _wants_costs(self) -> bool:
        return self.spec.costs.enabled and self.options.costs != "none"

    def _cost_keys(
        self, keys: UnitKeys, systems: Sequence[System], clips: Sequence[PlannedClip]
    ) -> set[str]:
        from rdbench.engine.costs import UNITS, cost_clips, cost_steps

        if not self.spec.costs.enabled:
            return set()
        return {
            keys.cost_key(step, what, cost_clips(system, clips, self.spec.costs.clips))
            for system in systems
            for step in cost_steps(system)
            for what in UNITS
        }

    def _cost_pass(self, keys: UnitKeys, writer: RunWriter) -> CostPass:
        from rdbench.engine.costs import CostPass, CostSettings

        return CostPass(
            protocols=excerpt_protocols(self.spec, self.domains),
            keys=keys,
            writer=writer,
            progress=self.progress,
            settings=CostSettings(
                device=self.device,
                clips=self.spec.costs.clips,
                repeats=self.spec.costs.repeats,
                timeout=self.spec.timeouts.unit_seconds,
            ),
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
                devices=self.devices,
                workers=self.workers,
                batch_seconds=self.options.batch_seconds,
                keep_audio=self.options.keep_audio,
                finished=_now() if finished else None,
                plan=self.plan,
            )
        )

    def _expected(
        self,
        keys: UnitKeys,
        writer: RunWriter,
        systems: Sequence[System],
        metrics: Mapping[str, Sequence[Metric]],
        clips: Sequence[PlannedClip],
    ) -> list[dict[str, Any]]:
        from rdbench.engine.expected import expected_rows

        costs = self.spec.costs.clips if self._wants_costs else 0
        bits = self._bits_pass(keys, writer) if self.spec.entropy.enabled else None
        return expected_rows(systems, metrics, clips, costs=costs, bits=bits)


def excerpt_protocols(spec: BenchmarkSpec, domains: Sequence[str]) -> dict[str, ExcerptProtocol]:
    """How the clips of each domain are prepared."""
    from rdbench.audio.load import ExcerptProtocol

    wanted = {domain: spec.protocol.for_domain(domain) for domain in domains}
    return {
        domain: ExcerptProtocol(p.sample_rate, p.channels, p.excerpt_seconds, p.gain)
        for domain, p in wanted.items()
    }


def _check_folder(folder: Path) -> None:
    """Raises StoreError for a folder that holds other things than a run."""
    if not folder.is_dir() or (folder / "manifest.json").is_file():
        return
    if (folder / "measurements").is_dir() or not any(folder.iterdir()):
        return
    raise StoreError(f"{folder} holds files that are not of a run; choose another folder")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
