"""`rdbench watch`: each checkpoint once, by the step in its name; what cannot be read is said."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tiny_vae import Net
from typer.testing import CliRunner

from rdbench.cli.main import app
from rdbench.engine.run import RunOptions
from rdbench.models import shipped
from rdbench.monitor.watch import step_of, watch
from rdbench.types import SpecError

QUICK: dict[str, Any] = {
    "name": "quick",
    "corpus": {"kind": "embedded", "domains": ["speech"], "sample": {"clips": 1}},
    "protocol": {"sample_rate": 16000, "channels": "mono", "excerpt_seconds": 1.0},
    "metrics": {"default": ["lsd"]},
}
OPTIONS = RunOptions(device="cpu", workers=1, costs="none", allow_code=True)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("epoch=3-step=1200.ckpt", 1200),
        ("vae_6k_step50.safetensors", 50),
        ("model_0040000.pt", 40000),
        ("40000/weights.safetensors", 40000),
        ("run2/40000/weights.safetensors", 40000),
        ("weights.safetensors", None),
    ],
)
def test_the_step_is_the_number_in_the_name(name: str, step: int | None) -> None:
    assert step_of(Path(name)) == step


def test_what_is_there_is_evaluated_and_the_damaged_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    shutil.copy(shipped.find("vae_6k"), folder / "step_200.safetensors")
    shutil.copy(shipped.find("vae_3k"), folder / "step_100.safetensors")
    (folder / "step_150.safetensors").write_bytes(b"half")
    said: list[str] = []
    failures = watch(folder, QUICK, tmp_path / "out", options=OPTIONS, say=said.append)
    assert [path.name for path in failures] == ["step_150.safetensors"]
    table = pd.read_csv(tmp_path / "out" / "training.csv")
    assert list(table["step"].unique()) == [100, 200]
    assert table["kbps"].is_monotonic_increasing
    assert "step_150" in said[1]
    assert (tmp_path / "out" / "training_speech.png").is_file()


class Enough(Exception):
    """Ends the watching."""


def test_a_file_that_grows_is_left_until_it_stands_still(tmp_path: Path) -> None:
    folder, whole = tmp_path / "checkpoints", shipped.find("vae_6k").read_bytes()
    folder.mkdir()
    said: list[str] = []
    looks = 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        path = folder / "step_1.safetensors"
        if looks == 1:
            path.write_bytes(whole[:1000])
        elif looks == 2:
            path.write_bytes(whole)
        elif looks == 6:
            raise Enough

    with pytest.raises(Enough):
        watch(
            folder, QUICK, tmp_path / "out", options=OPTIONS, every=1, say=said.append, sleep=sleep
        )
    assert len(said) == 1
    assert "step 1 is in" in said[0]


def test_a_codec_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    torch.save(Net().state_dict(), tmp_path / "step-3.pt")
    system = {"codec": "tiny_vae:TinyVae", "name": "mine", "options": {"weights": "{checkpoint}"}}
    spec = {**QUICK, "systems": [system]}
    failures = watch(tmp_path, spec, tmp_path / "out", options=OPTIONS, pattern="*.pt")
    assert failures == {}
    assert list(pd.read_csv(tmp_path / "out" / "training.csv")["system"].unique()) == ["mine"]


def test_what_cannot_be_watched_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no folder"):
        watch(tmp_path / "no", QUICK, tmp_path / "out", options=OPTIONS)
    with pytest.raises(SpecError, match="has no checkpoint"):
        watch(tmp_path, QUICK, tmp_path / "out", options=OPTIONS)
    systems = [{"codec": "opus"}, {"codec": "mp3"}]
    with pytest.raises(SpecError, match="several systems"):
        watch(tmp_path, {**QUICK, "systems": systems}, tmp_path / "out", options=OPTIONS)
    with pytest.raises(SpecError, match=r"no option of its system has \{checkpoint\}"):
        watch(tmp_path, {**QUICK, "systems": systems[:1]}, tmp_path / "out", options=OPTIONS)


def test_the_command_ends_with_1_where_a_checkpoint_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "step_150.safetensors").write_bytes(b"half")
    done = CliRunner().invoke(app, ["watch", str(tmp_path), "-o", str(tmp_path / "o"), "--once"])
    assert done.exit_code == 1
    assert "step_150.safetensors" in done.output
