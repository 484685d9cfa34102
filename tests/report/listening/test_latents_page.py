"""The page to listen to latents: what it holds, and what it never writes over."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from html_page import Page
from listening_codecs import RATE
from typer.testing import CliRunner

from rdbench.cli.main import app
from rdbench.latent.listening.heard import Group, Heard, Sound
from rdbench.report.listening.latents import write_listening
from rdbench.types import RdbenchError, StoreError

HOSTILE = '</script><img src=x onerror="alert(1)">=1+1'
SPEC = """
name: small
corpus: {kind: folder, path: clips}
protocol: {sample_rate: 8000, channels: mono, excerpt_seconds: null}
metrics: {default: [snr]}
systems:
  - {codec: "listening_codecs:CODEC", name: mine}
"""


def groups(names: tuple[str, ...] = ("one", "two"), count: int = 2) -> Iterator[Group]:
    rng = np.random.default_rng(0)
    for number in range(count):
        waves = rng.uniform(-0.5, 0.5, (len(names) + 1, 1, 2000)).astype(np.float32)
        sounds = [
            Sound(name, wave, {"level": -10.04, "norm": 0.5, "f0": float("nan")})
            for name, wave in zip(names, waves[1:], strict=True)
        ]
        yield Group(names[0], "paths", f"group {number}", RATE, waves[0], tuple(sounds), "A note.")


def heard(**more: Any) -> Heard:
    return Heard("Listening to it", ("Some clips.",), groups(**more))


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_folder_has_sounds_numbers_and_players(tmp_path: Path) -> None:
    page, table = write_listening(heard(), tmp_path / "page")
    rows = pd.read_csv(table)
    assert list(rows["sound"]) == ["one", "two"] * 2
    assert rows["level"].tolist() == [-10.04] * 4
    assert rows["f0"].isna().all()
    expected = list(groups())[1].sounds[1].samples
    samples, rate = soundfile.read(tmp_path / "page" / rows["file"].iloc[3])
    assert rate == RATE
    assert samples == pytest.approx(expected[0], abs=2**-16)
    text = page.read_text()
    assert "−10.0" in text
    assert [tag for tag, _ in Page(text).tags].count("button") == 3  # two groups, and Play
    for name in ("player.js", "clips.js"):
        own = Path(__file__).parents[3] / "rdbench/report/html/assets" / name
        assert (tmp_path / "page/assets" / name).read_bytes() == own.read_bytes()


def test_the_same_groups_give_the_same_bytes_and_nothing_old_stays(tmp_path: Path) -> None:
    out = tmp_path / "page"
    write_listening(heard(count=3), out)
    write_listening(heard(), out)
    again = contents(out)
    write_listening(heard(), tmp_path / "other")
    assert contents(tmp_path / "other") == again


def test_names_are_text_and_never_act(tmp_path: Path) -> None:
    made = heard(names=(HOSTILE, "../../x"))
    made.failures, made.lacking = [HOSTILE], [HOSTILE]
    page, table = write_listening(made, tmp_path / "page")
    tags = Page(page.read_text()).tags
    assert "img" not in [tag for tag, _ in tags]
    assert all("onerror" not in attributes for _, attributes in tags)
    assert not any(path.is_relative_to(tmp_path / "x") for path in tmp_path.rglob("*"))
    assert {path.name for path in tmp_path.iterdir()} == {"page"}
    script = (tmp_path / "page/data/overview.js").read_text()
    assert "<" not in script
    rows = pd.read_csv(table)
    assert rows["file"].map(lambda name: (tmp_path / "page" / name).is_file()).all()
    Path(tmp_path / "formula").mkdir()
    _, table = write_listening(heard(names=("=1+1",)), tmp_path / "formula")
    assert "'=1+1" in table.read_text()


def test_a_page_without_a_sound_says_why(tmp_path: Path) -> None:
    made = heard(count=0)
    made.failures.append("the decoder failed")
    with pytest.raises(RdbenchError, match="nothing to hear: the decoder failed"):
        write_listening(made, tmp_path / "page")


def test_another_folder_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    for name in ("notes.txt", ".rdbench-report"):
        folder = tmp_path / name.strip(".")
        folder.mkdir()
        (folder / name).write_text("mine")
        with pytest.raises(StoreError, match="choose another folder"):
            write_listening(heard(), folder)
        assert contents(folder) == {name: b"mine"}


def test_no_link_is_followed(tmp_path: Path) -> None:
    out, mine = tmp_path / "page", tmp_path / "mine"
    write_listening(heard(), out)
    mine.mkdir()
    (mine / "kept").write_text("mine")
    for name in ("listen.csv", "index.html"):
        (out / name).unlink()
        (out / name).symlink_to(mine / "kept")
    (out / "audio").rename(out / "data" / "audio_before")
    (out / "audio").symlink_to(mine)
    write_listening(heard(), out)
    assert contents(mine) == {"kept": b"mine"}
    assert not (out / "audio").is_symlink()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Writes a spec of a codec; returns the words of the command."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "clips").mkdir()
    for number in range(4):
        wave = 0.05 * rng.standard_normal(2000)
        wave[100] = 0.95 if number == 1 else 0.0
        soundfile.write(tmp_path / "clips" / f"{number}.wav", wave, RATE, subtype="FLOAT")

    def write(codec: str) -> list[str]:
        (tmp_path / "spec.yaml").write_text(SPEC.replace("CODEC", codec))
        return ["latent", "listen", "spec.yaml", "--allow-code", "--seconds", "0.3"]

    return write


def test_the_command_writes_a_page_twice_alike(project: Callable[[str], list[str]]) -> None:
    words = project("Frames")
    for out in ("a", "b"):
        told = CliRunner().invoke(app, [*words, "--out", out])
        assert told.exit_code == 0, told.output
        assert f"{out}/index.html" in told.output
    assert contents(Path("a")) == contents(Path("b"))
    rows = pd.read_csv("a/listen.csv")
    assert set(rows["part"]) == {"prior", "interpolation", "arithmetic", "paths"}
    assert rows.loc[rows["part"] == "paths", "group"].nunique() == 3  # of four clips
    page = Path("a/index.html").read_text()
    assert "Not here: mine has no draws of the diagonal" in page
    assert "Failed" not in page
    overview = json.loads(Path("a/data/overview.js").read_text().split(",", 1)[1].rstrip(");\n"))
    assert len(overview["groups"]) == rows.groupby(["part", "group"]).ngroups


def test_a_failure_is_told_on_the_page_and_by_the_exit_code(
    project: Callable[[str], list[str]],
) -> None:
    told = CliRunner().invoke(app, [*project("Endless"), "--out", "a", "--quiet"])
    assert told.exit_code == 1, told.output
    page = Path("a/index.html").read_text()
    assert "Failed: " in page
    assert "not finite; mend the model." in page
    assert "Prior samples" in page


@pytest.mark.parametrize(
    ("codec", "more", "said"),
    [("Frames", ["--path", "meen"], "no variant 'meen'"),
     ("Frames", ["--tables", "none.json"], "cannot read the entropy tables"),
     ("Frames", ["--probe", "none"], "none"),
     ("Frames", ["--out", "clips"], "choose another folder"),
     ("Fragile", [], "nothing to hear")],
)  # fmt: skip
def test_mistakes_are_one_sentence(
    project: Callable[[str], list[str]], codec: str, more: list[str], said: str
) -> None:
    told = CliRunner().invoke(app, [*project(codec), "--out", "a", "--quiet", *more])
    assert isinstance(told.exception, RdbenchError)  # the entry point makes exit code 2 of it
    assert said in str(told.exception)
    assert "\n" not in str(told.exception)
