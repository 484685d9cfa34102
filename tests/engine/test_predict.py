"""Predicted latents of a spec's clips: named by clip, repeatable, and of the right checkpoint."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from rdbench.codecs.registry import names
from rdbench.engine.predict import predict
from rdbench.engine.progress import Progress
from rdbench.identity import file_sha256
from rdbench.metrics.registry import keys
from rdbench.models import checkpoint as autoencoders
from rdbench.models.autoencoder import Autoencoder
from rdbench.models.config import AutoencoderConfig, GaussianConfig, SpectralConfig
from rdbench.models.probe import checkpoint
from rdbench.models.probe.checkpoint import ProbeError
from rdbench.models.probe.config import ProbeConfig, ProbeShape
from rdbench.models.probe.transformer import Probe
from rdbench.spec.load import load_spec
from rdbench.spec.model import BenchmarkSpec
from rdbench.types import RdbenchError, SpecError

RATE, HOP = 8000, 80
SPEC = """
name: small
corpus: {kind: folder, path: clips}
protocol: {sample_rate: 16000, channels: mono, excerpt_seconds: 0.5}
metrics: {default: [si_sdr]}
systems:
  - {codec: vae, name: small, options: {weights: small.safetensors}}
  - {codec: vae, name: other, options: {weights: other.safetensors}}
"""


def small(seed: int) -> Autoencoder:
    torch.manual_seed(seed)
    backbone = SpectralConfig(hop=HOP, width=8, encoder_layers=1, decoder_layers=1)
    bottleneck = GaussianConfig(channels=3)
    return Autoencoder(
        AutoencoderConfig(sample_rate=RATE, backbone=backbone, bottleneck=bottleneck)
    )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a spec, two checkpoints, three clips, and a probe of the first checkpoint."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for name, seconds in (("speech/a.wav", 1.0), ("speech/b.c.flac", 0.3)):
        path = tmp_path / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * generator.standard_normal(round(seconds * RATE)), RATE)
    for seed, name in enumerate(("small", "other")):
        autoencoders.save(tmp_path / f"{name}.safetensors", small(seed), {})
    save_probe(tmp_path)
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path


def save_probe(project: Path, *, fitted_on: str = "11") -> None:
    shape = ProbeShape(width=16, layers=1, heads=2)
    config = ProbeConfig(
        shape=shape, channels=3, live=(0, 2), frame_rate=RATE / HOP, sample_rate=RATE
    )
    about = {
        "codec": "small",
        "codec_sha256": file_sha256(project / "small.safetensors"),
        "fitted_on": [fitted_on],
        "seed": 5,
    }
    checkpoint.save(project / "probe.safetensors", Probe(config), about)


def spec(project: Path) -> BenchmarkSpec:
    return load_spec(project / "spec.yaml", metric_keys=keys(), codec_names=names())


def run(project: Path, out: str = "out", **more: object) -> tuple[str, ...]:
    found = predict(
        spec(project), project / "probe.safetensors", project / out, Progress(), **more  # type: ignore[arg-type]
    )  # fmt: skip
    return found.failures


def arrays(folder: Path) -> dict[str, np.ndarray]:
    return {
        path.relative_to(folder).as_posix(): np.load(path, allow_pickle=False)
        for path in sorted(folder.rglob("*.npy"))
    }


def test_each_clip_has_an_array_in_a_folder_for_each_task_and_seed(project: Path) -> None:
    assert run(project, tasks=["conditioned", "renoise_0.5"], seeds=2) == ()
    for task in ("conditioned", "renoise_0.5"):
        for seed in (0, 1):
            folder = project / "out" / task / str(seed)
            found = arrays(folder)
            assert {name: one.shape for name, one in found.items()} == {
                "speech/a.npy": (3, 50),
                "speech/b.c.npy": (3, 30),
            }
            assert all(one.dtype == np.float32 for one in found.values())
            about = json.loads((folder / "predicted.json").read_text())
            assert about["probe"]["sha256"] == file_sha256(project / "probe.safetensors")
            assert about["codec"]["weights_sha256"] == file_sha256(project / "small.safetensors")
            assert (about["task"], about["seed"], about["probe"]["seed"]) == (task, seed, 5)
    first, second = (arrays(project / "out" / "conditioned" / str(seed)) for seed in (0, 1))
    assert not np.allclose(first["speech/a.npy"], second["speech/a.npy"])


def test_a_later_first_seed_is_the_later_draw(project: Path) -> None:
    run(project, seeds=2)
    run(project, "later", first=1)
    assert [path.name for path in (project / "later" / "conditioned").iterdir()] == ["1"]
    both, later = (arrays(project / out / "conditioned/1") for out in ("out", "later"))
    assert np.array_equal(both["speech/a.npy"], later["speech/a.npy"])


def test_seeds_belong_to_clips(project: Path) -> None:
    run(project)
    (project / "clips" / "speech" / "a.wav").rename(project / "clips" / "z.wav")
    run(project, "again", system="small")
    before, after = (arrays(project / out / "conditioned/0") for out in ("out", "again"))
    assert np.array_equal(before["speech/a.npy"], after["z.npy"])
    assert np.array_equal(before["speech/b.c.npy"], after["speech/b.c.npy"])


def test_late_renoising_gives_the_sample_that_is_decoded(project: Path) -> None:
    from rdbench.audio.load import ExcerptProtocol, load_excerpt
    from rdbench.audio.resample import resample_batch
    from rdbench.codecs.posterior.vae import Vae
    from rdbench.engine.plan.clips import load_corpus, plan_clips
    from rdbench.types import SAMPLE, AudioBatch

    run(project, tasks=["renoise_0.9999"])
    clip = plan_clips(load_corpus(spec(project)), seed=spec(project).protocol.seed)[0]
    samples = load_excerpt(clip.clip, ExcerptProtocol(16000, "mono", 0.5)).samples[None]
    audio = resample_batch(AudioBatch(samples, torch.tensor([8000]), 16000), RATE)
    codec = Vae(weights=project / "small.safetensors")
    encoded = codec.encode(audio, codec.points[0])
    sample = codec.decoder_input(encoded, SAMPLE, [clip.seed]).payload.values[0]  # type: ignore[union-attr]
    found = arrays(project / "out/renoise_0.9999/0")["speech/a.npy"]
    assert np.allclose(found[[0, 2]], sample[[0, 2]], atol=0.01)


def test_another_checkpoint_is_refused(project: Path) -> None:
    with pytest.raises(ProbeError, match=r"trained on latents of small .* not of other"):
        run(project, system="other")
    (project / "spec.yaml").write_text(SPEC.replace("weights: small", "weights: other"))
    with pytest.raises(ProbeError, match="no system of the spec has the checkpoint"):
        run(project)
    with pytest.raises(SpecError, match="no system 'smal'"):
        run(project, system="smal")
    assert not (project / "out").exists()


def test_clips_of_the_training_are_refused(project: Path) -> None:
    save_probe(project, fitted_on=file_sha256(project / "clips/speech/a.wav"))
    with pytest.raises(ProbeError, match=r"clip 'speech/a\.wav' is one of the 1 clips"):
        run(project)


def test_a_bad_clip_costs_itself(project: Path) -> None:
    (project / "clips" / "bad.wav").write_bytes(b"no audio")
    (failure,) = run(project)
    assert failure.startswith("bad.wav cannot be read")
    assert list(arrays(project / "out/conditioned/0")) == ["speech/a.npy", "speech/b.c.npy"]


def test_two_clips_with_one_name_but_for_the_ending_are_refused(project: Path) -> None:
    shutil.copy(project / "clips/speech/b.c.flac", project / "clips/speech/a.flac")
    with pytest.raises(RdbenchError, match=r"'speech/a.flac' and 'speech/a.wav' would have one"):
        run(project)


def test_the_command_says_where_the_latents_are(project: Path) -> None:
    from typer.testing import CliRunner

    from rdbench.cli.main import app

    words = ["latent", "predict", "spec.yaml", "--probe", "probe.safetensors", "-o", "out"]
    done = CliRunner().invoke(app, [*words, "--task", "infill"])
    assert done.exit_code == 0, done.output
    assert "out/infill/0" in done.output
    (project / "clips" / "bad.wav").write_bytes(b"no audio")
    assert CliRunner().invoke(app, [*words, "-q"]).exit_code == 1
