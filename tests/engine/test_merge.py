"""Runs that were made apart are one run: the same rows, the same tables, nothing said twice."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdbench.analysis.runs import read_run
from rdbench.engine.merge import Merged, merge_runs
from rdbench.rate.trace import Trace
from rdbench.report.text.status import provenance_text
from rdbench.spec.model import CorpusSpec
from rdbench.store.audio import kept_audio, open_audio, write_audio
from rdbench.store.features import read_features
from rdbench.store.lock import RunLock
from rdbench.store.manifest import read_manifest
from rdbench.store.merge.place import appearing
from rdbench.store.parts import RETIRED, read_all
from rdbench.store.reader import read_rows
from rdbench.store.schema import SCHEMA_VERSION, Kind, Quantity, Row
from rdbench.store.status import run_status
from rdbench.store.traces import read_traces
from rdbench.store.validate import validate_run
from rdbench.store.writer import RunWriter
from rdbench.types import RateKind, Status, StoreError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))
from injection import Injector, injected

SYSTEMS, CLIPS, METRICS = ("dac", "opus"), ("a", "b", "c"), ("pesq", "snr")
DOMAINS = {"a": "speech", "b": "speech", "c": "music"}
MACHINE = "a machine"


def rows_of(systems: Sequence[str], clips: Sequence[str], metrics: Sequence[str]) -> Iterator[Row]:
    """What a run of these has, whose values and keys depend on nothing else."""
    for system, clip, metric in product(systems, clips, metrics):
        place = f"{system} {clip} {metric}"
        missing = place == "opus b pesq"
        yield Row(
            unit_key=place.encode().hex(),
            system=system,
            curve=system.upper(),
            point="6 kbps",
            variant="codes",
            clip=clip,
            domain=DOMAINS[clip],
            group="",
            seconds=3.0,
            kind=Kind.METRIC,
            key=metric,
            value=math.nan if missing else len(place) + ord(clip) / 7,
            unit="dB",
            backend="torch",
            status=Status.UNDEFINED if missing else Status.OK,
            reason="too short" if missing else "",
            provenance="before",
        )


def manifest_of(
    systems: Sequence[str], clips: Sequence[str], metrics: Sequence[str]
) -> dict[str, Any]:
    domains = dict.fromkeys(DOMAINS[clip] for clip in clips)
    return {
        "name": "small",
        "finished": "2026-01-01T00:00:00+00:00",
        "spec": {
            "name": "small",
            "corpus": {"kind": "folder", "path": "clips"},
            "systems": [{"name": name, "codec": name, "options": {}} for name in systems],
            "metrics": {"default": [{"key": key} for key in metrics]},
        },
        "protocol": {"fingerprint": "f", "excerpt_seconds": 3.0, "threads": 1},
        "execution": {"device": "cpu", "machine": MACHINE},
        "corpus": {
            "name": "clips",
            "clips": [
                {"name": c, "domain": DOMAINS[c], "group": "", "content": f"of {c}"} for c in clips
            ],
        },
        "metrics": {
            key: {"version": 1, "backend": "torch", "unit": "dB", "direction": "higher"}
            for key in metrics
        },
        "systems": {
            name: {
                "codec": name, "curve": name.upper(), "family": "codec", "headline": "nominal",
                "weights_sha256": "w", "version": "1", "points": ["6 kbps"], "failure": "",
                "target_kbps": {"6 kbps": 6.0}, "variants": ["codes"], "rates": ["nominal"],
            }
            for name in systems
        },
        "variants": {"codes": {"source": "codes", "transmitted": True, "rate": "", "digest": ""}},
        "plan": [
            {
                "system": name, "point": "6 kbps", "variant": "codes", "domain": domain,
                "each": [["metric", key, ""] for key in metrics], "whole": [],
            }
            for name, domain in product(systems, domains)
        ],
        "provenance": {"before": {"versions": {"rdbench": "1"}, "processor": "p"}},
    }  # fmt: skip


Change = Callable[[dict[str, Any]], object]


def make(
    folder: Path,
    systems: Sequence[str] = SYSTEMS,
    clips: Sequence[str] = CLIPS,
    metrics: Sequence[str] = METRICS,
    *,
    rows: Sequence[Row] | None = None,
    change: Change = lambda manifest: None,
) -> Path:
    """A run by hand; rows: in place of its own. change: of its manifest."""
    manifest = manifest_of(systems, clips, metrics)
    change(manifest)
    with RunWriter(folder) as writer:
        writer.append(rows_of(systems, clips, metrics) if rows is None else rows)
        writer.write_manifest(manifest)
    return folder


def changed(row: Row, **changes: Any) -> Row:
    return replace(row, **changes)


def first_row() -> Row:
    return next(rows_of(["dac"], ["a"], ["pesq"]))


def merged(tmp_path: Path, *runs: Path) -> Merged:
    return merge_runs(runs, tmp_path / "out")


def refusal(tmp_path: Path, *runs: Path) -> str:
    """The sentence of a merge that is refused, which leaves nothing."""
    before = set(tmp_path.iterdir())
    with pytest.raises(StoreError) as caught:
        merged(tmp_path, *runs)
    assert set(tmp_path.iterdir()) == before
    return str(caught.value)


@pytest.fixture(autouse=True)
def fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushes nothing: an end of the process, unlike a loss of power, leaves what is written."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


# -- the whole is its parts


@st.composite
def splits(draw: st.DrawFn) -> list[tuple[list[str], list[str], list[str]]]:
    """Runs that together have every system with every clip and metric, some of it twice."""
    parts: list[tuple[list[str], ...]] = [(list(SYSTEMS), list(CLIPS), list(METRICS))]
    for _ in range(draw(st.integers(1, 3))):
        part = parts.pop(draw(st.integers(0, len(parts) - 1)))
        axis = draw(st.integers(0, 2))
        side = draw(st.lists(st.booleans(), min_size=len(part[axis]), max_size=len(part[axis])))
        for wanted in (True, False):
            some = [name for name, one in zip(part[axis], side, strict=True) if one is wanted]
            if some:
                parts.append(tuple(some if i == axis else part[i] for i in range(3)))
    again = draw(st.sampled_from(parts))  # what two runs measured
    return [(part[0], part[1], part[2]) for part in [*draw(st.permutations(parts)), again]]


@settings(max_examples=10)
@given(splits(), st.booleans())
def test_any_split_of_a_run_merges_into_the_run(
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[tuple[list[str], list[str], list[str]]],
    nested: bool,
) -> None:
    folder = tmp_path_factory.mktemp("split")
    whole = make(folder / "whole")
    runs = [make(folder / f"run {number}", *part) for number, part in enumerate(parts)]
    if nested and len(runs) > 2:
        merge_runs(runs[:2], folder / "two")
        runs = [*runs[2:], folder / "two"]
    found = merge_runs(runs, folder / "out")
    assert (found.rows, found.aside, found.missing, found.failed) == (12, 0, 0, 0)
    columns = [name for name in read_rows(whole).columns if name != "provenance"]
    pd.testing.assert_frame_equal(
        read_rows(folder / "out")[columns], read_rows(whole)[columns], check_exact=True
    )
    assert not validate_run(folder / "out").problems
    assert run_status(folder / "out").counts == run_status(whole).counts
    said = read_manifest(folder / "out")
    assert {clip["name"] for clip in said["corpus"]["clips"]} == set(CLIPS)
    assert set(said["systems"]) == set(SYSTEMS)
    assert set(said["metrics"]) == set(METRICS)
    assert {one["name"] for one in said["spec"]["systems"]} == set(SYSTEMS)
    assert len(said["merged"]) >= len(parts)
    assert set(read_rows(folder / "out")["provenance"]) <= set(said["provenance"])
    assert {one["run"] for one in said["provenance"].values()} <= set(said["merged"])


def test_a_row_says_which_run_it_comes_from_and_tables_do_not_mind(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", ["dac"]), make(tmp_path / "two", ["opus"])
    merged(tmp_path, one, two)
    rows, manifest = read_rows(tmp_path / "out"), read_manifest(tmp_path / "out")
    runs = {
        system: manifest["provenance"][name]["run"].split()[0]
        for system, name in rows[["system", "provenance"]].itertuples(index=False)
    }
    assert runs == {"dac": "one", "opus": "two"}
    assert [one["execution"]["machine"] for one in manifest["merged"].values()] == [MACHINE] * 2
    # Of one machine with one set of versions: nothing that a reader must know.
    assert provenance_text(read_run(tmp_path / "out")) == ""
    # What a later run writes keeps it.
    with RunWriter(tmp_path / "out") as writer:
        writer.write_manifest({"name": "later", "provenance": {"new": {}}})
    later = read_manifest(tmp_path / "out")
    assert later["merged"] == manifest["merged"]
    assert later["provenance"] == manifest["provenance"] | {"new": {}}


def test_what_no_run_has_together_is_missing_and_not_invented(tmp_path: Path) -> None:
    runs = make(tmp_path / "one", ["dac"], ["a"]), make(tmp_path / "two", ["opus"], ["b"])
    assert merged(tmp_path, *runs).missing == 4
    (problem,) = validate_run(tmp_path / "out").problems
    assert "4 of 8 planned rows are missing" in problem


def test_what_failed_in_one_run_is_what_the_other_measured(tmp_path: Path) -> None:
    broke = {"value": math.nan, "status": Status.FAILED, "reason": "it broke"}
    failures = [changed(row, **broke) for row in rows_of(["dac"], ["a"], METRICS)]
    failures[1] = changed(failures[1], unit_key="of-a-codec-that-could-not-be-built")
    runs = make(tmp_path / "one", ["dac"], ["a"], rows=failures), make(tmp_path / "two", ["dac"])
    found = merged(tmp_path, *runs)
    assert (found.failed, found.aside, found.rows) == (0, 1, 6)
    assert set(read_rows(tmp_path / "out")["status"]) == {"ok"}
    assert len(read_all(tmp_path / "out" / RETIRED)) == 1


def test_a_system_that_could_not_be_built_in_one_run_has_the_card_of_the_other(
    tmp_path: Path,
) -> None:
    def unbuilt(manifest: dict[str, Any]) -> None:
        card = {"codec": "dac", "curve": "DAC", "failure": "no weights", "points": ["6 kbps"]}
        manifest["systems"]["dac"] = card

    runs = make(tmp_path / "one", rows=[first_row()], change=unbuilt), make(tmp_path / "two")
    merged(tmp_path, *runs)
    assert read_manifest(tmp_path / "out")["systems"]["dac"]["weights_sha256"] == "w"


def test_costs_of_a_machine_stand_once_and_those_of_another_beside_them(tmp_path: Path) -> None:
    def cost(key: str, seconds: float, machine: str) -> Row:
        changes = {"clip": "", "domain": "", "seconds": 0.0, "unit": "s/s", "value": seconds}
        return changed(
            first_row(), unit_key=key, kind=Kind.COST, key="encode_rtf", backend=machine, **changes
        )

    def timed(manifest: dict[str, Any]) -> None:
        manifest["costs"] = {"clips": 2}

    runs = [
        make(tmp_path / "one", rows=[cost("same", 1.0, "here")], change=timed),
        make(tmp_path / "two", rows=[cost("same", 2.0, "here")], change=timed),
        make(tmp_path / "three", rows=[cost("clips", 3.0, "here")], change=timed),
        make(tmp_path / "four", rows=[cost("there", 4.0, "there")], change=timed),
        make(tmp_path / "five", rows=[cost("otherwise", 5.0, "elsewhere")]),
    ]
    found = merged(tmp_path, *runs)
    rows = read_rows(tmp_path / "out").set_index("backend")["value"]
    assert rows.to_dict() == {"here": 1.0, "there": 4.0, "elsewhere": 5.0}
    assert [note for note in found.notes if "2 costs" in note]
    retired = read_all(tmp_path / "out" / RETIRED)["value"].to_pylist()
    assert sorted(retired) == [2.0, 3.0]
    assert found.aside == 2


def test_traces_features_and_audio_come_along(tmp_path: Path) -> None:
    runs = []
    for number, name in enumerate(("one", "two")):
        folder = make(tmp_path / name, [SYSTEMS[number]])
        row = changed(first_row(), system=SYSTEMS[number], curve=SYSTEMS[number].upper())
        with RunWriter(folder) as writer:
            channel = Trace(RateKind.KL, "channel", (0,), (math.nan,), (2.0 + number,), 1)
            trace = changed(row, unit_key=f"{number}0", kind=Kind.TRACE, key="channel")
            writer.trace(changed(trace, value=2.0 + number), channel)
            feature = changed(row, unit_key=f"{number}1", kind=Kind.FEATURE, key="d", backend="")
            writer.feature(feature, np.full(3, float(number)))
            # The reference is the same in both.
            shared = changed(feature, unit_key="ff", system="", curve="", value=1.0)
            writer.feature(shared, np.ones(3))
            write_audio(open_audio(folder), f"{number}2", np.zeros((1, 9), np.float32), 8000)
            audio = changed(row, unit_key=f"{number}2", kind=Kind.AUDIO, key="flac", value=0.0)
            writer.append([audio])
        (folder / "subjective").mkdir()
        (folder / "subjective" / f"{name}.csv").write_text(name)
        (folder / "subjective" / "mos.csv").write_text(name)
        runs.append(folder)
    found = merged(tmp_path, *runs)
    out = tmp_path / "out"
    assert not validate_run(out).problems
    assert read_traces(out)["bits"].tolist() == [2.0, 3.0]
    arrays = {one.system: one.array[0] for one in read_features(out, Quantity(Kind.FEATURE, "d"))}
    assert arrays == {"": 1.0, "dac": 0.0, "opus": 1.0}
    assert kept_audio(out)["system"].tolist() == ["dac", "opus"]
    assert {f.name: f.read_text() for f in (out / "subjective").iterdir()} == {
        "one.csv": "one", "two.csv": "two", "mos.csv": "one"
    }  # fmt: skip
    assert [note for note in found.notes if "two/subjective/mos.csv are left" in note]


# -- what is refused


def _set(*path: str, to: Any) -> Change:
    def change(manifest: dict[str, Any]) -> None:
        found = manifest
        for name in path[:-1]:
            found = found[name]
        found[path[-1]] = to

    return change


REFUSED: Mapping[str, tuple[Change, Sequence[str]]] = {
    "protocol": (
        _set("protocol", to={"fingerprint": "g", "excerpt_seconds": None}),
        ["two protocols", "excerpt_seconds is 3.0, and null"],
    ),
    "metric's version": (_set("metrics", "snr", "version", to=2), ["metric snr", "version 1", "2"]),
    "metric's options": (_set("metrics", "snr", "options", to={"a": 1}), ["metric snr", "options"]),
    "metric's model": (
        _set("metrics", "snr", "model_file", to={"sha256": "x"}), ["metric snr", "model"]
    ),
    "weights": (
        _set("systems", "dac", "weights_sha256", to="v"), ["system dac", "weights", "`name`"]
    ),
    "codec": (_set("systems", "dac", "codec", to="opus"), ["system dac", "codec"]),
    "options": (
        _set("spec", "systems", to=[{"name": "dac", "options": {"a": 1}}]),
        ["system dac", "options"],
    ),
    "variant": (_set("variants", "codes", "source", to="x"), ["variant codes"]),
    "clip's content": (
        _set("corpus", "clips", to=[{"name": "a", "domain": "speech", "content": "other"}]),
        ["clip a", "audio"],
    ),
    "clip's domain": (
        _set("corpus", "clips", to=[{"name": "a", "domain": "music", "content": "of a"}]),
        ["clip a", "domain", "speech", "music"],
    ),
    "no plan": (_set("plan", to=[]), ["no plan"]),
    "damaged": (_set("spec", "systems", to=[3]), ["damaged"]),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_runs_that_were_measured_otherwise_are_refused(tmp_path: Path, what: str) -> None:
    change, words = REFUSED[what]
    sentence = refusal(tmp_path, make(tmp_path / "a"), make(tmp_path / "b", change=change))
    assert all(word in sentence for word in words), sentence
    assert str(tmp_path / "b") in sentence


def test_a_model_may_lie_elsewhere_on_another_machine(tmp_path: Path) -> None:
    def at(place: str) -> Change:
        return lambda manifest: manifest["metrics"]["snr"].update(
            options={"weights": place}, model_file={"path": place, "sha256": "x"}
        )

    runs = [make(tmp_path / name, change=at(f"/{name}/model.pt")) for name in ("a", "b")]
    assert merged(tmp_path, *runs).rows == 12


def test_one_unit_with_two_values_is_refused_and_both_are_said(tmp_path: Path) -> None:
    row = first_row()
    runs = make(tmp_path / "a", rows=[row]), make(tmp_path / "b", rows=[changed(row, value=1.25)])
    sentence = refusal(tmp_path, *runs)
    for word in ("dac 6 kbps", "clip a", "metric/pesq", repr(row.value), "1.25"):
        assert word in sentence


def test_one_place_measured_with_other_inputs_is_refused(tmp_path: Path) -> None:
    row = first_row()
    other = changed(row, unit_key="0ther", value=1.25)
    runs = make(tmp_path / "a", rows=[row]), make(tmp_path / "b", rows=[other])
    assert "another version, options, weights or device" in refusal(tmp_path, *runs)
    # The same value was measured otherwise and says nothing else.
    alike = make(tmp_path / "c", rows=[changed(other, value=row.value)])
    assert merged(tmp_path, tmp_path / "a", alike).aside == 1


def test_one_unit_under_two_names_is_refused(tmp_path: Path) -> None:
    row = first_row()
    runs = make(tmp_path / "a", rows=[row]), make(tmp_path / "b", rows=[changed(row, clip="b")])
    assert "two names" in refusal(tmp_path, *runs)


def test_runs_and_folders_that_cannot_be_merged_now(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a"), make(tmp_path / "b")
    assert "name two" in refusal(tmp_path, a)
    assert "named twice" in refusal(tmp_path, a, tmp_path / "b" / ".." / "a")
    assert "no manifest.json" in refusal(tmp_path, a, tmp_path / "none")
    with RunLock(b):
        assert "is being written by process" in refusal(tmp_path, a, b)
    raw = (b / "manifest.json").read_text()
    now = f'"schema_version": {SCHEMA_VERSION}'
    (b / "manifest.json").write_text(raw.replace(now, '"schema_version": 2'))
    assert "of schema 2" in refusal(tmp_path, a, b)
    (b / "manifest.json").write_text(raw)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").touch()
    assert "not empty" in refusal(tmp_path, a, b)
    (tmp_path / "out" / "thesis.txt").unlink()
    assert merged(tmp_path, a, b).rows == 12


def test_parts_of_several_folders_have_a_spec_that_names_all_clips(tmp_path: Path) -> None:
    def sampled(manifest: dict[str, Any]) -> None:
        manifest["spec"]["corpus"] |= {"path": "others", "sample": {"clips": 1}}

    runs = make(tmp_path / "a", clips=["a"]), make(tmp_path / "b", clips=["b"], change=sampled)
    merged(tmp_path, *runs)
    corpus = CorpusSpec.model_validate(read_manifest(tmp_path / "out")["spec"]["corpus"])
    assert (corpus.path, corpus.clips, corpus.sample) == ("clips", ("a", "b"), None)


def test_two_merges_of_one_name_do_not_take_each_others_files(tmp_path: Path) -> None:
    runs = make(tmp_path / "a"), make(tmp_path / "b")
    with appearing(tmp_path / "out") as folder:
        (folder / "mine").touch()
        with pytest.raises(StoreError, match="is being made by"):
            merged(tmp_path, *runs)
        assert (folder / "mine").exists()
    assert (tmp_path / "out" / "mine").exists()


# -- ends at any moment


def _forked(work: Callable[[], object]) -> int:
    """Does work in a process of its own; the signal that ended it, or 0."""
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def test_a_merge_that_is_killed_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    runs = make(tmp_path / "a", ["dac"], ["a"]), make(tmp_path / "b", ["opus"], ["a"])
    expected = merge_runs(runs, tmp_path / "undisturbed")
    for step in count(1, 4):
        out = tmp_path / "out" / str(step) / "merged"

        def work(out: Path = out, step: int = step) -> None:
            with injected(Injector(tmp_path / "out", step, "kill")):
                merge_runs(runs, out)

        out.parent.mkdir(parents=True)
        if not _forked(work):
            break
        if out.exists():  # what was killed then had made all of it
            assert not validate_run(out).problems
            continue
        assert replace(merge_runs(runs, out), folder=expected.folder) == expected
        assert [path.name for path in out.parent.iterdir()] == ["merged"]
    assert step > 20


def test_a_disk_that_refuses_is_one_sentence(tmp_path: Path) -> None:
    runs = make(tmp_path / "a", ["dac"], ["a"]), make(tmp_path / "b", ["opus"], ["a"])
    with injected(Injector(tmp_path / "out", 12, "refuse")), pytest.raises(StoreError) as caught:
        merge_runs(runs, tmp_path / "out" / "merged")
    assert "the disk is full" in str(caught.value)
    assert not (tmp_path / "out" / "merged").exists()
    assert json.loads((tmp_path / "a" / "manifest.json").read_text())["name"] == "small"
