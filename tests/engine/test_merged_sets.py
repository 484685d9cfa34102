"""Values of sets of clips in merged runs: what is computed anew, and how a run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from engine_runs import RATE, make_clips, rows, write_manifest
from fakes import Quantizer
from listening_codecs import Voice
from typer.testing import CliRunner

from rdbench.analysis.sets import SetScore, read_sets
from rdbench.cli.main import app
from rdbench.engine.merge import merge_runs
from rdbench.engine.run import RunOptions, run_benchmark
from rdbench.spec.model import BenchmarkSpec
from rdbench.store.manifest import read_manifest
from rdbench.store.parts import RETIRED, read_all
from rdbench.store.validate import validate_run

CLIPS = ("a", "b", "c")
SYSTEMS = {"tokens": Quantizer, "latent": Voice}


def measure(corpus: Path, folder: Path, clips: Any = CLIPS, systems: Any = SYSTEMS) -> int:
    """Runs systems on some clips in this process; how many rows it wrote."""
    content = {
        "name": "small",
        "corpus": {"kind": "manifest", "path": str(write_manifest(corpus, {c: c for c in clips}))},
        "protocol": {"sample_rate": RATE, "channels": "mono", "excerpt_seconds": None},
        "metrics": {"default": ["snr", "frechet_logmel"]},
        "systems": [{"codec": f"fakes:{s.__name__}", "name": name} for name, s in systems.items()],
        "costs": {"enabled": False},
        "entropy": {"enabled": True},
        "latent": {"places": True},
    }
    held = {name: make() for name, make in systems.items()}
    spec, how = BenchmarkSpec.model_validate(content), RunOptions(device="cpu", allow_code=True)
    return run_benchmark(spec, folder, how, held=held).written


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all clips, one of two and one of the third."""
    folder = tmp_path_factory.mktemp("runs")
    corpus = make_clips(folder / "clips", CLIPS)
    measure(corpus, folder / "whole")
    measure(corpus, folder / "two", CLIPS[:2])
    measure(corpus, folder / "third", CLIPS[2:])
    return folder


def without_names(found: pd.DataFrame) -> pd.DataFrame:
    return found.drop(columns=["unit_key", "provenance"]).reset_index(drop=True)


def test_values_of_all_clips_are_made_anew_or_say_why_not(runs: Path, tmp_path: Path) -> None:
    found = merge_runs([runs / "third", runs / "two"], tmp_path / "out")
    whole, merged = rows(runs / "whole"), rows(tmp_path / "out")
    assert not validate_run(tmp_path / "out").problems
    of_streams = (whole["clip"] == "") & whole["kind"].isin(["rate", "usage"])
    pd.testing.assert_frame_equal(
        without_names(merged[~of_streams]), without_names(whole[~of_streams]), check_exact=True
    )
    assert set(whole[(whole["clip"] == "") & ~of_streams]["kind"]) == {"metric", "latent"}
    assert set(merged[of_streams]["status"]) == {"failed"}
    assert merged[of_streams]["reason"].str.contains("what it is made of is not kept").all()
    assert found.failed == of_streams.sum()
    assert sum("computed anew" in note for note in found.notes) == 1
    # What was the value of fewer clips is aside, and never beside the new one.
    assert found.aside == len(read_all(tmp_path / "out" / RETIRED))
    columns = ["system", "point", "variant", "clip", "kind", "key", "backend"]
    assert not merged.duplicated(columns).any()
    # What intervals are made of lies beside a value.
    for mine, its in zip(*map(arrays, (tmp_path / "out", runs / "whole")), strict=True):
        assert (mine.point, mine.clips, mine.key) == (its.point, its.clips, its.key)
        assert (mine.left_out == its.left_out).all()
        assert (mine.drawn == its.drawn).all()


def arrays(folder: Path) -> tuple[SetScore, ...]:
    found = read_sets(folder, read_manifest(folder)["metrics"])
    assert found
    return found


def test_a_run_goes_on_in_a_merged_folder_and_does_what_is_missing(
    runs: Path, tmp_path: Path
) -> None:
    merge_runs([runs / "two", runs / "third"], tmp_path / "out")
    written = measure(runs / "clips", tmp_path / "out")
    whole, merged = rows(runs / "whole"), rows(tmp_path / "out")
    assert written == (read_all(runs / "whole" / "measurements").to_pandas()["clip"] == "").sum()
    pd.testing.assert_frame_equal(
        merged.drop(columns="provenance"), whole.drop(columns="provenance"), check_exact=True
    )


def test_systems_that_were_measured_apart_keep_their_values_of_sets(
    runs: Path, tmp_path: Path
) -> None:
    for name, codec in SYSTEMS.items():
        measure(runs / "clips", tmp_path / name, systems={name: codec})
    found = merge_runs([tmp_path / name for name in SYSTEMS], tmp_path / "out")
    assert (found.aside, found.failed, found.missing, found.notes) == (0, 0, 0, ())
    pd.testing.assert_frame_equal(
        rows(tmp_path / "out").drop(columns="provenance"),
        rows(runs / "whole").drop(columns="provenance"),
        check_exact=True,
    )


def test_the_command_says_what_became_of_the_rows(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["merge", str(runs / "two"), str(runs / "third"), "-o", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "rows of 2 runs" in result.output
    assert f"`rdbench report {out}`" in result.output
    for command in (["validate", out], ["status", out], ["compare", runs / "whole", out]):
        assert CliRunner().invoke(app, list(map(str, command))).exit_code == 0, command
    again = CliRunner().invoke(app, arguments)
    assert "is there and not empty" in str(again.exception)
