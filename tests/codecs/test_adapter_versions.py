"""Every codec of rdbench says which version its adapter has, so that keys of units hold it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from seeded_checkpoints import save_dac, save_encodec

from rdbench.codecs import anchors
from rdbench.codecs.base import Codec
from rdbench.codecs.neural.encodec import Encodec24
from rdbench.codecs.packets import ffmpeg
from rdbench.codecs.posterior import base, vae
from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.codecs.registry import BUILT_IN, create
from rdbench.models.shipped import names as shipped

NEEDS_MORE = {
    # Other people's models, packages or programs: see their own tests.
    "lyra", "command", "diffusers", "oobleck", "snac", "speechtokenizer",
    "codicodec", "codicodec_latent", "dacvae", "focalcodec", "music2latent",
    *(name for name in BUILT_IN if "audio_tokenizers" in BUILT_IN[name]),
}  # fmt: skip


def version_of(name: str, **options: Any) -> str:
    return create(name, options=options).info.version


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    made = {name: save_dac(folder, name) for name in BUILT_IN if name.startswith("dac_")}
    save_encodec(folder, 24_000)
    save_encodec(folder, 48_000)
    return made | dict.fromkeys(("encodec_24khz", "encodec_48khz"), folder)


@pytest.mark.parametrize("name", sorted(set(BUILT_IN) - NEEDS_MORE))
def test_the_adapter_is_part_of_the_version(name: str, weights: dict[str, Path]) -> None:
    options: dict[str, Any] = {"weights": weights[name]} if name in weights else {}
    options |= {"vae": {"weights": shipped()[0]}, "files": {"folders": "x"}}.get(name, {})
    assert re.search(r"adapter [1-9]\d*", version_of(name, **options))


def test_raising_it_changes_the_version(
    monkeypatch: pytest.MonkeyPatch, weights: dict[str, Path]
) -> None:
    def versions() -> list[str]:
        return [
            version_of("identity"),
            version_of("opus"),
            version_of("encodec_24khz", weights=weights["encodec_24khz"]),
            version_of("vae", weights=shipped()[0]),
        ]

    before = versions()
    for module in (anchors, ffmpeg, vae):
        monkeypatch.setattr(module, "ADAPTER", 7)
    monkeypatch.setattr(Encodec24, "adapter", 7)
    for old, new in zip(before, versions(), strict=True):
        assert old != new
        assert "adapter 7" in new


def test_a_vae_of_anyone_has_the_version_of_the_class_it_builds_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Mine(PosteriorCodec):
        def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            raise NotImplementedError

        def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
            raise NotImplementedError

    def made(version: str) -> Codec:
        return Mine(
            name="mine", sample_rate=8000, frame_rate=10.0, modules=torch.nn.Linear(1, 1),
            version=version,
        )  # fmt: skip

    assert made("").info.version == f"posterior {base.VERSION}"
    assert made("2.1").info.version == f"2.1, posterior {base.VERSION}"
    monkeypatch.setattr(base, "VERSION", 9)
    assert made("2.1").info.version == "2.1, posterior 9"
