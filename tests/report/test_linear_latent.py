"""A linear-Gaussian VAE through fit, run and report: every output against its closed form.

The source has orthonormal components y of variances λ in each hop, AR(1) in time, two of them
correlated. Its VAE is the optimal one of distortion θ (reverse water-filling): with a = 1 − θ/λ

    z = s (√a y/√λ + √(1 − a) ε),    ŷ = √(λ − θ) z / s    where λ > θ,    z = ε else,

in which s (of mean square 1) makes a fitted diagonal differ from N(0, I).
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from engine_runs import RATE, run
from scipy.special import ndtri
from typer.testing import CliRunner

from rdbench.cli.main import app
from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.engine.fit import fit_tables
from rdbench.engine.progress import Progress
from rdbench.report.latent.content import read_content
from rdbench.report.latent.lines import draw_generation
from rdbench.spec.model import BenchmarkSpec

HOP = D = 8
FRAMES = 1600
POWERS = np.array([100, 100, 50, 25, 12, 6, 2, 1]) * 1e-4
LEVELS = {"fine": 4e-4, "coarse": 30e-4}
STRETCH = np.sqrt([0.5, 1.5, 0.5, 1.5, 1.0, 1.0, 1.0, 1.0])
RHO, CROSS = 0.6, 0.6
AXES = np.linalg.qr(np.random.default_rng(7).standard_normal((HOP, HOP)))[0]
FRAME_RATE = RATE / HOP
VARIANTS = [
    "sample", "mean", "noise_2", "latent_noise_0.5", "keep_2", "keep_4", "keep_6", "keep_kl_4",
    "collapse_all", "rolled", "predicted", "calibrated_noise", "predicted_clamp",
]  # fmt: skip


class Linear(PosteriorCodec):
    """The VAE of distortion `LEVELS[level]`."""

    def __init__(self, *, points: object = None, level: str = "fine") -> None:
        super().__init__(
            name=level, sample_rate=RATE, frame_rate=FRAME_RATE, modules=torch.nn.Linear(1, 1),
            weights_sha256=level,
        )  # fmt: skip
        self.theta = LEVELS[level]

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        frames = audio.reshape(len(audio), -1, HOP).double() @ torch.from_numpy(AXES)
        mean = frames * torch.from_numpy(STRETCH * np.sqrt(share(self.theta) / POWERS))
        scale = torch.from_numpy(STRETCH * np.sqrt(1 - share(self.theta)))
        found = scale.expand_as(mean).transpose(1, 2)
        return mean.transpose(1, 2).float(), found.float().contiguous()

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        gain = np.sqrt(POWERS * share(self.theta)) / STRETCH
        frames = z.double().transpose(1, 2) * torch.from_numpy(gain) @ torch.from_numpy(AXES.T)
        return frames.reshape(len(z), 1, -1).float()


def share(theta: float) -> np.ndarray:
    """a: how much of z is of the signal."""
    return np.maximum(1 - theta / POWERS, 0.0)


def independent(clip: str, *, shape: tuple[int, int], seed: int) -> np.ndarray:
    """A generator that knows the distribution of each channel, and nothing of the clip."""
    drawn = np.random.default_rng([*clip.encode(), seed]).standard_normal(shape)
    return (STRETCH[:, None] * drawn).astype(np.float32)


def components(rng: np.random.Generator) -> np.ndarray:
    """y / √λ of one clip, (frames, D)."""
    noise = rng.standard_normal((FRAMES, D))
    noise[:, 1] = CROSS * noise[:, 0] + math.sqrt(1 - CROSS**2) * noise[:, 1]
    y = noise.copy()
    for t in range(1, FRAMES):
        y[t] = RHO * y[t - 1] + math.sqrt(1 - RHO**2) * noise[t]
    return y


def wasserstein_of_samples(theta: float, clips: int) -> list[float]:
    """W₁ between N(0, 1) and the z of so many clips, mean over channels, of repeated draws.

    It has no closed form: samples that depend on each other lie further off than their source.
    """
    rng = np.random.default_rng(3)
    quantiles = ndtri((np.arange(clips * FRAMES) + 0.5) / (clips * FRAMES))
    a = share(theta)
    found = []
    for _ in range(20):
        y = np.concatenate([components(rng) for _ in range(clips)])
        z = STRETCH * (np.sqrt(a) * y + np.sqrt(1 - a) * rng.standard_normal(y.shape))
        found.append(float(np.abs(np.sort(z, axis=0) - quantiles[:, None]).mean()))
    return found


def make_clips(folder: Path, count: int, seed: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for number in range(count):
        wave = (components(rng) * np.sqrt(POWERS) @ AXES.T).ravel()
        # Into WAV files of floats libsndfile writes the time, and seeds go by a file's hash.
        soundfile.write(folder / f"{number}.wav", wave, RATE, subtype="PCM_24")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A run with its report, and the mean of 10 log10 of the clips' powers."""
    root = tmp_path_factory.mktemp("linear")
    systems: list[dict[str, Any]] = [
        {
            "codec": f"{__name__}:Linear", "name": level, "curve": "linear", "variants": VARIANTS,
            "options": {"level": level}, "predicted": [f"{__name__}:independent"] * 3,
        }
        for level in LEVELS
    ]  # fmt: skip
    spec = {
        "name": "fit", "corpus": {"kind": "folder", "path": str(make_clips(root / "fit", 8, 1))},
        "protocol": {"sample_rate": RATE, "channels": "mono", "excerpt_seconds": None},
        "metrics": {"default": ["snr_unaligned"]}, "systems": systems,
    }  # fmt: skip
    fitted = BenchmarkSpec.model_validate(spec)
    tables = fit_tables(fitted, Progress(), device="cpu", allow_code=True)
    (root / "tables.json").write_bytes(tables.dumps())
    clips = make_clips(root / "clips", 10, 2)
    more = {
        "latent": {"places": True, "copies": ["noise_0"]},
        "entropy": {"enabled": True, "tables": str(root / "tables.json")},
    }
    summary = run(clips, root / "run", *systems, metrics=["snr_unaligned"], spec=more)
    assert summary.failed == 0
    told = CliRunner().invoke(app, ["latent", "report", str(root / "run"), "--html"])
    assert told.exit_code == 0, told.output
    waves = [soundfile.read(path)[0] for path in sorted(clips.glob("*.wav"))]
    power = np.mean([10 * np.log10(np.square(wave).mean()) for wave in waves])
    return root / "run" / "latent", float(power)


def read(made: tuple[Path, float], name: str, **where: str) -> pd.DataFrame:
    table = pd.read_csv(made[0] / f"{name}.csv", keep_default_na=False, na_values=[""])
    for column, value in where.items():
        table = table[table[column].astype(str) == value]
    return table


def covariances(theta: float, lags: int) -> list[np.ndarray]:
    """E z_t z_{t−k}ᵀ of z / s for k = 0 … lags."""
    a = share(theta)
    signal = np.diag(a)
    signal[0, 1] = signal[1, 0] = CROSS * math.sqrt(a[0] * a[1])
    return [signal * RHO**k + (np.diag(1 - a) if k == 0 else 0.0) for k in range(lags + 1)]


def rungs(theta: float) -> list[float]:
    """kbps under N(0, I), diagonal, full covariance and AR(4)."""
    noise = np.log(1 - share(theta)).sum()
    gamma = covariances(theta, 4)
    past = np.block([[gamma[abs(i - j)] for j in range(4)] for i in range(4)])
    cross = np.concatenate(gamma[1:], axis=1)
    left = gamma[0] - cross @ np.linalg.solve(past, cross.T)
    standard = (np.square(STRETCH) - 1 - np.log(np.square(STRETCH))).sum()
    nats = [standard - noise, -noise]
    nats += [np.linalg.slogdet(c)[1] - noise for c in (gamma[0], left)]
    return [0.5 * one * FRAME_RATE / math.log(2) / 1000 for one in nats]


def distortion(variant: str, theta: float) -> float:
    """Σ over the components of the mean square error."""
    a, dead = share(theta), theta >= POWERS
    least = np.minimum(POWERS, theta)
    mean = np.where(dead, POWERS, theta**2 / POWERS)
    signal = POWERS * a  # λ − θ
    if variant.startswith("keep"):
        count = int(variant.rpartition("_")[2])
        nats = np.square(STRETCH) - 1 - np.log(np.square(STRETCH) * (1 - a))
        order = np.argsort(-nats, kind="stable") if "kl" in variant else np.arange(D)
        kept = np.isin(np.arange(D), order[:count])
        return float(np.where(kept, least, POWERS).sum())
    found = {
        "sample": least,
        "mean": mean,
        "noise_2": mean + 4 * signal * (1 - a),
        "latent_noise_0.5": mean + 0.25 * signal,
        "collapse_all": POWERS + signal,
        "rolled": POWERS + signal,
        "predicted": POWERS + signal,
        "calibrated_noise": mean + 2 * signal,
    }
    return float(found[variant].sum())


@pytest.mark.parametrize("level", LEVELS)
def test_the_ladder_has_its_closed_form(made: tuple[Path, float], level: str) -> None:
    table = read(made, "ladder", system=level)
    expected = rungs(LEVELS[level])
    assert list(table["kbps"]) == pytest.approx(expected, rel=0.02)
    assert list(table["falls"])[1:] == pytest.approx(
        [one - two for one, two in pairwise(expected)], abs=0.03
    )
    assert ((table["low"] <= table["kbps"]) & (table["kbps"] <= table["high"])).all()


@pytest.mark.parametrize("level", LEVELS)
def test_statistics_have_their_closed_forms(made: tuple[Path, float], level: str) -> None:
    theta = LEVELS[level]
    a, live = share(theta), theta < POWERS
    table = read(made, "statistics", system=level).iloc[0]
    assert table["norm"] == pytest.approx(1.0, rel=0.01)
    assert table["active_kl"] == (STRETCH**2 != 1).sum() + (live & (STRETCH == 1)).sum()
    assert table["active_variance"] == live.sum()
    signal = covariances(theta, 1)[1] / RHO * np.outer(STRETCH, STRETCH)
    p = np.linalg.eigvalsh(signal)
    p = p[p > 1e-12] / p.sum()
    assert table["effective_rank"] == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=0.02)
    assert table["autocorrelation"] == pytest.approx(RHO, abs=0.02)
    drawn = wasserstein_of_samples(theta, clips=10)
    assert table["wasserstein"] == pytest.approx(np.mean(drawn), abs=5 * np.std(drawn))
    assert table["outlier_rate"] == pytest.approx(6.3e-5, abs=5e-5)
    channels = read(made, "channels", system=level)
    whole, places = channels[channels["place"] == "all"], channels[channels["place"] != "all"]
    nats = 0.5 * (STRETCH**2 - 1 - np.log(STRETCH**2 * (1 - a)))
    assert list(whole["kl"]) == pytest.approx(list(nats), rel=0.05, abs=1e-6)
    weighted = (places["kl"].fillna(0) * places["frames"]).groupby(places["channel"]).sum()
    assert list(weighted / (10 * FRAMES)) == pytest.approx(list(whole["kl"]))


@pytest.mark.parametrize("level", LEVELS)
def test_a_noisy_copy_adds_its_power_to_every_component(
    made: tuple[Path, float], level: str
) -> None:
    """White noise of the clip's own power has in each component the mean of their powers."""
    a = share(LEVELS[level])
    noise = POWERS.mean()
    signal = a * (1 + noise / POWERS) * STRETCH**2
    variance = (1 - a) * STRETCH**2
    nats = 0.5 * (signal + variance - 1 - np.log(variance)).sum()
    table = read(made, "copies", system=level).set_index("copy", drop=False)
    noisy = table.loc["noise_0"]
    assert noisy["norm"] == pytest.approx((signal + variance).mean(), rel=0.03)
    frames = read(made, "channels", system=level, channel="0").set_index("place")["frames"]
    by_place = sum(
        noisy[f"kl_{place}"] * frames[place]
        for place in ("silence", "transient", "steady") if frames[place]
    )  # fmt: skip
    assert by_place / (10 * FRAMES) == pytest.approx(nats, rel=0.03)
    clean = table.iloc[0]
    statistics = read(made, "statistics", system=level).iloc[0]
    assert (clean["norm"], clean["effective_rank"]) == (
        statistics["norm"], statistics["effective_rank"]
    )  # fmt: skip
    assert "| noise_0 |" in (made[0] / "latent.md").read_text()


@pytest.mark.parametrize("level", LEVELS)
def test_every_decode_path_has_its_distortion(made: tuple[Path, float], level: str) -> None:
    decoded = read(made, "decoded", system=level).set_index("variant")["value"]
    kept = read(made, "truncation", system=level).set_index("variant")["value"]
    found = {**dict(decoded), **dict(kept)}
    assert set(found) == set(VARIANTS)
    for variant in VARIANTS[:-1]:
        theory = made[1] - 10 * math.log10(distortion(variant, LEVELS[level]) / HOP)
        assert found[variant] == pytest.approx(theory, abs=0.2), variant


def test_k_star_is_where_water_filling_says(made: tuple[Path, float]) -> None:
    table = read(made, "least_channels").set_index(["system", "order"])
    for level, theta in LEVELS.items():
        full = distortion("sample", theta)
        enough = [k for k in (2, 4, 6) if distortion(f"keep_{k}", theta) <= 1.1 * full]
        least = table.loc[(level, "index"), "least"]
        assert least == min(enough) if enough else math.isnan(least)


def test_the_gap_and_the_best_rates_are_those_of_the_closed_form(
    made: tuple[Path, float],
) -> None:
    """A finer latent reconstructs better, and predicts worse: each has its own best rate."""
    gap = read(made, "gap").set_index(["system", "term"])["difference"]
    for level, theta in LEVELS.items():
        mean, sample, predicted = (
            10 * math.log10(distortion(v, theta)) for v in ("mean", "sample", "predicted")
        )
        assert gap[level, "posterior"] == pytest.approx(sample - mean, abs=0.1)
        assert gap[level, "generator"] == pytest.approx(predicted - sample, abs=0.15)
    table = read(made, "generation").set_index(["system", "decoded"])
    assert set(table.loc[(slice(None), "predicted"), "n_seeds"]) == {3}
    assert table.loc[("fine", "sample"), "best"]
    assert table.loc[("fine", "sample"), "share"] == 1.0
    assert table.loc[("coarse", "predicted"), "best"]
    assert table.loc[("coarse", "predicted"), "share"] == 1.0
    assert table.loc[("fine", "sample"), "kbps"] == pytest.approx(
        rungs(LEVELS["fine"])[0], rel=0.02
    )


def test_latents_of_one_rate_stand_side_by_side(made: tuple[Path, float]) -> None:
    content = read_content([made[0].parent])
    alike = replace(content, generation=content.generation.assign(kbps=6.0))
    for shown, ticks in ((content, None), (alike, [f"{level}\n6" for level in LEVELS])):
        figure = draw_generation(shown, str(shown.generation["domain"].iloc[0]), width=5.0)
        assert figure is not None
        panel = figure.axes[-1]
        assert len(panel.collections) == 2 * (1 if ticks is None else len(LEVELS))
        if ticks is not None:
            assert [label.get_text() for label in panel.get_xticklabels()] == ticks


def test_the_page_shows_all_of_it(made: tuple[Path, float]) -> None:
    page = (made[0] / "latent.md").read_text()
    for title in ("Prior ladder", "Statistics", "Truncation", "Collapse", "Decode paths", "Gap",
                  "Rate against generation"):  # fmt: skip
        assert f"## {title}" in page
    assert page.count("Not here") == page.count("Not here: no probe") == 1
    assert "Warning" not in page
    for picture in (line for line in page.splitlines() if line.startswith("![")):
        path = made[0] / picture.rpartition("(")[2].rstrip(")")
        assert path.is_file()
        assert path.with_suffix(".pdf").is_file()
    assert (made[0] / "latent.html").read_text().count("data:image/png") == page.count("![")


def test_the_report_in_the_browser_has_the_same_tables_and_pictures(
    made: tuple[Path, float], tmp_path: Path
) -> None:
    run = made[0].parent
    told = CliRunner().invoke(app, ["report", str(run), "--html", "--out", str(tmp_path / "page")])
    assert told.exit_code == 0, told.output
    page = (tmp_path / "page" / "index.html").read_text()
    section = page[page.index('id="latents-heading"') :]
    for title in ("Prior ladder (kbps)", "Statistics", "The gap of predicted latents",
                  "Which is best", "Decode paths"):  # fmt: skip
        assert f"<h3>{title}</h3>" in section
    pictures = re.findall(r'<img src="([^"]+)"', section)
    assert len(pictures) == (made[0] / "latent.md").read_text().count("![") > 5
    for picture in pictures:
        assert (tmp_path / "page" / picture).read_bytes().startswith(b"\x89PNG")
