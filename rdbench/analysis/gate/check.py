"""The regression gate: has reconstruction become worse than the baseline, and only then.

A run is held against a baseline on the same clips, direction-aware, by the tolerances of `config`.
Points are tested for losses (`losses`) and curves by BD-rate against their own baseline (`curves`);
all tests of one check are corrected together by Holm's method, so that the probability of any false
alarm is at most `alpha`. A loss on too few groups of clips for a test is no pass: it is undecided.
What appeared, vanished, failed or lost its score is a finding of its own (`findings`), a run that
is not finished never passes, and one that was not measured like the baseline gets no verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rdbench.analysis.arrays import by_domain
from rdbench.analysis.gate.baseline import read_baseline, rounded
from rdbench.analysis.gate.config import GateConfig, read_config
from rdbench.analysis.gate.curves import curve_findings
from rdbench.analysis.gate.findings import (
    FINDING_COLUMNS,
    UNCHANGED,
    failures,
    finding,
    joined,
    presence,
    undefined,
    unfinished,
    vanished_domains,
)
from rdbench.analysis.gate.losses import point_findings
from rdbench.analysis.latent.ladder import prior_of
from rdbench.analysis.paired import holm
from rdbench.analysis.runs import Run, contents, differences

if TYPE_CHECKING:
    import pandas as pd

    from rdbench.analysis.compare import Source


class Exit(IntEnum):
    """Exit codes of `rdbench check`."""

    PASS = 0
    REGRESSION = 1
    USAGE = 2
    NOT_COMPARABLE = 3
    FAILED_UNITS = 4
    UNDECIDED = 5


@dataclass(frozen=True)
class GateResult:
    """findings: columns `FINDING_COLUMNS`, one row per thing that was checked.

    loss: how much worse, in `unit` (below 0: better), with its 95 % interval; limit: the loss that
    is tolerated. verdict: pass, regression, improvement, undecided, skipped, new, vanished,
    failed, not_comparable.
    """

    findings: pd.DataFrame
    exit_code: Exit

    @classmethod
    def of(cls, findings: pd.DataFrame) -> GateResult:
        """The result whose findings `check` returned."""
        return cls(findings, Exit(findings.attrs["exit_code"]))

    def count(self, verdict: str) -> int:
        """How many findings have this verdict."""
        return int((self.findings["verdict"] == verdict).sum())


def check(
    source: Source,
    baseline: str | Path | Run,
    config: str | Path | Mapping[str, Any] | GateConfig | None = None,
    *,
    manifest: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Holds a run against a baseline; the Python form of `rdbench check`.

    source: a results folder, or rows with their `manifest`. baseline: a file that `rdbench check
    --update` wrote. config: a gate.yaml, or its content. Returns `FINDING_COLUMNS`, losses in the
    unit of each row; `attrs["exit_code"]` is that of the command (0 pass, 1 regression, 3 not
    comparable, 4 failed units, 5 too little to judge).

    Source: cluster-robust paired tests (Bell & McCaffrey 2002) with moderated errors (Smyth 2004),
    Holm's correction (1979).

    Raises RdbenchError for what cannot be read, and NotComparableError for a baseline of another
    schema.
    """
    from rdbench.analysis.compare import load

    if isinstance(config, Mapping):
        settings = GateConfig.model_validate(config)
    else:
        settings = config if isinstance(config, GateConfig) else read_config(_path(config))
    held = baseline if isinstance(baseline, Run) else read_baseline(Path(baseline))
    result = check_run(load(source, manifest), held, settings)
    result.findings.attrs["exit_code"] = int(result.exit_code)
    return result.findings


def check_run(run: Run, baseline: Run, config: GateConfig) -> GateResult:
    """The findings of one check and what they amount to.

    Raises SpecError for a configuration that names a metric which neither has.
    """
    import pandas as pd

    names: dict[str, set[str]] = {kind: set() for kind in ("metric", "latent", "rate")}
    for one in (run, baseline):
        for kind, column in (("metric", "key"), ("latent", "key"), ("rate", "backend")):
            names[kind] |= set(one.rows.loc[one.rows["kind"] == kind, column].astype(str))
    priors = {prior_of(backend) for backend in names["rate"] if backend}
    config.check_names(names["metric"], names["latent"] | priors)
    found = list(_not_comparable(run, baseline))
    if not found:
        found += _compare(rounded(run), baseline, config)
    findings = pd.DataFrame(found, columns=FINDING_COLUMNS)
    return GateResult(findings, _exit(findings, config))


def _exit(findings: pd.DataFrame, config: GateConfig) -> Exit:
    verdicts = set(findings["verdict"])
    if "not_comparable" in verdicts:
        return Exit.NOT_COMPARABLE
    gone = findings[findings["verdict"] == "vanished"]
    # Nobody takes single clips out of a measurement: they are missing, whatever may vanish.
    vanished = len(gone) > 0 and (config.vanished == "fail" or "clips" in set(gone["what"]))
    if "regression" in verdicts or vanished:
        return Exit.REGRESSION
    if "failed" in verdicts:
        return Exit.FAILED_UNITS
    undecided = "undecided" in verdicts and config.undecided == "fail"
    return Exit.UNDECIDED if undecided else Exit.PASS


def _not_comparable(run: Run, baseline: Run) -> Iterator[dict[str, Any]]:
    for sentence in differences(baseline, run):
        yield finding("protocol", verdict="not_comparable", message=sentence)
    here, there = _clips(run), _clips(baseline)
    for what, names in (("new", here - there), ("vanished", there - here)):
        for domain, name in sorted(names):
            message = f"the clip is {'not in the baseline' if what == 'new' else 'not in the run'}"
            yield finding(
                "clip", domain=domain, clip=name, verdict="not_comparable", message=message
            )


def _clips(run: Run) -> set[tuple[str, str]]:
    listed = set(contents(run.manifest))
    rows = run.rows[run.rows["clip"] != ""][["domain", "clip"]].drop_duplicates()
    measured = {(str(d), str(c)) for d, c in rows.itertuples(index=False)}
    return listed | measured


def _compare(run: Run, baseline: Run, config: GateConfig) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = list(unfinished(run, config))
    here = {scores.domain: scores for scores in by_domain(run)}
    there = {scores.domain: scores for scores in by_domain(baseline)}
    found += vanished_domains(here, there)
    for domain, scores in here.items():
        old = there.get(domain)
        if old is None:
            continue
        both = joined(scores, old)
        found += presence(both, config)
        found += failures(both, config)
        found += undefined(both, config)
        found += point_findings(both, run, config)
    found += curve_findings(run, baseline, config)
    found += _versions(run, baseline)
    _judge(found, config.alpha)
    return found


def _judge(found: list[dict[str, Any]], alpha: float) -> None:
    """Corrects all tests together and gives each open finding its verdict."""
    corrected = holm(np.array([row["p"] for row in found], dtype=float))
    gains = holm(np.array([row["p_gain"] for row in found], dtype=float))
    for row, p, gain in zip(found, corrected, gains, strict=True):
        row["p_holm"], row["p_gain"] = float(p), float(gain)
        if row["verdict"]:
            continue
        if row["message"] == UNCHANGED:
            row["verdict"] = "pass"
        elif row["tolerance"].startswith("significant"):
            if not np.isfinite(p):
                row["verdict"], row["message"] = _unsure(row)
            else:
                row["verdict"] = "regression" if p <= alpha else "pass"
        else:
            row["verdict"] = "regression" if _beyond(row) else "pass"
        if row["verdict"] == "pass" and gain <= alpha:
            row["verdict"] = "improvement"


def _unsure(row: Mapping[str, Any]) -> tuple[str, str]:
    """Verdict and message of a loss that no test can tell from chance."""
    still = bool(row.get("still"))
    why = "the same loss in every group of clips" if still else "too few groups of clips for a test"
    if row["limit"] > 0 and _beyond(row):
        return "regression", f"beyond what is tolerated; {why}"
    if row["loss"] <= 0:
        return "pass", f"not worse; {why}"
    if still:
        return "undecided", (
            f"too little to judge: {why}, and so no variation to hold it against; measure more "
            "clips, or state how much is tolerated (absolute)"
        )
    return "undecided", (
        f"too little to judge: {row['n_groups']} group{'s' * (row['n_groups'] != 1)} of clips, or "
        "too unequal ones; measure more groups, or state how much is tolerated (absolute)"
    )


def _beyond(row: Mapping[str, Any]) -> bool:
    return bool(row["loss"] > row["limit"] + 1e-9 * max(abs(row["limit"]), 1e-3))


def _versions(run: Run, baseline: Run) -> Iterator[dict[str, Any]]:
    """Programs of another version: worth knowing when scores move."""
    for key, card in baseline.metrics.items():
        now = run.metrics.get(key)
        if not now or not isinstance(card, Mapping):
            continue
        one, two = card.get("backend_version"), now.get("backend_version")
        if one and two and one != two:
            yield finding(
                "metric", key=key, verdict="skipped", message=f"scored by {two}, was {one}"
            )


def gate_files(
    run: Path, baseline: Path, config: Path | None, *, update: bool = False
) -> GateResult | None:
    """The check of a results folder against a baseline file.

    With `update` the run becomes the baseline afterwards; the result, what changes by that, is
    None where there was no baseline or one that cannot be read. Raises RdbenchError.
    """
    from rdbench.analysis.gate.baseline import write_baseline
    from rdbench.analysis.runs import read_run
    from rdbench.types import RdbenchError

    settings = read_config(config)
    measured = read_run(run)
    result: GateResult | None = None
    try:
        result = check_run(measured, read_baseline(baseline), settings)
    except RdbenchError:
        # A baseline that is absent, damaged or old is what --update mends.
        if not update:
            raise
    if update:
        write_baseline(baseline, measured)
    return result


def _path(config: str | Path | None) -> Path | None:
    return None if config is None else Path(config)
