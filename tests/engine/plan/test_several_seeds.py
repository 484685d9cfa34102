"""A variant drawn with several seeds: rows of scores alone, those of the first seed as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from engine_runs import RATE, make_clips, retired, rows, run

from rdbench.analysis.runs import missing_rows, read_run
from rdbench.analysis.seeds import seed_table
from rdbench.codecs.posterior.base import PosteriorCodec
from rdbench.engine.plan.digests import other_seed
from rdbench.store.reader import read_manifest
from rdbench.store.status import run_status
from rdbench.store.validate import validate_run
from rdbench.types import CodecError

HOP = 8
METRICS = ("snr", "frechet_logmel")
SCORES_OF_A_STEP = 2 * 3  # of two clips: SNR, the delay that is left, and a feature
SCORES_OF_SETS = 3  # a value, its replicates, and those without each group


class Blurred(PosteriorCodec):
    """The samples themselves, known but for some noise."""

    def __init__(self, *, points: object = None) -> None:
        super().__init__(
            name="blurred", sample_rate=RATE, frame_rate=RATE / HOP,
            modules=torch.nn.Linear(1, 1), weights_sha256="ff",
        )  # fmt: skip

    def posterior(self, audio: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        padded = torch.nn.functional.pad(audio[:, 0], (0, -audio.shape[-1] % HOP))
        mean = padded.unflatten(-1, (-1, HOP)).transpose(1, 2)
        return mean, torch.full_like(mean, 0.05)

    def decode_latent(self, z: torch.Tensor) -> torch.Tensor:
        return z.transpose(1, 2).flatten(1)[:, None]


def blurred(**more: Any) -> dict[str, Any]:
    return {"codec": f"{__name__}:Blurred", "name": "blurred", **more}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("seeds"), ["a", "b"], seconds=0.5)


def test_more_seeds_add_scores_and_leave_what_was_measured(clips: Path, tmp_path: Path) -> None:
    run(clips, tmp_path, blurred(), metrics=METRICS)
    before = rows(tmp_path)
    summary = run(clips, tmp_path, blurred(seeds={"sample": 3}), metrics=METRICS)
    assert summary.failed == 0
    assert summary.written == 2 * (SCORES_OF_A_STEP + SCORES_OF_SETS)
    after = rows(tmp_path)
    further = after["variant"].isin(["sample@1", "sample@2"])
    assert after[~further].reset_index(drop=True).equals(before)
    assert set(after.loc[further, "kind"]) == {"metric"}
    snr = after[(after["key"] == "snr") & (after["variant"] != "mean")]
    assert snr["value"].nunique() == len(snr) == 6  # no seed draws what another does

    cards = read_manifest(tmp_path)["variants"]
    assert list(cards) == ["sample", "sample@1", "sample@2", "mean"]
    assert {name for name, card in cards.items() if card.get("of") == "sample"} == {
        "sample@1", "sample@2",
    }  # fmt: skip
    assert run_status(tmp_path).counts.missing == 0
    assert validate_run(tmp_path).problems == ()

    assert run(clips, tmp_path, blurred(seeds={"sample": 3}), metrics=METRICS).written == 0
    assert run(clips, tmp_path, blurred(seeds={"sample": 2}), metrics=METRICS).written == 0
    assert retired(tmp_path) == SCORES_OF_A_STEP + SCORES_OF_SETS


def test_readers_of_a_run_see_the_first_seed_and_its_spread(clips: Path, tmp_path: Path) -> None:
    run(clips, tmp_path, blurred(seeds={"sample": 3}), metrics=METRICS)
    found = read_run(tmp_path)
    assert set(found.rows["variant"]) == {"sample", "mean"}
    assert {one.point[3] for one in found.sets} == {"sample", "mean"}
    assert missing_rows(found)[0] == []
    table = seed_table(found).set_index("key")
    assert set(table["variant"]) == {"sample"}
    assert (table["n_seeds"] == 3).all()
    assert table["n_clips"].to_dict() == {"snr": 2, "residual_delay": 2, "frechet_logmel": 0}
    snr = rows(tmp_path, key="snr")
    means = snr[snr["variant"] != "mean"].groupby("variant")["value"].mean()
    assert table.loc["snr", "deviation"] == pytest.approx(means.std())
    assert table.loc["frechet_logmel", "deviation"] > 0


def test_seeds_are_of_variants_that_draw_at_random(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=r"'mean'.*draws at random; it has: sample"):
        run(clips, tmp_path, blurred(seeds={"mean": 2}))


def test_the_first_seed_is_the_clips_own_and_others_are_unlike_each_other() -> None:
    assert other_seed(12, 0) == 12
    assert len({other_seed(seed, number) for seed in (12, 13) for number in range(5)}) == 10
