"""One run of a benchmark: from a spec to a results folder.

`run_benchmark` plans the units, takes from the store what is already there, has the rest measured,
and leaves the manifest beside the rows. Tables and figures are made from the folder by
`rdbench.report`, never from here.
"""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rdbench.engine.devices import default_workers, most_workers, resolve_devices
from rdbench.engine.environment import cores, machine_name, provenance, torch_settings
from rdbench.engine.plan.clips import (
    PlannedClip,
    batches_of,
    excerpt_protocols,
    load_corpus,
    plan_clips,
    unread_manifest,
)
from rdbench.engine.plan.metrics import metrics_by_key, not_valid, resolve_metrics
from rdbench.engine.plan.migrate import renamed, shared_features, version_of
from rdbench.engine.plan.systems import System, build_systems, take_up
from rdbench.engine.progress import Progress
from rdbench.interrupts import before_the_end
from rdbench.types import SpecError, StoreError

if TYPE_CHECKING:
    from rdbench.audio.clip import Corpus
    from rdbench.codecs.base import Codec
    from rdbench.engine.executors.base import Executor
    from rdbench.engine.executors.cluster.connect import Target
    from rdbench.engine.intake import RunIntake
    from rdbench.engine.measure.passes import Pass
    from rdbench.engine.measure.shard import Shard
    from rdbench.engine.plan.metrics import Metric
    from rdbench.engine.plan.plan import Plan, Review
    from rdbench.spec.model import BenchmarkSpec
    from rdbench.store.audio import Kept
    from rdbench.store.schema import Quantity
    from rdbench.store.writer import RunWriter

DEFAULT_BATCH_SECONDS = 60.0
MOST_BATCH_SECONDS = 86_400.0
DEFAULT_CLUSTER_WAIT = 900.0


@dataclass(frozen=True)
class RunOptions:
    """How to run, where the spec does not say.

    device: "auto" is the first CUDA device, else the CPU; several with commas between them, or
    "cuda:all", are used at the same time; "cpu:0" treats the CPU as a GPU is treated. workers:
    processes; None is one for each core. batch_seconds: audio in one batch of a device.
    allow_code: whether `module:Class` may run. allow_download: whether published weights that are
    not on this machine are fetched. costs: what the cost pass of the spec does: measure
    what is "missing", all of it "again" (costs want a machine that does nothing else), or "none".
    cluster: whose workers measure, instead of processes of this machine: "local:N", a scheduler's
    address or a YAML file (`rdbench.engine.executors.cluster.connect`); the device is then "cpu"
    or "cuda", and costs, which belong to a machine, are not measured. cluster_wait: for how many
    seconds there may be no worker.
    keep_audio: leave reconstructions and references in the folder too, as FLAC
    (`rdbench.store.audio`). traces: leave bits per frame (`rdbench.store.traces`), even where the
    spec does not ask for them. Raises SpecError for batches that are none, and less than a process.
    """

    device: str = "auto"
    workers: int | None = None
    batch_seconds: float = DEFAULT_BATCH_SECONDS
    allow_code: bool = False
    allow_download: bool = False
    costs: Literal["missing", "again", "none"] = "missing"
    keep_audio: bool = False
    traces: bool = False
    cluster: str | None = None
    cluster_wait: float = DEFAULT_CLUSTER_WAIT

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise SpecError(
                f"workers is {self.workers}, which measures nothing; take 1 or more, or None for "
                "one on each core"
            )
        if not 0 < self.batch_seconds <= MOST_BATCH_SECONDS:
            raise SpecError(
                f"batches of {self.batch_seconds} seconds are no batches; take more than 0 and at "
                f"most {MOST_BATCH_SECONDS:g}"
            )
        if self.cluster is not None:
            self._check_cluster()

    def _check_cluster(self) -> None:
        if self.workers is not None:
            raise SpecError(
                "--workers counts the processes of this machine; with --cluster, the cluster says "
                "how many there are (local:N does)"
            )
        if self.device not in ("auto", "cpu", "cuda"):
            raise SpecError(
                f"--device {self.device} names devices of this machine; with --cluster, give cpu "
                "or cuda, of which each worker has its own"
            )
        if self.costs == "again":
            raise SpecError(
                "costs belong to a machine that does nothing else, and are not measured on a "
                "cluster; run with --costs again and without --cluster"
            )


@dataclass(frozen=True)
class RunSummary:
    """How a run ended: rows written now, and the failed ones that its folder holds."""

    folder: Path
    written: int
    failed: int


def run_benchmark(
    spec: BenchmarkSpec,
    folder: str | os.PathLike[str],
    options: RunOptions | None = None,
    progress: Progress | None = None,
    *,
    held: Mapping[str, Codec] | None = None,
) -> RunSummary:
    """Runs `spec` into `folder`, doing only what is missing there.

    held: codecs that live in this process, by the names of their systems. They stay on the device
    on which they are, which the options must name, and all is measured in this process.

    The caller's script is not run again by the processes that measure, and torch's settings in this
    one are as they were when it has ended.

    Raises SpecError, CodecError, AudioError or StoreError for what the user can mend before any
    work is done; failures of single units are rows.
    """
    how = options or RunOptions()
    return _Run(spec, Path(folder), how, progress or Progress(), held or {}).go()


class _Run:
    """The state of one call of `run_benchmark`."""

    def __init__(
        self,
        spec: BenchmarkSpec,
        folder: Path,
        options: RunOptions,
        progress: Progress,
        held: Mapping[str, Codec],
    ) -> None:
        self.spec = spec
        self.held = held
        self.folder = folder
        self.options = options
        self.progress = progress
        self.target = _target(options, held)
        self.devices: tuple[str, ...]
        if self.target:
            self.devices, self.workers = ("cuda" if options.device == "cuda" else "cpu",), 0
            return
        self.devices = resolve_devices(options.device)
        asked = options.workers or default_workers(self.devices[0], spec.protocol.threads)
        self.workers = min(asked, most_workers())
        if asked > self.workers:
            progress.say(
                f"{asked} worker processes were asked for and {self.workers} are used, the most on "
                f"{cores()} cores"
            )

    def go(self) -> RunSummary:
        if not self.folder.exists():
            self._start_server()  # there is work for sure, and it takes seconds to start
        with torch_settings(self.spec.protocol.threads):
            return self._go()

    def _go(self) -> RunSummary:
        from rdbench.store.reader import count_failed
        from rdbench.store.writer import RunWriter

        corpus = load_corpus(self.spec)
        self.domains = list(dict.fromkeys(clip.domain for clip in corpus.clips))
        allowed, fetching = self.options.allow_code, self._fetching()
        self.metrics = {
            domain: resolve_metrics(self.spec, domain, fetching, allow_code=allowed)
            for domain in self.domains
        }
        self.by_key = metrics_by_key(self.metrics)
        self.protocols = excerpt_protocols(self.spec, self.domains)
        systems = self._systems()
        clips = plan_clips(corpus, seed=self.spec.protocol.seed)
        plan = self._plan(systems, clips)
        _check_folder(self.folder)
        self._say_notes()
        old = version_of(self.folder)
        with RunWriter(self.folder) as writer, before_the_end(writer.flush):
            if old is not None:
                self._rename_old_rows(writer, plan, old)
            self._write_manifest(writer, corpus, plan, finished=False)
            written = self._measure(writer, plan)
            self._write_manifest(writer, corpus, plan, finished=True)
        return RunSummary(self.folder, written, count_failed(self.folder))

    def _systems(self) -> list[System]:
        """Those of the spec; what cannot be built is what an earlier start knew of it."""
        from rdbench.audio.resample import RESAMPLER
        from rdbench.store.manifest import MANIFEST_NAME, read_manifest

        systems = build_systems(
            self.spec,
            allow_code=self.options.allow_code,
            fetching=self._fetching(),
            held=self.held,
        )
        if (self.folder / MANIFEST_NAME).is_file() and not all(one.codec for one in systems):
            protocol = self.spec.protocol.fingerprint(RESAMPLER)
            take_up(systems, read_manifest(self.folder), protocol)
        return systems

    def _fetching(self) -> Callable[[str], None] | None:
        """Who is told of what is fetched, where that is allowed."""
        return self.progress.say if self.options.allow_download else None

    def _plan(self, systems: list[System], clips: list[PlannedClip]) -> Plan:
        from rdbench.engine.measure.passes import Passes
        from rdbench.engine.plan.given import take_found
        from rdbench.engine.plan.keys import Keys
        from rdbench.engine.plan.plan import Plan
        from rdbench.engine.plan.predicted import take_predictions

        take_found(self.spec, systems, clips)
        take_predictions(self.spec, systems, clips, allow_code=self.options.allow_code)
        self.passes = Passes(self._passes(systems, clips))
        keys = Keys(
            systems=systems,
            clips=clips,
            families=self.passes,
            protocol=self.spec.protocol,
            protocols=self.protocols,
            device_class=self.devices[0].partition(":")[0],
        )
        return Plan(systems, clips, self.passes, keys)

    def _passes(self, systems: list[System], clips: list[PlannedClip]) -> list[Pass]:
        """Every family of quantities; a new one is added here."""
        from rdbench.engine.passes.audio import AudioPass
        from rdbench.engine.passes.costs import CostsPass
        from rdbench.engine.passes.entropy import EntropyPass, take_probes, take_tables
        from rdbench.engine.passes.latents import LatentsPass
        from rdbench.engine.passes.notes import NotesPass
        from rdbench.engine.passes.rates import RatesPass
        from rdbench.engine.passes.scores import ScoresPass
        from rdbench.engine.passes.sets import SetMetricsPass
        from rdbench.store.audio import FOLDER

        path = self.spec.tables_path
        entropy = EntropyPass(
            self.spec.entropy.enabled,
            take_tables(path, systems, clips) if path else None,
            take_probes(self.spec, systems, clips),
        )
        for sentence in entropy.unfitted(systems):
            self.progress.say(sentence)
        costs = self.spec.costs
        align = self.spec.protocol.alignment == "residual"
        return [
            RatesPass(frames=self.spec.traces or self.options.traces),
            entropy,
            LatentsPass(
                self.spec.latent.places, self.spec.protocol.seed, self.spec.latent.copies or ()
            ),
            ScoresPass(self._of_scope(sets=False), align),
            SetMetricsPass(self._of_scope(sets=True), align),
            AudioPass(self.folder / FOLDER if self.options.keep_audio else None),
            NotesPass(),
            CostsPass(
                machine=machine_name(self._own_device),
                others=self._machines(),
                clips=costs.clips if costs.enabled else 0,
                repeats=costs.repeats,
                threads=self.spec.protocol.threads,
                asked=self.options.costs != "none" and not self.target,
            ),
        ]

    def _of_scope(self, *, sets: bool) -> dict[str, tuple[Metric, ...]]:
        """By domain, the metrics of sets of clips, or those of clips."""
        from rdbench.metrics.base import Scope

        return {
            domain: tuple(m for m in found if (m.definition.scope is Scope.SET) == sets)
            for domain, found in self.metrics.items()
        }

    def _rename_old_rows(self, writer: RunWriter, plan: Plan, version: int) -> None:
        """Renames the rows of a run whose keys were made otherwise."""
        from rdbench.store.reader import index

        if version == 1:
            device_class = self.devices[0].partition(":")[0]
            keys = renamed(plan, self.spec, device_class, index(self.folder))
            quantities: dict[str, Quantity] = {}
        else:
            keys, quantities = shared_features(plan, self._of_scope(sets=True), self.folder)
        if keys:
            writer.rekey(keys, quantities)
            self.progress.say(
                f"{self.folder} was made by an earlier rdbench: {len(keys)} rows got new keys, "
                "and are not measured again"
            )

    def _machines(self) -> tuple[str, ...]:
        """The machines of which the folder has costs."""
        from rdbench.store.parts import MEASUREMENTS, read_all
        from rdbench.store.schema import Kind

        folder = self.folder / MEASUREMENTS
        if not folder.is_dir():
            return ()
        table = read_all(folder, ("unit_key", "kind", "backend"), kind=Kind.COST)
        return tuple(sorted(set(table["backend"].to_pylist())))

    def _measure(self, writer: RunWriter, plan: Plan) -> int:
        """Measures what the folder lacks; how many rows that were."""
        from rdbench.engine.intake import RunIntake
        from rdbench.store.attachments import lost_keys
        from rdbench.store.audio import kept_files, open_audio
        from rdbench.store.parts import RETIRED
        from rdbench.store.reader import index
        from rdbench.store.schema import Kind

        if self.options.keep_audio:
            open_audio(self.folder)
        if (self.folder / RETIRED).is_dir():
            writer.recall({unit.key for units in plan.units() for unit in units})
        found, kept = index(self.folder), kept_files(self.folder)
        lost = lost_keys(self.folder) | found.of_kind(Kind.AUDIO) - kept.keys()
        again = self.options.costs == "again"
        review = plan.review(
            found, lost=lost, again=lambda quantity: again and quantity.kind is Kind.COST
        )
        writer.relabel(review.relabel)
        known = set(found.table["unit_key"].to_pylist()) - lost
        name, _ = provenance(self._own_device)
        if review.done < review.asked:
            self._start_server()  # where it is refused, no row has failed
        intake = RunIntake(plan, review, writer, self.progress, known=known, provenance=name)
        self.progress.start(review.asked, review.done)
        self._say_failures(plan, review)
        try:
            intake.retire_dropped()
            intake.fail_what_cannot_be_run()
            self._execute(plan, intake, kept)
            intake.close()
            intake.finish()
        finally:
            intake.clear()
            self.progress.stop()
        writer.flush()
        return intake.written

    def _execute(self, plan: Plan, intake: RunIntake, kept: Mapping[str, Kept]) -> None:
        """Clips first, then sets of them, and last what nothing else may run beside."""
        from rdbench.engine.measure.shard import Shard

        def of_sets(*, alone: bool) -> Iterator[Shard]:
            for number, one in enumerate(intake.sets):
                if one.units.alone is alone and one.open:
                    yield Shard(sets=(intake.set_work(number),))

        with closing(self._executor(plan)) as executor:
            executor.run(self._of_clips(plan, intake, kept), intake)
            executor.run(of_sets(alone=False), intake)
            executor.run(of_sets(alone=True), intake, at_once=1)

    def _executor(self, plan: Plan) -> Executor:
        from rdbench.engine.executors.here import Here
        from rdbench.engine.executors.host import HostPlace
        from rdbench.engine.executors.processes import Processes
        from rdbench.engine.measure.shard import Setup, SystemSetup

        protocol, timeout = self.spec.protocol, self.spec.timeouts.unit_seconds
        setup = Setup(
            systems=tuple(SystemSetup.of(system) for system in plan.systems if system.codec),
            passes=self.passes.all,
            protocols=self.protocols,
            threads=protocol.threads,
            timeout=timeout,
            batch_seconds=0.0 if self._on_cores else self.options.batch_seconds,
            allow_download=self.options.allow_download and self.target is not None,
        )
        if self.held:
            return Here(setup, self.devices[0], [one for one in plan.systems if one.codec])
        if self.target:
            from rdbench.engine.executors.cluster.executor import Cluster
            from rdbench.store.audio import FOLDER

            return Cluster(
                setup,
                self.target.connect,
                device=self.devices[0],
                audio=self.folder / FOLDER if self.options.keep_audio else None,
                wait_seconds=self.options.cluster_wait,
                foreign=self.options.allow_code,
            )
        if self._on_cores:
            places = [HostPlace("cpu")] * self.workers
        else:
            each = max(1, self.workers // len(self.devices))
            places = [HostPlace(device, each) for device in self.devices]
        return Processes(setup, places, time_limit=timeout)

    @property
    def _own_device(self) -> str:
        """The device of this process, which on a cluster measures nothing."""
        return "cpu" if self.target else self.devices[0]

    @property
    def _on_cores(self) -> bool:
        """Whether every core is a worker of its own, and there is no device to feed."""
        return tuple(self.devices) == ("cpu",)

    def _of_clips(self, plan: Plan, intake: RunIntake, kept: Mapping[str, Kept]) -> Iterator[Shard]:
        """Shards of the clips with something open: of one clip on a CPU, of batches on a device."""
        from rdbench.engine.executors.processes import SHARDS_PER_DEVICE
        from rdbench.engine.measure.shard import Shard

        works = {clip.name: intake.clip_work(clip, kept) for clip in plan.clips}
        clips = [clip for clip in plan.clips if works[clip.name]]
        longest = {name: one.excerpt_seconds for name, one in self.protocols.items()}
        seconds = 0.0 if self._on_cores else self.options.batch_seconds
        batches = batches_of(clips, seconds=seconds, longest=longest)
        size = 1
        if not self._on_cores and not self.target:  # a batch is then what it would be on one device
            size = max(1, math.ceil(len(batches) / (SHARDS_PER_DEVICE * len(self.devices))))
        for start in range(0, len(batches), size):
            members = [clip for batch in batches[start : start + size] for clip in batch]
            yield Shard(clips=tuple(work for clip in members if (work := works[clip.name])))

    def _start_server(self) -> None:
        from rdbench.engine.executors.servers import start_server

        if not self.held and not self.target:
            start_server()

    def _say_notes(self) -> None:
        notes = [*(not_valid(self.spec, d) for d in self.domains), unread_manifest(self.spec)]
        if self.target and self.spec.costs.enabled and self.options.costs != "none":
            notes.append("costs belong to one machine, and are not measured on a cluster")
        for sentence in filter(None, notes):
            self.progress.say(sentence)

    def _say_failures(self, plan: Plan, review: Review) -> None:
        for system in plan.systems:
            if system.failure:
                rows = review.kept.get(system.name)
                kept = f"; {rows} rows that were measured before are kept" if rows else ""
                self.progress.say(f"{system.name} cannot be run: {system.failure}{kept}")

    def _write_manifest(
        self, writer: RunWriter, corpus: Corpus, plan: Plan, *, finished: bool
    ) -> None:
        from rdbench.engine.describe import manifest

        writer.write_manifest(
            manifest(
                spec=self.spec,
                corpus=corpus,
                plan=plan,
                metrics=self.by_key,
                devices=self.devices,
                workers=self.workers,
                batch_seconds=self.options.batch_seconds,
                keep_audio=self.options.keep_audio,
                cluster=self.options.cluster,
                finished=_now() if finished else None,
            )
        )


def _target(options: RunOptions, held: Mapping[str, Codec]) -> Target | None:
    """The cluster that the options name; raises SpecError where it is none, or cannot be used."""
    if options.cluster is None:
        return None
    if held:
        raise SpecError("a codec that lives in this process cannot be measured on a cluster")
    from rdbench.engine.executors.cluster.connect import Target

    return Target.of(options.cluster)


def _check_folder(folder: Path) -> None:
    """Raises StoreError for a folder that holds other things than a run."""
    if not folder.is_dir() or (folder / "manifest.json").is_file():
        return
    if (folder / "measurements").is_dir() or not any(folder.iterdir()):
        return
    raise StoreError(f"{folder} holds files that are not of a run; choose another folder")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
