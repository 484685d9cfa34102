"""Kills runs, and looks at what they leave: rows that were reported, and the table in the end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from small_benchmark import Children, Trial

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Tally:
    """What was tried and what was found; every list of findings should be empty."""

    kills: int = 0
    trials: int = 0
    lost: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    ends: dict[str, int] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        return not (self.lost or self.unreadable or self.differing)


def reports_of(trial: Trial) -> Path:
    """Where the children of a trial note what they reported to the user."""
    return trial.folder.with_suffix(".reports")


def complete_steps(folder: Path) -> int:
    """Steps (system, point, variant, clip) of which the store has every planned row."""
    from rdbench.store.manifest import read_manifest
    from rdbench.store.parts import read_all
    from rdbench.store.status import COLUMNS, planned_rows, statuses

    if not (folder / "manifest.json").exists():
        return 0
    there = statuses(read_all(folder / "measurements", COLUMNS).to_pydict())
    steps: dict[tuple[str, ...], bool] = {}
    for unit in planned_rows(read_manifest(folder)):
        steps[unit[:5]] = steps.get(unit[:5], True) and unit in there
    return sum(steps.values())


def measurements(folder: Path) -> dict[str, bytes]:
    """The part files of a finished run; of equal measurements they are equal byte for byte."""
    return {
        path.name: path.read_bytes() for path in sorted((folder / "measurements").glob("*.parquet"))
    }


def same_rows(folder: Path, undisturbed: Path) -> bool:
    """Whether two runs have the same rows, and the same traces, bit for bit."""
    from rdbench.store.reader import read_rows
    from rdbench.store.traces import read_traces

    return all(_same(read(folder), read(undisturbed)) for read in (read_rows, read_traces))


def _same(ours: pd.DataFrame, theirs: pd.DataFrame) -> bool:
    if list(ours.columns) != list(theirs.columns) or len(ours) != len(theirs):
        return False
    for column in ours.columns:
        left, right = (frame[column].to_numpy() for frame in (ours, theirs))
        equal = left.tobytes() == right.tobytes() if left.dtype != object else (left == right).all()
        if not equal:
            return False
    return True


def check_after_kill(trial: Trial, tally: Tally, what: str) -> None:
    """The store must be readable, and hold what was reported as done."""
    from rdbench.store.reader import done_keys
    from rdbench.types import RdbenchError

    try:
        done_keys(trial.folder)
        complete = complete_steps(trial.folder)
    except RdbenchError as error:
        tally.unreadable.append(f"{what}: {error}")
        return
    reports = reports_of(trial)
    reported = reports.read_bytes().count(b".") if reports.exists() else 0
    if complete < reported:
        tally.lost.append(f"{what}: {reported} steps were reported, {complete} are there")


def finish_and_compare(
    children: Children, trial: Trial, undisturbed: Path, tally: Tally, what: str
) -> None:
    """The next run must end, whole and with the rows of an undisturbed one."""
    from rdbench.store.validate import validate_run
    from rdbench.types import RdbenchError

    end = children.finish(trial, reports_of(trial))
    if end["end"] != "finished":
        tally.unreadable.append(f"{what}: the next run {end}")
        return
    try:
        problems = validate_run(trial.folder).problems
        if problems or not same_rows(trial.folder, undisturbed):
            tally.differing.append(f"{what}: {problems or 'other rows'}")
    except RdbenchError as error:
        tally.unreadable.append(f"{what}: {error}")


def kill_at_random(
    children: Children,
    trial: Trial,
    undisturbed: Path,
    rng: Any,
    *,
    kills: int,
    seconds: float,
    tally: Tally,
) -> None:
    """Kills runs of `trial` until `kills` have hit; a run is killed up to 5 times and then ends.

    seconds: how long an undisturbed run takes; the moments are uniform over a bit more than that.
    """
    import shutil

    while tally.kills < kills:
        shutil.rmtree(trial.folder, ignore_errors=True)
        reports = reports_of(trial)
        reports.unlink(missing_ok=True)
        tally.trials += 1
        for attempt in range(int(rng.integers(1, 6))):
            if tally.kills >= kills:
                break
            moment = float(rng.uniform(0.0, 1.1 * seconds))
            if not _kill_after(children, trial, reports, moment):
                seconds = min(seconds, max(moment, 0.5 * seconds))  # the machine is less busy now
                break
            tally.kills += 1
            what = f"trial {tally.trials}, kill {attempt + 1} after {moment:.3f} s"
            check_after_kill(trial, tally, what)
        what = f"trial {tally.trials}"
        finish_and_compare(children, trial, undisturbed, tally, what)


def _kill_after(children: Children, trial: Trial, reports: Path, moment: float) -> bool:
    """Whether the run was still going on when it was killed."""
    child, pipe = children.start(trial, reports)
    pipe.recv()
    end = time.monotonic() + moment
    if pipe.poll(max(0.0, end - time.monotonic())):
        child.join()
        return False
    child.kill()
    child.join()
    return True


def kill_at_steps(
    children: Children,
    trial: Trial,
    undisturbed: Path,
    steps: list[int],
    *,
    tally: Tally,
    fault: dict[str, Any] | None = None,
) -> None:
    """One run for each step: it fails there (killed, or as `fault` says), and the next one ends."""
    import dataclasses
    import shutil

    for step in steps:
        shutil.rmtree(trial.folder, ignore_errors=True)
        reports = reports_of(trial)
        reports.unlink(missing_ok=True)
        how = {"action": "kill", **(fault or {}), "at": step}
        end = children.finish(dataclasses.replace(trial, fault=how), reports)
        tally.trials += 1
        tally.kills += end["end"] == "killed"
        tally.ends[end["end"]] = tally.ends.get(end["end"], 0) + 1
        what = f"step {step} ({how['action']})"
        if end["end"] not in (("killed",) if how["action"] == "kill" else ("refused", "finished")):
            tally.unreadable.append(f"{what}: ended as {end}")
        check_after_kill(trial, tally, what)
        finish_and_compare(children, trial, undisturbed, tally, what)
