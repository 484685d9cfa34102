"""Training in stages: frozen parts, noise on the latent, replayed latents, and gates."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from tiny_runs import RATE, RVQ, TWO_LEVELS, Killed, assert_same, kill_at, recipe, state, weights

from rdbench.audio.clip import Corpus
from rdbench.audio.corpus import folder_corpus
from rdbench.identity import file_sha256
from rdbench.models.autoencoder import Autoencoder
from rdbench.models.vq import VqBottleneck
from rdbench.training.loop import STATE, WEIGHTS, TrainingError
from rdbench.training.objectives import kbps_of
from rdbench.training.recipe import Recipe
from rdbench.training.record.fixed import measure
from rdbench.training.run import crops, train, train_file
from rdbench.training.staging.gate import GateConfig, Measured, answers, failure, read
from rdbench.training.staging.replay import ReplayConfig, ReplayedLatents
from rdbench.training.warm_start import differing

HOP = 40
LATENT = ["encoder", "bottleneck"]


@pytest.fixture(scope="module")
def base(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint to start from."""
    out = tmp_path_factory.mktemp("base")
    return train(recipe(steps=2), out=out, corpus=corpus, accelerator="cpu").weights or out


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("freeze", [LATENT, ["decoder"]])
def test_frozen_parts_stay_to_the_bit(
    corpus: Corpus, base: Path, tmp_path: Path, optimizer: str, freeze: list[str]
) -> None:
    run = recipe(
        steps=3, freeze=freeze, init_from="base", optimizer={"kind": optimizer, "weight_decay": 0.5}
    )
    outcome = train(run, out=tmp_path, corpus=corpus, init=base, accelerator="cpu")
    assert outcome.weights is not None
    before, after, stored = weights(base), state(tmp_path), weights(outcome.weights)
    frozen = {name for name in before if name.partition(".")[0] in freeze}
    assert {name for name, value in before.items() if torch.equal(value, after[name])} == frozen
    assert all(torch.equal(before[name], stored[name]) for name in frozen)
    kept = torch.load(tmp_path / STATE, weights_only=True)["optimizers"]
    names = {name for name, _ in Autoencoder(run.model).named_parameters()}
    assert sum(len(one["state"]) for one in kept) == len(names - frozen)


def test_a_part_that_the_start_lacks_is_not_frozen(
    corpus: Corpus, base: Path, tmp_path: Path
) -> None:
    wide = recipe().model.backbone.model_copy(update={"width": 12})
    run = recipe(
        freeze=["encoder"], init_from="base",
        model=recipe().model.model_copy(update={"backbone": wide}).model_dump(),
    )  # fmt: skip
    with pytest.raises(TrainingError, match=r"freezes its encoder, of which .* lacks encoder\."):
        train(run, out=tmp_path, corpus=corpus, init=base, accelerator="cpu")


def test_a_quantizer_of_other_codebooks_is_not_frozen() -> None:
    """Only one that is fitted to a Gaussian's latents need not be there."""
    wide = recipe({**RVQ, "codebooks": RVQ["codebooks"] + 1})
    model, narrow = Autoencoder(wide.model), Autoencoder(recipe(RVQ).model)
    assert differing(model, narrow, "bottleneck").startswith("bottleneck.quantizer.")
    assert not differing(model, Autoencoder(wide.model), "bottleneck")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"freeze": ["encoder", "bottleneck", "decoder"]}, "nothing to train"),
        ({"freeze": ["encoder"], "gradients_every": 2}, "no gradient reaches"),
        ({"replay": {"latents": ["x"]}, "init_from": "base"}, "set freeze"),
        ({"gate": {}}, "a gate needs"),
        ({"gate": {"kbps_within": 0.1}, "objective": {"kind": "beta", "beta": 1}}, "`at_most`"),
        ({"bottleneck": RVQ, "latent_noise": 0.1}, "has no prior"),
        ({"bottleneck": TWO_LEVELS, "passthrough": 0.1}, "no one latent can pass"),
    ],
    ids=["all", "gradients", "replay", "gate", "target", "rvq", "levels"],
)
def test_what_makes_no_stage_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipe(**fields)


def test_noise_on_the_latent_has_the_stated_size() -> None:
    """Of the sampled latent's variance, σ² and the square of what is added."""
    model = Autoencoder(recipe().model)
    seen: list[torch.Tensor] = []
    model.decoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    audio = torch.zeros(64, 1, RATE // 4)
    with torch.no_grad():
        mean, scale = model.posterior(audio[:1])
        torch.manual_seed(0)
        model(audio, latent_noise=0.7)
    error = seen[0].transpose(1, 2) - mean
    expected = scale.square().mean() + 0.7**2
    assert float(error.square().mean()) == pytest.approx(float(expected), rel=0.02)


def predicted(folder: Path, corpus: Corpus, base: Path, gain: float = 1.0) -> Path:
    """A folder as `rdbench latent predict` writes it: latents that tell their frame and clip."""
    folder.mkdir(parents=True)
    for number, clip in enumerate(corpus.clips):
        frames = -(-round(soundfile.info(clip.path).duration * RATE) // HOP)
        latent = gain * (np.arange(frames) + 1000.0 * number) * np.ones((4, 1))
        np.save(folder / f"{clip.path.stem}.npy", latent.astype(np.float32))
    about = {"codec": {"name": "base", "weights_sha256": file_sha256(base)}}
    (folder / "predicted.json").write_text(json.dumps(about))
    return folder


def replaying(folder: Path, **fields: object) -> Recipe:
    replay = {"latents": [str(folder)], "share": 0.5}
    return recipe(steps=4, save_every=2, freeze=LATENT, init_from="base", replay=replay, **fields)


def test_a_replayed_latent_is_that_of_the_crop(base: Path, tmp_path: Path) -> None:
    """Of clips whose samples, and whose latents, tell where they are from."""
    (tmp_path / "ramps").mkdir()
    for number in range(2):
        ramp = (np.arange(RATE) + 1 + number * RATE) / 2**15
        soundfile.write(tmp_path / "ramps" / f"{number}.wav", ramp, RATE, subtype="PCM_16")
    ramps = folder_corpus(tmp_path / "ramps")
    folder = predicted(tmp_path / "latents", ramps, base)
    data = crops(recipe(), ramps)
    config = ReplayConfig(latents=(str(folder),))
    found = ReplayedLatents(config, data, recipe().model, [file_sha256(base)])
    audio, latents = found.batch(seed=0, step=0, size=16)
    place = (audio[:, 0] * 32767).round() - 1
    first = (place[:, 0] % RATE / HOP).round()
    clip = (place[:, 0] / RATE).floor()
    assert set(clip.tolist()) == {0.0, 1.0}
    torch.testing.assert_close(latents[:, 0, 0], first + 1000 * clip)
    assert latents.shape == (16, 4, RATE // 10 // HOP)
    again = found.batch(seed=0, step=0, size=16)
    assert torch.equal(audio, again[0])


def test_replay_trains_the_decoder_and_resumes(corpus: Corpus, base: Path, tmp_path: Path) -> None:
    run = replaying(predicted(tmp_path / "latents", corpus, base, 1e-3))
    how: dict[str, Any] = {"corpus": corpus, "init": base, "accelerator": "cpu"}
    outcome = train(run, out=tmp_path / "a", **how)
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, 3)
        with pytest.raises(Killed):
            train(run, out=tmp_path / "b", **how)
    train(run, out=tmp_path / "b", **how)
    assert_same(state(tmp_path / "a"), state(tmp_path / "b"))
    plain = run.model_copy(update={"replay": None})
    train(plain, out=tmp_path / "c", **how)
    name = "decoder.head.weight"
    assert not torch.equal(state(tmp_path / "a")[name], state(tmp_path / "c")[name])
    # Latents of the base are latents of what was trained from it with its encoder frozen.
    assert outcome.weights is not None
    train(run, out=tmp_path / "d", **{**how, "init": outcome.weights})


def test_latents_that_are_not_of_this_encoder_or_these_clips_are_refused(
    corpus: Corpus, base: Path, tmp_path: Path
) -> None:
    folder = predicted(tmp_path / "latents", corpus, base)
    run = replaying(folder)
    how: dict[str, Any] = {"corpus": corpus, "init": base, "accelerator": "cpu"}
    train(run.model_copy(update={"steps": 3}), out=tmp_path / "begun", deadline=0.0, **how)
    np.save(folder / "0.npy", np.zeros((4, RATE // HOP), np.float32))
    with pytest.raises(TrainingError, match="begun with other replayed latents"):
        train(run.model_copy(update={"steps": 3}), out=tmp_path / "begun", **how)
    np.save(folder / "0.npy", np.zeros((4, 7), np.float32))
    with pytest.raises(TrainingError, match="no `excerpt_seconds` in the spec"):
        train(run, out=tmp_path / "a", **how)
    for name in ("0", "1", "2"):
        (folder / f"{name}.npy").unlink()
    with pytest.raises(TrainingError, match="of none of the clips"):
        train(run, out=tmp_path / "b", **how)
    (folder / "predicted.json").write_text('{"codec": {"weights_sha256": "11"}}')
    with pytest.raises(TrainingError, match="of other weights"):
        train(run, out=tmp_path / "c", **how)
    (folder / "predicted.json").unlink()
    with pytest.raises(TrainingError, match="holds no predicted latents"):
        train(run, out=tmp_path / "d", **how)


def test_a_gate_says_what_it_does_not_let_pass() -> None:
    gate = GateConfig(kbps_within=0.05, at_most={"mel": 0.4})
    measured = {"kbps": 2.05, "mel": 0.3}
    assert failure(gate, measured, 2.0) == ""
    assert "2.2 kbps is +10.0 % off its target of 2" in failure(
        gate, {**measured, "kbps": 2.2}, 2.0
    )
    assert "`mel` of 0.41 is above the 0.4" in failure(gate, {**measured, "mel": 0.41}, 2.0)
    assert failure(gate, {**measured, "mel": float("nan")}, 2.0)
    collapse = GateConfig(at_most={"dead": 0}, crops=4)
    assert "`dead` of 3 is above the 0" in failure(collapse, {**measured, "dead": 3.0}, None)
    # What an earlier rdbench measured does not answer a gate of today.
    assert not answers(collapse, Measured(weights_sha256="", crops=4, values=measured))


def test_dead_channels_and_codes_are_counted() -> None:
    audio = 0.1 * torch.randn(12, 1, RATE // 10)
    model = Autoencoder(recipe().model)
    with torch.no_grad():  # three of four channels are the prior, the last says μ = 2
        for layer, last in ((model.bottleneck.mean, 2.0), (model.bottleneck.scale, 0.0)):
            assert isinstance(layer, torch.nn.Linear)
            layer.weight.zero_()
            layer.bias.copy_(torch.tensor([0.0, 0.0, 0.0, last]))
    found = measure(model, lambda **_: {"mel": torch.ones(())}, audio, seed=0)
    kbps = kbps_of(0.5 * 2.0**2, RATE / HOP)
    assert found == {"mel": pytest.approx(1.0), "kbps": pytest.approx(kbps), "dead": 3.0}
    quantized = Autoencoder(recipe(TWO_LEVELS).model).eval()
    assert isinstance(quantized.bottleneck, VqBottleneck)
    quantized.bottleneck.codebook.entries[1:] = 99.0
    found = measure(quantized, lambda **_: {}, audio, seed=0)
    upper = quantized.codes(audio)[:, 0].unique()
    assert found["dead"] == 3 + 4 - len(upper)
    assert found["kbps"] == pytest.approx(3 * 2 * RATE / HOP / 2 / 1000)


STAGES = """
common:
  steps: 2
  model:
    sample_rate: 8000
    backbone: {kind: spectral, hop: 40, width: 8, encoder_layers: 1, decoder_layers: 1}
    bottleneck: {kind: gaussian, channels: 4}
  objective: {kind: target_kl, kbps: 2}
  data: {seconds: 0.1, batch: 2}
  loss: {windows: [64], mels: [8]}
stages:
  - {name: first, gate: {kbps_within: 0.0001, crops: 4}}
  - {name: second, init_from: first}
"""


def test_a_stage_that_fails_its_gate_is_the_last_one(corpus: Corpus, tmp_path: Path) -> None:
    path, out = tmp_path / "stages.yaml", tmp_path / "out"
    how: dict[str, Any] = {
        "out": out, "data": str(corpus.clips[0].path.parent), "accelerator": "cpu",
    }  # fmt: skip
    path.write_text(STAGES)
    (first,) = train_file(path, **how).values()
    assert "off its target of 2, and its gate asks for 0.01 %" in first.failure
    assert not first.finished
    assert first.weights == out / "first" / WEIGHTS
    measured = read(first.weights)
    assert measured is not None
    total = sum(measured.values[name] for name in ("wave", "mel", "stft"))
    assert measured.values["reconstruction"] == pytest.approx(total)
    stamp = first.weights.stat().st_mtime_ns
    assert list(train_file(path, **how)) == ["first"]
    with pytest.raises(TrainingError, match="second starts from first, which failed: its rate"):
        train_file(path, only=["second"], **how)
    path.write_text(STAGES.replace("crops: 4", "crops: 5"))
    with pytest.raises(TrainingError, match="first, whose gate was not measured; run that"):
        train_file(path, only=["second"], **how)
    # A gate is held against what was measured: nothing is trained again.
    path.write_text(STAGES.replace("0.0001", "1000"))
    assert [one.finished for one in train_file(path, **how).values()] == [True, True]
    assert first.weights.stat().st_mtime_ns == stamp
    # On other crops it is measured anew, from the state; what started from the weights stays.
    path.write_text(STAGES.replace("crops: 4", "crops: 6"))
    (again,) = train_file(path, **how).values()
    assert again.failure
    path.write_text(STAGES.replace("0.0001, crops: 4", "1000, crops: 8"))
    assert [one.finished for one in train_file(path, **how).values()] == [True, True]
    found = read(first.weights)
    assert found is not None
    assert found.crops == 8
    assert first.weights.stat().st_mtime_ns == stamp
