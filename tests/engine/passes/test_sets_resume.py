"""What is asked of sets of clips is done after one run, whatever came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_runs import clip_features, fake, make_clips, rows, run, write_manifest

from rdbench.engine.executors.host import Host
from rdbench.engine.intake import SCRATCH, RunIntake
from rdbench.engine.measure.shard import Shard
from rdbench.engine.passes.sets import SetMetricsPass
from rdbench.metrics.sets.logmel import LogMel
from rdbench.resampling import domain_seed, resample_weights
from rdbench.store.features import read_features
from rdbench.store.parts import read_all
from rdbench.store.schema import Kind, Quantity

KEY = "frechet_logmel"
BOOTSTRAP = Quantity(Kind.FEATURE, KEY, "bootstrap")


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Shard]:
    """Every shard that a process was given."""
    shards: list[Shard] = []
    give = Host.give

    def noted(self: Host, shard: Shard) -> None:
        shards.append(shard)
        give(self, shard)

    monkeypatch.setattr(Host, "give", noted)
    return shards


def start(corpus: Path, folder: Path, **more: Any) -> int:
    return run(corpus, folder, fake("Quantizer"), metrics=(KEY, "snr"), **more).written


def features(folder: Path) -> dict[tuple[str, str], str]:
    """The status of every row of the kind feature, by clip and model."""
    table = read_all(folder / "measurements", kind=Kind.FEATURE).to_pylist()
    return {(row["clip"], "" if row["clip"] else row["backend"]): row["status"] for row in table}


def test_what_a_value_is_made_of_is_asked_for_once(tmp_path: Path, given: list[Shard]) -> None:
    clips = make_clips(tmp_path / "clips", ["a", "b", "c"])
    start(clips, tmp_path / "run")
    assert set(rows(tmp_path / "run", key=KEY)["status"]) == {"ok"}
    given.clear()
    assert start(clips, tmp_path / "run") == 0
    assert given == []


def test_an_embedding_is_made_once_for_all_that_compare_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = make_clips(tmp_path / "clips", ["a", "b"])
    made: list[int] = []
    windows = LogMel.windows

    def counted(self: LogMel, audio: Any) -> Any:
        made.append(audio.clips)
        return windows(self, audio)

    monkeypatch.setattr(LogMel, "windows", counted)
    in_this_process(monkeypatch)
    keys = (KEY, "frechet_inf_logmel")
    run(clips, tmp_path / "run", fake("Quantizer"), metrics=keys)
    assert sum(made) == 2 * (2 + 1)  # two points, and the references
    made.clear()
    written = run(clips, tmp_path / "run", fake("Quantizer"), metrics=(*keys, "kernel_logmel"))
    assert made == []
    assert written.written == 2 * 3  # the value, its replicates, those without each group
    folder, (first, *others) = tmp_path / "run", (*keys, "kernel_logmel")
    known = [one.unit_key for one in clip_features(folder, first)]
    assert all([one.unit_key for one in clip_features(folder, key)] == known for key in others)


def test_a_value_of_too_few_clips_is_an_answer_with_its_replicates(
    tmp_path: Path, given: list[Shard]
) -> None:
    clips = make_clips(tmp_path / "clips", ["a"])
    start(clips, tmp_path / "run")
    assert set(rows(tmp_path / "run", key=KEY)["status"]) == {"undefined"}
    assert features(tmp_path / "run") == {
        ("a.wav", ""): "ok", ("", "bootstrap"): "undefined", ("", "jackknife"): "undefined"
    }  # fmt: skip
    assert read_features(tmp_path / "run", BOOTSTRAP) == []
    given.clear()
    assert start(clips, tmp_path / "run") == 0
    assert given == []


def test_clips_that_can_have_no_feature_are_not_asked_for_one_again(
    tmp_path: Path, given: list[Shard]
) -> None:
    clips = make_clips(tmp_path / "clips", ["a", "b"], seconds=0.05)
    start(clips, tmp_path / "run")
    assert set(features(tmp_path / "run").values()) == {"undefined"}
    given.clear()
    assert start(clips, tmp_path / "run") == 0
    assert given == []


def test_a_reference_whose_feature_failed_fails_the_value_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = make_clips(tmp_path / "clips", ["a", "b", "c"])
    record = SetMetricsPass.on_reference

    def broken(self: SetMetricsPass, work: Any, batch: Any, desk: Any) -> None:
        if work.clips[0].name == "b.wav":
            work.fail(0, "the reference is out of luck", self.of_reference(batch.domain))
        record(self, work, batch, desk)

    monkeypatch.setattr(SetMetricsPass, "on_reference", broken)
    in_this_process(monkeypatch)
    start(clips, tmp_path / "run")
    failed = rows(tmp_path / "run", key=KEY)
    assert set(failed["status"]) == {"failed"}
    assert failed["reason"].str.contains("b.wav: the reference is out of luck").all()
    monkeypatch.undo()
    start(clips, tmp_path / "run")
    assert set(rows(tmp_path / "run", key=KEY)["status"]) == {"ok"}


def test_a_pass_that_says_nothing_of_a_set_leaves_failed_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = make_clips(tmp_path / "clips", ["a", "b", "c"])
    monkeypatch.setattr(SetMetricsPass, "on_set", lambda *_: ())
    in_this_process(monkeypatch)
    start(clips, tmp_path / "run")
    found = rows(tmp_path / "run", key=KEY)
    assert len(found) == 2
    assert set(found["status"]) == {"failed"}
    assert found["reason"].str.endswith("no result came back").all()


def test_a_domain_that_is_renamed_gets_replicates_of_its_own_draws(tmp_path: Path) -> None:
    clips = make_clips(tmp_path / "clips", ["a", "b", "c"])
    for domain in ("audio", "music"):
        manifest = write_manifest(clips, {"a": "", "b": "", "c": ""})
        manifest.write_text(manifest.read_text().replace(",audio", f",{domain}"))
        start(manifest, tmp_path / "run")
        start(manifest, tmp_path / domain)
        (mine, _), (fresh, _) = (
            read_features(tmp_path / name, BOOTSTRAP) for name in ("run", domain)
        )
        assert np.array_equal(mine.array, fresh.array)
    draws = [resample_weights(3, seed=domain_seed(0, name)) for name in ("audio", "music")]
    assert not np.array_equal(*draws)


def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has shards measured here, where what was patched is."""
    from rdbench.engine.executors import processes
    from rdbench.engine.executors.pool import AtOnce
    from rdbench.engine.measure.measure import measure
    from rdbench.engine.measure.workshop import Workshop

    class Here:
        def __init__(self, setup: Any, *_: Any, **__: Any) -> None:
            self.workshop = Workshop(setup.packed())

        def run(self, shards: Any, intake: Any, **_: Any) -> None:
            class Sink:
                deliver, at, say = intake.take, intake.at, intake.say

            for shard in shards:
                measure(shard, self.workshop, AtOnce(), Sink())

        def close(self) -> None:
            pass

    monkeypatch.setattr(processes, "Processes", Here)


def test_a_start_that_is_interrupted_leaves_no_scratch_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: RunIntake) -> None:
        assert (tmp_path / "run" / SCRATCH).is_dir()
        raise KeyboardInterrupt

    monkeypatch.setattr(RunIntake, "close", interrupted)
    clips = make_clips(tmp_path / "clips", ["a"])
    with pytest.raises(KeyboardInterrupt):
        start(clips, tmp_path / "run", spec={"entropy": {"enabled": True}})
    assert not (tmp_path / "run" / SCRATCH).exists()
