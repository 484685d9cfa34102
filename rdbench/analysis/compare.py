"""Comparisons as a Python API: folders or tables in, tables out.

    >>> import rdbench                                               # doctest: +SKIP
    >>> rdbench.bd_rate("results/speech_16k", anchor="opus")         # doctest: +SKIP
    >>> rdbench.compare("results/speech_16k", anchor="opus")         # doctest: +SKIP

The rows of a run explain their numbers only with its manifest (which way is better, which rate is
the headline), so every function takes results folders, or rows together with a manifest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.analysis.curves.bd_rate import METHODS, bd_table
from rdbench.analysis.curves.readings import reading_table
from rdbench.analysis.latent.paired import latent_table
from rdbench.analysis.latent.sets import with_latents
from rdbench.analysis.paired import clip_table, paired_table
from rdbench.analysis.runs import Run, merge, read_run, run_of
from rdbench.analysis.stats.leave_one_out import Sampling
from rdbench.types import RdbenchError

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.curves.interpolation import Interpolation

    Source = str | os.PathLike[str] | pd.DataFrame | Sequence[str | os.PathLike[str]]


def bd_rate(
    source: Source,
    *,
    anchor: str,
    manifest: Mapping[str, Any] | None = None,
    curves: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    methods: Sequence[Interpolation] = METHODS,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """BD-rate and BD-quality of every curve against the curve `anchor`.

    source: a results folder (or a `rdbench.Run`), several that were measured alike, or a DataFrame
    of rows (`rdbench.store.schema.Row`) with its `manifest`. Returns
    `rdbench.analysis.curves.bd_rate.BD_COLUMNS`: BD-rate in percent of bits at equal quality
    (negative is fewer), BD-quality in the metric's unit at equal bits, intervals at `confidence`
    over groups of clips; where there is no answer, NaN and the reason. resamples, seed: of the
    draws that say in what share of them two curves cross.

    Source: Bjøntegaard, ITU-T VCEG-M33 (2001) and VCEG-AI11 (2008), by PCHIP and Akima.

    Raises RdbenchError for what is not there, NotComparableError for runs that were not measured
    alike, StoreError for what cannot be read.
    """
    how = Sampling(resamples, seed, confidence)
    return bd_table(
        load(source, manifest),
        reference=anchor, curves=curves, metrics=metrics, methods=methods, sampling=how,
    )  # fmt: skip


def compare(
    source: Source,
    *,
    anchor: str | None = None,
    pairs: Sequence[tuple[str, str]] = (),
    manifest: Mapping[str, Any] | None = None,
    curves: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Paired differences at single points, each with interval, win rate and Holm-corrected p.

    Points of every curve, or of `curves`, against those of `anchor` that are near in rate; or the
    `pairs` that are named (("lyra/6", "opus/8"), …). Other arguments and errors as in `bd_rate`;
    returns `rdbench.analysis.paired.PAIR_COLUMNS`, differences in the metric's unit.

    Source: Bell & McCaffrey, Survey Methodology 28 (2002); Hall, Journal of the Royal Statistical
    Society B 54 (1992); Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    run = load(source, manifest)
    return paired_table(
        run, reference=anchor, pairs=pairs, curves=curves, metrics=metrics, confidence=confidence
    )


def readings(
    source: Source,
    *,
    at_kbps: Sequence[float] = (),
    to_reach: Mapping[str, Sequence[float]] | None = None,
    manifest: Mapping[str, Any] | None = None,
    curves: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Quality at given rates (kbps) and rates (kbps) that reach given qualities, interpolated.

    to_reach: {"pesq_wb": [3.0]}. NaN and the reason outside the measured range. Other arguments
    and errors as in `bd_rate`; returns `rdbench.analysis.curves.readings.READING_COLUMNS`.
    """
    return reading_table(
        load(source, manifest),
        at_kbps=at_kbps, to_reach=to_reach, curves=curves, metrics=metrics, confidence=confidence,
    )  # fmt: skip


def all_tables(
    run: Run,
    *,
    anchor: str | None,
    curves: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    pairs: Sequence[tuple[str, str]] = (),
    at_kbps: Sequence[float] = (),
    to_reach: Mapping[str, Sequence[float]] | None = None,
    clips: int = 3,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Everything that `rdbench compare` shows: `bd`, `readings`, `pairs`, `clips`, `latents`.

    anchor: None where `pairs` alone are compared; there is no `bd` then.

    Raises RdbenchError for a metric that was not measured, and as the tables do.
    """
    how = Sampling(resamples, seed)
    known = run.rows.loc[run.rows["kind"] == "metric", "key"].unique().tolist()
    for key in metrics or ():
        if key not in known:
            raise RdbenchError(f"{key!r} was not measured; the run has {', '.join(known)}")
    shared: dict[str, Any] = {"reference": anchor, "curves": curves, "metrics": metrics}
    tables: dict[str, pd.DataFrame] = {}
    if anchor is not None:
        tables["bd"] = bd_table(run, reference=anchor, curves=curves, metrics=metrics, sampling=how)
    tables |= {
        "pairs": paired_table(run, **shared, pairs=pairs),
        "clips": clip_table(run, **shared, pairs=pairs, count=clips),
    }
    latents = latent_table(run, reference=anchor, curves=curves, pairs=pairs)
    if metrics is None and len(latents):
        tables["latents"] = latents
    if at_kbps or to_reach:
        tables["readings"] = reading_table(
            run, at_kbps=at_kbps, to_reach=to_reach, curves=curves, metrics=metrics
        )
    return tables


def load(source: Source, manifest: Mapping[str, Any] | None = None) -> Run:
    """The run, or the runs made one, that `source` names (see `bd_rate`)."""
    if isinstance(source, str | os.PathLike):
        return _read(Path(source))
    if not isinstance(source, Sequence):
        if manifest is None:
            raise RdbenchError(
                "rows need the manifest of their run, which says which way is better; "
                "pass manifest=…, or the results folder instead of rows"
            )
        return run_of("rows", source, manifest)
    return merge([_read(Path(folder)) for folder in source])


def _read(folder: Path) -> Run:
    return with_latents(read_run(folder), folder)
