"""Training runs: reproducible, resumable, and careful with the disk."""

import logging
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import (
    GAUSSIAN,
    RVQ,
    TWO_LEVELS,
    Killed,
    assert_same,
    kill_at,
    recipe,
    state,
    weights,
)

from rdbench.audio.clip import Corpus
from rdbench.identity import file_sha256
from rdbench.models import checkpoint
from rdbench.rate import rates
from rdbench.training import loop
from rdbench.training.data import CropData
from rdbench.training.evaluate import evaluate_rate
from rdbench.training.loop import STATE, WEIGHTS, TrainingError
from rdbench.training.optimizers import optimizers_of
from rdbench.training.recipe import Recipe
from rdbench.training.run import train, train_file
from rdbench.types import MissingExtraError, RateKind, SpecError


@pytest.mark.parametrize(
    ("bottleneck", "optimizer"),
    [(GAUSSIAN, "adamw"), (GAUSSIAN, "muon"), (RVQ, "muon"), (TWO_LEVELS, "adamw")],
    ids=["gaussian-adamw", "gaussian-muon", "rvq-muon", "vq-adamw"],
)
def test_fifty_steps_repeat_and_a_killed_run_equals_a_whole_one(
    corpus: Corpus, tmp_path: Path, bottleneck: dict[str, object], optimizer: str
) -> None:
    run = recipe(bottleneck, optimizer={"kind": optimizer})
    train(run, out=tmp_path / "a", corpus=corpus, accelerator="cpu")
    torch.manual_seed(99)
    train(run, out=tmp_path / "b", corpus=corpus, accelerator="cpu")
    assert_same(state(tmp_path / "a"), state(tmp_path / "b"))
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, 37)
        with pytest.raises(Killed):
            train(run, out=tmp_path / "c", corpus=corpus, accelerator="cpu")
    assert torch.load(tmp_path / "c" / STATE, weights_only=True)["step"] == 20
    outcome = train(run, out=tmp_path / "c", corpus=corpus, accelerator="cpu")
    assert_same(state(tmp_path / "a"), state(tmp_path / "c"))
    assert outcome.weights is not None
    assert_same(weights(tmp_path / "a" / WEIGHTS), weights(outcome.weights))
    another = run.model_copy(update={"seed": 4})
    train(another, out=tmp_path / "d", corpus=corpus, accelerator="cpu")
    name = "encoder.embed.weight"
    assert not torch.equal(state(tmp_path / "a")[name], state(tmp_path / "d")[name])


def test_the_caller_keeps_its_random_numbers(corpus: Corpus, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(recipe(steps=2), out=tmp_path, corpus=corpus, accelerator="cpu")
    assert torch.equal(torch.rand(3), expected)


def test_time_that_runs_out_is_taken_up_again(corpus: Corpus, tmp_path: Path) -> None:
    run = recipe(steps=3)
    early = train(run, out=tmp_path / "a", corpus=corpus, accelerator="cpu", deadline=0.0)
    assert early.weights is None
    train(run, out=tmp_path / "a", corpus=corpus, accelerator="cpu")
    train(run, out=tmp_path / "b", corpus=corpus, accelerator="cpu")
    assert_same(state(tmp_path / "a"), state(tmp_path / "b"))


def test_the_checkpoint_says_what_trained_it(corpus: Corpus, tmp_path: Path) -> None:
    run = recipe(steps=2)
    outcome = train(run, out=tmp_path, corpus=corpus, accelerator="cpu")
    assert outcome.weights is not None
    header = checkpoint.read_header(outcome.weights)
    assert Recipe.model_validate(header.provenance["recipe"]) == run
    assert header.config == run.model
    assert header.provenance["steps"] == 2
    assert header.provenance["seed"] == 3
    assert len(header.provenance["data_sha256"]) == 64
    assert header.provenance["data_seconds"] == pytest.approx(3.0)


def test_progress_shows_terms_nats_and_kbps(
    corpus: Corpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        train(recipe(steps=10), out=tmp_path, corpus=corpus, accelerator="cpu")
    line = next(message for message in caplog.messages if "step 10/10" in message)
    shown = ("wave", "mel", "stft", "nats/frame", "kbps (target 2.00)", "multiplier", "crops/s",
             "0:00:00 left")  # fmt: skip
    for part in shown:
        assert part in line


def test_tensorboard_is_written_when_asked_for(corpus: Corpus, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(recipe(steps=10), out=tmp_path, corpus=corpus, accelerator="cpu", tensorboard=True)
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_nan_stops_and_keeps_the_last_good_state(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = CropData.batch

    def poisoned(self: CropData, **where: int) -> torch.Tensor:
        audio = draw(self, **where)
        return audio * float("nan") if where["step"] == 25 else audio

    monkeypatch.setattr(CropData, "batch", poisoned)
    with pytest.raises(TrainingError, match=r"step 25: its loss is not finite; the last good"):
        train(recipe(), out=tmp_path, corpus=corpus, accelerator="cpu")
    kept = torch.load(tmp_path / STATE, weights_only=True)
    assert kept["step"] == 20
    assert all(bool(torch.isfinite(value).all()) for value in kept["model"].values())


@pytest.mark.parametrize("name", ["encoder.embed.weight", "encoder.embed.bias"])
def test_a_gradient_that_is_not_finite_reaches_no_weight(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Neither one of AdamW's nor one of Muon's, and not in the last step."""

    def poisoned(model: torch.nn.Module, *how: Any, **others: Any) -> Any:
        calls = iter(range(100))
        parameter = model.get_parameter(name)
        parameter.register_hook(lambda grad: grad * math.nan if next(calls) == 4 else grad)
        return optimizers_of(model, *how, **others)

    monkeypatch.setattr(loop, "optimizers_of", poisoned)
    run = recipe(steps=5, save_every=2, optimizer={"kind": "muon"})
    with pytest.raises(TrainingError, match=r"step 4: its gradient is not finite; the last good"):
        train(run, out=tmp_path, corpus=corpus, accelerator="cpu")
    assert not (tmp_path / WEIGHTS).exists()
    assert all(bool(torch.isfinite(value).all()) for value in state(tmp_path).values())


def test_muon_is_refused_where_gradients_are_scaled() -> None:
    with pytest.raises(ValueError, match="set precision: bf16-mixed"):
        recipe(optimizer={"kind": "muon"}, precision="16-mixed")


def test_a_full_disk_leaves_the_previous_state_whole(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    flush = os.fsync

    def full(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match="No space left on device; the file before it is whole"):
        train(recipe(), out=tmp_path / "a", corpus=corpus, accelerator="cpu")
    monkeypatch.undo()
    assert torch.load(tmp_path / "a" / STATE, weights_only=True)["step"] == 20
    train(recipe(), out=tmp_path / "a", corpus=corpus, accelerator="cpu")
    train(recipe(), out=tmp_path / "b", corpus=corpus, accelerator="cpu")
    assert_same(state(tmp_path / "a"), state(tmp_path / "b"))


def test_a_state_of_another_recipe_or_a_damaged_one_is_refused(
    corpus: Corpus, tmp_path: Path
) -> None:
    train(recipe(steps=2), out=tmp_path, corpus=corpus, accelerator="cpu")
    with pytest.raises(TrainingError, match="belongs to another recipe"):
        train(recipe(steps=2, seed=8), out=tmp_path, corpus=corpus, accelerator="cpu")
    content = (tmp_path / STATE).read_bytes()
    (tmp_path / STATE).write_bytes(content[: len(content) // 2])
    with pytest.raises(TrainingError, match="damaged"):
        train(recipe(steps=2), out=tmp_path, corpus=corpus, accelerator="cpu")


SPECTRAL = recipe().model.backbone.model_dump()
STAR = {"kind": "star", "strides": (5, 8), "widths": (4, 6, 8), "layers": 1, "state": 2}


@pytest.mark.parametrize("backbone", [SPECTRAL, STAR], ids=["spectral", "star"])
def test_mixed_precision_trains(
    corpus: Corpus, tmp_path: Path, backbone: dict[str, object]
) -> None:
    model = {"sample_rate": 8000, "backbone": backbone, "bottleneck": GAUSSIAN}
    run = recipe(steps=3, precision="bf16-mixed", model=model)
    train(run, out=tmp_path, corpus=corpus, accelerator="cpu")
    assert all(value.dtype == torch.float32 for value in state(tmp_path).values())


def test_adversarial_training_resumes_too(corpus: Corpus, tmp_path: Path) -> None:
    adversarial = {"periods": [2], "fft_sizes": [128], "start": 1}
    run = recipe(steps=4, save_every=2, adversarial=adversarial, data={"seconds": 0.1, "batch": 1})
    train(run, out=tmp_path / "a", corpus=corpus, accelerator="cpu")
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, 3)
        with pytest.raises(Killed):
            train(run, out=tmp_path / "b", corpus=corpus, accelerator="cpu")
    train(run, out=tmp_path / "b", corpus=corpus, accelerator="cpu")
    assert_same(state(tmp_path / "a"), state(tmp_path / "b"))
    plain = recipe(steps=4, save_every=2, data={"seconds": 0.1, "batch": 1})
    train(plain, out=tmp_path / "c", corpus=corpus, accelerator="cpu")
    name = "decoder.head.weight"
    assert not torch.equal(state(tmp_path / "a")[name], state(tmp_path / "c")[name])


def test_gecos_multiplier_resumes_too(corpus: Corpus, tmp_path: Path) -> None:
    run = recipe(steps=6, save_every=4, objective={"kind": "geco", "at_most": 1.0, "rate": 0.1})
    train(run, out=tmp_path / "a", corpus=corpus, accelerator="cpu")
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, 5)
        with pytest.raises(Killed):
            train(run, out=tmp_path / "b", corpus=corpus, accelerator="cpu")
    train(run, out=tmp_path / "b", corpus=corpus, accelerator="cpu")
    assert_same(state(tmp_path / "a"), state(tmp_path / "b"))
    one, other = (
        torch.load(tmp_path / name / STATE, weights_only=True)["rate"] for name in ("a", "b")
    )
    assert one == other
    assert one["multiplier"] > 1.0


SWEEP = """
common:
  steps: 2
  init_from: base
  model:
    sample_rate: 8000
    backbone: {kind: spectral, hop: 40, width: 8, encoder_layers: 1, decoder_layers: 1}
    bottleneck: {kind: gaussian, channels: 4}
  objective: {kind: target_kl, kbps: 2}
  data: {seconds: 0.1, batch: 2}
  loss: {windows: [64], mels: [8]}
stages:
  - name: rvq
    objective: null
    model: {bottleneck: {kind: rvq, channels: 4, codebooks: 3, codebook_size: 8, codebook_dim: 2}}
  - {name: base, init_from: null, steps: 30}
"""


def test_a_sweep_starts_its_stages_from_the_base(corpus: Corpus, tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP)
    folder = str(corpus.clips[0].path.parent)
    out = tmp_path / "out"
    outcomes = train_file(path, out=out, data=folder, accelerator="cpu")
    assert list(outcomes) == ["base", "rvq"]
    base, rvq = out / "base" / WEIGHTS, out / "rvq" / WEIGHTS
    header = checkpoint.read_header(rvq)
    assert header.provenance["started_from_sha256"] == file_sha256(base)
    drift = weights(rvq)["decoder.head.weight"] - weights(base)["decoder.head.weight"]
    assert 0 < float(drift.abs().max()) < 0.01
    # Done again, nothing is trained.
    stamp = rvq.stat().st_mtime_ns
    train_file(path, out=out, data=folder, accelerator="cpu")
    assert rvq.stat().st_mtime_ns == stamp
    # Of a base that was trained anew a stage is neither kept nor gone on with.
    again = train_anew(base)
    with pytest.raises(TrainingError, match=r"rvq/weights.safetensors was .*base/weights.*anew"):
        train_file(path, out=out, data=folder, accelerator="cpu")
    rvq.unlink()
    with pytest.raises(TrainingError, match=f"rvq/{STATE} was trained from another"):
        train_file(path, out=out, data=folder, accelerator="cpu")
    shutil.rmtree(rvq.parent)
    train_file(path, out=out, data=folder, accelerator="cpu")
    assert checkpoint.read_header(rvq).provenance["started_from_sha256"] == again


def train_anew(weights: Path) -> str:
    """Stands for that: another file of the same recipe; returns its SHA-256."""
    model, header = checkpoint.load(weights)
    checkpoint.save(weights, model, {**header.provenance, "seconds": -1.0})
    return file_sha256(weights)


def test_a_finished_stage_is_of_its_recipe_or_refused(corpus: Corpus, tmp_path: Path) -> None:
    path, out = tmp_path / "sweep.yaml", tmp_path / "out"
    folder = str(corpus.clips[0].path.parent)

    def again(sweep: str) -> dict[str, Any]:
        path.write_text(sweep)
        return train_file(path, out=out, data=folder, only=["base"], accelerator="cpu")

    made = again(SWEEP)["base"].weights
    assert again(SWEEP.replace("steps: 2\n", "steps: 2\n  log_every: 7\n"))["base"].weights == made
    with pytest.raises(TrainingError, match=r"base/weights.safetensors .*`objective.kbps` differs"):
        again(SWEEP.replace("kbps: 2", "kbps: 1"))
    with pytest.raises(TrainingError, match="`steps` differs"):
        again(SWEEP.replace("steps: 30", "steps: 31"))
    constant = SWEEP.replace("common:\n", "common:\n  optimizer: {schedule: constant}\n")
    with pytest.raises(TrainingError, match=r"`optimizer\.schedule` differs"):
        again(constant)
    # An earlier rdbench wrote no fields that are newer.
    assert made is not None
    model, header = checkpoint.load(made)
    recipe = {k: v for k, v in header.provenance["recipe"].items() if k != "freeze"}
    checkpoint.save(made, model, {**header.provenance, "recipe": recipe})
    with pytest.raises(TrainingError, match=r"`objective.kbps` differs"):
        again(SWEEP.replace("kbps: 2", "kbps: 1"))
    shutil.rmtree(out)
    assert again(constant)["base"].step == 30
    assert again(constant.replace("steps: 30", "steps: 33"))["base"].step == 33
    assert checkpoint.read_header(out / "base" / WEIGHTS).provenance["steps"] == 33


def test_a_stage_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    with pytest.raises(SpecError, match=r"has no stage 'bsae'; did you mean 'base'"):
        train_file(tmp_path / "sweep.yaml", out=tmp_path / "out", only=["rvq", "bsae"])


def test_without_its_extra_training_says_which(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(MissingExtraError, match=r"rdbench\[train\]"):
        train(recipe(), out=tmp_path, corpus=corpus)


@pytest.mark.slow
def test_two_processes_train_one_model(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    folder = str(corpus.clips[0].path.parent)
    script = tmp_path / "go.py"
    script.write_text(
        "from pathlib import Path\nfrom rdbench.training.run import train_file\n"
        f"here = Path({str(tmp_path)!r})\n"
        "train_file(here / 'sweep.yaml', out=here / 'out', "
        f"data={folder!r}, accelerator='cpu', devices=2)\n"
    )
    subprocess.run([sys.executable, str(script)], check=True, timeout=240, capture_output=True)
    for name in ("base", "rvq"):
        header = checkpoint.read_header(tmp_path / "out" / name / WEIGHTS)
        assert header.provenance["devices"] == 2


def test_a_fitted_quantizer_is_better_with_every_codebook(corpus: Corpus) -> None:
    from rdbench.models.autoencoder import Autoencoder
    from rdbench.training.run import crops
    from rdbench.training.warm_start import fit_quantizer, take_over

    torch.manual_seed(0)
    source = Autoencoder(recipe().model).eval()
    wide = RVQ | {"codebooks": 6, "codebook_size": 16}
    model = Autoencoder(recipe(wide).model).eval()
    take_over(model, source)
    audio = crops(recipe(), corpus).batch(seed=0, step=0, size=16)
    fit_quantizer(model, source, audio, seed=0)
    with torch.no_grad():
        mean = source.posterior(audio)[0]
        errors = [
            float((model.dequantize(model.codes(audio, n)) - mean).square().mean())
            for n in range(1, 7)
        ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.2 * float((mean - mean.mean((0, 2), keepdim=True)).square().mean())


def test_missing_data_and_starting_weights_are_named(corpus: Corpus, tmp_path: Path) -> None:
    folder = str(corpus.clips[0].path.parent)
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP)
    with pytest.raises(TrainingError, match=r"base has no training data.*--data"):
        train_file(path, out=tmp_path / "out")
    with pytest.raises(TrainingError, match="train that stage first"):
        train_file(path, out=tmp_path / "out", data=folder, only=["rvq"])


def test_a_batch_must_divide_among_devices(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="shared by 3 devices"):
        train(recipe(), out=tmp_path, corpus=corpus, accelerator="cpu", devices=3)


def test_the_measured_rate_is_total_kl_over_total_seconds(corpus: Corpus, tmp_path: Path) -> None:
    from rdbench.audio.load import read
    from rdbench.codecs.posterior.vae import Vae
    from rdbench.types import AudioBatch

    outcome = train(recipe(steps=2), out=tmp_path, corpus=corpus, accelerator="cpu")
    assert outcome.weights is not None
    codec = Vae(weights=outcome.weights)
    bits = seconds = 0.0
    for clip in corpus.clips:
        samples, rate = read(clip.path)
        audio = AudioBatch(samples[None], torch.tensor([samples.shape[-1]]), rate)
        (measured,) = rates(codec.encode(audio, codec.points[0]))[RateKind.KL]
        bits += measured.bits
        seconds += measured.seconds
    model, _ = checkpoint.load(outcome.weights)
    assert evaluate_rate(model, corpus) == pytest.approx(bits / seconds / 1000, rel=1e-9)


def test_training_needs_neither_metrics_nor_pyav() -> None:
    script = (
        "import sys, rdbench.training.run, rdbench.training.evaluate, lightning_fabric, "
        "rdbench.audio.load, rdbench.audio.corpus\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    loaded = set(done.stdout.split())
    assert "torch" in loaded
    assert not loaded & {"av", "pesq", "pystoi", "visqol", "dac", "encodec", "audiotools"}
    assert not any(name.startswith("rdbench.metrics") for name in loaded)
