"""The text of a clip reaches the metrics that are held against it, and is part of their keys."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rdbench.audio.clip import Clip
from rdbench.audio.corpus import manifest_corpus
from rdbench.audio.load import Excerpt
from rdbench.engine.measure.batch import Batch
from rdbench.engine.passes.scores import ScoresPass, quantity_of
from rdbench.engine.plan.clips import PlannedClip
from rdbench.engine.plan.keys import Keys
from rdbench.engine.plan.metrics import Metric
from rdbench.metrics.base import DeviceBackend
from rdbench.metrics.registry import definition
from rdbench.types import Status

RATE = 16000


class Told(DeviceBackend):
    """Keeps what it is told."""

    name, version, tolerance = "torch", "1", 0.0

    def prepare(self, reference: Any, **more: Any) -> Any:
        return more

    def score(self, prepared: Any, *, reconstruction: Any) -> Any:
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A metric whose backend is that."""

    key: str

    @property
    def definition(self) -> Any:
        return definition(self.key)

    @property
    def backend(self) -> Told:
        return Told()


def metric(key: str) -> Any:
    return Chosen(key)


def clip(name: str, text: str, duration: float | None = 1.0) -> PlannedClip:
    return PlannedClip(Clip(name, Path(), "speech", name, 0.0, duration, text), name, 0)


def test_texts_come_in_the_order_of_clips_and_only_where_they_are_read() -> None:
    clips = [clip("a", "one"), clip("b", ""), clip("c", "three", 2.5)]
    batch = Batch(clips, [Excerpt(torch.zeros(1, RATE), RATE)] * 3, "cpu")
    assert batch.prepared(metric("wer_basic_transcript"), range(3)) == {}
    whole = batch.prepared(metric("wer_basic"), range(3))["texts"]
    assert whole[0] == "one"
    assert [one.status for one in whole[1:]] == [Status.UNDEFINED] * 2
    assert whole[1].reason == "it has no text; write it in the manifest's column text"
    assert whole[2].reason.startswith("its text is that of 2.50 s, of which 1.00 s are taken")
    part = batch.prepared(metric("wer_basic"), [2, 0])["texts"]
    assert (part[0].reason, part[1]) == (whole[2].reason, "one")


def test_a_manifest_may_have_texts_and_other_columns_like_it(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    (tmp_path / "list.csv").write_text('file,text,test\na.wav," one, two ",x\n')
    assert manifest_corpus(tmp_path / "list.csv").clips[0].text == "one, two"
    (tmp_path / "list.csv").write_text("file,test\na.wav,x\n")
    assert manifest_corpus(tmp_path / "list.csv").clips[0].text == ""


@pytest.mark.parametrize(("key", "changes"), [("wer_basic", True), ("si_sdr", False)])
def test_another_text_is_another_key_where_it_is_read(
    key: str, changes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Metric, "identity", lambda self, *, everywhere=False: [self.key])
    scores = ScoresPass({"speech": [Metric(key)]})

    def key_of(text: str) -> str:
        planned = clip("a", text)
        families = SimpleNamespace(owner=lambda quantity: scores)
        protocol: Any = SimpleNamespace(seed=0, alignment="metrics", threads=1, dtype="float32")
        keys = Keys(
            systems=[], clips=[planned], families=families, protocol=protocol,  # type: ignore[arg-type]
            protocols={"speech": _Protocol()}, device_class="cpu",  # type: ignore[dict-item]
        )  # fmt: skip
        return keys.of_clip(None, planned, [quantity_of(Metric(key))])[0]

    assert (key_of("one") != key_of("two")) is changes
    assert key_of("one") == key_of("one")


@dataclasses.dataclass(frozen=True)
class _Protocol:
    sample_rate: int = RATE
