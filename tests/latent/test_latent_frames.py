"""Clips frame by frame: a burst is where it was planted, on the clip's own time axis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from engine_runs import RATE, run

from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.latent.frames import PARTS, LatentFrames
from rdbench.latent.places import PLACES, places
from rdbench.latent.stored import read_frames
from rdbench.report.latent.content import read_content
from rdbench.report.latent.waves import draw_waves

HOP, D = 80, 2


class Loud(PosteriorCodec):
    """Its mean is the level of a hop, in both channels, and its scale 1: the KL is the mean square.

    frames: at most so many. scale: whether there is one.
    """

    def __init__(
        self, *, points: object = None, frames: int | None = None, scale: bool = True
    ) -> None:
        super().__init__(
            name="loud", sample_rate=RATE, frame_rate=RATE / HOP, modules=torch.nn.Linear(1, 1),
            weights_sha256="aa", prior=scale,
        )  # fmt: skip
        self.most, self.scale = frames, scale

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        hops = audio[..., : audio.shape[-1] // HOP * HOP].reshape(len(audio), 1, -1, HOP)
        mean = hops.square().mean(dim=-1).sqrt().repeat(1, D, 1)[..., : self.most]
        return mean, torch.ones_like(mean) if self.scale else None

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        return z.mean(dim=1, keepdim=True).repeat_interleave(HOP, dim=-1)


def burst() -> np.ndarray:
    """A second of silence with 50 ms of a tone at 0.5 s."""
    wave = np.zeros(RATE)
    wave[RATE // 2 : RATE // 2 + 5 * HOP] = 0.5 * np.sin(np.arange(5 * HOP))
    return wave


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a", "b", "c"):
        soundfile.write(folder / f"{name}.wav", burst(), RATE, subtype="FLOAT")
    return folder


def test_numbers_come_back_and_extremes_are_of_their_parts() -> None:
    samples = np.zeros((2, 4 * HOP), np.float32)
    samples[0, HOP + 3 * HOP // PARTS] = 0.7
    samples[1, 2 * HOP] = -0.4
    kl, level = np.array([1.0, 2.0, 3.0, 4.0]), np.array([-90.0, -10.0, -20.0, -90.0])
    made = LatentFrames.of(samples, RATE, RATE / HOP, kl, level)
    back = LatentFrames.unpack(made.pack())
    assert np.argwhere(back.high).tolist() == [[3, 1]]
    assert np.argwhere(back.low).tolist() == [[0, 2]]
    assert back.begin == pytest.approx(np.arange(4) * HOP / RATE)
    assert list(back.kl) == list(kl)
    with pytest.raises(ValueError, match="no frames of a latent"):
        LatentFrames.unpack(np.zeros((3, 4), np.float32))


def test_a_clip_that_ends_within_its_last_frame_is_silent_from_there() -> None:
    samples = np.ones((1, HOP + 1), np.float32)
    made = LatentFrames.of(samples, RATE, RATE / HOP, np.zeros(3), np.zeros(3))
    assert made.high[:, 0].tolist() == [1.0] * PARTS
    assert made.high[:, 1].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert not made.high[:, 2].any()


def test_a_planted_burst_has_its_kl_at_its_hops(clips: Path, tmp_path: Path) -> None:
    system = {"codec": f"{__name__}:Loud", "name": "loud", "variants": ["mean"]}
    run(clips, tmp_path / "run", system, spec={"latent": {"places": True}})
    found = read_frames(tmp_path / "run", clips=2)
    assert [one.clip for one in found] == ["a.wav", "b.wav"]
    frames = found[0].frames
    first = RATE // 2 // HOP
    assert np.flatnonzero(frames.kl > 1e-3).tolist() == list(range(first, first + 5))
    hops = burst()[RATE // 2 : RATE // 2 + 5 * HOP].reshape(5, HOP)
    expected = D * 0.5 * np.square(hops).mean(axis=1)
    assert frames.kl[first : first + 5] == pytest.approx(expected, rel=1e-4)
    where = places(frames.level)
    assert where[first] == PLACES.index("transient")
    assert set(where[:first]) == {PLACES.index("silence")}
    content = read_content([tmp_path / "run"])
    figure = draw_waves(content, "audio", "a.wav", width=6.0)
    assert figure is not None
    wave, nats = figure.axes
    assert wave.get_xlim() == nats.get_xlim() == pytest.approx((0.0, 1.0))
    assert nats.lines[0].get_xdata()[first] == pytest.approx(0.505)


@pytest.mark.parametrize(("options", "drawn"), [({"frames": 1}, True), ({"scale": False}, False)])
def test_one_frame_is_drawn_and_no_scale_is_not(
    clips: Path, tmp_path: Path, options: dict[str, object], drawn: bool
) -> None:
    system = {
        "codec": f"{__name__}:Loud", "name": "loud", "variants": ["mean"], "options": options,
    }  # fmt: skip
    run(clips, tmp_path / "run", system, spec={"latent": {"places": True}})
    content = read_content([tmp_path / "run"])
    figure = draw_waves(content, "audio", "a.wav", width=6.0)
    assert (figure is not None) == drawn
