"""A benchmark from Python: `run` measures a spec, and a `Run` is what it left in its folder.

    >>> import rdbench
    >>> run = rdbench.run("quick", out="quick")                      # doctest: +SKIP
    >>> run.frame().query("metric == 'pesq_wb'")                     # doctest: +SKIP
    >>> run.plot("pesq_wb", domain="speech")                         # doctest: +SKIP

Nothing outlasts a call but the folder: torch's threads, seeds and precision, the import path and
matplotlib's settings are the caller's.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rdbench.engine.progress import Progress
from rdbench.types import RdbenchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.axes import Axes

    from rdbench.analysis.runs import Run as Rows
    from rdbench.engine.specs import Spec
    from rdbench.report.config import ReportConfig


def run(
    spec: Spec,
    *,
    out: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    device: str = "auto",
    workers: int | None = None,
    cluster: str | None = None,
    costs: Literal["missing", "again", "none"] = "missing",
    keep_audio: bool = False,
    traces: bool = False,
    allow_code: bool = False,
    allow_download: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Measures what a spec asks for, and what its folder does not have yet.

    It may be called in a script without a `__main__` guard, and in a notebook: the processes that
    measure do not run the caller's script.

    Args:
        spec: the path of a YAML file, the name of a spec that comes with rdbench, what such a file
            would say as a mapping, or what `rdbench.read_spec` made of one.
        out: the results folder; None is `results/NAME` of the spec.
        data: a folder of clips, or a manifest, in place of the spec's own.
        limit: at most this many clips.
        device: auto, cpu, cuda, cuda:N, several as "cuda:0,cuda:1", or cuda:all.
        workers: processes on the cores; None is one for each.
        cluster: measures on the workers of a Dask cluster: "local:N", a scheduler's address, or a
            YAML file (docs/cluster.md).
        costs: times and memory of this machine: what is missing, all again, or none.
        keep_audio: leave reconstructions and references in the folder, as FLAC.
        traces: leave bits per frame in the folder.
        allow_code: let `module:Class` and programs that the spec names run. Modules are found
            beside the spec, in the current folder, and where Python finds them.
        allow_download: fetch published weights that are not on this machine.
        progress: is told how far it is; None says by the logger `rdbench` what is worth a line.

    Raises:
        RdbenchError: where nothing can be measured, in one sentence on what to mend; and where all
            that was tried has failed. A single failure is a row with its reason (`Run.failures`).
    """
    from rdbench.engine.run import RunOptions, run_benchmark
    from rdbench.engine.specs import read_spec

    benchmark = read_spec(spec, data=data, limit=limit)
    folder = Path("results") / benchmark.name if out is None else Path(out)
    how = RunOptions(
        device=device,
        workers=workers,
        cluster=cluster,
        allow_code=allow_code,
        allow_download=allow_download,
        costs=costs,
        keep_audio=keep_audio,
        traces=traces,
    )
    found = [benchmark.folder, Path.cwd()] if allow_code else []
    with _first_on_path(found):
        summary = run_benchmark(benchmark, folder, how, progress or _Log())
    made = Run(folder)
    if summary.failed:
        made._check_something_worked()
    return made


class Run:
    """What a benchmark left in its folder: scores beside rates, curves, comparisons.

    In a notebook it shows a figure and a table. It is read when it is first asked for something,
    and can be given where a results folder can.

    Args:
        folder: of `rdbench.run`, or of the command.

    Raises:
        StoreError: where that is no run.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        from rdbench.store.manifest import read_manifest

        self.folder = Path(folder)
        self.manifest: Mapping[str, Any] = read_manifest(self.folder)

    @property
    def name(self) -> str:
        """That of the spec."""
        return str(self.manifest.get("name", self.folder.name))

    @property
    def rows(self) -> pd.DataFrame:
        """What was measured: a row per clip, point and quantity (`rdbench.store.schema.Row`)."""
        return self._run.rows.copy()

    def failures(self) -> pd.DataFrame:
        """The rows that failed, each with its reason."""
        rows = self._run.rows
        return rows[rows["status"] == "failed"].reset_index(drop=True)

    def frame(self, *, rate: str = "headline") -> pd.DataFrame:
        """A row per system, point, variant, domain and metric, with its rate and intervals.

        rate: the kind of rate that stands for each system ("headline"), or one kind for all
        (docs/rates.md). Columns: `rdbench.report.scores.COLUMNS`, among them kbps, value, and the
        ends of their 95 % intervals over groups of clips; NaN where there is none. Raises
        RdbenchError for a kind of rate that there is not.
        """
        from rdbench.report.scores import scores_beside_rates

        return scores_beside_rates(self._points, self._run.manifest, rate=rate)

    def plot(
        self,
        metric: str,
        *,
        domain: str | None = None,
        rate: str = "headline",
        ax: Axes | None = None,
    ) -> Axes:
        """Draws every curve of one metric over the rate, with 95 % intervals, and returns the axes.

        metric: its key. domain: may be left out where the metric has values on one alone. rate: as
        in `frame`. ax: what is drawn on, in its style; None makes a figure of pyplot's. Raises
        RdbenchError for a metric, a domain or a rate that the run has not.
        """
        from pydantic import ValidationError

        from rdbench.report.config import ReportConfig
        from rdbench.report.figures.on_axes import draw_on

        try:
            config = ReportConfig(rate=rate)
        except ValidationError as error:
            what = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise RdbenchError(f"rate: {what}") from None
        if ax is None:
            from matplotlib import pyplot

            _, ax = pyplot.subplots(layout="constrained")
        draw_on(ax, self._points, self._run.manifest, metric=metric, domain=domain, config=config)
        return ax

    def bd_rate(self, anchor: str, *, metrics: Sequence[str] | None = None) -> pd.DataFrame:
        """The change in bits at equal quality of every curve against the curve `anchor`.

        As `rdbench.bd_rate`, which has more to say.
        """
        from rdbench.analysis.compare import bd_rate

        return bd_rate(self, anchor=anchor, metrics=metrics)

    def compare(self, anchor: str, *, metrics: Sequence[str] | None = None) -> pd.DataFrame:
        """Paired differences of every curve's points against those of `anchor` of like rate.

        As `rdbench.compare`, which has more to say.
        """
        from rdbench.analysis.compare import compare

        return compare(self, anchor=anchor, metrics=metrics)

    def write_report(self, config: ReportConfig | None = None) -> list[Path]:
        """Writes tables and figures into the folder, as the command does; returns the files."""
        from rdbench.report.write import write_all

        _, written = write_all(self.folder, config=config)
        return written

    def __fspath__(self) -> str:
        """The folder."""
        return str(self.folder)

    def __repr__(self) -> str:
        """The folder, and how many of its rows there are."""
        return f"<Run {self.folder}: {self._said}>"

    def _repr_html_(self) -> str:
        """A figure and a table, for notebooks."""
        return self._html

    @cached_property
    def _said(self) -> str:
        from rdbench.store.status import run_status

        counts = run_status(self.folder).counts
        said = f"{counts.done:,} of {counts.asked:,} rows"
        return f"{said}, {counts.failed:,} failed" if counts.failed else said

    @cached_property
    def _html(self) -> str:
        from rdbench.report.html.inline import run_html

        return run_html(self._points, self._run.manifest, title=f"{self.name}: {self._said}")

    @cached_property
    def _run(self) -> Rows:
        from rdbench.analysis.runs import read_run

        return read_run(self.folder)

    @cached_property
    def _points(self) -> pd.DataFrame:
        from rdbench.analysis.aggregate import run_points

        return run_points(self._run)

    def _check_something_worked(self) -> None:
        """Raises RdbenchError where every row failed."""
        from rdbench.store.status import run_status

        status = run_status(self.folder)
        measured = self._run.rows[self._run.rows["kind"] != "cost"]  # of costs some are undefined
        if len(measured) and (measured["status"] == "failed").all() and status.reasons:
            reason, count = status.reasons[0]
            raise RdbenchError(
                f"all of {status.counts.failed:,} rows failed, {count:,} of them with: {reason}; "
                f"mend that and run again ({self.folder} has every reason)"
            )


class _Log(Progress):
    """Says what is worth a line by the logger of the package."""

    def say(self, message: str) -> None:
        """One line."""
        logging.getLogger("rdbench").warning(message)


@contextlib.contextmanager
def _first_on_path(folders: Sequence[Path]) -> Iterator[None]:
    """Modules are looked for in `folders` first, for the time of a `with` block."""
    before = list(sys.path)
    sys.path[:0] = map(str, folders)
    try:
        yield
    finally:
        sys.path[:] = before
