"""The score of a set: which clips count, and what its interval is made of."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rdbench.metrics.base import Distance, SetBackend
from rdbench.metrics.registry import definition
from rdbench.metrics.sets import score as scoring
from rdbench.metrics.sets.score import score_set
from rdbench.resampling import resample_weights
from rdbench.types import AudioBatch, Status

DEFINITION = definition("frechet_logmel")
GROUPS = {"c": "z", "a": "", "b": "z", "d": "y"}


class Means(SetBackend):
    """The difference of two means over windows: linear, so that all is known by hand."""

    name, version, tolerance = "numpy", "1", 0.0

    def feature(self, audio: AudioBatch) -> list:
        raise NotImplementedError

    def distance(self, *, reference: list, reconstruction: list) -> Distance:
        counts = np.array([len(x) for x in reference])
        sums = np.array([y.sum() - x.sum() for x, y in zip(reference, reconstruction, strict=True)])

        def values(weights: np.ndarray) -> np.ndarray:
            with np.errstate(invalid="ignore"):
                return weights @ sums / (weights @ counts)

        return values


def sides(clips: str = "abcd") -> tuple[dict, dict]:
    reference = {clip: np.zeros((i + 1, 1), np.float32) for i, clip in enumerate(clips)}
    return reference, {clip: x + i for i, (clip, x) in enumerate(reference.items())}


def test_value_and_replicates_are_over_groups_in_the_order_of_their_names() -> None:
    reference, reconstruction = sides()
    weights = resample_weights(3, resamples=50, seed=1)
    found = score_set(
        DEFINITION, Means(), reference=reference, reconstruction=reconstruction, groups=GROUPS,
        weights=weights,
    )  # fmt: skip
    sums = np.array([0.0, 3 * 4, 1 * 2 + 2 * 3])  # a alone, y, z
    counts = np.array([1.0, 4, 5])
    assert found.groups == ("a", "y", "z")
    assert found.score.value == pytest.approx(sums.sum() / counts.sum())
    np.testing.assert_allclose(found.bootstrap, weights @ sums / (weights @ counts))
    expected = (sums.sum() - sums) / (counts.sum() - counts)
    np.testing.assert_allclose(found.jackknife, expected)


def test_parts_of_many_weightings_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    reference, reconstruction = sides()

    def found() -> scoring.SetScore:
        return score_set(
            DEFINITION, Means(), reference=reference, reconstruction=reconstruction,
            groups=GROUPS, weights=resample_weights(3, resamples=7),
        )  # fmt: skip

    whole = found()
    monkeypatch.setattr(scoring, "_ROWS", 2)
    np.testing.assert_array_equal(found().bootstrap, whole.bootstrap)
    np.testing.assert_array_equal(found().jackknife, whole.jackknife)


def test_clips_without_features_on_either_side_have_no_part() -> None:
    reference, reconstruction = sides()
    del reconstruction["d"]
    reference["c"] = reconstruction["c"] = np.zeros((0, 1), np.float32)
    found = score_set(
        DEFINITION, Means(), reference=reference, reconstruction=reconstruction, groups=GROUPS,
        weights=resample_weights(3, resamples=9),
    )  # fmt: skip
    assert found.score.value == pytest.approx(2 / 3)
    assert found.jackknife.tolist() == pytest.approx([1.0, 2 / 3, 0.0])


def test_too_few_clips_are_undefined_with_a_sentence() -> None:
    reference, reconstruction = sides("a")
    found = score_set(
        DEFINITION, Means(), reference=reference, reconstruction=reconstruction, groups=GROUPS,
        weights=resample_weights(3, resamples=9),
    )  # fmt: skip
    assert found.score.status is Status.UNDEFINED
    assert "1 clips have features, and frechet_logmel needs 2" in found.score.reason
    assert math.isnan(found.score.value)
    assert np.isnan(found.bootstrap).all()
    assert found.bootstrap.shape == (9,)
    assert found.jackknife.shape == (3,)


def test_what_cannot_be_computed_is_undefined_too() -> None:
    reference, reconstruction = sides()
    reconstruction["b"] = reconstruction["b"] * np.nan
    found = score_set(
        DEFINITION, Means(), reference=reference, reconstruction=reconstruction, groups=GROUPS,
        weights=resample_weights(3, resamples=9),
    )  # fmt: skip
    assert found.score.status is Status.UNDEFINED
    assert "too little to compare" in found.score.reason
