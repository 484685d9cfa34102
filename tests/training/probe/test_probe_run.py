"""Training of a probe: repeatable, resumable, and as good as the closed form says."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny_runs import Killed, assert_same

from rdbench.identity import file_sha256
from rdbench.models import checkpoint as autoencoders
from rdbench.models.autoencoder import Autoencoder
from rdbench.models.config import AutoencoderConfig, GaussianConfig, SpectralConfig
from rdbench.models.probe import checkpoint
from rdbench.models.probe.flow import heun, squared_error
from rdbench.models.probe.tasks import given_for
from rdbench.models.probe.transformer import Probe
from rdbench.training.loop import STATE, WEIGHTS, TrainingError
from rdbench.training.probe.latents import Latents
from rdbench.training.probe.recipe import ProbeRecipe
from rdbench.training.recipe import parse
from rdbench.training.run import train_file, train_probe
from rdbench.types import SpecError, WeightsError

CHANNELS, FRAMES = 8, 50


def autoregressive(clips: int, frames: int, rho: float, seed: int) -> torch.Tensor:
    """AR(1) of unit variance, (clips, frames, channels)."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(clips, frames, CHANNELS, generator=generator)
    values = [noise[:, 0]]
    for frame in range(1, frames):
        values.append(rho * values[-1] + math.sqrt(1 - rho**2) * noise[:, frame])
    return torch.stack(values, 1)


def latents(rho: float = 0.9, *, clips: int = 4, frames: int = 100) -> Latents:
    mean = autoregressive(clips, frames, rho, seed=0).reshape(-1, CHANNELS)
    told = torch.randn(len(mean), 20, generator=torch.Generator().manual_seed(1))
    scale = torch.full_like(mean, 1e-3)
    counts = torch.full((clips,), frames)
    return Latents(mean, scale, told, counts, 100.0, 16000, "ar", "ab" * 32, ("11",), "cd" * 32)


def recipe(**fields: object) -> ProbeRecipe:
    values: dict[str, object] = {
        "name": "small",
        "codec": "ar",
        "steps": 12,
        "seed": 3,
        "model": {"width": 16, "layers": 1, "heads": 2},
        "data": {"seconds": FRAMES / 100, "batch": 4},
        "save_every": 5,
    }
    return ProbeRecipe.model_validate(values | fields)


def state(out: Path) -> dict[str, torch.Tensor]:
    content = torch.load(out / STATE, weights_only=True)
    average = {str(i): value for i, value in enumerate(content["average"])}
    return dict(content["model"]) | average


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    draw = Latents.crops

    def crops(self: Latents, length: int, **where: int) -> object:
        if where["step"] == step:
            raise Killed
        return draw(self, length, **where)

    monkeypatch.setattr(Latents, "crops", crops)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_repeats_and_a_killed_one_equals_a_whole_one(tmp_path: Path, optimizer: str) -> None:
    run = recipe(optimizer={"kind": optimizer})
    train_probe(run, out=tmp_path / "a", latents=latents(), accelerator="cpu")
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, 8)
        with pytest.raises(Killed):
            train_probe(run, out=tmp_path / "b", latents=latents(), accelerator="cpu")
    torch.manual_seed(99)
    outcome = train_probe(run, out=tmp_path / "b", latents=latents(), accelerator="cpu")
    assert_same(state(tmp_path / "a"), state(tmp_path / "b"))
    assert outcome.weights is not None
    first, second = (checkpoint.load(tmp_path / x / WEIGHTS).model.state_dict() for x in "ab")
    assert_same(first, second)
    train_probe(
        recipe(seed=4, optimizer={"kind": optimizer}),
        out=tmp_path / "c",
        latents=latents(),
        accelerator="cpu",
    )
    other = checkpoint.load(tmp_path / "c" / WEIGHTS).model
    assert not torch.equal(first["embed.weight"], other.embed.weight)


def test_time_that_runs_out_is_taken_up_again(tmp_path: Path) -> None:
    early = train_probe(recipe(), out=tmp_path, latents=latents(), accelerator="cpu", deadline=0.0)
    assert early.weights is None
    assert train_probe(recipe(), out=tmp_path, latents=latents(), accelerator="cpu").step == 12


def test_the_checkpoint_says_of_what_it_is_and_what_it_cost(tmp_path: Path) -> None:
    outcome = train_probe(recipe(), out=tmp_path, latents=latents(), accelerator="cpu")
    assert outcome.weights is not None
    found = checkpoint.load(outcome.weights)
    assert (found.codec, found.codec_sha256, found.fitted_on) == ("ar", "ab" * 32, {"11"})
    said = found.provenance
    assert ProbeRecipe.model_validate(said["recipe"]) == recipe()
    assert (said["steps"], said["seed"]) == (12, 3)
    assert said["parameters"] == found.model.parameter_count
    assert said["flops"] == 3 * 4 * 12 * found.model.flops(FRAMES)
    assert said["seconds"] >= 0
    assert math.isfinite(said["loss"])


def test_what_is_kept_is_the_moving_average(tmp_path: Path) -> None:
    last = recipe(ema=0.0)
    train_probe(last, out=tmp_path / "a", latents=latents(), accelerator="cpu")
    kept = checkpoint.load(tmp_path / "a" / WEIGHTS).model
    trained = torch.load(tmp_path / "a" / STATE, weights_only=True)["model"]
    assert torch.allclose(kept.embed.weight, trained["embed.weight"], atol=1e-7)
    train_probe(recipe(), out=tmp_path / "b", latents=latents(), accelerator="cpu")
    averaged = checkpoint.load(tmp_path / "b" / WEIGHTS).model
    assert not torch.allclose(averaged.embed.weight, kept.embed.weight, atol=1e-5)


def test_a_state_of_other_latents_is_refused(tmp_path: Path) -> None:
    train_probe(recipe(), out=tmp_path, latents=latents(), accelerator="cpu", deadline=0.0)
    other = latents()
    object.__setattr__(other, "codec_sha256", "ef" * 32)
    with pytest.raises(TrainingError, match="begun on latents of other weights than ar now has"):
        train_probe(recipe(), out=tmp_path, latents=other, accelerator="cpu")
    with pytest.raises(TrainingError, match="belongs to another recipe"):
        train_probe(recipe(seed=9), out=tmp_path, latents=latents(), accelerator="cpu")


@pytest.mark.parametrize("target", ["sample", "mean"])
@pytest.mark.parametrize("only", ["conditioned", "infill", "unconditional"])
def test_each_task_and_target_trains_alone(tmp_path: Path, only: str, target: str) -> None:
    shares = dict.fromkeys(("conditioned", "infill", "unconditional"), 0) | {only: 1}
    run = recipe(tasks=shares, target=target, steps=2)
    assert train_probe(run, out=tmp_path, latents=latents(), accelerator="cpu").weights


def test_mixed_precision_trains(tmp_path: Path) -> None:
    run = recipe(precision="bf16-mixed", steps=3)
    train_probe(run, out=tmp_path, latents=latents(), accelerator="cpu")
    assert all(value.dtype == torch.float32 for value in state(tmp_path).values())


def test_clips_shorter_than_a_crop_train_and_their_padding_never_matters(tmp_path: Path) -> None:
    short = latents(frames=20)
    outcome = train_probe(recipe(), out=tmp_path / "a", latents=short, accelerator="cpu")
    assert outcome.weights is not None
    draw = Latents.crops
    with pytest.MonkeyPatch.context() as patch:

        def filled(self: Latents, length: int, **where: int) -> object:
            found = draw(self, length, **where)
            rest = ~found.valid[..., None]
            parts = [part.masked_fill(rest, 7.0) for part in found[:3]]
            return found._replace(mean=parts[0], scale=parts[1], condition=parts[2])

        patch.setattr(Latents, "crops", filled)
        train_probe(recipe(), out=tmp_path / "b", latents=short, accelerator="cpu")
    first, second = (checkpoint.load(tmp_path / x / WEIGHTS).model.state_dict() for x in "ab")
    for name, value in first.items():
        assert torch.allclose(value, second[name], atol=1e-6), name


def test_a_file_trains_a_checkpoint_and_then_its_probe(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    noise = 0.1 * np.random.default_rng(0).standard_normal(8000)
    soundfile.write(clips / "a.wav", noise, 8000)
    path = tmp_path / "both.yaml"
    path.write_text("""
common: {steps: 2}
stages:
  - {name: probe, kind: probe, codec: vae, model: {width: 16, layers: 1}, data: {seconds: 0.2}}
  - name: vae
    model:
      sample_rate: 8000
      backbone: {kind: spectral, hop: 80, width: 8, encoder_layers: 1, decoder_layers: 1}
      bottleneck: {kind: gaussian, channels: 3}
    objective: {kind: target_kl, kbps: 2}
    data: {seconds: 0.1, batch: 2}
    loss: {windows: [64], mels: [8]}
""")
    outcomes = train_file(path, out=tmp_path / "out", data=str(clips), accelerator="cpu")
    assert list(outcomes) == ["vae", "probe"]
    found = checkpoint.load(tmp_path / "out" / "probe" / WEIGHTS)
    assert found.codec_sha256 == file_sha256(tmp_path / "out" / "vae" / WEIGHTS)
    assert found.fitted_on == {file_sha256(clips / "a.wav")}
    base = tmp_path / "out" / "vae" / WEIGHTS
    model, header = autoencoders.load(base)
    autoencoders.save(base, model, {**header.provenance, "seconds": -1.0})
    with pytest.raises(TrainingError, match=r"probe/weights.* trained from another .*vae/weights"):
        train_file(path, out=tmp_path / "out", data=str(clips), accelerator="cpu")


def test_a_probe_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="codec"):
        parse({"kind": "probe", "name": "a", "steps": 1}, "recipe.yaml")
    none = {"conditioned": 0, "infill": 0, "unconditional": 0}
    with pytest.raises(SpecError, match="share above 0"):
        parse({"kind": "probe", "name": "a", "codec": "b", "steps": 1, "tasks": none}, "r.yaml")
    clips = tmp_path / "clips"
    clips.mkdir()
    soundfile.write(clips / "a.wav", np.zeros(8000), 8000)
    path = tmp_path / "probe.yaml"
    path.write_text("{kind: probe, name: a, codec: vae_7k, steps: 1}")
    with pytest.raises(WeightsError, match="'vae_7k' are neither a file nor a checkpoint"):
        train_file(path, out=tmp_path / "out", data=str(clips), accelerator="cpu")


def test_a_probe_of_a_checkpoint_that_says_nothing_is_refused(tmp_path: Path) -> None:
    backbone = SpectralConfig(hop=80, width=8, encoder_layers=1, decoder_layers=1)
    model = Autoencoder(
        AutoencoderConfig(
            sample_rate=8000, backbone=backbone, bottleneck=GaussianConfig(channels=3)
        )
    )
    for layer in (model.bottleneck.mean, model.bottleneck.scale):
        torch.nn.init.zeros_(layer.weight)  # type: ignore[arg-type, union-attr]
        torch.nn.init.zeros_(layer.bias)  # type: ignore[arg-type, union-attr]
    autoencoders.save(tmp_path / "dead.safetensors", model, {})
    clips = tmp_path / "clips"
    clips.mkdir()
    soundfile.write(clips / "a.wav", np.zeros(8000), 8000)
    path = tmp_path / "probe.yaml"
    path.write_text("{kind: probe, name: a, codec: dead.safetensors, steps: 1}")
    with pytest.raises(WeightsError, match="says nothing: all 3 channels"):
        train_file(path, out=tmp_path / "out", data=str(clips), accelerator="cpu")


def trained_on(rho: float, steps: int, out: Path) -> Probe:
    run = recipe(
        steps=steps,
        model={"width": 64, "layers": 2, "heads": 2},
        data={"seconds": FRAMES / 100, "batch": 16},
        tasks={"conditioned": 0, "infill": 0, "unconditional": 1},
        optimizer={"learning_rate": 2e-3, "warmup": 50},
        ema=0.99,
        save_every=10_000,
    )
    source = latents(rho, clips=400, frames=400)
    outcome = train_probe(run, out=out, latents=source, accelerator="cpu")
    assert outcome.weights is not None
    return checkpoint.load(outcome.weights).model


@pytest.fixture(scope="module", params=[(0.0, 400), (0.9, 1200)], ids=["white", "AR(1)"])
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, float]:
    """What a trained probe reaches on latents whose optimum is known."""
    return figures_of(*request.param, tmp_path_factory.mktemp("probe"))


@torch.no_grad()
def figures_of(rho: float, steps: int, folder: Path) -> dict[str, float]:
    clips = 1000
    with torch.enable_grad():
        probe = trained_on(rho, steps, folder)
    nothing = torch.zeros(clips, FRAMES, CHANNELS)
    given = given_for(
        nothing,
        torch.zeros(clips, FRAMES, 20),
        visible=torch.zeros(clips, FRAMES).bool(),
        conditioned=torch.zeros(clips).bool(),
    )
    covariance = rho ** (torch.arange(FRAMES)[:, None] - torch.arange(FRAMES)).abs().double()
    least = math.pi / 2 * float(torch.linalg.eigvalsh(covariance).clamp_min(0).sqrt().mean())
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(clips, FRAMES, CHANNELS, generator=generator)
    z = probe.standardised(autoregressive(clips, FRAMES, rho, seed=3))
    t = (torch.arange(clips) + 0.5) / clips
    errors = squared_error(lambda x, at: probe(x, at, given), z, noise, t)
    made = heun(lambda x, at: probe(x, at, given), noise).transpose(1, 2).reshape(-1, FRAMES)
    found = (made.T @ made / len(made)).double()
    return {
        "rho": rho,
        "loss over least": float(errors.mean()) / least,
        "variance": float(found.diagonal().mean()),
        "apart": float(torch.linalg.norm(found - covariance) / torch.linalg.norm(covariance)),
    }


@pytest.mark.slow
def test_a_trained_probe_has_the_least_loss(trained: dict[str, float]) -> None:
    assert trained["loss over least"] == pytest.approx(1.0, abs=0.03)


@pytest.mark.slow
def test_samples_of_a_trained_probe_have_the_covariance(
    trained: dict[str, float], request: pytest.FixtureRequest
) -> None:
    """Within 3 % of variance, and as far as 8,000 samples of the truth lie from it (0.08)."""
    if trained["rho"]:
        missed = f"so small a probe does not reach it after so few steps: {trained}"
        request.applymarker(pytest.mark.xfail(reason=missed, strict=True))
    assert trained["variance"] == pytest.approx(1.0, abs=0.03)
    assert trained["apart"] < 0.1
