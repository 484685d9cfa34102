"""What a run tells of itself: its log, gradients, drift, examples, and figures of them."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import soundfile
import torch
from tiny_runs import RATE, RVQ, Killed, assert_same, kill_at, recipe, state
from typer.testing import CliRunner

from rdbench.audio.clip import Corpus
from rdbench.audio.corpus import folder_corpus
from rdbench.cli.main import app
from rdbench.training.loop import TrainingError
from rdbench.training.record.gradients import gradient_norms, gradients_of
from rdbench.training.record.log import Log, read_log
from rdbench.training.run import train, train_file
from rdbench.types import StoreError

WATCHED: dict[str, Any] = {"gradients_every": 4, "drift_every": 6, "examples": 2}


def test_gradients_of_the_terms_add_to_that_of_the_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3))
    encoder = [*net[0].parameters()]
    made = net(torch.randn(11, 5, generator=generator))
    own = net[2].weight.square().sum()  # nothing of it reaches the encoder
    terms = {"a": made.square().mean(), "b": made.abs().mean(), "c": made[0].sum(), "own": own}
    parts = gradients_of(terms, encoder)
    norms = gradient_norms(terms, encoder)
    sum(terms.values(), start=torch.zeros(())).backward()
    whole = torch.cat([p.grad.flatten() for p in encoder if p.grad is not None])
    torch.testing.assert_close(torch.stack([*parts.values()]).sum(0), whole)
    assert norms["total"] == pytest.approx(float(whole.norm()), rel=1e-5)
    assert norms["own"] == 0.0
    assert norms["a"] == pytest.approx(float(parts["a"].norm()))


@pytest.fixture(scope="module")
def watched(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of twelve steps of which everything was measured."""
    out = tmp_path_factory.mktemp("runs") / "watched"
    run = recipe(steps=12, save_every=5, log_every=4, **WATCHED)
    train(run, out=out, corpus=corpus, accelerator="cpu")
    return out


def values(out: Path, name: str) -> dict[int, float]:
    table = read_log(out / "log.csv")
    chosen = table[table["name"] == name]
    return dict(zip(chosen["step"], chosen["value"], strict=True))


def test_the_log_has_terms_rate_gradients_and_drift(watched: Path) -> None:
    names = set(read_log(watched / "log.csv")["name"])
    assert {f"loss/{name}" for name in ("total", "wave", "mel", "stft", "rate")} <= names
    assert {"rate/kbps", "rate/target_kbps", "rate/nats", "rate/multiplier"} <= names
    assert {"time/seconds", "time/crops_per_second"} <= names
    assert [*values(watched, "loss/total")] == [4, 8, 12]
    assert set(values(watched, "rate/target_kbps").values()) == {2.0}
    for term in ("wave", "mel", "stft", "rate", "total"):
        norms = values(watched, f"gradient/{term}")
        assert [*norms] == [4, 8, 12]
        assert min(norms.values()) > 0
    first, last = values(watched, "drift/mean").values()
    assert 0 < first < last < 10


def test_to_watch_a_run_changes_nothing_of_it(
    corpus: Corpus, watched: Path, tmp_path: Path
) -> None:
    run = recipe(steps=12, save_every=7, log_every=9)
    train(run, out=tmp_path, corpus=corpus, accelerator="cpu")
    assert_same(state(tmp_path), state(watched))
    resumed = recipe(steps=12, drift_every=1)
    train(resumed, out=tmp_path, corpus=corpus, accelerator="cpu")


def test_a_run_that_was_killed_logs_no_step_twice(
    corpus: Corpus, watched: Path, tmp_path: Path
) -> None:
    run = recipe(steps=12, save_every=5, log_every=4, **WATCHED)
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, 9)  # the state is of step 5, the log has step 8
        with pytest.raises(Killed):
            train(run, out=tmp_path, corpus=corpus, accelerator="cpu")
    with (tmp_path / "log.csv").open("a") as file:
        file.write("9,loss/to")  # half a row
    train(run, out=tmp_path, corpus=corpus, accelerator="cpu")
    one, other = (
        table[~table["name"].str.startswith("time/")].reset_index(drop=True)
        for table in (read_log(tmp_path / "log.csv"), read_log(watched / "log.csv"))
    )
    pd.testing.assert_frame_equal(one, other)


def test_what_is_no_log_is_said(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("step,name,worth\n1,a,2\n")
    with pytest.raises(StoreError, match="no log of a training"):
        read_log(tmp_path / "log.csv")
    (tmp_path / "log.csv").write_bytes(b"step,name,value\n9,\xff,2\n")
    Log(tmp_path).go_on(0)
    assert read_log(tmp_path / "log.csv").empty


def test_examples_are_the_same_crops_at_every_state(watched: Path) -> None:
    folder = watched / "examples"
    names = [f"{stem}_{number}.flac" for stem in ("reference", "step_000005", "step_000010",
             "step_000012") for number in range(2)]  # fmt: skip
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    for name in names:
        info = soundfile.info(folder / name)
        assert (info.samplerate, info.frames, info.subtype) == (RATE, RATE // 10, "PCM_16")
    first, second = (soundfile.read(folder / f"reference_{number}.flac")[0] for number in (0, 1))
    assert abs(first).max() > 0
    assert not (first == second).all()


def test_a_quantized_model_is_heard_with_all_its_codebooks(corpus: Corpus, tmp_path: Path) -> None:
    run = recipe(RVQ, steps=2, examples=1, drift_every=1, gradients_every=1,
                 gate={"at_most": {"mel": 100.0}, "crops": 4})  # fmt: skip
    assert train(run, out=tmp_path, corpus=corpus, accelerator="cpu").finished
    assert (tmp_path / "examples" / "step_000002_0.flac").is_file()
    assert set(values(tmp_path, "gradient/commitment")) == {1, 2}


def test_the_figure_of_a_run_is_drawn_beside_its_log(watched: Path) -> None:
    for folder in (watched, watched.parent):
        done = CliRunner().invoke(app, ["train", "--report", str(folder)])
        assert done.exit_code == 0, done.output
        assert str(watched / "log.png") in done.output
    assert (watched / "log.pdf").read_bytes().startswith(b"%PDF")


def test_nothing_to_draw_or_to_train_is_said(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["train", "--report", str(tmp_path)])
    assert "holds no run of `rdbench train`" in str(done.exception)
    done = CliRunner().invoke(app, ["train"])
    assert done.exit_code == 2
    assert "--report" in done.output


def test_data_that_changed_is_refused(tmp_path: Path, corpus: Corpus) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    for clip in corpus.clips:
        (folder / clip.path.name).write_bytes(clip.path.read_bytes())
    run = recipe(steps=2, save_every=1)
    begun, path = tmp_path / "runs" / "tiny", tmp_path / "recipe.yaml"
    path.write_text(run.model_dump_json())
    how: dict[str, Any] = {"out": tmp_path / "runs", "data": str(folder), "accelerator": "cpu"}
    train(run, out=begun, corpus=folder_corpus(folder), accelerator="cpu", deadline=0.0)
    samples, rate = soundfile.read(folder / "0.wav")
    soundfile.write(folder / "0.wav", 0.5 * samples, rate)
    with pytest.raises(TrainingError, match="was begun on other data"):
        train_file(path, **how)
    soundfile.write(folder / "0.wav", samples, rate)
    assert train_file(path, **how)["tiny"].finished
    soundfile.write(folder / "0.wav", 0.5 * samples, rate)
    with pytest.raises(TrainingError, match="was trained on other data than"):
        train_file(path, **how)
    # Data that is away is no other data.
    assert train_file(path, **{**how, "data": str(tmp_path / "away")})["tiny"].finished
