"""Speaker similarity against direct calls of Resemblyzer, and on voices that are known."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch

from rdbench.metrics.base import DeviceBackend
from rdbench.metrics.neural import resemblyzer
from rdbench.metrics.registry import backend
from rdbench.types import AudioBatch, Status

RATE = 16000
KEY = "speaker_resemblyzer"


@pytest.fixture(scope="module")
def package():
    """The package's embedding of a channel at its level."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # webrtcvad asks setuptools for its version
        from resemblyzer import VoiceEncoder, normalize_volume

    encoder = VoiceEncoder("cpu", verbose=False)

    def embed(channel: np.ndarray) -> np.ndarray:
        return encoder.embed_utterance(normalize_volume(channel, -30, increase_only=True))

    return embed


def voice(read_clip, file: str, seconds: float = 3.0) -> np.ndarray:
    return read_clip(f"speech/{file}", rate=RATE, seconds=seconds)


@pytest.mark.parametrize("seconds", [1.25, 1.6, 2.75, 2.9, 6.1])  # windows left out and filled up
def test_embeddings_and_values_are_the_packages(
    seconds: float, package, read_clip, degrade, score_by
) -> None:
    clip = voice(read_clip, "103-1240-0000.flac", seconds)
    soft = 0.02 * clip
    worse = degrade(clip, level=0.02)
    for one in (clip, soft):
        ours = resemblyzer.embeddings(torch.from_numpy(one))[0].numpy()
        assert ours == pytest.approx(package(one[0]), abs=1e-5)
    theirs = float(package(clip[0]) @ package(worse[0]))
    assert 0.5 < theirs < 0.999
    assert score_by(KEY, clip, worse, RATE).value == pytest.approx(theirs, abs=1e-5)


def test_the_same_speaker_is_more_alike_than_others(read_clip, score_by) -> None:
    speakers = {
        "p225": ["vctk_p225_a.wav", "vctk_p225_c.wav"],
        "lj": ["LJ001-0001.wav", "LJ001-0005.wav"],
        "103": ["103-1240-0000.flac"],
        "125": ["125-121124-0000.flac"],
        "thorsten": ["thorsten_neutral.wav"],
    }
    clips = [(who, voice(read_clip, f, 1.5)) for who, files in speakers.items() for f in files]
    same, other = [], []
    for (one, x), (two, y) in itertools.combinations(clips, 2):
        (same if one == two else other).append(score_by(KEY, x, y, RATE).value)
    assert len(same) == 2
    assert min(same) > max(other) + 0.05


def test_the_reference_itself_has_1_at_any_level(read_clip, score_by) -> None:
    clip = voice(read_clip, "LJ001-0005.wav", 2.0)
    assert score_by(KEY, clip, clip, RATE).value == pytest.approx(1.0, abs=1e-12)
    assert score_by(KEY, 0.001 * clip, 0.0001 * clip, RATE).value == pytest.approx(1.0, abs=1e-5)


def test_a_clip_scores_in_a_batch_what_it_scores_alone(read_clip, monkeypatch) -> None:
    first = voice(read_clip, "vctk_p225_a.wav", 2.0)[0]
    second = voice(read_clip, "vctk_p225_b.wav", 1.5)[0]
    samples = np.full((2, 2, len(first)), np.nan, np.float32)
    samples[0] = first, first[::-1]
    samples[1, :, : len(second)] = second, 0.1 * second[::-1]
    worse = samples + np.float32(0.01) * np.sign(samples)
    metric = backend(KEY)
    assert isinstance(metric, DeviceBackend)

    def scores(lengths: list[int], *sides: np.ndarray) -> list[float]:
        one, two = (
            AudioBatch(torch.from_numpy(side.copy()), torch.tensor(lengths), RATE) for side in sides
        )
        return [score.value for score in metric.score(metric.prepare(one), reconstruction=two)]

    lengths = [len(first), len(second)]
    together = scores(lengths, samples, worse)
    monkeypatch.setattr(resemblyzer, "_AT_ONCE", 1)
    alone = [
        scores([length], samples[[i], :, :length], worse[[i], :, :length])[0]
        for i, length in enumerate(lengths)
    ]
    assert together == pytest.approx(alone, abs=1e-6)
    assert max(together) < 0.999


def test_silence_what_is_not_finite_and_what_is_short_have_no_speaker(score_by) -> None:
    noise = np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)
    for reference, lost, name in (
        (noise, 0 * noise, "reconstruction"),
        (0 * noise, noise, "reference"),
    ):
        silent = score_by(KEY, reference, lost, RATE)
        assert (silent.status, silent.reason) == (Status.UNDEFINED, f"the {name} is silent")
    assert score_by(KEY, noise, noise * np.nan, RATE).status is Status.FAILED
    assert score_by(KEY, noise[:19000], noise[:19000], RATE).status is Status.UNDEFINED


def test_the_version_names_the_weights() -> None:
    assert "weights sha256 39373b86" in backend(KEY).version
