"""Part of a submission is decoded again, and its badge stands for as long as nobody edits it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from submissions import change_rows, fill_in
from typer.testing import CliRunner

from rdbench.cli.main import app
from rdbench.leaderboard.record import badges, compared
from rdbench.leaderboard.reproduce import drawn_clips
from rdbench.leaderboard.submission import read_submission
from rdbench.store.reader import read_rows


def reproduce(submission: Path, clips: Path, *more: str) -> tuple[int, str]:
    arguments = ["reproduce", str(submission), "--data", str(clips), "--workers", "1", *more]
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.output


def test_an_honest_submission_is_reproduced_until_it_is_edited(
    submission: Path, clips: Path
) -> None:
    code, said = reproduce(submission, clips, "--share", "0.4")
    assert code == 0, said
    assert "2 of 2 systems are reproduced, on 2 clips" in said
    record = json.loads((submission / "reproduction.json").read_text())
    # Four points with payload, container and three scores, of two clips.
    assert record["systems"]["opus"]["compared"] == 4 * 5 * 2
    fill_in(submission, description="Said better.")
    assert set(badges(read_submission(submission))[0].values()) == {"reproduced"}
    change_rows(submission, lambda rows: rows.assign(value=rows["value"] * 1.0001))
    given, why = badges(read_submission(submission))
    assert set(given.values()) == {"self-reported"}
    assert "is of what it was before an edit" in why


def test_scores_that_were_touched_up_do_not_come_out_again(submission: Path, clips: Path) -> None:
    def touched(rows: pd.DataFrame) -> pd.DataFrame:
        better = (rows["system"] == "opus") & (rows["key"] == "si_sdr") & (rows["point"] == "12")
        return rows.assign(value=rows["value"] + 0.5 * better)

    change_rows(submission, touched)
    code, said = reproduce(submission, clips, "--seed", "3")
    assert code == 1
    assert "opus came out otherwise: 1 of 20 values differ (si_sdr by up to 0.5)" in said
    given, why = badges(read_submission(submission))
    assert given == {"opus": "self-reported", "identity": "reproduced"}
    assert why == "reproducing opus_run gave other values for opus"


def test_a_point_that_is_not_measured_again_is_not_reproduced(submission: Path) -> None:
    rows = read_rows(submission)
    some = rows[rows["clip"].isin(["clip_0.wav"]) & (rows["point"] != "16")]
    generous = {"metrics": {"si_sdr": {"tolerance": 0.1}}}
    found = compared(rows, some, generous)
    assert (found["opus"].compared, found["opus"].same) == (20, 15)
    assert found["identity"].reproduced
    louder = some.assign(value=some["value"] + 0.09 * (some["key"] == "si_sdr"))
    assert compared(rows, louder, generous)["opus"].same == 15
    longer = some.assign(seconds=2 * some["seconds"])
    assert compared(rows, longer, generous)["opus"].same == 0


def test_scores_count_whoever_computed_them_and_whether_or_not_they_are_asked_for(
    submission: Path,
) -> None:
    rows = read_rows(submission)
    again = rows[rows["clip"] == "clip_0.wav"]
    lsd = rows["key"] == "lsd"
    faked = rows.assign(value=rows["value"] * (1 - 0.5 * lsd), backend="another")
    rates = rows["kind"] == "rate"
    faked["backend"] = faked["backend"].where(~rates, rows["backend"])
    assert not compared(faked, again, {})["opus"].reproduced
    honest = rows.assign(backend=faked["backend"])
    assert compared(honest, again, {})["opus"].reproduced
    found = compared(rows, again[again["key"] != "lsd"], {})["opus"]
    assert (found.reproduced, found.reason) == (False, "not measured again: lsd")
    (variant,) = rows["variant"].unique()
    assert not compared(rows, again, {}, left_out=[variant])["opus"].compared
    assert not compared(rows, again[again["system"] != "opus"], {})["opus"].compared


def test_other_clips_reproduce_nothing(submission: Path, tmp_path: Path) -> None:
    from engine_runs import make_clips

    others = make_clips(tmp_path / "others", [f"clip_{i}" for i in range(5)], seconds=0.5)
    done = CliRunner().invoke(
        app, ["reproduce", str(submission), "--data", str(others), "--workers", "1"]
    )
    assert done.exit_code != 0
    assert "has other content" in str(done.exception)
    assert not (submission / "reproduction.json").exists()


@pytest.mark.parametrize("told", ["[]", "{", '{"digest": 3}', '{"systems": []}'])
def test_a_record_that_is_none_gives_no_badge(submission: Path, told: str) -> None:
    (submission / "reproduction.json").write_text(told)
    given, _ = badges(read_submission(submission))
    assert set(given.values()) == {"self-reported"}


def test_a_seed_draws_of_every_domain() -> None:
    clips = [{"domain": d, "name": f"{d}{i}", "content": "x"} for d in "ab" for i in range(30)]
    manifest = {"corpus": {"clips": clips}}
    drawn = drawn_clips(manifest, share=0.05, seed=1)
    assert sorted(name[0] for name in drawn) == ["a", "a", "b", "b"]
    assert drawn == drawn_clips(manifest, share=0.05, seed=1)
    assert drawn != drawn_clips(manifest, share=0.05, seed=2)
