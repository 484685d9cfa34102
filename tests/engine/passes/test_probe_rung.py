"""A probe as a prior of latents: its bits where they are known, and probes that are refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_runs import RATE, make_clips, rows, run

from rdbench.analysis.latent.ladder import RUNGS, ladder_table
from rdbench.analysis.runs import read_run
from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.identity import file_sha256
from rdbench.latent.probe_prior import DRAWS, TITLE, ProbePrior
from rdbench.models.probe import checkpoint
from rdbench.models.probe.config import ProbeConfig, ProbeShape
from rdbench.models.probe.transformer import Probe
from rdbench.rate.validate import PayloadError
from rdbench.types import Posterior, RateKind, RdbenchError

HOP, D = 80, 3


class Level(PosteriorCodec):
    """A latent of the level, with noise of its own. broken: not finite where a clip is loud."""

    def __init__(
        self, *, points: object = None, channels: int = D, one_frame: bool = False,
        broken: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(
            name="level", sample_rate=RATE, frame_rate=RATE / HOP, modules=torch.nn.Linear(1, 1),
            weights_sha256="aa",
        )  # fmt: skip
        self.width, self.one_frame, self.broken = channels, one_frame, broken

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        frames = audio[..., : audio.shape[-1] // HOP * HOP].reshape(len(audio), -1, HOP)
        levels = frames.square().mean(dim=-1, keepdim=True).sqrt().transpose(1, 2)
        mean = levels.repeat(1, self.width, 1)[..., : 1 if self.one_frame else None]
        if self.broken and float(audio.abs().max()) > 0.9:
            mean[:, 0, 0] = torch.nan
        return mean, torch.full_like(mean, 0.5)

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        return z.mean(dim=1, keepdim=True).repeat_interleave(HOP, dim=-1)


def level(probe: Path | None, name: str = "level", **options: Any) -> dict[str, Any]:
    system = {"codec": f"{__name__}:Level", "name": name, "options": options, "variants": ["mean"]}
    return system | ({"probe": str(probe)} if probe else {})


def fresh(path: Path, channels: int = D, target: Any = "sample", **about: Any) -> Path:
    """An untrained probe, whose density is N(0, I)."""
    shape = ProbeShape(width=16, layers=1, heads=2)
    config = ProbeConfig(
        shape=shape, channels=channels, live=tuple(range(min(channels, 2))),
        frame_rate=RATE / HOP, sample_rate=RATE, target=target,
    )  # fmt: skip
    said = {"codec": "level", "codec_sha256": "aa", "fitted_on": ["11"], **about}
    checkpoint.save(path, Probe(config), said)
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("probed"), ["a", "b", "c"])


@pytest.mark.parametrize("options", [{}, {"channels": 1}, {"one_frame": True}])
def test_an_untrained_probe_is_the_first_rung_again(
    clips: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    """Live channels are drawn, the dead one is closed."""
    probe = fresh(tmp_path / "probe.safetensors", options.get("channels", D))
    system = level(probe, **options)
    assert run(clips, tmp_path / "run", system).failed == 0
    table = ladder_table(read_run(tmp_path / "run"))
    assert list(table["rung"]) == [RUNGS[0], RUNGS[-1]] == ["N(0, I)", TITLE]
    first, last = table["kbps"]
    frames = 3 * (1 if "one_frame" in options else RATE // HOP)
    live = min(options.get("channels", D), 2)
    noise = math.sqrt(frames * live * (0.5 * 0.5**4 + 0.3**2 * 0.5**2) / DRAWS) / math.log(2)
    assert last == pytest.approx(first, abs=4 * noise / 3 / 1000)
    assert run(clips, tmp_path / "run", system).written == 0
    fresh(tmp_path / "probe.safetensors", options.get("channels", D), seed=2)
    assert run(clips, tmp_path / "run", system).written == 3


def test_draws_are_of_the_clip_and_tell_their_noise(tmp_path: Path) -> None:
    prior = ProbePrior(checkpoint.load(fresh(tmp_path / "probe.safetensors")))
    mean, scale = torch.randn(2, D, 40), torch.rand(2, D, 40) + 0.1
    posterior = Posterior(mean, scale, torch.tensor([40, 25]), 10.0)
    bits = prior.drawn([1, 2]).kl_bits(posterior)
    assert [len(one) for one in bits] == [40, 25]
    again = prior.drawn([2, 1]).kl_bits(
        Posterior(mean.flip(0), scale.flip(0), torch.tensor([25, 40]), 10.0)
    )
    assert np.array_equal(bits[0], again[1])
    closed = 0.5 * (mean.square() + scale.square() - 1) - scale.log()
    total = float(closed[0].sum()) / math.log(2)
    draws = prior.kl_draws(posterior, 0, 1).sum(axis=1)
    assert len(draws) == DRAWS
    assert bits[0].sum() == pytest.approx(total, abs=5 * draws.std(ddof=1) / math.sqrt(DRAWS))


def test_what_is_not_finite_costs_its_clip_alone(clips: Path, tmp_path: Path) -> None:
    import shutil

    import soundfile

    shutil.copytree(clips, tmp_path / "clips")
    soundfile.write(tmp_path / "clips" / "loud.wav", np.sin(np.arange(RATE) / 3.0), RATE)
    probe = fresh(tmp_path / "probe.safetensors")
    run(tmp_path / "clips", tmp_path / "run", level(probe, broken=True))
    found = rows(tmp_path / "run", kind="rate", key=RateKind.KL.value)
    found = found[found["backend"].str.startswith(TITLE)].set_index("clip")
    assert found.loc["loud.wav", "status"] == "failed"
    assert "not finite" in found.loc["loud.wav", "reason"]
    assert (found.drop("loud.wav")["status"] == "ok").all()


def test_probes_of_another_checkpoint_of_these_clips_and_of_means_are_refused(
    clips: Path, tmp_path: Path
) -> None:
    path = tmp_path / "probe.safetensors"
    refused = {
        r"trained on latents of other \(weights bbbbbbbb\), not of level": {
            "codec": "other", "codec_sha256": "bb" * 32,
        },
        "clip 'a.wav' is one of the 1 clips that the probe was trained on": {
            "fitted_on": [file_sha256(clips / "a.wav")],
        },
        "the probe generates means": {"target": "mean"},
    }  # fmt: skip
    for message, about in refused.items():
        with pytest.raises(RdbenchError, match=message):
            run(clips, tmp_path / "run", level(fresh(path, **about)))
    with pytest.raises(RdbenchError, match=r"not of opus \(no weights\)"):
        run(clips, tmp_path / "run", {"codec": "opus", "points": [12], "probe": str(fresh(path))})
    prior = ProbePrior(checkpoint.load(fresh(path)))
    other = Posterior(torch.zeros(1, 5, 4), torch.ones(1, 5, 4), torch.tensor([4]), 10.0)
    with pytest.raises(PayloadError, match="generates 3 channels, the posterior has 5"):
        prior.drawn([1]).kl_bits(other)
