"""Sends a signal to a command at a moment of one of its phases, and looks at how it ends.

A phase begins when the command comes to a module (`marks/sitecustomize.py` notes that), and ends
where the next one of the same command begins. Before the first the interpreter starts: until the
command has taken over the signals, they are Python's.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
SENTENCE = re.compile(r"rdbench: (interrupted|terminated); [^\n]+\n")
TAKEN_OVER = "taken over"
"""The mark of the moment at which a signal is rdbench's."""
OURS = ("rdbench-*", "pymp-*")
"""Folders of a run among those for temporary files; torch leaves one of its own."""
LIMIT = 60.0
"""Seconds after which a command that has not ended never will."""

SPEC = """
name: interrupted
corpus: {{kind: embedded, sample: {{clips: 2}}}}
protocol: {{sample_rate: 16000, channels: mono, excerpt_seconds: 1.0}}
metrics: {{default: [si_sdr, lsd]}}
systems:
  - {{codec: identity}}
  - {{codec: opus, points: [12, 24]}}
{more}
"""
NO_COSTS = "costs: {enabled: false}"
COSTS = "costs: {enabled: true, clips: 1, repeats: 3}"
ENTROPY = """  - {codec: vae, options: {weights: rvq_nested}, domains: [speech]}
entropy: {enabled: true}
costs: {enabled: false}"""


@dataclass(frozen=True)
class Command:
    """A command with its phases: (name, the module that begins it), in their order.

    made: the file or folder that it makes, where it makes one.
    """

    name: str
    arguments: tuple[str, ...]
    phases: tuple[tuple[str, str], ...]
    made: str = ""


def run_of(spec: str, *more: str, phases: Sequence[tuple[str, str]]) -> Command:
    arguments = ("run", f"{spec}.yaml", "--out", spec, "--quiet", *more)
    return Command(f"run {spec}", arguments, tuple(phases), made=spec)


AGAIN = "again"
IMPORTS = ("imports", TAKEN_OVER)
PLANNING = ("planning", "rdbench.engine.executors.servers")
MEASURING = "rdbench.engine.executors.processes"
DRAWING = ("drawing", "rdbench.report.write")

COMMANDS = (
    run_of("plain", phases=(IMPORTS, PLANNING, ("evaluation", MEASURING), DRAWING)),
    run_of("entropy", phases=(("entropy", MEASURING), ("drawing", DRAWING[1]))),
    run_of("costs", "--costs", AGAIN, phases=(("costs", MEASURING), ("drawing", DRAWING[1]))),
    Command(
        "fit-entropy",
        ("fit-entropy", "entropy.yaml", "--out", "tables.json", "--quiet"),
        (("fit-entropy", "rdbench.engine.fit"),),
        made="tables.json",
    ),
    Command("report", ("report", "done", "--quiet"), (("report", "rdbench.report.config"),)),
    Command(
        "report --html",
        ("report", "done", "--html", "--quiet"),
        (("report --html", "rdbench.report.config"),),
    ),
    Command(
        "compare",
        ("compare", "done", "--anchor", "opus"),
        (("compare", "rdbench.analysis.compare"),),
    ),
    Command(
        "check",
        ("check", "done", "--baseline", "baseline.json", "--quiet"),
        (("check", "rdbench.analysis.gate.check"),),
    ),
)


@dataclass
class Ended:
    """How a command ended after a signal. seconds: from the signal until the process had gone."""

    phase: str
    code: int
    wanted: int
    said: str
    seconds: float
    left: list[str] = field(default_factory=list)

    @property
    def well(self) -> bool:
        """Whether with the one sentence, and the code of the signal."""
        return self.code == self.wanted and SENTENCE.fullmatch(self.said) is not None

    @property
    def traceback(self) -> bool:
        return any(word in self.said for word in ("Traceback", "Error", "Exception"))

    def __str__(self) -> str:
        left = f", left {self.left}" if self.left else ""
        return f"{self.phase}: {self.code} after {self.seconds:.1f} s{left}, {self.said[-300:]!r}"


class Project:
    """A folder in which the commands run; `done` in it is a finished run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._temporary = folder / "temporary"
        self._temporary.mkdir(parents=True)
        for name, more in (("plain", NO_COSTS), ("costs", COSTS), ("entropy", ENTROPY)):
            (folder / f"{name}.yaml").write_text(SPEC.format(more=more))

    def prepare(self, commands: Iterable[Command]) -> dict[str, dict[str, float]]:
        """Runs every command undisturbed; the seconds of its phases, by command and phase."""
        assert self.finish(("run", "plain.yaml", "--out", "done", "--quiet")) == (0, "", "")
        update = ("check", "done", "--baseline", "baseline.json", "--update", "--quiet")
        assert self.finish(update) == (0, "", "")
        return {one.name: self.undisturbed(one) for one in commands}

    def undisturbed(self, command: Command) -> dict[str, float]:
        """How long the phases of a command take; what it makes stays as `made`.undisturbed."""
        if AGAIN in command.arguments:  # the tries find a finished run
            assert self.finish(command.arguments) == (0, "", "")
        process, marks = self._start(command)
        _wait_for_handlers(process)
        began = time.monotonic()
        _, said = process.communicate()
        assert process.returncode == 0, said
        ended = time.monotonic()
        if command.made:
            (self.folder / command.made).replace(self.kept(command))
        times = {TAKEN_OVER: began, **_read(marks)}
        starts = [times[module] for _, module in command.phases] + [ended]
        return {
            name: after - before
            for (name, _), before, after in zip(
                command.phases, starts[:-1], starts[1:], strict=True
            )
        }

    def kept(self, command: Command) -> Path:
        """What the command makes where nobody disturbs it."""
        return self.folder / f"{command.made}.undisturbed"

    def begin_again(self, command: Command) -> None:
        """Takes away what tries have made; where costs are measured again, a run is there."""
        made = self.folder / command.made
        if command.made and made.is_dir():
            shutil.rmtree(made)
        elif command.made:
            made.unlink(missing_ok=True)
        if AGAIN in command.arguments:
            shutil.copytree(self.kept(command), made)

    def interrupt(
        self, command: Command, phase: str, moment: float, number: signal.Signals
    ) -> Ended | None:
        """Sends the signal `moment` seconds into the phase; None where the command was over."""
        process, marks = self._start(command)
        _wait_for_handlers(process)
        module = dict(command.phases)[phase]
        while module not in {TAKEN_OVER, *_read(marks)} and process.poll() is None:
            time.sleep(0.002)
        time.sleep(moment)
        below = _below(process)
        sent = time.monotonic()
        process.send_signal(number)
        try:
            process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
        took = time.monotonic() - sent
        _, said = process.communicate()
        if process.returncode == 0 and not said:
            return None
        reached = _read(marks)
        hit = [
            name
            for name, start in command.phases
            if start == TAKEN_OVER or reached.get(start, sent) < sent
        ]
        left = _alive(below)
        left += [path.name for mark in OURS for path in self._temporary.glob(mark)]
        return Ended(hit[-1], process.returncode, CODES[number], said, took, left)

    def finish(self, arguments: Sequence[str]) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a command that nobody disturbs."""
        done = subprocess.run(
            [sys.executable, "-m", "rdbench", *arguments],
            cwd=self.folder, env=self._environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def whole(self, command: Command) -> str:
        """What the next start does not bring to a good end; "" where it does."""
        code, _, said = self.finish(command.arguments)
        if code or said:
            return f"the next `rdbench {' '.join(command.arguments)}` ended with {code}: {said}"
        litter = [str(path) for path in self.folder.rglob(".*.tmp")]
        if litter:
            return f"after the next {command.name} there still is {litter}"
        made, kept = self.folder / command.made, self.kept(command)
        if command.arguments[0] == "run":
            return self._wrong_run(made, kept, again=AGAIN in command.arguments)
        if command.made and made.read_bytes() != kept.read_bytes():
            return f"the next {command.name} makes something else"
        return ""

    def _wrong_run(self, made: Path, kept: Path, *, again: bool) -> str:
        """In what a run is not the one that nobody disturbed; costs, measured again, may differ."""
        from kills import same_rows

        code, said, _ = self.finish(("validate", made.name))
        if code:
            return f"the next run is not whole: {said}"
        if not again and not same_rows(made, kept):
            return "the next run has other rows"
        shown = _shown(made), _shown(kept)
        if shown[0].keys() != shown[1].keys():
            return f"the next run has other files: {shown[0].keys() ^ shown[1].keys()}"
        if not again and shown[0] != shown[1]:
            return "the next run has other tables"
        return ""

    def _start(self, command: Command) -> tuple[subprocess.Popen[str], Path]:
        marks = self.folder / "marks"
        marks.unlink(missing_ok=True)
        named = ",".join(module for _, module in command.phases)
        process = subprocess.Popen(
            [sys.executable, "-m", "rdbench", *command.arguments],
            cwd=self.folder, env=self._environment(RDBENCH_MARKS=f"{marks}:{named}"),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        return process, marks

    def _environment(self, **more: str) -> dict[str, str]:
        path = os.pathsep.join([str(HERE / "marks"), str(REPOSITORY)])
        return {**os.environ, "PYTHONPATH": path, "TMPDIR": str(self._temporary), **more}


def _shown(run: Path) -> dict[str, bytes]:
    """The tables of a run, and the names of its figures."""
    paths = [*run.glob("table*"), *run.glob("tables/*"), *run.glob("figures/**/*")]
    return {
        str(path.relative_to(run)): b"" if "figures" in path.parts else path.read_bytes()
        for path in paths
        if path.is_file()
    }


@dataclass
class Tally:
    """The signals of one phase, and what was found.

    finished: how often the command was run to its end after the signals of a chain, of which the
    last was in this phase; whole: how often it then left what it leaves undisturbed.
    """

    signals: int = 0
    well: int = 0
    tracebacks: int = 0
    slowest: float = 0.0
    finished: int = 0
    whole: int = 0
    findings: list[str] = field(default_factory=list)


def interrupt_at_random(
    folder: Path,
    commands: Sequence[Command],
    generator: Any,
    *,
    signals: int,
    chain: int = 5,
) -> dict[str, Tally]:
    """Signals at random moments of every phase, until there were `signals`; by phase.

    After `chain` of them at most, the command that had them is run to its end, and must be whole.
    """
    project = Project(folder)
    seconds = project.prepare(commands)
    phases = [(command, phase) for command in commands for phase, _ in command.phases]
    tallies = {phase: Tally() for _, phase in phases}
    since: dict[str, int] = {}
    last: dict[str, str] = {}
    sent = turn = 0
    for command in commands:
        project.begin_again(command)
    while sent < signals:
        command, phase = phases[turn % len(phases)]
        turn += 1
        moment = float(generator.uniform(0.0, seconds[command.name][phase]))
        number = signal.SIGINT if generator.random() < 0.5 else signal.SIGTERM
        ended = project.interrupt(command, phase, moment, number)
        if ended is None:
            seconds[command.name][phase] *= 0.8  # the machine is less busy now
            project.begin_again(command)
            continue
        sent += 1
        since[command.name] = since.get(command.name, 0) + 1
        _count(tallies[ended.phase], ended)
        last[command.name] = ended.phase
        if since[command.name] % chain == 0:
            _finish(project, command, tallies[last.pop(command.name)])
    for command in commands:
        if command.name in last:
            _finish(project, command, tallies[last[command.name]])
    return tallies


def _count(tally: Tally, ended: Ended) -> None:
    tally.signals += 1
    tally.well += ended.well
    tally.tracebacks += ended.traceback
    tally.slowest = max(tally.slowest, ended.seconds)
    if not ended.well or ended.left:
        tally.findings.append(str(ended))
        print("FOUND:", ended, flush=True)


def _finish(project: Project, command: Command, tally: Tally) -> None:
    tally.finished += 1
    if problem := project.whole(command):
        tally.findings.append(problem)
    else:
        tally.whole += 1
    project.begin_again(command)


def _wait_for_handlers(process: subprocess.Popen[str]) -> None:
    """Until the process catches SIGTERM, which Python by itself does not."""
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        with contextlib.suppress(OSError, IndexError):
            caught = int(re.findall(r"SigCgt:\s*(\w+)", status.read_text())[0], 16)
            if caught >> (signal.SIGTERM - 1) & 1:
                return
        time.sleep(0.002)


def _read(marks: Path) -> dict[str, float]:
    """When each module was come to."""
    if not marks.exists():
        return {}
    lines = (line.split() for line in marks.read_text().splitlines())
    return {parts[1]: float(parts[0]) for parts in lines if len(parts) == 2}


def _below(process: subprocess.Popen[str]) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def _alive(processes: Iterable[psutil.Process]) -> list[str]:
    """Those of the processes that are still at work a second later."""
    _, alive = psutil.wait_procs(list(processes), timeout=1.0)
    found = []
    for one in alive:
        with contextlib.suppress(psutil.Error):
            if one.status() != psutil.STATUS_ZOMBIE:
                found.append(f"process {one.pid}: {' '.join(one.cmdline())[:80]}")
    return found
