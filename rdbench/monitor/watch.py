"""Evaluates the checkpoints of a folder as they appear, and draws rate and quality over steps.

Each is a run of its own in `step_…`, as `rdbench run` makes it, so that what was measured is not
measured again, and a watcher that was ended goes on. A checkpoint that is still being written is
left until its size has stood still.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.monitor.specs import content_of, says_all, with_system
from rdbench.monitor.steps import add_step, folder_of, read_step, write_figures
from rdbench.types import RdbenchError, SpecError

if TYPE_CHECKING:
    from rdbench.engine.run import RunOptions
    from rdbench.spec.model import BenchmarkSpec

PLACE = "{checkpoint}"
"""What the path of a checkpoint takes the place of, in the options of the spec's system."""
PATTERN = "*.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A file and the step in its name. stamp: what it was when it was looked at."""

    path: Path
    step: int
    stamp: tuple[int, int]


def watch(
    folder: Path,
    spec: Any,
    out: Path,
    *,
    options: RunOptions,
    pattern: str = PATTERN,
    every: float | None = None,
    say: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[Path, str]:
    """Evaluates what `folder` has, and what appears there.

    Args:
        folder: of checkpoints, looked through with its subfolders.
        spec: what to measure: see `rdbench.monitor.evaluate.evaluate`. A spec with systems has one,
            with `{checkpoint}` in its options; without, a checkpoint is one of rdbench's own.
        out: where runs, table and figures go.
        options: of each run.
        pattern: of the names of checkpoints.
        every: seconds between looks at the folder; None is one look.
        say: told what is worth a line.
        sleep: waits.

    Returns:
        Why checkpoints were not evaluated, by path; only after one look.

    Raises:
        SpecError: for a folder that is not there, and for a spec that cannot be used.
    """
    if not folder.is_dir():
        raise SpecError(f"there is no folder {folder}; name the one in which checkpoints appear")
    watcher = _Watcher(folder, pattern, spec, out=out, options=options, say=say)
    while True:
        found = watcher.look(settled=every is None)
        for checkpoint in found:
            watcher.evaluate(checkpoint)
        if every is None:
            if not found:
                raise SpecError(
                    f"{folder} has no checkpoint {pattern} with a step in its name; see --pattern"
                )
            return watcher.failures
        sleep(every)


class _Watcher:
    """What is known of a folder. failures: why a checkpoint was not evaluated, by path."""

    def __init__(
        self,
        folder: Path,
        pattern: str,
        spec: Any,
        *,
        out: Path,
        options: RunOptions,
        say: Callable[[str], None],
    ) -> None:
        self.failures: dict[Path, str] = {}
        self._folder = folder
        self._pattern = pattern
        self._spec = spec
        self._out = out
        self._options = options
        self._say = say
        self._system = _system(spec)
        self._seen: dict[Path, tuple[int, int]] = {}
        self._done: dict[Path, tuple[int, int]] = {}

    def look(self, *, settled: bool) -> list[Checkpoint]:
        """Checkpoints that are new, in order of steps; those whose size stood still, or all."""
        found = []
        for path in sorted(self._folder.rglob(self._pattern)):
            try:
                status = path.stat()
            except OSError:  # a trainer keeps the last few
                continue
            stamp = (status.st_size, status.st_mtime_ns)
            still = settled or self._seen.get(path) == stamp
            self._seen[path] = stamp
            step = step_in(path.stem)
            if step is None:  # `rdbench train` calls all of them alike
                step = _trained(path) or step_of(path.relative_to(self._folder))
            if still and step is not None and self._done.get(path) != stamp:
                found.append(Checkpoint(path, step, stamp))
        return sorted(found, key=lambda one: one.step)

    def evaluate(self, checkpoint: Checkpoint) -> None:
        """Runs a checkpoint; what is wrong with it is said, and costs that one alone."""
        from rdbench.engine.run import run_benchmark

        path, step = checkpoint.path, checkpoint.step
        self._done[path] = checkpoint.stamp
        try:
            place = folder_of(self._out, step)
            summary = run_benchmark(self._benchmark(path), place, self._options)
            table = read_step(place, step)
            if not table["value"].notna().any():
                raise SpecError(f"nothing could be scored; the rows in {place} say why")
            write_figures(self._out, add_step(self._out, table))
        except RdbenchError as error:
            self.failures[path] = str(error)
            self._say(f"{path}: {error}")
        else:
            failed = f", {summary.failed} rows failed" if summary.failed else ""
            self._say(f"{path}: step {step} is in {self._out}{failed}")

    def _benchmark(self, path: Path) -> BenchmarkSpec:
        """The spec for one checkpoint; what it does not say is made to suit its codec."""
        from rdbench.engine.plan.systems import recipe_of

        options = _filled(self._system["options"], str(path.absolute()))
        system = {**self._system, "options": options}
        draft = with_system(self._spec, system, None)
        if says_all(self._spec):
            return draft
        codec = recipe_of(draft, draft.systems[0], allow_code=self._options.allow_code).build()
        return with_system(self._spec, system, codec.info)


def _trained(path: Path) -> int | None:
    """The steps in the header of a checkpoint of rdbench's own; None of another."""
    from rdbench.models.checkpoint import read_header

    try:
        steps = read_header(path).provenance.get("steps")
    except RdbenchError:
        return None
    return steps if isinstance(steps, int) else None


def step_of(path: Path) -> int | None:
    """The step that a path names, or None: the number after `step`, else the last of its name, else
    of its folders. `epoch=3-step=1200.ckpt` is 1200, `40000/weights.safetensors` 40000.
    """
    names = (path.stem, *reversed(path.parent.parts))
    return next((step for step in map(step_in, names) if step is not None), None)


def step_in(name: str) -> int | None:
    """The step in one name, or None."""
    found = re.findall(r"step[s]?[=_-]?(\d+)", name) or re.findall(r"\d+", name)
    return int(found[-1]) if found else None


def _system(spec: Any) -> dict[str, Any]:
    """The system of a spec, with a place for the path of a checkpoint."""
    content, _, name = content_of(spec)
    systems = content.get("systems")
    if not systems:
        return {"codec": "vae", "name": "model", "options": {"weights": PLACE}}
    if not (isinstance(systems, list) and len(systems) == 1 and isinstance(systems[0], Mapping)):
        raise SpecError(f"{name} has several systems; to watch one model, keep that alone")
    if PLACE not in repr(systems[0].get("options")):
        raise SpecError(
            f"{name}: no option of its system has {PLACE}; write that where the path of a "
            "checkpoint goes"
        )
    return dict(systems[0])


def _filled(value: Any, path: str) -> Any:
    if isinstance(value, str):
        return value.replace(PLACE, path)
    if isinstance(value, list):
        return [_filled(one, path) for one in value]
    if isinstance(value, dict):
        return {key: _filled(one, path) for key, one in value.items()}
    return value
