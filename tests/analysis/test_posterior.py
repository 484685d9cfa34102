"""Diagnostics of posteriors: what is counted as active, and mean against sample on equal clips."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from small_runs import changed, make_run

from rdbench.analysis.posterior import channel_kl, mean_against_sample, no_channels
from rdbench.analysis.runs import Run
from rdbench.analysis.stats.intervals import NOTHING_VARIES
from rdbench.report.cards import describe
from rdbench.report.tables.posteriors import posterior_tables
from rdbench.store.traces import COLUMNS


def posterior_run() -> Run:
    """`make_run` whose curve `vae` has samples and, 0.5 better on every clip, means."""
    curves = {"old": ("payload", {"5": 5.0, "8": 8.0}, 8.0), "vae": ("kl", {"6": 6.0}, 8.0)}
    run = make_run(curves)
    sample = run.rows[run.rows["system"] == "vae"]
    mean = sample.assign(variant="mean", unit_key=sample["unit_key"] + "m")
    rises = mean["key"] == "quality"
    mean["value"] = mean["value"].where(~rises, mean["value"] + 0.5)
    return Run(run.name, pd.concat([run.rows, mean], ignore_index=True), run.manifest)


def traces(bits: list[list[float]]) -> pd.DataFrame:
    """Clips of 10 frames whose latent channels cost `bits` each."""
    rows = []
    for number, channels in enumerate(bits):
        place = ("vae", "as it was named", "6", "sample", f"folder/c{number:02d}.wav")
        rows += [(*place, "channel", i, math.nan, "kl", b, 10) for i, b in enumerate(channels)]
        rows += [(*place, "channel", -1, math.nan, "kl", 64.0, 10)]  # side information
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_kl_per_channel_is_total_nats_over_total_frames() -> None:
    run = posterior_run()
    table = channel_kl(traces([[20.0, 0.01], [40.0, 0.03]]), run)
    assert table["channel"].tolist() == [0, 1]
    assert set(table["curve"]) == {"vae"}  # as the report names it, like every other table
    assert table["nats"].tolist() == pytest.approx([3 * math.log(2), 0.002 * math.log(2)])
    assert channel_kl(traces([]), run).empty
    # Domains are never pooled, and what a report leaves out is not counted.
    second = run.rows["clip"] == "folder/c01.wav"
    apart = channel_kl(traces([[20.0, 0.01], [40.0, 0.03]]), changed(run, second, domain="music"))
    assert apart["domain"].tolist() == ["music", "music", "speech", "speech"]
    assert apart["nats"].tolist()[::2] == pytest.approx([4 * math.log(2), 2 * math.log(2)])


def test_mean_less_sample_is_paired_and_only_where_both_were_decoded() -> None:
    table = mean_against_sample(posterior_run())
    quality = table[table["key"] == "quality"].iloc[0]
    assert quality["difference"] == pytest.approx(0.5)
    assert (quality["n_better"], quality["note"]) == (quality["n_clips"], NOTHING_VARIES)
    assert (table["system"] == "vae").all()
    assert mean_against_sample(make_run()).empty


def test_the_table_counts_active_channels_and_signs_the_difference() -> None:
    run = posterior_run()
    card = describe(
        pd.DataFrame(columns=["system", "curve", "variant", "kind", "key", "unit"]), run.manifest
    )
    found = posterior_tables(
        run, card, channel_kl(traces([[30.0, 10.0, 0.05, 0.0]]), run), about=""
    )
    (table,) = found.values()
    cells = {column.title: column.cells[0].plain for column in table.columns}
    assert cells["active channels"] == "2 of 4"
    assert cells["channels that hold half of the KL"] == "1"
    assert any(text.startswith("+0.5") for text in cells.values())
    without = posterior_tables(run, card, no_channels(), about="")
    assert not any("channels" in column.title for column in without["speech"].columns)
    (alone,) = posterior_tables(
        Run(run.name, run.rows[run.rows["variant"] != "mean"], run.manifest),
        card,
        channel_kl(traces([[30.0, 10.0]]), run),
        about="",
    ).values()
    assert alone.columns[0].title == "active channels"
    assert "mean" not in alone.title + alone.caption
    clipless = changed(run, run.rows["variant"] == "mean", status="failed", value=math.nan)
    (broken,) = posterior_tables(clipless, card, no_channels(), about="").values()
    assert all(column.cells[0].plain == "–" for column in broken.columns)
