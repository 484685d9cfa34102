"""Latents in `rdbench check` and `rdbench compare`: changes of known size, found and told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_runs import RATE, make_clips, run
from typer.testing import CliRunner

from rdbench.analysis.compare import load
from rdbench.analysis.gate.baseline import read_baseline, rounded, write_baseline
from rdbench.analysis.gate.check import Exit, GateResult, check_run
from rdbench.analysis.gate.config import GateConfig
from rdbench.analysis.latent.paired import latent_table
from rdbench.analysis.latent.sets import with_latents
from rdbench.analysis.runs import read_run
from rdbench.cli.main import app
from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.latent.stored import read_group_sums, read_sums
from rdbench.latent.summary import statistics_of
from rdbench.types import SpecError

HOP, D, CLIPS = 80, 3, 8


class Scaled(PosteriorCodec):
    """A mean of the audio, and a posterior of a stated scale."""

    def __init__(self, *, points: object = None, scale: float = 0.5) -> None:
        super().__init__(
            name="scaled", sample_rate=RATE, frame_rate=RATE / HOP, modules=torch.nn.Linear(1, 1),
            weights_sha256=f"{scale}",
        )  # fmt: skip
        self.scale = scale

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        frames = audio[..., : audio.shape[-1] // HOP * HOP].reshape(len(audio), -1, HOP)
        mean = frames[..., :D].transpose(1, 2).contiguous()
        return mean, torch.full_like(mean, self.scale)

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        return z.mean(dim=1, keepdim=True).repeat_interleave(HOP, dim=-1)


def scaled(name: str, scale: float) -> dict[str, Any]:
    options = {"scale": scale}
    return {"codec": f"{__name__}:Scaled", "name": name, "options": options, "variants": ["sample"]}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two of one system: with a scale of 0.5, and of 0.501."""
    root = tmp_path_factory.mktemp("compared")
    clips = make_clips(root / "clips", [f"c{i}" for i in range(CLIPS)])
    spec = {"latent": {"places": True}}
    for name, scale in (("before", 0.5), ("after", 0.501)):
        assert run(clips, root / name, scaled("vae", scale), spec=spec).failed == 0
    return root / "before", root / "after"


def checked(runs: tuple[Path, Path], folder: Path, **config: Any) -> GateResult:
    before, after = map(load, runs)
    write_baseline(folder / "baseline.csv", before)
    settings = GateConfig.model_validate({"rates": None, "default": "1000 %"} | config)
    return check_run(after, read_baseline(folder / "baseline.csv"), settings)


def test_statistics_without_each_group_are_those_of_the_other_groups(
    runs: tuple[Path, Path],
) -> None:
    found = with_latents(read_run(runs[0]), runs[0]).sets
    norm = next(one for one in found if one.key == "norm")
    assert len(norm.left_out) == CLIPS
    ((_, parts),) = read_group_sums(runs[0], {})
    others = [part for number, part in enumerate(parts) if number != 2]
    left = statistics_of(sum(others[1:], start=others[0]))
    assert norm.left_out[2] == left["norm"].value
    (whole,) = read_sums(runs[0])
    assert whole.sums.frames.sum() == sum(part.frames.sum() for part in parts)


def test_a_baseline_brings_statistics_of_latents_back(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    before = load(runs[0])
    write_baseline(tmp_path / "baseline.csv", before)
    held = read_baseline(tmp_path / "baseline.csv")
    mine, theirs = ({(one.kind, one.key): one for one in r.sets} for r in (rounded(before), held))
    assert mine.keys() == theirs.keys()
    for key, one in mine.items():
        assert one.clips == theirs[key].clips
        assert np.array_equal(one.left_out, theirs[key].left_out, equal_nan=True)


@pytest.mark.parametrize(
    ("latents", "code"),
    [
        ({}, Exit.PASS),
        ({"norm": "significant"}, Exit.REGRESSION),
        ({"norm": 0.01}, Exit.PASS),
        ({"norm": 0.0001}, Exit.REGRESSION),
        ({"kl_steady": "1 %"}, Exit.PASS),
        ({"active_kl": 0}, Exit.PASS),
    ],
)
def test_changes_of_a_latent_count_where_they_are_named(
    runs: tuple[Path, Path], tmp_path: Path, latents: dict[str, Any], code: Exit
) -> None:
    """A scale of 0.501 adds 0.001 to the norm, in every clip nearly alike."""
    result = checked(runs, tmp_path, latents=latents)
    assert result.exit_code is code, result.findings
    back = checked((runs[1], runs[0]), tmp_path, latents=latents)
    assert back.exit_code is code  # a fall is a change, too
    found = result.findings[result.findings["what"] == "latent"]
    assert set(found["key"]) == set(latents)
    if "norm" in latents:
        assert float(found["loss"].iloc[0]) == pytest.approx(0.501**2 - 0.5**2, abs=4e-4)
        of_latents = back.findings[back.findings["what"] == "latent"]
        assert not (of_latents["verdict"] == "improvement").any()


def test_a_rate_under_one_prior_may_have_its_own_tolerance(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    """The KL falls by 0.0015 nat per frame of 1.3 or so: a thousandth."""
    back = (runs[1], runs[0])
    assert checked(back, tmp_path, rates="1 %").exit_code is Exit.PASS
    strict = checked(back, tmp_path, rates=None, latents={"N(0, I)": "0.01 %"})
    assert strict.exit_code is Exit.REGRESSION
    with pytest.raises(SpecError, match="`latents` names 'normm'"):
        checked(runs, tmp_path, latents={"normm": 1})


def test_compare_tells_rates_and_statistics_of_both(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    both = load(runs)
    names = list(both.systems)
    table = latent_table(both, pairs=[(f"{names[1]}/posterior", f"{names[0]}/posterior")])
    found = table.set_index(["kind", "key"])
    norm = found.loc[("latent", "norm")]
    assert norm["difference"] == pytest.approx(0.001, abs=4e-4)
    assert norm["low"] < norm["difference"] < norm["high"]
    nats = D * 0.5 * (0.501**2 - 0.25) - D * np.log(0.501 / 0.5)
    rate = found.loc[("rate", "N(0, I)")]
    assert rate["difference"] == pytest.approx(RATE / HOP * nats / np.log(2) / 1000, rel=1e-3)
    assert rate["n_groups"] == CLIPS
    pair = f"{names[1]}/posterior={names[0]}/posterior"
    told = CliRunner().invoke(
        app, ["compare", *map(str, runs), "--anchor", names[0], "--pair", pair]
    )
    assert told.exit_code == 0, told.output
    assert "kbps under N(0, I)" in told.output
    assert "effective_rank" in told.output
