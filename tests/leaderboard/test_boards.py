"""Who stands beside whom on a leaderboard, and who is left out, with a sentence; and its site."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from submissions import another, change_manifest, change_rows, fill_in
from typer.testing import CliRunner

from rdbench.cli.main import app
from rdbench.leaderboard.boards import read_collection
from rdbench.leaderboard.site import write_site
from rdbench.spec.model import ProtocolSpec
from rdbench.types import RdbenchError, SpecError

HOSTILE = "</script><img src=x onerror=alert(1)>"


def left_out(folder: Path) -> dict[str, str]:
    return dict(read_collection(folder).left_out)


def of_another_protocol(manifest: dict[str, Any]) -> None:
    """Whole clips become excerpts, in the protocol, its fingerprint and the spec."""
    protocol = manifest["protocol"]
    resampler = protocol.pop("resampler")
    del protocol["fingerprint"]
    protocol["excerpt_seconds"] = 3.0
    made = ProtocolSpec.model_validate(protocol)
    manifest["spec"]["protocol"] = dict(protocol)
    manifest["protocol"] = {
        "fingerprint": made.fingerprint(resampler), "resampler": resampler, **protocol
    }  # fmt: skip


def without_a_clip(folder: Path) -> None:
    def cut(manifest: dict[str, Any]) -> None:
        clips = manifest["corpus"]["clips"]
        manifest["corpus"]["clips"] = [one for one in clips if one["name"] != "clip_2.wav"]

    change_manifest(folder, cut)
    change_rows(folder, lambda rows: rows[rows["clip"] != "clip_2.wav"])


def test_bad_submissions_are_left_out_and_the_others_stand(submission: Path) -> None:
    folder = submission.parent
    another(submission, "good", label="mine", louder=1.0)
    fill_in(another(submission, "same_name"), name="good")
    without_a_clip(another(submission, "few_clips"))
    change_manifest(another(submission, "other_protocol"), of_another_protocol)
    fill_in(another(submission, "unsigned"), by="")
    (folder / "empty").mkdir()
    (folder / "leaderboard.yaml").write_text("boards: {main: {like: opus_run, anchor: opus}}\n")
    found = read_collection(folder)
    (board,) = found.boards
    assert [one.name for one in board.submissions] == ["opus_run", "good"]
    why = dict(found.left_out)
    assert why["same_name"] == "good is called 'good' too; give it another name"
    assert why["few_clips"] == "1 of the board's 5 clips are missing (clip_2.wav)"
    assert why["other_protocol"].startswith("no board has its protocol and its clips")
    assert why["unsigned"].startswith("submission.yaml does not say who submits")
    assert "is no submission" in why["empty"]
    assert len(why) == 5


def test_without_a_configuration_every_protocol_has_a_board(submission: Path) -> None:
    change_manifest(another(submission, "other_protocol"), of_another_protocol)
    boards = read_collection(submission.parent).boards
    assert [board.name for board in boards] == ["opus_run", "other_protocol"]


def test_a_metric_of_another_version_is_listed_apart(submission: Path) -> None:
    change_manifest(another(submission, "z"), lambda m: m["metrics"]["lsd"].update(version=9))
    (board,) = read_collection(submission.parent).boards
    (said,) = board.apart
    assert said == "z: lsd is version 9 there and version 1 on this board; it is not compared"
    rows = board.run.rows
    keys = rows[rows["kind"] == "metric"].groupby("curve")["key"].agg(set)
    assert "lsd" in keys["opus_run/opus"]
    assert "lsd" not in keys["z/opus"]


def test_what_two_submissions_measured_alike_stands_once(submission: Path) -> None:
    copy = Path(shutil.copytree(submission, submission.parent / "copy"))
    fill_in(copy, name="copy")
    (board,) = read_collection(submission.parent).boards
    assert set(board.entries) == {"copy/opus", "copy/identity"}
    assert board.apart == ["opus_run: identity, opus is measured as copy has it, and stands once"]
    # Who copies the keys and not the values takes nobody's place.
    better = {"si_sdr": 20.0}
    change_rows(copy, lambda r: r.assign(value=r["value"] + r["key"].map(better).fillna(0.0) * (
        r["system"] == "opus")))  # fmt: skip
    (board,) = read_collection(submission.parent).boards
    assert set(board.entries) == {"copy/opus", "copy/identity", "opus_run/opus"}
    assert "opus_run: opus has other values than copy of the same" in board.apart[0]


def test_clips_of_other_durations_and_sets_of_other_clips_do_not_stand(submission: Path) -> None:
    longer = another(submission, "longer")
    change_rows(longer, lambda r: r.assign(seconds=2 * r["seconds"]))
    more = another(submission, "more")

    def with_a_set(rows: pd.DataFrame) -> pd.DataFrame:
        one = rows[(rows["key"] == "lsd") & (rows["system"] == "opus")].iloc[:1]
        return pd.concat([rows, one.assign(clip="", unit_key="set", value=0.001)])

    def with_a_clip(manifest: dict[str, Any]) -> None:
        clips = manifest["corpus"]["clips"]
        clips.append({**clips[0], "name": "more.wav", "content": "0" * 64})
        manifest["plan"] = []

    change_rows(more, with_a_set)
    change_manifest(more, with_a_clip)
    (submission.parent / "leaderboard.yaml").write_text("boards: {main: {like: opus_run}}\n")
    found = read_collection(submission.parent)
    assert dict(found.left_out) == {
        "longer": "clip clip_0.wav has 2 seconds there and 1 on the board; submit the seconds as "
        "they were measured"
    }
    (board,) = found.boards
    assert "more/opus" in board.entries
    assert (board.run.rows["clip"] != "").all()


def test_a_model_may_lie_elsewhere_on_another_machine(submission: Path) -> None:
    for folder, place in ((submission, "/a/model"), (another(submission, "z"), "/b/model")):
        card = {"options": {"weights": place}, "model_file": {"path": place, "sha256": "0" * 64}}
        change_manifest(folder, lambda m, card=card: m["metrics"]["lsd"].update(card))
    (board,) = read_collection(submission.parent).boards
    assert board.apart == []


def test_what_a_configuration_names_is_there_or_said(submission: Path) -> None:
    folder = submission.parent
    config = folder / "leaderboard.yaml"
    squatter = another(submission, "0_first")
    fill_in(squatter, name="opus_run")
    fill_in(another(submission, "bad"), by="")
    hidden = another(submission, "hidden")
    change_manifest(hidden, lambda m: [c.update(transmitted=False) for c in m["variants"].values()])
    for said, why in {
        "{like: opus_run, anchor: opsu}": "which opus_run has not; did you mean 'opus'?",
        "{like: bad}": "'bad'; that has findings: submission.yaml does not say who submits",
    }.items():
        config.write_text(f"boards: {{main: {said}}}\n")
        with pytest.raises(SpecError) as caught:
            read_collection(folder)
        assert why in str(caught.value)
    config.write_text("boards: {one: {like: hidden}, main: {like: opus_run}}\n")
    found = read_collection(folder)
    why_not = dict(found.left_out)
    assert why_not["hidden"] == "nothing in it was decoded from what can be transmitted"
    assert why_not["0_first"] == "opus_run is called 'opus_run' too; give it another name"
    assert found.boards[1].founder.folder == submission


def test_a_folder_without_a_usable_submission_makes_no_site(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(RdbenchError, match="can be shown"):
        write_site(tmp_path, tmp_path / "site")
    with pytest.raises(RdbenchError, match="holds no submissions"):
        write_site(tmp_path / "one", tmp_path / "site")


@pytest.fixture(scope="module")
def site(complete: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two systems that differ, a third whose names act, and one that is left out."""
    folder = tmp_path_factory.mktemp("submissions")
    first = Path(shutil.copytree(complete, folder / "first"))
    fill_in(first, name="first")
    another(first, "louder", label="Louder", louder=3.0)
    fill_in(another(first, "hostile", label=HOSTILE, louder=-3.0), by=HOSTILE)
    (folder / HOSTILE.replace("/", "")).mkdir()
    done = CliRunner().invoke(app, ["leaderboard", str(folder), "-q", "-o", str(folder / ".site")])
    assert done.exit_code == 1, done.output
    assert done.output.count("rdbench: ") == 1
    return folder / ".site"


def taken(path: Path) -> Any:
    text = path.read_text(encoding="ascii")
    return json.loads(text[text.index(",") + 1 : text.rindex(")")])


def test_the_site_ranks_by_what_differs_significantly(site: Path) -> None:
    (board,) = (site / "data").iterdir()
    overview = taken(board / "overview.js")
    assert overview["axes"] == ["payload"]
    metric = next(i for i, one in enumerate(overview["metrics"]) if "SI-SDR" in one["name"])
    ranking = taken(board / "ranks" / f"0-{metric}-payload.js")
    names = [overview["curves"][curve]["name"] for curve in ranking["curves"]]
    rank = dict(zip(names, ranking["ranks"], strict=True))
    assert rank == {"Louder": [1, 1], "Opus": [2, 2], HOSTILE: [3, 3]}
    row, column = names.index("Louder"), names.index("Opus")
    there, back = ranking["cells"][row][column], ranking["cells"][column][row]
    assert (there[0], back[0]) == ("better", "worse")
    if there[4] == "bits":
        assert (1 + there[1] / 100) * (1 + back[1] / 100) == pytest.approx(1, rel=1e-4)
    else:
        assert there[1] == pytest.approx(-back[1])


def test_names_of_submissions_are_text_and_nothing_else(site: Path) -> None:
    pages = [site / "index.html", *(site / "boards").iterdir()]
    for page in pages:
        assert "<img" not in page.read_text(encoding="utf-8")
    for path in (site / "data").rglob("*.js"):
        assert "<" not in path.read_text(encoding="ascii")
    assert "&lt;img" in (site / "index.html").read_text(encoding="utf-8")


def test_the_site_is_rebuilt_in_its_place_and_in_no_other(site: Path, submission: Path) -> None:
    taken_place = submission.parent / "measurements"
    with pytest.raises(RdbenchError, match="no report of rdbench"):
        write_site(submission.parent, submission)
    assert not taken_place.exists()
    page, _ = write_site(submission.parent, submission.parent / ".site")
    page, found = write_site(submission.parent, submission.parent / ".site")
    assert page.is_file()
    assert [board.name for board in found.boards] == ["opus_run"]


def test_a_reader_filters_and_compares(site: Path) -> None:
    from leaderboard_browser import open_page

    (board,) = (site / "boards").iterdir()
    with open_page(board) as tab:
        page = tab.page
        rows = page.locator("#ranking tbody tr")
        rows.first.wait_for()
        assert rows.count() == 3
        assert rows.nth(0).locator("td").nth(0).inner_text() == "1"
        assert "Louder" in rows.nth(0).locator("td").nth(1).inner_text()
        page.select_option("#against", label="Louder")
        assert rows.nth(0).locator("td").nth(4).inner_text() == "itself"
        page.fill("#from-kbps", "100")
        page.keyboard.press("Tab")
        tab.waits("document.querySelectorAll('#ranking tbody tr').length === 0")
        page.fill("#from-kbps", "")
        page.keyboard.press("Tab")
        tab.waits("document.querySelectorAll('#ranking tbody tr').length === 3")
        page.set_viewport_size({"width": 380, "height": 800})
        wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        tab.waits(wide)
        assert tab.problems == []
