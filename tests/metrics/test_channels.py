"""One score from several channels: the rule of the definition, the same wherever it is computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rdbench.engine.measure import native
from rdbench.engine.plan.metrics import Metric
from rdbench.metrics.base import ChannelRule, MetricDefinition, PoolBackend
from rdbench.metrics.channels import batch_under, signals_under
from rdbench.metrics.registry import definition, keys
from rdbench.types import AudioBatch, Score

CLIP = np.array([[1.0, 6.0, 3.0], [3.0, -2.0, 5.0]], dtype=np.float32)


def test_the_rules_of_the_metrics_there_are() -> None:
    rules = {key: definition(key).channels for key in keys()}
    assert {key for key, rule in rules.items() if rule is ChannelRule.DOWNMIX} == {
        "visqol_audio", "visqol_speech", "visqol_speech_exponential", "audiobox_quality",
        "audiobox_complexity", "audiobox_enjoyment", "audiobox_usefulness",
        *(f"{kind}_{of}" for kind in ("frechet", "frechet_inf", "kernel")
          for of in ("encodec", "speech", "clap", "vggish", "panns")),
        "clap_text", "clap_audio",
    }  # fmt: skip
    assert {key for key, rule in rules.items() if rule is ChannelRule.JOINT} == {
        "frechet_logmel", "frechet_inf_logmel", "kernel_logmel",
        "loudness_difference", "true_peak", "stereo_level", "stereo_correlation",
        "pre_echo", "bandwidth", "spectral_tilt",
    }  # fmt: skip


def test_a_batch_is_averaged_to_one_channel_by_a_downmix_alone() -> None:
    audio = AudioBatch(torch.from_numpy(CLIP)[None], torch.tensor([3]), 16000)
    mixed = batch_under(ChannelRule.DOWNMIX, audio)
    assert mixed.samples.tolist() == [[[2.0, 2.0, 4.0]]]
    assert (mixed.sample_rate, mixed.lengths.tolist()) == (16000, [3])
    assert batch_under(ChannelRule.AVERAGED, audio) is audio
    assert batch_under(ChannelRule.JOINT, audio) is audio
    mono = batch_under(ChannelRule.DOWNMIX, replace(audio, samples=audio.samples[:, :1]))
    assert torch.equal(mono.samples, audio.samples[:, :1])


def test_the_signals_of_a_clip() -> None:
    assert [one.tolist() for one in signals_under(ChannelRule.AVERAGED, CLIP)] == CLIP.tolist()
    (mixed,) = signals_under(ChannelRule.DOWNMIX, CLIP)
    assert (mixed.tolist(), mixed.dtype) == ([2.0, 2.0, 4.0], np.float32)
    (joint,) = signals_under(ChannelRule.JOINT, CLIP)
    assert joint is CLIP


class Largest(PoolBackend):
    """The largest sample of a reconstruction above that of its reference."""

    name, version, tolerance = "numpy", "1", 0.0

    def prepare(self, reference, sample_rate):
        return float(reference.max())

    def score(self, prepared, *, reconstruction, sample_rate):
        return Score(float(reconstruction.max()) - prepared)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [(ChannelRule.AVERAGED, 5.5), (ChannelRule.DOWNMIX, 4.0), (ChannelRule.JOINT, 6.0)],
)
def test_a_worker_scores_under_the_rule(
    rule: ChannelRule, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    meant: MetricDefinition = replace(definition("snr"), channels=rule)
    metric = Metric(f"largest of {rule}")
    monkeypatch.setattr(Metric, "definition", property(lambda _: meant))
    monkeypatch.setattr(native, "warmed", lambda _: Largest())
    clips = {16000: np.zeros_like(CLIP)}, {16000: CLIP}
    (score,) = native.score_clip([(metric, 16000)], "a clip", *clips)
    assert score.value == expected
