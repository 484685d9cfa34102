"""Good rows go only when others stand in their place."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from engine_runs import Listener, everything, fake, make_clips, retired, rows, run

from rdbench.store.reader import read_manifest
from rdbench.store.status import run_status
from rdbench.store.validate import validate_run

SET = "frechet_logmel"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("kept"), ["a", "b"])


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of `fakes:FromFile`, beside which the clips that it decodes are counted."""
    monkeypatch.setenv("FAKES_MARK", str(tmp_path / "decoded"))
    path = tmp_path / "weights"
    path.write_text("6")
    return path


@pytest.mark.parametrize("points", [None, [2, 6]])
def test_a_run_whose_checkpoint_vanished_keeps_its_rows_and_says_so(
    clips: Path, tmp_path: Path, weights: Path, points: list[float] | None
) -> None:
    folder = tmp_path / "run"
    system = fake("FromFile", options={"weights": str(weights)}, points=points)
    run(clips, folder, {"codec": "identity"}, system, spec={"traces": True})
    before, card = everything(folder), read_manifest(folder)["systems"]["FromFile"]
    content = weights.read_text()
    weights.unlink()
    listener = Listener()
    summary = run(
        clips, folder, {"codec": "identity"}, system, spec={"traces": True}, progress=listener
    )
    assert (summary.written, summary.failed, retired(folder)) == (0, 0, 0)
    pd.testing.assert_frame_equal(before, everything(folder))
    (said,) = [one for one in listener.said if one.startswith("FromFile cannot be run")]
    assert f"{len(before[before['system'] == 'FromFile'])} rows" in said
    # What reads the folder knows the system as it was measured, and that it cannot be run now.
    now = read_manifest(folder)["systems"]["FromFile"]
    assert now == card | {"failure": now["failure"]}
    assert "no weights" in now["failure"]
    assert run_status(folder).counts.missing == 0
    assert validate_run(folder).problems == ()
    told = run_status(folder).systems["FromFile"]
    assert told.ok == told.asked == len(rows(folder, system="FromFile"))

    weights.write_text(content)
    (tmp_path / "decoded").unlink()
    again = run(clips, folder, {"codec": "identity"}, system, spec={"traces": True})
    assert again.written == 0
    assert not (tmp_path / "decoded").exists()
    assert read_manifest(folder)["systems"]["FromFile"] == card
    pd.testing.assert_frame_equal(before, everything(folder))


def test_what_a_vanished_checkpoint_never_measured_has_failed(
    clips: Path, tmp_path: Path, weights: Path
) -> None:
    folder = tmp_path / "run"
    system = fake("FromFile", options={"weights": str(weights)})
    run(clips, folder, system)
    weights.unlink()
    summary = run(clips, folder, system, metrics=("snr", "lsd", SET))
    found = rows(folder)
    failed = found[found["status"] == "failed"]
    assert set(failed["key"]) == {"lsd", SET}
    assert failed["reason"].str.contains("no weights").all()
    assert summary.failed == len(failed) == len(found[found["key"] == "snr"]) + 2
    assert (found[found["key"] == "snr"]["status"] == "ok").all()


def test_another_codec_that_cannot_be_built_does_not_take_the_rows_of_its_name(
    clips: Path, tmp_path: Path, weights: Path
) -> None:
    folder = tmp_path / "run"
    run(clips, folder, fake("Quantizer", name="same"))
    weights.unlink()
    run(clips, folder, fake("FromFile", name="same", options={"weights": str(weights)}))
    assert set(rows(folder)["status"]) == {"failed"}


class StopAtOnce(Listener):
    """Presses Ctrl-C before the first result."""

    def at(self, system: str, point: str) -> None:
        raise KeyboardInterrupt


def test_rows_of_another_checkpoint_stay_until_new_ones_come(
    clips: Path, tmp_path: Path, weights: Path
) -> None:
    folder = tmp_path / "run"
    system = fake("FromFile", options={"weights": str(weights)})
    run(clips, folder, {"codec": "identity"}, system)
    before = rows(folder)
    weights.write_text("5")
    with pytest.raises(KeyboardInterrupt):
        run(clips, folder, {"codec": "identity"}, system, progress=StopAtOnce())
    pd.testing.assert_frame_equal(before, rows(folder))
    assert retired(folder) == 0

    summary = run(clips, folder, {"codec": "identity"}, system)
    after = rows(folder)
    old, new = (set(one[one["system"] == "FromFile"]["unit_key"]) for one in (before, after))
    assert summary.written == len(new) == retired(folder)
    assert not old & new
    assert set(after[after["system"] == "FromFile"]["point"]) == {"2bit", "5bit"}

    weights.write_text("6")  # what was measured once comes back
    assert run(clips, folder, {"codec": "identity"}, system).written == 0
    pd.testing.assert_frame_equal(before, rows(folder))
