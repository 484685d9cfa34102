"""`rdbench latent report` on small runs: what is lacking, what is warned of, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_runs import make_run
from typer.testing import CliRunner

from rdbench.analysis.runs import Run
from rdbench.cli.main import app
from rdbench.report.latent.content import NoLatentError
from rdbench.report.latent.write import write_latent
from rdbench.store.schema import Kind, Row
from rdbench.store.writer import RunWriter
from rdbench.types import KL_PRIOR, Status

VAE = {"vae": ("kl", {"6": 6.0}, 8.0)}


def written(run: Run, folder: Path) -> Path:
    with RunWriter(folder) as writer:
        for row in run.rows.to_dict("records"):
            cells = {str(k): v for k, v in row.items()}
            cells |= {"kind": Kind(row["kind"]), "status": Status(row["status"])}
            cells["backend"] = row["backend"] or KL_PRIOR
            writer.append([Row(**cells)])
        writer.write_manifest(dict(run.manifest))
    return folder


def collapsed(quality: float) -> Run:
    """A latent whose `rolled` differs from its sample by some quality."""
    run = make_run(VAE)
    scores = run.rows[run.rows["kind"] == "metric"]
    moved = quality * scores["key"].map({"quality": 1.0, "distance": -1.0})
    other = scores.assign(
        variant="rolled", value=scores["value"] + moved, unit_key=scores["unit_key"] + "r"
    )
    cards = {"rolled": {"source": "rolled sample"}}
    rows = pd.concat([run.rows, other], ignore_index=True)
    return replace(run, rows=rows, manifest={**run.manifest, "variants": cards})


def test_what_a_run_lacks_is_a_line_each(tmp_path: Path) -> None:
    page, *others = write_latent([written(make_run(VAE), tmp_path / "run")])
    assert page == tmp_path / "run" / "latent" / "latent.md"
    assert {path.name for path in others} == {"ladder.csv", "decoded.csv"}
    text = " ".join(page.read_text().split())
    for lacking in ("no statistics by place", "no truncation variants", "no collapse variants",
                    "no noise", "no predicted latents"):  # fmt: skip
        assert f"- Not here: {lacking}: add " in text


@pytest.mark.parametrize(("quality", "warned"), [(0.001, True), (-2.0, False)])
def test_a_decoder_that_ignores_its_latent_is_warned_of(
    tmp_path: Path, quality: float, warned: bool
) -> None:
    page, *_ = write_latent([written(collapsed(quality), tmp_path / "run")], tmp_path / "out")
    text = " ".join(page.read_text().split())
    assert ("Warning: vae may ignore its latent: rolled scores within the interval of the sample "
            "by quality, distance." in text) == warned  # fmt: skip


def test_a_latent_without_statistics_says_why(tmp_path: Path) -> None:
    run = make_run(VAE)
    failed = run.rows.iloc[:1].assign(
        clip="", kind="latent", key="norm", backend="all clips", value=np.nan, status="failed",
        reason="1 of 3 clips have no latent (a.wav: a mean that is not finite)", unit_key="f",
    )  # fmt: skip
    rows = pd.concat([run.rows, failed], ignore_index=True)
    page, *_ = write_latent([written(replace(run, rows=rows), tmp_path / "run")])
    text = " ".join(page.read_text().split())
    assert "**vae has no statistics: 1 of 3 clips have no latent (a.wav: a mean that is" in text


def test_runs_apart_stand_in_one_report(tmp_path: Path) -> None:
    one = written(make_run(VAE, name="one"), tmp_path / "one")
    two = written(make_run(VAE, name="two", seed=1), tmp_path / "two")
    done = CliRunner().invoke(
        app, ["latent", "report", str(one), str(two), "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    assert str(tmp_path / "out" / "latent.md") in done.output
    systems = set(pd.read_csv(tmp_path / "out" / "ladder.csv")["system"])
    assert systems == {"one:vae", "two:vae"}


def test_a_run_without_a_continuous_latent_is_one_sentence(tmp_path: Path) -> None:
    folder = written(make_run(), tmp_path / "run")
    with pytest.raises(NoLatentError, match="has a continuous latent; give a run with a VAE"):
        write_latent([folder])
    assert not (folder / "latent").exists()
