"""Values of sets of clips in merged runs: what is computed anew, and how a run goes on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from engine_runs import RATE, make_clips, rows
from fakes import Quantizer
from listening_codecs import Frames
from typer.testing import CliRunner

from rdbench.analysis.sets import SetScore, read_sets
from rdbench.cli.main import app
from rdbench.engine.merge import merge_runs
from rdbench.engine.run import RunOptions, run_benchmark
from rdbench.spec.model import BenchmarkSpec
from rdbench.store.manifest import read_manifest
from rdbench.store.parts import RETIRED, read_all
from rdbench.store.validate import validate_run

DOMAINS = {"a": "audio", "b": "audio", "c": "audio", "d": "speech", "e": "speech"}


class Coarse(Quantizer):
    """At one point."""

    def __init__(self) -> None:
        super().__init__()
        self.points = self.points[:1]


def measure(corpus: Path, folder: Path, clips: str = "abcde") -> int:
    """Runs a codec on some clips of each domain, in this process; how many rows it wrote."""
    lines = [f"{clip}.wav,{DOMAINS[clip]}" for clip in clips]
    manifest = corpus / "clips.csv"
    manifest.write_text("\n".join(["file,domain", *lines]) + "\n")
    content = {
        "name": "small",
        "corpus": {"kind": "manifest", "path": str(manifest)},
        "protocol": {"sample_rate": RATE, "channels": "mono", "excerpt_seconds": None},
        "metrics": {"audio": ["snr", "frechet_logmel"], "speech": ["snr"]},
        "systems": [
            {"codec": "fakes:Coarse", "name": "tokens", "domains": ["audio"]},
            {"codec": "fakes:Frames", "name": "latent", "domains": ["speech"]},
        ],
        "costs": {"enabled": False},
        "entropy": {"enabled": True},
        "latent": {"places": True},
    }
    held = {"tokens": Coarse(), "latent": Frames()}
    spec, how = BenchmarkSpec.model_validate(content), RunOptions(device="cpu", allow_code=True)
    return run_benchmark(spec, folder, how, held=held).written


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all clips, and two of some."""
    folder = tmp_path_factory.mktemp("runs")
    corpus = make_clips(folder / "clips", list(DOMAINS), seconds=0.5)
    measure(corpus, folder / "whole")
    measure(corpus, folder / "some", "abd")
    measure(corpus, folder / "rest", "ce")
    return folder


def without_names(found: pd.DataFrame) -> pd.DataFrame:
    return found.drop(columns=["unit_key", "provenance"]).reset_index(drop=True)


def test_values_of_all_clips_are_made_anew_or_say_why_not(runs: Path, tmp_path: Path) -> None:
    found = merge_runs([runs / "rest", runs / "some"], tmp_path / "out")
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
    anew = [note for note in found.notes if "computed anew" in note]
    assert sorted(note.split("clips of ")[1].split()[0] for note in anew) == ["'audio'", "'speech'"]
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
    merge_runs([runs / "some", runs / "rest"], tmp_path / "out")
    written = measure(runs / "clips", tmp_path / "out")
    whole, merged = rows(runs / "whole"), rows(tmp_path / "out")
    assert written == (read_all(runs / "whole" / "measurements").to_pandas()["clip"] == "").sum()
    pd.testing.assert_frame_equal(
        merged.drop(columns="provenance"), whole.drop(columns="provenance"), check_exact=True
    )


def test_the_command_says_what_became_of_the_rows(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["merge", str(runs / "some"), str(runs / "rest"), "-o", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "rows of 2 runs" in result.output
    assert f"`rdbench report {out}`" in result.output
    for command in (["validate", out], ["status", out], ["compare", runs / "whole", out]):
        said = CliRunner().invoke(app, list(map(str, command)))
        assert said.exit_code == 0, (said.output, said.exception)
    again = CliRunner().invoke(app, arguments)
    assert "is there and not empty" in str(again.exception)
