"""Listening tests: what is served tells nothing, is alike in level, and comes back as scores."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pyloudnorm
import pytest
import soundfile
import yaml
from report_runs import HOSTILE, Strange
from typer.testing import CliRunner

from rdbench.analysis.listeners.webmushra import pair_table, read_answers, rejected
from rdbench.analysis.paired import paired_table
from rdbench.analysis.runs import read_run
from rdbench.cli.main import app
from rdbench.report.listening.audio import best_window, levelled, low_pass, low_pass_versions
from rdbench.report.listening.write import ListeningTest, write_test
from rdbench.types import RdbenchError

SYSTEMS = ("opus", "lyra")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two systems with two points each, three clips with audio."""
    return Strange(systems=SYSTEMS, audio=True).write(tmp_path_factory.mktemp("kept") / "run")


def key_of(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "key.csv", dtype=str, keep_default_na=False)


def config_of(folder: Path) -> dict:
    (path,) = (folder / "webmushra" / "configs").glob("*.yaml")
    return dict(yaml.safe_load(path.read_text()))


def trials_of(folder: Path) -> list[dict]:
    pages = config_of(folder)["pages"]
    (trials,) = [page for page in pages if isinstance(page, list)]
    assert trials[0] == "random"
    return trials[1:]


def test_mushra_is_what_webmushra_asks_for(run: Path, tmp_path: Path) -> None:
    write_test(run, tmp_path / "test", ListeningTest(clips=2))
    config = config_of(tmp_path / "test")
    assert {"testname", "testId", "bufferSize", "stopOnErrors", "remoteService"} <= set(config)
    assert config["pages"][-1]["type"] == "finish"
    assert config["pages"][-1]["writeResults"] is True
    trials = trials_of(tmp_path / "test")
    assert len(trials) == 2
    for trial in trials:
        assert trial["type"] == "mushra"
        # Ours stand among the stimuli; the hidden reference is added by webMUSHRA.
        assert trial["createAnchor35"] is trial["createAnchor70"] is False
        assert len(trial["stimuli"]) == 4 + 2
        heard = [
            soundfile.read(tmp_path / "test" / "webmushra" / path)[0]
            for path in (trial["reference"], *trial["stimuli"].values())
        ]
        assert len({samples.shape for samples in heard}) == 1  # or webMUSHRA refuses


def test_what_is_served_names_no_system_and_no_clip(tmp_path: Path) -> None:
    hostile = Strange(systems=HOSTILE[:4], points=("8",), clips=HOSTILE[:3], audio=True)
    folder = hostile.write(tmp_path / "run")
    out = tmp_path / "test"
    files = write_test(folder, out, ListeningTest(title=HOSTILE[0]))
    served = [path for path in files if path.is_relative_to(out / "webmushra")]
    assert [path for path in files if path not in served] == [out / "key.csv"]
    text = b"".join(path.read_bytes() + path.name.encode() for path in served)
    for name in (*HOSTILE[1:4], "anchor35", "anchor70"):
        assert name.encode() not in text
    assert config_of(out)["testname"].startswith("&lt;img")
    tokens = [path.stem for path in served if path.suffix == ".wav"]
    assert all(len(token) == 6 and token.isalpha() for token in tokens)
    assert len(set(tokens)) == 3 * (1 + 4 + 2)
    assert sorted(key_of(out)["file"]) == sorted(
        path.relative_to(out / "webmushra").as_posix() for path in served if path.suffix == ".wav"
    )


def test_the_same_seed_makes_the_same_test_and_another_another(run: Path, tmp_path: Path) -> None:
    made = {}
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        files = write_test(run, tmp_path / name, ListeningTest(seed=seed))
        made[name] = {path.relative_to(tmp_path / name): path.read_bytes() for path in files}
    assert made["a"] == made["b"]
    assert made["a"].keys() != made["c"].keys()


def test_a_test_is_never_written_over(run: Path, tmp_path: Path) -> None:
    write_test(run, tmp_path / "test", ListeningTest())
    with pytest.raises(RdbenchError, match="is not empty"):
        write_test(run, tmp_path / "test", ListeningTest())


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (ListeningTest(points=("opus/9",)), "no audio was kept of the point 'opus/9'"),
        (ListeningTest(domain="music"), "there is speech"),
        (ListeningTest(kind="abx"), "--pair"),
        (ListeningTest(seconds=60), "excerpts of 60 s"),
        (ListeningTest(kind="abx", pairs=(("opus/8", "opus/8"),)), "two different points"),
    ],
)
def test_a_mistake_is_one_sentence(
    asked: ListeningTest, sentence: str, run: Path, tmp_path: Path
) -> None:
    with pytest.raises(RdbenchError, match=sentence):
        write_test(run, tmp_path / "test", asked)
    assert not (tmp_path / "test").exists()


def test_a_run_without_audio_and_a_trial_of_too_many_say_what_to_do(tmp_path: Path) -> None:
    silent = Strange().write(tmp_path / "silent")
    with pytest.raises(RdbenchError, match="--keep-audio"):
        write_test(silent, tmp_path / "test", ListeningTest())
    many = Strange(points=tuple("12345"), clips=("a.wav",), audio=True).write(tmp_path / "many")
    with pytest.raises(RdbenchError, match=r"10 points are too many.*--point"):
        write_test(many, tmp_path / "test", ListeningTest())


def speechlike(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """Noise that comes and goes, float32 (1, time)."""
    rng = np.random.default_rng(seed)
    at = np.arange(int(seconds * rate)) / rate
    shape = 0.2 + np.sin(2 * np.pi * 2 * at) ** 2
    return (0.1 * shape * rng.standard_normal(at.size)).astype(np.float32)[None]


def test_all_versions_are_at_one_loudness_and_none_is_clipped() -> None:
    rate = 48_000
    base = speechlike(3.0, rate)
    versions = {"": base, "soft": 0.2 * base, "dull": low_pass(base, rate, 3500.0)}
    scaled, gains = levelled(versions, rate, reference="", target=-23.0)
    meter = pyloudnorm.Meter(rate)
    found = [meter.integrated_loudness(x.T.astype(float)) for x in scaled.values()]
    assert found == pytest.approx([-23.0] * 3, abs=0.1)
    assert gains["soft"] - gains[""] == pytest.approx(20 * np.log10(5), abs=0.05)
    # Where the target would clip a version, all of them are softer, and still alike.
    loud, _ = levelled(versions, rate, reference="", target=-12.0)
    peaks = [np.abs(x).max() for x in loud.values()]
    assert max(peaks) == pytest.approx(10 ** (-1 / 20), rel=1e-3)
    again = [meter.integrated_loudness(x.T.astype(float)) for x in loud.values()]
    assert max(again) - min(again) < 0.1


@pytest.mark.parametrize(("cutoff", "rate"), [(3500.0, 16_000), (7000.0, 48_000)])
def test_anchors_have_the_band_that_bs_1534_asks_for(cutoff: float, rate: int) -> None:
    impulse = np.zeros((1, rate), dtype=np.float32)
    impulse[0, rate // 2] = 1.0
    response = np.abs(np.fft.rfft(low_pass(impulse, rate, cutoff)[0]))
    hertz = np.fft.rfftfreq(rate, 1 / rate)
    level = 20 * np.log10(response + 1e-12)
    assert np.abs(level[hertz <= cutoff]).max() < 0.1
    assert level[hertz >= cutoff * 4 / 3.5].max() < -50
    # No delay: the impulse stays where it was.
    assert int(np.argmax(np.abs(low_pass(impulse, rate, cutoff)[0]))) == rate // 2


def test_a_narrow_band_has_no_anchor_above_it() -> None:
    assert list(low_pass_versions(speechlike(0.5, 8000), 8000)) == ["anchor35"]
    assert list(low_pass_versions(speechlike(0.5, 16_000), 16_000)) == ["anchor35", "anchor70"]


def test_a_short_clip_is_filtered_at_its_length() -> None:
    short = speechlike(0.01, 48_000)
    assert low_pass(short, 48_000, 3500.0).shape == short.shape


def test_the_excerpt_is_where_the_sound_is() -> None:
    samples = np.zeros((2, 16_000 * 8), dtype=np.float32)
    samples[:, 16_000 * 5 : 16_000 * 7] = 0.3
    window = best_window(samples, 16_000, 3.0)
    assert window.stop - window.start == 48_000
    assert window.start <= 80_000
    assert window.stop >= 112_000


def webmushra_csv(folder: Path, scores: dict[str, float], listeners: int = 6) -> Path:
    """What webMUSHRA's service writes: one header, a row per stimulus, sessions appended."""
    rng = random.Random(0)
    sink = io.StringIO()
    writer = csv.writer(sink)
    writer.writerow(["session_test_id", "listener", "session_uuid", "trial_id", "rating_stimulus",
                     "rating_score", "rating_time", "rating_comment"])  # fmt: skip
    for who in range(listeners):
        for row in key_of(folder).to_dict("records"):
            score = scores.get(row["condition"], 50.0) + rng.uniform(-3, 3)
            score = 100.0 if row["condition"] == "reference" else max(0.0, min(score, 99.0))
            writer.writerow([row["test"], f"person {who}", f"uuid-{who}", row["trial"],
                             row["stimulus"], round(score), 12345, "no, really"])  # fmt: skip
    path = folder / "mushra.csv"
    path.write_text(sink.getvalue())
    return path


SCORES = {
    "opus/8/codes": 40.0, "opus/16/codes": 80.0, "lyra/8/codes": 60.0, "lyra/16/codes": 70.0,
    "anchor35": 20.0, "anchor70": 55.0,
}  # fmt: skip


def test_scores_come_back_through_the_key(tmp_path: Path) -> None:
    folder = Strange(systems=SYSTEMS, audio=True).write(tmp_path / "run")
    write_test(folder, tmp_path / "test", ListeningTest())
    results = webmushra_csv(tmp_path / "test", SCORES)
    told = CliRunner().invoke(
        app,
        ["import-scores", str(results), "--run", str(folder), "--key",
         str(tmp_path / "test" / "key.csv")],
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    # Four conditions of three clips, six people; reference and anchors are no systems.
    assert "72 scores of 6 listeners on 3 clips are now mushra" in told.output
    run = read_run(folder)
    given = run.rows[run.rows["key"] == "mushra"].groupby(["system", "point"])["value"].mean()
    for (system, point), value in given.items():
        assert value == pytest.approx(SCORES[f"{system}/{point}/codes"], abs=1.5)
    pair = paired_table(run, pairs=[("opus/16", "lyra/16")], metrics=["mushra"]).iloc[0]
    assert pair["difference"] == pytest.approx(10.0, abs=2.0)


def test_ab_answers_become_a_share_where_lower_is_better(tmp_path: Path) -> None:
    folder = Strange(systems=SYSTEMS, audio=True).write(tmp_path / "run")
    asked = ListeningTest(kind="ab", points=("opus/8", "lyra/16"))
    write_test(folder, tmp_path / "test", asked)
    for trial in trials_of(tmp_path / "test"):
        assert trial["type"] == "paired_comparison"
        assert len(trial["stimuli"]) == 1
        assert "unforced" not in trial
    sink = io.StringIO()
    writer = csv.writer(sink)
    writer.writerow(["session_test_id", "listener", "trial_id", "choice_reference",
                     "choice_non_reference", "choice_answer", "choice_time",
                     "choice_comment"])  # fmt: skip
    key = key_of(tmp_path / "test")
    for who in range(4):
        for row in key[key["stimulus"] != "reference"].to_dict("records"):
            right = row["condition"].startswith("opus") or who < 2
            answer = "correct" if right else "incorrect"
            writer.writerow([row["test"], who, row["trial"], "reference", row["stimulus"], answer,
                             9, ""])  # fmt: skip
    writer.writerow([row["test"], 0, row["trial"], "reference", row["stimulus"], "unknown",
                     9, ""])  # fmt: skip
    results = tmp_path / "paired_comparison.csv"
    results.write_text(sink.getvalue())
    told = CliRunner().invoke(
        app, ["import-scores", str(results), "--run", str(folder), "--key",
              str(tmp_path / "test" / "key.csv")],
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    run = read_run(folder)
    assert run.direction("ab") == "lower"
    shares = run.rows[run.rows["key"] == "ab"].groupby("system")["value"].mean()
    assert shares.to_dict() == {"lyra": 0.5, "opus": 1.0}


def test_abx_counts_who_tells_two_systems_apart(tmp_path: Path) -> None:
    folder = Strange(systems=SYSTEMS, clips=tuple("abcdefgh"), audio=True).write(tmp_path / "run")
    asked = ListeningTest(kind="abx", pairs=(("opus/8", "lyra/8"),), clips=8)
    write_test(folder, tmp_path / "test", asked)
    key = key_of(tmp_path / "test")
    # X is either of the two, by chance.
    assert set(key.loc[key["stimulus"] == "reference", "condition"]) == {
        "opus/8/codes", "lyra/8/codes",
    }  # fmt: skip
    assert all(trial["unforced"] for trial in trials_of(tmp_path / "test"))
    sink = io.StringIO()
    writer = csv.writer(sink)
    writer.writerow(["session_test_id", "listener", "trial_id", "choice_reference",
                     "choice_non_reference", "choice_answer", "choice_time",
                     "choice_comment"])  # fmt: skip
    trials = key[key["stimulus"] != "reference"].to_dict("records")
    answers = ["correct"] * 6 + ["incorrect", "undecided"]
    for row, answer in zip(trials, answers, strict=True):
        writer.writerow([row["test"], "ann", row["trial"], "reference", row["stimulus"], answer, 9,
                         ""])  # fmt: skip
    results = tmp_path / "paired_comparison.csv"
    results.write_text(sink.getvalue())
    kind, given = read_answers(results, tmp_path / "test" / "key.csv")
    assert kind == "abx"
    (found,) = pair_table(given).to_dict("records")
    assert (found["correct"], found["decided"], found["undecided"]) == (6, 7, 1)
    # P(6 or 7 of 7 by guessing) = (7 + 1) / 2^7.
    assert found["p"] == pytest.approx(8 / 128)
    # Clopper and Pearson's interval for 6 of 7.
    assert (found["low"], found["high"]) == pytest.approx((0.4213, 0.9964), abs=1e-4)
    told = CliRunner().invoke(
        app, ["import-scores", str(results), "--run", str(folder), "--key",
              str(tmp_path / "test" / "key.csv")],
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    assert "6/7" in told.output
    assert "0.0625" in told.output


def test_who_misses_the_hidden_reference_is_named(tmp_path: Path) -> None:
    folder = Strange(systems=SYSTEMS, audio=True).write(tmp_path / "run")
    write_test(folder, tmp_path / "test", ListeningTest())
    results = webmushra_csv(tmp_path / "test", SCORES)
    lines = results.read_text().splitlines()
    spoiled = [
        line.replace(",reference,100,", ",reference,70,") if "person 2" in line else line
        for line in lines
    ]
    assert spoiled != lines
    results.write_text("\n".join(spoiled) + "\n")
    _, given = read_answers(results, tmp_path / "test" / "key.csv")
    assert rejected(given) == ["person 2"]


def test_another_tests_key_is_refused_with_the_line(tmp_path: Path) -> None:
    folder = Strange(systems=SYSTEMS, audio=True).write(tmp_path / "run")
    for name, seed in (("one", 1), ("two", 2)):
        write_test(folder, tmp_path / name, ListeningTest(seed=seed))
    results = webmushra_csv(tmp_path / "one", SCORES)
    with pytest.raises(RdbenchError, match=r"line 2 of mushra.csv is of the test .* made with it"):
        read_answers(results, tmp_path / "two" / "key.csv")
    lines = results.read_text().splitlines()
    results.write_text("\n".join([lines[0], lines[1].replace(",reference,", ",another,")]) + "\n")
    with pytest.raises(RdbenchError, match=r"line 2 of mushra.csv .* does not have"):
        read_answers(results, tmp_path / "one" / "key.csv")


@pytest.mark.parametrize(
    ("other", "points"),
    [
        (Strange(systems=("opus", "vae"), audio=True), ("opus/8", "vae/8")),
        (Strange(systems=SYSTEMS, clips=("d", "e", "f"), audio=True), ("opus/8", "lyra/8")),
        (Strange(systems=SYSTEMS, audio=True), ("opus/8", "lyra/16")),
        # The same names, and other files behind them.
        (Strange(systems=SYSTEMS, points=("16", "8"), audio=True), ("opus/8", "lyra/8")),
    ],
    ids=["system", "clips", "point", "audio"],
)
def test_tests_of_one_seed_and_shape_share_no_name(
    other: Strange, points: tuple[str, ...], run: Path, tmp_path: Path
) -> None:
    write_test(run, tmp_path / "one", ListeningTest(points=("opus/8", "lyra/8")))
    write_test(other.write(tmp_path / "run"), tmp_path / "two", ListeningTest(points=points))
    results = webmushra_csv(tmp_path / "one", SCORES)
    with pytest.raises(RdbenchError, match=r"is of the test 'rdbench_mushra_[0-9a-f]{8}'"):
        read_answers(results, tmp_path / "two" / "key.csv")
    one, two = key_of(tmp_path / "one"), key_of(tmp_path / "two")
    assert not set(one["trial"]) & set(two["trial"])
    assert not set(one["file"]) & set(two["file"])
    assert config_of(tmp_path / "one")["testId"] == one["test"][0]


def test_the_runs_own_anchors_stay_out_unless_named(tmp_path: Path) -> None:
    run = Strange(systems=("opus", "identity"), points=("8",), anchors=("identity",), audio=True)
    folder = run.write(tmp_path / "run")
    write_test(folder, tmp_path / "test", ListeningTest())
    assert "identity/8/codes" not in set(key_of(tmp_path / "test")["condition"])
    write_test(folder, tmp_path / "named", ListeningTest(points=("identity/8",)))
    assert "identity/8/codes" in set(key_of(tmp_path / "named")["condition"])


def test_a_coded_latent_is_heard_though_its_system_has_no_headline(tmp_path: Path) -> None:
    run = Strange(
        systems=("vae",), points=("8",), anchors=("vae",), variants=("mean", "coded"), audio=True
    )
    write_test(run.write(tmp_path / "run"), tmp_path / "test", ListeningTest())
    heard = set(key_of(tmp_path / "test")["condition"])
    assert "vae/8/coded" in heard
    assert "vae/8/mean" not in heard


def test_the_command_says_what_is_where(run: Path, tmp_path: Path) -> None:
    told = CliRunner().invoke(
        app, ["listen", str(run), "--out", str(tmp_path / "test"), "--clips", "1",
              "--point", "opus/8", "--point", "lyra/16"],
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    assert "key.csv" in told.output
    (trial,) = trials_of(tmp_path / "test")
    assert len(trial["stimuli"]) == 2 + 2
