"""The callback of Lightning: evaluates on time, logs, and never ends a training."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tiny_vae import Broken, Net, TinyVae

pytest.importorskip("lightning.pytorch", reason="needs the extra lightning")
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from rdbench.monitor.lightning import EvaluateCallback
from rdbench.types import SpecError

QUICK: dict[str, Any] = {
    "corpus": {"kind": "embedded", "domains": ["speech"], "sample": {"clips": 1}},
    "metrics": {"default": ["lsd"]},
}


class Module(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        mean, _ = self.net.encode(batch).chunk(2, dim=1)
        return (self.net.decode(mean) - batch).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-3)


def train(callback: EvaluateCallback, folder: Path, **more: Any) -> Trainer:
    data = torch.utils.data.DataLoader(torch.randn(8, 1, 640), batch_size=1)
    trainer = Trainer(
        default_root_dir=folder, max_steps=4, accelerator="cpu", callbacks=[callback],
        logger=CSVLogger(folder, name="log"), log_every_n_steps=1, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, **more,
    )  # fmt: skip
    trainer.fit(Module(), data)
    return trainer


def test_it_evaluates_every_so_many_steps_and_logs(tmp_path: Path) -> None:
    callback = EvaluateCallback(lambda module: TinyVae(net=module.net), QUICK, every_n_steps=2)
    train(callback, tmp_path, accumulate_grad_batches=2)
    table = pd.read_csv(tmp_path / "evaluations" / "training.csv")
    assert list(table["step"].unique()) == [2, 4]
    assert table.groupby("step")["value"].first().nunique() == 2  # the weights of that step
    logged = pd.read_csv(next(tmp_path.rglob("metrics.csv")))
    assert logged["rdbench/speech/lsd"].notna().sum() == 2


def test_training_goes_on_where_an_evaluation_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    callback = EvaluateCallback(lambda _: Broken(), QUICK, every_n_steps=4)
    with caplog.at_level(logging.WARNING):
        assert train(callback, tmp_path).global_step == 4
    assert "step 4 was not evaluated: " in caplog.text


def test_nonsense_is_refused() -> None:
    with pytest.raises(SpecError, match="every_n_steps is 0"):
        EvaluateCallback(lambda module: module, every_n_steps=0)
