"""A submission of a run: what it holds, what is asked for, and what a check finds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from submissions import change_manifest, change_rows, fill_in
from typer.testing import CliRunner

from rdbench.cli.main import app
from rdbench.leaderboard.check import check_submission
from rdbench.leaderboard.nominal import wrong_rates
from rdbench.leaderboard.submission import digest, write_submission
from rdbench.types import StoreError


def problems(folder: Path) -> str:
    found = check_submission(folder).problems
    assert all("\n" not in sentence for sentence in found)
    return "; ".join(found)


def test_a_run_becomes_a_submission_that_asks_only_who_submits(
    measured: Path, tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, ["submit", str(measured), "-o", str(tmp_path / "mine")])
    assert done.exit_code == 1, done.output
    lines = done.output.splitlines()
    assert [line for line in lines if line.startswith("rdbench: ")] == [
        "rdbench: submission.yaml does not say who submits; fill in `by`"
    ]
    assert "note: the spec in manifest.json names paths of your machine: " in done.output
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {
        "submission.yaml", "manifest.json", "measurements"
    }  # fmt: skip
    fill_in(tmp_path / "mine")
    before = digest(tmp_path / "mine")
    again = CliRunner().invoke(app, ["submit", str(measured), "-o", str(tmp_path / "mine")])
    assert again.exit_code == 0, again.output
    assert "note: the form that lay there was kept (name opus_run, by 'A. Author')" in again.output
    assert digest(tmp_path / "mine") == before
    checked = CliRunner().invoke(app, ["submit", "--check", str(tmp_path / "mine")])
    assert checked.exit_code == 0
    assert checked.output.endswith(f"{tmp_path / 'mine'}: complete\n")


def test_a_form_beside_the_run_is_taken(measured: Path, tmp_path: Path) -> None:
    form = measured / "submission.yaml"
    form.write_text("name: beside\nby: B. Author\n")
    try:
        write_submission(measured, tmp_path / "mine")
    finally:
        form.unlink()
    assert problems(tmp_path / "mine") == ""


@pytest.mark.parametrize("into", ["itself", "another run", "what is no submission"])
def test_a_submission_replaces_nothing_else(measured: Path, tmp_path: Path, into: str) -> None:
    run = Path(shutil.copytree(measured, tmp_path / "run"))
    (run / "submission.yaml").write_text("name: mine\n")
    out = tmp_path / "free"
    if into == "itself":
        out = tmp_path / "link"
        out.symlink_to(run)
    elif into == "another run":
        out = Path(shutil.copytree(run, tmp_path / "other"))
        (out / "figures").mkdir()
    else:
        (out / "measurements").mkdir(parents=True)
    before = sorted((path, path.stat().st_mtime_ns) for path in out.rglob("*"))
    with pytest.raises(StoreError, match=r"is the run itself|holds"):
        write_submission(run, out)
    assert sorted((path, path.stat().st_mtime_ns) for path in out.rglob("*")) == before


def test_a_submission_that_was_cut_off_is_written_again(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rdbench.leaderboard.submission.write_part", cut)
        with pytest.raises(KeyboardInterrupt):
            write_submission(measured, tmp_path / "mine")
    assert write_submission(measured, tmp_path / "mine").is_file()


def test_a_form_that_is_too_long_is_one_sentence(measured: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(measured, tmp_path / "run"))
    (run / "submission.yaml").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(StoreError, match="cannot take the form"):
        write_submission(run, tmp_path / "mine")


def test_what_is_no_run_is_said_in_one_sentence(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["submit", "--check", str(tmp_path)])
    assert done.exit_code == 1
    assert "is no submission, it has no submission.yaml" in done.output
    (tmp_path / "notes.txt").write_text("mine")
    assert "it has no submission.yaml" in problems(tmp_path)


def test_an_edited_row_is_found_by_the_hash_of_its_part(submission: Path) -> None:
    (part,) = (submission / "measurements").glob("part-*")
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    assert "is damaged" in problems(submission)


def test_a_clip_of_two_durations_is_found(submission: Path) -> None:
    longer = {"opus": 2.0}
    change_rows(
        submission,
        lambda r: r.assign(seconds=r["seconds"] * r["system"].map(longer).fillna(1.0)),
    )
    assert "5 clips have several durations (clip_0.wav, " in problems(submission)


def test_a_metric_that_no_reproduction_would_measure_is_found(submission: Path) -> None:
    def unasked(manifest: dict[str, Any]) -> None:
        (asked,) = manifest["spec"]["metrics"].values()
        asked[:] = [one for one in asked if one["key"] != "lsd"]

    change_manifest(submission, unasked)
    assert "does not ask for the metrics lsd" in problems(submission)


def test_numbers_that_no_sum_can_hold_are_found(submission: Path) -> None:
    huge = {"payload": 1e308, "lsd": 1e13}
    change_rows(submission, lambda r: r.assign(value=r["key"].map(huge).fillna(r["value"])))
    found = problems(submission)
    assert "rates are over 1e+09 bits per second" in found
    assert "scores of lsd lie outside of" in found


def test_a_score_that_no_clip_can_have_is_found(submission: Path) -> None:
    # What the submission says of a metric that rdbench knows in its version does not count.
    mine = {"upper": 1000.0, "direction": "lower"}
    change_manifest(submission, lambda m: m["metrics"]["si_sdr"].update(mine))
    assert "says of si_sdr that lower is better" in problems(submission)
    scores = {"si_sdr": 500.0}
    change_rows(submission, lambda r: r.assign(value=r["key"].map(scores).fillna(r["value"])))
    assert "scores of si_sdr lie outside of" in problems(submission)


def test_rows_without_a_value_are_found(submission: Path) -> None:
    change_rows(submission, lambda r: r.assign(value=r["value"].where(r["kind"] != "metric")))
    assert "are ok without a finite value" in problems(submission)


def test_missing_rows_are_found(submission: Path) -> None:
    change_rows(submission, lambda rows: rows[rows["clip"] != "clip_2.wav"])
    assert "planned rows are missing" in problems(submission)


def test_a_protocol_that_is_not_the_one_measured_under_is_found(submission: Path) -> None:
    change_manifest(submission, lambda m: m["protocol"].update(excerpt_seconds=3.0))
    assert "is not the one whose fingerprint stands beside it" in problems(submission)


def test_a_metric_without_a_better_side_is_found(submission: Path) -> None:
    change_manifest(submission, lambda m: m["metrics"]["lsd"].pop("direction"))
    assert "does not say of the metrics lsd which way is better" in problems(submission)


def test_files_that_no_submission_has_are_found(submission: Path) -> None:
    (submission / "audio").mkdir()
    assert "holds audio, which no submission has" in problems(submission)


def test_weights_must_be_said_how_to_have(submission: Path) -> None:
    change_manifest(submission, lambda m: m["systems"]["opus"].update(weights_sha256="0" * 64))
    assert "says that opus has no weights" in problems(submission)
    fill_in(submission, systems={"opus": {"weights": "public"}, "opis": {}})
    found = problems(submission)
    assert "say where in its `weights_link`" in found
    assert "licence of the weights of opus" in found
    assert "did you mean 'opus'?" in found


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("link", "javascript:alert(1)", "a link begins with https://"),
        ("name", "../../etc", "`name` is '../../etc', but it should match pattern"),
        ("buy", "me", "did you mean 'by'?"),
    ],
)
def test_a_form_with_something_else_in_it_is_refused(
    submission: Path, field: str, value: str, said: str
) -> None:
    fill_in(submission, **{field: value})
    assert said in problems(submission)


def nominal(bits: float, seconds: float = 2.0) -> pd.DataFrame:
    row = {"kind": "rate", "key": "nominal", "status": "ok", "system": "a", "point": "q8"}
    return pd.DataFrame([row | {"clip": "one.wav", "seconds": seconds, "value": bits}])


def test_nominal_rates_are_counted_again_from_frames_and_codebooks() -> None:
    card = {"frame_rate_hz": 50.0, "codebook_sizes": {"q8": [1024] * 7 + [512]}}
    manifest = {"systems": {"a": card}}
    exact = 100 * (7 * 10 + 9)
    assert not list(wrong_rates(nominal(exact), manifest))
    assert not list(wrong_rates(nominal(exact + 64), manifest))  # side information
    (said,) = wrong_rates(nominal(0.9 * exact), manifest)
    assert "1 of 1 nominal rates of a q8 are below frames × Σ log2(codebook size) = 50 × 79" in said
    # An earlier rdbench states the rate of the point alone.
    earlier = {"systems": {"a": {"frame_rate_hz": 50.0, "target_kbps": {"q8": 3.95}}}}
    assert list(wrong_rates(nominal(0.9 * exact), earlier))
    assert not list(wrong_rates(nominal(exact), earlier))


def test_the_codebooks_of_a_manifest_make_the_nominal_rate() -> None:
    import math

    from rdbench.codecs.posterior.vae import Vae

    codec = Vae(weights="rvq_1k5")
    (point,) = codec.points
    sizes = codec.codebooks_at(point)
    bits = math.fsum(map(math.log2, sizes))
    assert codec.info.frame_rate * bits / 1000 == pytest.approx(point.target_kbps, rel=1e-12)
