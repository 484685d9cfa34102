"""Run folders of somebody else, changed at random, and every command that reads one.

A case is (seed, number): a sound run is copied and changed in one to three places (its JSON, its
tables, its audio, what kind of thing a file is), then each command reads it. A command may answer
or refuse with the one sentence of a user error; nothing outside the folder changes.
"""

from __future__ import annotations

import contextlib
import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from foreign_changes import changed
from fuzz import Subject
from sound_run import make_sound, manifest, rows

SECONDS = 120.0


def commands(run: Path, sound: Path, folder: Path, *, figures: bool) -> list[list[str]]:
    """The command lines that read `run`; what they write goes into it, or below `folder`."""
    baseline, config = sound.parent / "baseline.csv", folder / "config.yaml"
    config.write_text("formats: [png]\n")
    lines = [
        ["status", str(run)],
        ["status", str(run), "--json"],
        ["validate", str(run)],
        ["compare", str(run), str(sound), "--anchor", "opus", "--resamples", "100",
         "--json", str(folder / "compare.json"), "--markdown", str(folder / "compare.md")],
        ["check", str(run), "--baseline", str(baseline), "--junit", str(folder / "junit.xml")],
        ["check", str(run), "--baseline", str(folder / "new.csv"), "--update"],
        ["report", str(run), "--html"],
        ["listen", str(run), "--test", "mushra", "--clips", "2"],
        ["import-scores", str(sound.parent / "answers.csv"), "--run", str(run)],
    ]  # fmt: skip
    if figures:
        lines.append(["report", str(run), "--config", str(config), "--data"])
    return lines


def written(run: Path) -> None:
    """Writes into a run as a later start on it does, and makes its tables."""
    from rdbench.analysis.aggregate import run_points
    from rdbench.analysis.runs import read_run
    from rdbench.report.tables.run_tables import run_tables
    from rdbench.report.tables.write import write_tables
    from rdbench.store.writer import RunWriter

    row, _ = rows()[0]
    with RunWriter(run) as writer:
        writer.append([replace(row, unit_key="e" * 32)])
        writer.write_manifest(manifest())
    found = read_run(run)
    write_tables(run, run_tables(run_points(found), found.manifest, run=found))


def command(*arguments: str) -> None:
    """Runs a command of the command line; raises what is neither an answer nor a sentence."""
    import click
    import typer

    from rdbench.cli.main import app
    from rdbench.types import RdbenchError

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            app(list(arguments), standalone_mode=False)
        except (typer.Exit, click.ClickException, SystemExit):
            pass
        except RdbenchError as error:
            _check_sentence(str(error))


def _check_sentence(text: str) -> None:
    if not text or "\n" in text or len(text) > 4000:
        raise AssertionError(f"no sentence: {text[:300]!r}")


def read_all(run: Path, sound: Path, folder: Path, *, figures: bool) -> None:
    """Every command on a run; names the one that raises."""
    from rdbench.types import RdbenchError

    for line in commands(run, sound, folder, figures=figures):
        try:
            command(*line)
        except Exception as error:
            raise AssertionError(f"rdbench {' '.join(line)}") from error
    try:
        written(run)
    except RdbenchError as error:
        _check_sentence(str(error))


class Outside:
    """Files of the user that no run folder may touch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "file.txt").write_text("mine\n")
        (folder / ".lock").write_text("mine\n")
        (folder / "part-00000001-0000000000000000.parquet").write_text("mine\n")
        (folder / ".x.01234567.tmp").write_text("mine\n")
        self._before = self._now()

    def check(self) -> None:
        """Raises AssertionError where something has changed."""
        now = self._now()
        if now != self._before:
            raise AssertionError(f"outside of the run: {sorted(set(now) ^ set(self._before))}")

    def _now(self) -> list[tuple[str, bytes]]:
        found = sorted(p for p in self.folder.rglob("*") if p.is_file())
        return [(str(path.relative_to(self.folder)), path.read_bytes()) for path in found]


def read_case(content: bytes, folder: Path, _: str) -> None:
    """A case "seed number": makes it, and lets every command read it."""
    seed, number = map(int, content.split())
    rng = np.random.default_rng([seed, number])
    home = folder / "case"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    sound = folder / "sound"
    if not sound.exists():
        make_sound(folder)
    run = home / "run"
    shutil.copytree(sound, run)
    outside = Outside(home / "outside")
    done = changed(run, rng, outside.folder)
    try:
        read_all(run, sound, home, figures=number % 10 == 0)
    except BaseException as error:
        raise AssertionError(f"after {'; '.join(done)}") from error
    outside.check()


def warm_up(folder: Path) -> None:
    """Imports what commands need."""
    sound = folder / "sound" if (folder / "sound").exists() else make_sound(folder)
    home = folder / "warm"
    home.mkdir(exist_ok=True)
    shutil.copytree(sound, home / "run")
    read_all(home / "run", sound, home, figures=True)
    shutil.rmtree(home)


def subject() -> Subject:
    """The cases as `fuzz.fuzz` takes them: each is a dozen commands."""
    return Subject("folder", read_case, warm_up, seconds=SECONDS)
