"""Decodes part of a submission again, by the engine as it is, and compares row by row.

The spec in the manifest is run on a share of the clips that a seed draws, at all points: of every
point of every system the same clips are decoded again. Nobody knows the seed before: one that came
from the submission could be tried out until it draws the clips that were measured honestly. Costs,
statistics of latents, entropy-coded bits and further seeds are left out. What cannot be built here
(weights that are not public, code that may not run) is a system that was not reproduced, and costs
nobody else the badge.
"""

from __future__ import annotations

import math
import os
import random
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.analysis.runs import NotComparableError, Run, contents, differences
from rdbench.engine.progress import Progress
from rdbench.engine.run import RunOptions, run_benchmark
from rdbench.leaderboard.check import check_submission
from rdbench.leaderboard.record import Record, compared, write_record
from rdbench.store.reader import read_manifest, read_rows
from rdbench.store.variants import variants_of
from rdbench.types import RdbenchError

if TYPE_CHECKING:
    from rdbench.spec.model import BenchmarkSpec

SHARE = 0.05


def reproduce(
    folder: Path,
    *,
    share: float = SHARE,
    seed: int | None = None,
    data: str | os.PathLike[str] | None = None,
    replaced: Mapping[tuple[str, str], str] | None = None,
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> Record:
    """Measures a share of the submission in `folder` again, and leaves the record beside it.

    share: of the clips of each domain, at least one. seed: draws them, and stands in the record;
    None is another one each time. data: the folder or the manifest of the clips. replaced: codec
    options, as in `rdbench.engine.specs.read_spec`; paths in the spec start in the current folder.

    Raises RdbenchError for a submission with findings, and NotComparableError where the clips here
    are others.
    """
    if not 0 < share <= 1:
        raise RdbenchError(f"a share of {share} of the clips is none; take more than 0, at most 1")
    checked = check_submission(folder)
    if checked.submission is None or checked.problems:
        raise RdbenchError(f"{folder} has findings: {checked.problems[0]}")
    submission = checked.submission
    drawn = secrets.randbits(32) if seed is None else seed
    clips = drawn_clips(submission.manifest, share=share, seed=drawn)
    spec = _spec(submission.manifest, clips, data=data, replaced=replaced or {})
    with tempfile.TemporaryDirectory(prefix="rdbench-") as made:
        again = Path(made) / "again"
        run_benchmark(spec, again, options, progress)
        manifest, rows = read_manifest(again), read_rows(again)
    submitted = read_rows(folder)
    found = differences(
        Run(submission.name, submitted, submission.manifest), Run("here", rows, manifest)
    )
    if found:
        raise NotComparableError(
            f"{submission.name} cannot be reproduced here: {found[0]}; take the clips and the "
            "rdbench that it was measured with"
        )
    record = Record(
        submission.digest, drawn, share, clips,
        compared(submitted, rows, manifest, left_out=_undone(submission.manifest)),
        manifest.get("versions") or {},
    )  # fmt: skip
    write_record(submission, record)
    return record


def drawn_clips(manifest: Mapping[str, Any], *, share: float, seed: int) -> tuple[str, ...]:
    """The names of the clips that a seed draws: of each domain a share, at least one."""
    domains: dict[str, list[str]] = {}
    for domain, name in sorted(contents(manifest)):
        domains.setdefault(domain, []).append(name)
    generator = random.Random(seed)
    return tuple(
        name
        for names in domains.values()
        for name in sorted(generator.sample(names, math.ceil(share * len(names))))
    )


def _undone(manifest: Mapping[str, Any]) -> list[str]:
    """The variants that `_spec` leaves out, or that no spec has: of further seeds, and predicted.

    A board has none of them.
    """
    return [name for name, card in variants_of(manifest).items() if card.of or card.digest]


def _spec(
    manifest: Mapping[str, Any],
    clips: tuple[str, ...],
    *,
    data: str | os.PathLike[str] | None,
    replaced: Mapping[tuple[str, str], str],
) -> BenchmarkSpec:
    """The spec of a submission, cut to what is compared."""
    from rdbench.engine.specs import read_spec

    content: dict[str, Any] = {**manifest["spec"]}
    whole = ("limit", "sample")
    rest = {key: value for key, value in content["corpus"].items() if key not in whole}
    content["corpus"] = {**rest, "clips": list(clips)}
    content["costs"] = {"enabled": False}
    for left_out in ("entropy", "latent", "traces"):
        content.pop(left_out, None)
    sets = {
        key for key, card in (manifest.get("metrics") or {}).items() if card.get("scope") == "set"
    }
    content["metrics"] = {
        domain: [one for one in asked if one["key"] not in sets]
        for domain, asked in content["metrics"].items()
    }
    content["systems"] = [{**one, "seeds": {}} for one in content["systems"]]
    return read_spec(content, data=data, options=dict(replaced))
