"""What was measured before stands for a system that cannot be built, where it is the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_runs import fake, make_clips, retired, rows, run, write_manifest

SET = "frechet_logmel"


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    return make_clips(tmp_path / "clips", ["a", "b", "c", "d"])


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAKES_MARK", str(tmp_path / "decoded"))
    path = tmp_path / "weights"
    path.write_text("6")
    return path


def test_rows_of_another_checkpoint_do_not_stand_for_one_that_is_missing(
    clips: Path, tmp_path: Path, weights: Path
) -> None:
    folder = tmp_path / "run"
    run(clips, folder, fake("FromFile", options={"weights": str(weights)}))
    measured = len(rows(folder))
    run(clips, folder, fake("FromFile", options={"weights": str(tmp_path / "another")}))
    assert set(rows(folder)["status"]) == {"failed"}
    assert retired(folder) >= measured


def test_rows_under_another_protocol_do_not_stand_beside_those_of_today(
    clips: Path, tmp_path: Path, weights: Path
) -> None:
    folder = tmp_path / "run"
    systems = ({"codec": "identity"}, fake("FromFile", options={"weights": str(weights)}))
    run(clips, folder, *systems)
    weights.unlink()
    short = {"sample_rate": 8000, "channels": "mono", "excerpt_seconds": 0.5}
    run(clips, folder, *systems, spec={"protocol": short})
    found = rows(folder)
    assert set(found[found["system"] == "FromFile"]["status"]) == {"failed"}
    assert set(found[found["system"] == "identity"]["seconds"]) == {0.5}


def test_a_value_of_one_domain_does_not_stand_for_that_of_another(
    clips: Path, tmp_path: Path, weights: Path
) -> None:
    folder = tmp_path / "run"
    system = fake("FromFile", options={"weights": str(weights)})
    manifest = write_manifest(clips, {"a": "", "b": ""})
    run(manifest, folder, system, metrics=(SET,))
    weights.unlink()
    with manifest.open("a") as file:
        file.write("c.wav,,music\nd.wav,,music\n")
    run(manifest, folder, system, metrics=(SET,))
    values = rows(folder, key=SET)
    assert set(values[values["domain"] == "audio"]["status"]) == {"ok"}
    assert set(values[values["domain"] == "music"]["status"]) == {"failed"}
