"""Statistics of latents in runs: rows per clip and domain, kept sums, and rows that say why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_runs import make_clips, rows, run

from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.latent.stored import SUMS, read_sums
from rdbench.latent.summary import UNITS, statistics_of
from rdbench.spec.model import LatentSpec
from rdbench.store.validate import validate_run
from rdbench.types import AudioBatch

RATE, HOP, D = 8000, 80, 4
SPEC = {"latent": {"places": True}}


class Noise(PosteriorCodec):
    """A latent of noise that knows nothing of the audio but its length.

    dead: mean 0 and scale 1. broken: the first clip that is loud has a latent that is not finite.
    """

    def __init__(
        self, *, points: object = None, prior: bool = True, dead: bool = False,
        channels: int = D, one_frame: bool = False, broken: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(
            name="noise", sample_rate=RATE, frame_rate=RATE / HOP, prior=prior,
            modules=torch.nn.Linear(1, 1), weights_sha256="aa",
        )  # fmt: skip
        self.prior, self.dead, self.width = prior, dead, channels
        self.one_frame, self.broken = one_frame, broken

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        frames = 1 if self.one_frame else -(-audio.shape[-1] // HOP)
        generator = torch.Generator().manual_seed(int(1e6 * float(audio.square().sum())) % 2**31)
        mean = torch.randn(len(audio), self.width, frames, generator=generator)
        if self.dead:
            mean = 0.0 * mean
        if self.broken and float(audio.abs().max()) > 0.9:
            mean[:, 0, 0] = torch.nan
        return mean, torch.ones_like(mean) * (1.0 if self.dead else 0.1) if self.prior else None

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        return z.mean(dim=1, keepdim=True).repeat_interleave(HOP, dim=-1)


def noise(name: str = "noise", **options: Any) -> dict[str, Any]:
    return {"codec": f"{__name__}:Noise", "name": name, "options": options, "variants": ["mean"]}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("latents"), ["a", "b"])


def test_rows_stand_per_clip_and_for_all_and_the_sums_are_kept(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    systems = [noise(), noise("plain", prior=False), {"codec": "opus", "points": [12]}]
    summary = run(clips, folder, *systems, spec=SPEC)
    assert summary.failed == 0
    found = rows(folder, kind="latent")
    assert set(found["system"]) == {"noise", "plain"}
    whole = found[found["backend"] == "all clips"].set_index(["system", "key"])
    assert sorted(whole.loc["noise"].index) == sorted(UNITS)
    value = whole.loc["noise"]["value"]
    assert value["norm"] == pytest.approx(1.01, rel=0.15)
    assert value["active_kl"] == value["active_variance"] == D
    assert value["effective_rank"] == pytest.approx(D, rel=0.1)
    assert value["kl_steady"] == pytest.approx(D * 0.5 * (0.01 + 4.605), rel=0.1)
    plain = whole.loc["plain"]
    undefined = plain.index[plain["status"] == "undefined"]
    assert {"active_kl", "kl_steady", "kl_silence"} <= set(undefined)
    assert plain.loc["norm", "status"] == "ok"
    each = found[found["backend"] == "each clip"]
    assert set(each["clip"]) == {"a.wav", "b.wav"}
    assert set(each["key"]) == {"kl_silence", "kl_transient", "kl_steady", "norm"}
    first, second = read_sums(folder)
    assert [first.system, second.system] == ["noise", "plain"]
    assert first.clips == ("a.wav", "b.wav")
    assert float(first.sums.frames.sum()) == 2 * RATE / HOP
    for key, score in statistics_of(first.sums).items():
        assert score.value == pytest.approx(value[key], nan_ok=True)
    assert not validate_run(folder).problems
    # A second start has nothing to do.
    assert run(clips, folder, *systems, spec=SPEC).written == 0


def test_a_spec_that_does_not_ask_has_no_such_rows(clips: Path, tmp_path: Path) -> None:
    run(clips, tmp_path / "run", noise())
    assert rows(tmp_path / "run", kind="latent").empty


@pytest.mark.parametrize(
    ("options", "undefined"),
    [
        ({"one_frame": True}, {"autocorrelation", "flatness", "time_slope"}),
        ({"channels": 1}, {"channel_slope"}),
        ({"dead": True}, {"effective_rank", "autocorrelation", "flatness", "time_slope",
                          "channel_slope"}),
    ],
)  # fmt: skip
def test_what_a_latent_cannot_have_is_undefined_with_a_reason(
    clips: Path, tmp_path: Path, options: dict[str, Any], undefined: set[str]
) -> None:
    run(clips, tmp_path / "run", noise(**options), spec=SPEC)
    found = rows(tmp_path / "run", kind="latent", backend="all clips")
    assert not (found["status"] == "failed").any()
    missing = found[found["status"] == "undefined"]
    assert undefined <= set(missing["key"])
    assert (missing["reason"] != "").all()
    if "dead" in options:
        value = found.set_index("key")["value"]
        assert value["active_kl"] == value["active_variance"] == value["kl_steady"] == 0.0


def test_a_latent_that_is_not_finite_fails_what_it_is_part_of(clips: Path, tmp_path: Path) -> None:
    import shutil

    import soundfile

    shutil.copytree(clips, tmp_path / "clips")
    loud = np.sin(np.arange(RATE) / 3.0)
    soundfile.write(tmp_path / "clips" / "loud.wav", loud, RATE)
    run(tmp_path / "clips", tmp_path / "run", noise(broken=True), noise("other"), spec=SPEC)
    found = rows(tmp_path / "run", kind="latent")
    broken, other = (found[found["system"] == name] for name in ("noise", "other"))
    assert set(other["status"]) <= {"ok", "undefined"}
    each = broken[broken["backend"] == "each clip"]
    assert set(each[each["status"] == "failed"]["clip"]) == {"loud.wav"}
    whole = broken[broken["backend"] == "all clips"]
    assert set(whole["status"]) == {"failed"}
    assert whole["reason"].str.contains("loud.wav: .*not finite").all()


def test_channels_that_are_encoded_alone_are_frames_of_one_clip() -> None:
    from rdbench.audio.channels import ChannelPolicy
    from rdbench.engine.measure.encoding import Encoding
    from rdbench.engine.passes.latents import LatentsPass

    codec = Noise()
    audio = AudioBatch(torch.rand(2, 1, RATE), torch.tensor([RATE, RATE]), RATE)
    encoded = codec.encode(audio, codec.points[0])
    encoding = Encoding(codec, encoded, ChannelPolicy.PER_CHANNEL, 2, audio, {})
    seen: dict[Any, Any] = {}

    class OneClip:
        clips = (type("Clip", (), {"name": "a", "seed": 1}),)

        def record(self, position: int, quantity: Any, score: Any, attachment: Any = None) -> None:
            seen[quantity] = score

        def wants(self, quantity: Any, position: int | None = None) -> bool:
            return True

    work: Any = OneClip()
    LatentsPass(True).on_encoded(work, encoding)
    assert seen[SUMS].value == 2 * RATE / HOP


COPIES = {"latent": {"places": True, "copies": ["noise_0", "room_0.3"]}}


def test_copies_have_the_rows_of_their_clips_and_resume(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(clips, folder, noise(), spec=SPEC)
    before = rows(folder, kind="latent")
    assert run(clips, folder, noise(), spec=COPIES).failed == 0
    found = rows(folder, kind="latent")
    models = {"all clips", "all clips, copy noise_0", "all clips, copy room_0.3"}
    whole = found[found["clip"] == ""]
    assert set(whole["backend"]) == models
    assert (whole.groupby("backend")["key"].nunique() == len(UNITS)).all()
    clean = found[~found["backend"].str.contains("copy")]
    assert set(clean["unit_key"]) == set(before["unit_key"])
    assert run(clips, folder, noise(), spec=COPIES).written == 0
    assert not validate_run(folder).problems
    (alone,) = read_sums(folder)
    assert alone.copy == ""


def test_a_copy_that_cannot_be_encoded_costs_its_own_rows(clips: Path, tmp_path: Path) -> None:
    """At 0 dB and less, noise is loud enough to break this encoder."""
    spec = {"latent": {"places": True, "copies": ["noise_-10", "noise_40"]}}
    run(clips, tmp_path / "run", noise(broken=True), spec=spec)
    found = rows(tmp_path / "run", kind="latent", key="norm")
    status = found.groupby("backend")["status"].agg(set)
    assert status["each clip, copy noise_-10"] == status["all clips, copy noise_-10"] == {"failed"}
    reasons = found[found["status"] == "failed"]["reason"]
    assert reasons.str.contains("not finite").all()
    assert status["each clip"] == status["each clip, copy noise_40"] == {"ok"}


@pytest.mark.parametrize(
    ("latent", "message"),
    [
        ({"places": True, "copies": ["noise"]}, "there is no copy 'noise'"),
        ({"places": True, "copies": ["room_0"]}, "there is no copy 'room_0'"),
        ({"copies": ["noise_20"]}, "set `places: true`"),
    ],
)
def test_copies_that_are_none_are_refused(latent: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LatentSpec.model_validate(latent)
