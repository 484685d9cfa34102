"""`rdbench.evaluate`: what a run would measure, of a model in memory, which stays as it was."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_vae import Broken, Net, TinyVae

import rdbench
from rdbench.codecs.registry import names
from rdbench.engine.run import RunOptions, run_benchmark
from rdbench.metrics.registry import keys
from rdbench.models import shipped
from rdbench.monitor.steps import read_step, scalars
from rdbench.spec.load import make_spec
from rdbench.types import CodecError, SpecError

QUICK: dict[str, Any] = {
    "corpus": {"kind": "embedded", "domains": ["speech"], "sample": {"clips": 2}},
    "metrics": {"default": ["si_sdr", "lsd"]},
}


def test_steps_are_kept_and_drawn(tmp_path: Path) -> None:
    net = Net()
    codec = TinyVae(net=net)
    first = rdbench.evaluate(codec, QUICK, 100, folder=tmp_path)
    with torch.no_grad():
        net.decode.weight.mul_(0.5)
    second = rdbench.evaluate(codec, QUICK, 200, folder=tmp_path)
    assert set(first.values) == {
        "speech/kbps", "speech/si_sdr", "speech/lsd", "speech/si_sdr/mean", "speech/lsd/mean",
    }  # fmt: skip
    assert first.values["speech/kbps"] == second.values["speech/kbps"]
    assert first.values["speech/lsd"] != second.values["speech/lsd"]
    table = pd.read_csv(tmp_path / "training.csv")
    assert list(table["step"].unique()) == [100, 200]
    assert (tmp_path / "training_speech.pdf").is_file()
    again = rdbench.evaluate(codec, QUICK, 200, folder=tmp_path)
    assert again.values == second.values
    assert len(pd.read_csv(tmp_path / "training.csv")) == len(table)


def test_a_step_that_is_trained_anew_is_measured_anew(tmp_path: Path) -> None:
    net = Net()
    first = rdbench.evaluate(TinyVae(net=net), QUICK, 100, folder=tmp_path)
    with torch.no_grad():
        net.decode.weight.mul_(0.5)
    second = rdbench.evaluate(TinyVae(net=net), QUICK, 100, folder=tmp_path)
    assert first.values["speech/lsd"] != second.values["speech/lsd"]


def test_values_are_those_of_a_run(tmp_path: Path) -> None:
    """Of the same checkpoint, in other processes."""
    from rdbench.models import checkpoint

    model, _ = checkpoint.load(shipped.find("vae_6k"))
    found = rdbench.evaluate(model, QUICK, 1, folder=tmp_path / "held")
    system = {"codec": "vae", "name": "model", "options": {"weights": "vae_6k"}}
    content = {
        "name": "file",
        "protocol": {"sample_rate": 16000, "channels": "mono", "excerpt_seconds": 3.0},
        **QUICK,
        "systems": [system],
        "costs": {"enabled": False},
    }
    spec = make_spec(content, folder=tmp_path, metric_keys=keys(), codec_names=names())
    run_benchmark(spec, tmp_path / "run", RunOptions(workers=1))
    assert scalars(read_step(tmp_path / "run", 1)) == pytest.approx(found.values, rel=1e-6)


def test_everything_is_afterwards_as_it_was() -> None:
    net = Net()
    net.train()
    net.drop.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    net.encode(torch.zeros(1, 1, 320)).sum().backward()
    gradient = net.encode.weight.grad.clone()
    codec = TinyVae(net=net)
    info = codec.info
    try:
        rdbench.evaluate(codec, QUICK, 1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert net.training
    assert not net.drop.training
    assert codec.info == info
    assert torch.equal(net.encode.weight.grad, gradient)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert random.getstate() == states[0]
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])
    net.decode(net.encode(torch.ones(1, 1, 320))[:, :8]).sum().backward()  # it can go on


def test_without_a_spec_it_suits_the_model() -> None:
    found = rdbench.evaluate(
        TinyVae(net=Net()), {"corpus": {"kind": "embedded", "sample": {"clips": 1}}}
    )
    assert {"speech/pesq_wb", "speech/estoi", "speech/mel_dac_16k"} <= set(found.values)
    assert found.folder is None


def test_what_fails_everywhere_raises(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=r"step 5: nothing could be scored .*shapes do not fit"):
        rdbench.evaluate(Broken(), QUICK, 5, folder=tmp_path)


def test_what_cannot_be_used_is_said() -> None:
    with pytest.raises(CodecError, match="a Linear is no codec"):
        rdbench.evaluate(torch.nn.Linear(1, 1), QUICK)
    with pytest.raises(SpecError, match=r"`metrics\.default\[0\]`: there is no metric 'peqs'"):
        rdbench.evaluate(TinyVae(), {**QUICK, "metrics": ["peqs"]})
    with pytest.raises(SpecError, match="nothing can be logged to a int"):
        rdbench.evaluate(TinyVae(), QUICK, log=3)
    with pytest.raises(SpecError, match="a spec is a path, a mapping"):
        rdbench.evaluate(TinyVae(), 3)


class Writer:
    """As TensorBoard's."""

    def __init__(self) -> None:
        self.scalars: dict[str, float] = {}
        self.figures: list[str] = []

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars[name] = value

    def add_figure(self, name: str, figure: Any, step: int) -> None:
        self.figures.append(name)


class Wandb:
    def __init__(self) -> None:
        self.logged: dict[str, Any] = {}

    def log(self, values: dict[str, Any], step: int) -> None:
        self.logged |= {**values, "step": step}


class Lightning:
    def __init__(self) -> None:
        self.experiment = Writer()
        self.metrics: dict[str, float] = {}

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.metrics = metrics


def test_each_kind_of_logger_is_told() -> None:
    writer, wandb, lightning, told = Writer(), Wandb(), Lightning(), []
    found = rdbench.evaluate(
        TinyVae(), QUICK, 7, log=[writer, wandb, lightning, lambda *what: told.append(what)]
    )
    named = {f"rdbench/{name}": value for name, value in found.values.items()}
    assert writer.scalars == lightning.metrics == named
    assert writer.figures == lightning.experiment.figures == ["rdbench/speech/over_steps"]
    assert named.items() <= wandb.logged.items()
    assert wandb.logged["step"] == 7
    (step, values, figures) = told[0]
    assert (step, values, list(figures)) == (7, found.values, ["speech"])
