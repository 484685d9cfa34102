"""Runs a small benchmark where machines, users and terminals are odd, and looks at how it ends.

Each environment is a line of bash in which `$RUN` stands for the command; it works in a folder of
its own. A run ends well with exit code 0, every row, and the rows and tables that it has anywhere;
or what the environment does not allow is said in one sentence, with exit code 2, or, where it met
the work and not the run, in every row, with exit code 1.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from terminals import in_a_terminal

REPOSITORY = Path(__file__).resolve().parents[3]
SPEC = """name: small
corpus: {kind: embedded, domains: [speech], sample: {clips: 2}}
protocol: {sample_rate: 16000, channels: mono, excerpt_seconds: 1.0}
metrics: {default: [si_sdr]}
systems:
  - {codec: identity}
  - {name: coded, codec: opus, points: [16]}
costs: {enabled: false}
"""
LIMIT = 1800.0
"""Seconds after which a run hangs; a machine may have much other work."""
BROKEN = re.compile(
    r"Traceback \(most recent call last\)|Exception ignored|Fatal Python error|^[\w.]*Error:", re.M
)
LONG = "n" * 300
USER = "unshare --user --map-user=12345 --map-group=12345"
"""Begins a line whose command shall have a user without an entry in passwd, and none of root's
rights."""


@dataclass(frozen=True)
class Environment:
    """line: of bash. columns: of the terminal that it has; 0 for none.

    refused: what the sentence says where the environment does not allow a run; "" where it does.
    silent: whether nothing that is said can be seen.
    """

    name: str
    line: str
    refused: str = ""
    columns: int = 0
    silent: bool = False


def _with(name: str, line: str, **more: str) -> Environment:
    return Environment(name, f"env {line} $RUN", **more)


ENVIRONMENTS = (
    # Locales and encodings.
    _with("LC_ALL=C", "LC_ALL=C"),
    _with("ASCII alone", "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0"),
    _with("a locale that is not there", "LC_ALL=tlh_QO.KOI7"),
    _with("PYTHONIOENCODING=latin-1", "PYTHONIOENCODING=latin-1"),
    _with("PYTHONIOENCODING=ascii:strict", "PYTHONIOENCODING=ascii:strict"),
    _with("a time zone that is not there", "TZ=No/Where"),
    # Users and their folders.
    _with("no HOME", "--unset=HOME"),
    _with("HOME that is not there", "HOME=/nowhere"),
    _with("HOME that is no folder", "HOME=/dev/null"),
    Environment(
        "a user without passwd entry and HOME", f"env -u HOME -u USER -u LOGNAME {USER} $RUN"
    ),
    Environment(
        "HOME and caches that cannot be written",
        f"mkdir -m 500 h; HOME=$PWD/h XDG_CACHE_HOME=$PWD/h MPLCONFIGDIR=$PWD/h {USER} $RUN",
    ),
    Environment(
        "HOME and caches that cannot be read",
        f"mkdir -m 000 h; HOME=$PWD/h XDG_CACHE_HOME=$PWD/h RDBENCH_CACHE=$PWD/h {USER} $RUN",
    ),
    # Folders.
    _with("TMPDIR that is not there", "TMPDIR=/nowhere"),
    Environment("TMPDIR that is a file", "touch t; TMPDIR=$PWD/t $RUN"),
    Environment("TMPDIR that cannot be written", f"mkdir -m 500 t; TMPDIR=$PWD/t {USER} $RUN"),
    Environment(
        "TMPDIR with a long name",
        f"mkdir {LONG[:150]}; TMPDIR=$PWD/{LONG[:150]} $RUN",
        refused="set TMPDIR to a folder with a shorter one",
    ),
    Environment(
        "the current folder deleted",
        "mkdir gone; cd gone; rmdir ../gone; $RUN",
        refused="the current folder",
    ),
    Environment(
        "the current folder not to be entered",
        f"mkdir x; cd x; chmod 000 .; {USER} $RUN",
        refused="the current folder",
    ),
    Environment("umask 0", "umask 0; $RUN"),
    Environment("umask 077", "umask 077; $RUN"),
    Environment("umask 0777", f"umask 0777; {USER} $RUN", refused="Permission denied"),
    Environment(
        "a folder that cannot be written", f"mkdir -m 500 run; {USER} $RUN", refused="cannot write"
    ),
    Environment("a folder with blanks and signs", 'RUN_IN "a b\\"c\nd é 🎧"'),
    Environment("a folder whose name is no UTF-8", "RUN_IN $'a\\xff\\xfeb'"),
    # Names.
    Environment(
        "a folder with a name of 300 characters", f"RUN_IN {LONG}", refused="File name too long"
    ),
    Environment(
        "a folder with a path of 5000 characters",
        f"RUN_IN {'/'.join([LONG[:200]] * 25)}",
        refused="File name too long",
    ),
    Environment(
        "a run with a name of 300 characters",
        f"sed -i 's/name: small/name: {LONG}/' spec.yaml; $RUN",
        refused="has 300 characters",
    ),
    Environment(
        "a system with a name of 300 characters",
        f"sed -i 's/name: coded/name: {LONG}/' spec.yaml; $RUN",
        refused="has 300 characters",
    ),
    # Limits.
    Environment("6 GiB of address space", "ulimit -v 6291456; $RUN"),
    Environment("1 GiB of address space", "ulimit -v 1048576; $RUN", refused="memory"),
    Environment("64 open files", "ulimit -n 64; $RUN"),
    Environment("16 open files", "ulimit -n 16; $RUN", refused="open files"),
    Environment("files of 2 KiB", "ulimit -f 2; $RUN", refused="File too large"),
    Environment("a stack of 512 KiB", "ulimit -s 512; $RUN"),
    Environment("one core, niced", "taskset -c 0 nice -n 19 $RUN"),
    # Terminals.
    *(
        Environment(f"a terminal of {columns} columns", "TERM=xterm $RUN", columns=columns)
        for columns in (1, 20, 40, 80, 200)
    ),
    Environment("TERM=dumb", "TERM=dumb $RUN", columns=80),
    Environment("no TERM", "env -u TERM $RUN", columns=80),
    Environment("NO_COLOR", "TERM=xterm NO_COLOR=1 $RUN", columns=80),
    _with("COLUMNS that is no number", "COLUMNS=many FORCE_COLOR=1"),
    # Streams.
    Environment("stdin closed", "$RUN <&-"),
    Environment("stdout closed", "$RUN >&-"),
    Environment("stderr closed", "$RUN 2>&-"),
    Environment("all streams closed", "$RUN <&- >&- 2>&-", silent=True),
    Environment("| head -1", "$RUN | head -1; exit ${PIPESTATUS[0]}"),
    Environment("2>&1 | head -1", "$RUN 2>&1 | head -1; exit ${PIPESTATUS[0]}"),
    Environment("stdout full", "$RUN >/dev/full", refused="standard output"),
    Environment("stderr full", "$RUN 2>/dev/full"),
    Environment("a mistake where stderr is closed", "rm spec.yaml; $RUN 2>&-", refused="spec.yaml"),
    # Python and the libraries.
    _with("PYTHONOPTIMIZE=2", "PYTHONOPTIMIZE=2"),
    _with("PYTHONDEVMODE=1", "PYTHONDEVMODE=1 PYTHONWARNINGS=ignore"),
    _with("PYTHONSAFEPATH=1", "PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1"),
    _with("MPLBACKEND=nonsense", "MPLBACKEND=nonsense"),
    _with("MPLCONFIGDIR that is not there", "MPLCONFIGDIR=/nowhere/x"),
    _with("OMP_NUM_THREADS=nonsense", "OMP_NUM_THREADS=nonsense"),
    _with("CUDA_VISIBLE_DEVICES=nonsense", "CUDA_VISIBLE_DEVICES=nonsense"),
)


@dataclass
class Ended:
    """How a run ended in an environment, and what is wrong with that."""

    environment: Environment
    code: int
    said: str
    lost: int = 0
    differs: bool = False
    wrong: list[str] = field(default_factory=list)

    @property
    def traceback(self) -> bool:
        return bool(BROKEN.search(self.said)) or self.code not in (0, 2)

    def __str__(self) -> str:
        wrong = "; ".join(self.wrong)
        return f"{self.environment.name}: {wrong} (exit code {self.code}, {self.said[-400:]!r})"


class Trials:
    """Runs in folders below `folder`, compared with a run where nothing is odd."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        bin_ = folder / "bin"
        bin_.mkdir()
        command = bin_ / "rdbench"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rdbench "$@"\n')
        command.chmod(0o755)
        self._path = f"{bin_}{os.pathsep}{os.environ['PATH']}"
        plain = self.end(Environment("nothing odd", "$RUN"))
        assert (plain.code, plain.wrong) == (0, []), plain
        self._plain = self._home(plain.environment) / "run"

    def end(self, environment: Environment) -> Ended:
        """Runs in the environment, and holds what it left against a run in none."""
        home = self._home(environment)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(home)
        home.mkdir()
        (home / "spec.yaml").write_text(SPEC)
        run = f"rdbench run {home}/spec.yaml --out"
        script = f'RUN="{run} {home}/run"; RUN_IN() {{ {run} "{home}/$1"; }}\n{environment.line}'
        code, said = self._shell(script, home, environment.columns)
        ended = Ended(environment, code, said)
        if ended.traceback:
            ended.wrong.append("no end that was meant")
        elif environment.refused:
            self._hold_refusal(ended)
        elif code:
            ended.wrong.append("refused")
        else:
            made = [path.parent for path in home.glob("*/manifest.json")]
            self._hold(ended, *made)
        return ended

    def _home(self, environment: Environment) -> Path:
        return self._folder / re.sub(r"\W+", "_", environment.name)

    def _shell(self, script: str, home: Path, columns: int) -> tuple[int, str]:
        environment = {**os.environ, "PATH": self._path, "PYTHONPATH": str(REPOSITORY)}
        command = ["bash", "-c", script]
        if columns:
            return in_a_terminal(command, columns, environment, home)
        done = subprocess.run(
            command, cwd=home, env=environment, timeout=LIMIT, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.returncode, done.stdout.decode(errors="backslashreplace")

    @staticmethod
    def _hold_refusal(ended: Ended) -> None:
        wanted = ended.environment.refused
        sentences = [line for line in ended.said.splitlines() if wanted in line]
        if ended.code != 2:
            ended.wrong.append("not refused")
        elif len(sentences) != 1 or not sentences[0].startswith("rdbench: "):
            ended.wrong.append(f"no sentence about {wanted!r}")

    def _hold(self, ended: Ended, folder: Path) -> None:
        """What a run that ended well must have, and the same as anywhere."""
        from rdbench.store.reader import read_rows
        from rdbench.store.validate import validate_run

        if ended.environment.name == "nothing odd":
            self._plain = folder
        rows = set(read_rows(self._plain)["unit_key"])
        ended.lost = len(rows - set(read_rows(folder)["unit_key"]))
        names = ("table.md", "table.csv", "tables/tables.html")
        ended.differs = any(
            (folder / name).read_bytes() != (self._plain / name).read_bytes() for name in names
        )
        missing = _files(self._plain) - _files(folder)
        ended.wrong += [f"{ended.lost} rows lost"] * bool(ended.lost)
        ended.wrong += ["other tables"] * ended.differs
        ended.wrong += [f"without {sorted(missing)}"] * bool(missing)
        ended.wrong += validate_run(folder).problems


def _files(run: Path) -> set[str]:
    """The tables and figures of a run."""
    found = (path.relative_to(run) for path in run.rglob("*.*") if path.suffix != ".parquet")
    return {str(path) for path in found}


@dataclass
class Tally:
    """What was tried, and what was found."""

    well: int = 0
    refused: int = 0
    tracebacks: int = 0
    lost: int = 0
    differing: int = 0
    findings: list[str] = field(default_factory=list)


def try_all(folder: Path, environments: Iterable[Environment] = ENVIRONMENTS) -> Tally:
    """Runs in every environment."""
    tally = Tally()
    trials = Trials(folder)
    for environment in environments:
        ended = trials.end(environment)
        tally.well += not ended.wrong and ended.code == 0
        tally.refused += not ended.wrong and ended.code == 2
        tally.tracebacks += ended.traceback
        tally.lost += ended.lost
        tally.differing += ended.differs
        if ended.wrong:
            tally.findings.append(str(ended))
            print("FOUND:", ended, flush=True)
    return tally
