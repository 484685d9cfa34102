"""Which parameters an optimizer moves, and how fast."""

from __future__ import annotations

import pytest
import torch

from rdbench.models.autoencoder import Autoencoder
from rdbench.models.config import (
    AutoencoderConfig,
    GaussianConfig,
    RvqConfig,
    SpectralConfig,
    StarConfig,
)
from rdbench.training.optimizers import learning_rate, optimizers_of, set_learning_rate
from rdbench.training.run_recipe import OptimizerConfig
from rdbench.types import RdbenchError


def model(bottleneck: GaussianConfig | RvqConfig) -> Autoencoder:
    backbone = SpectralConfig(hop=80, width=8, encoder_layers=1, decoder_layers=1)
    return Autoencoder(
        AutoencoderConfig(sample_rate=8000, backbone=backbone, bottleneck=bottleneck)
    )


GAUSSIAN = model(GaussianConfig(channels=4))
RVQ = model(RvqConfig(channels=4, codebooks=3, codebook_size=4, codebook_dim=2))


def shapes(group: dict[str, list[torch.nn.Parameter]]) -> list[tuple[int, ...]]:
    return [tuple(p.shape) for p in group["params"]]


def test_codebooks_move_at_their_own_rate() -> None:
    (adamw,) = optimizers_of(RVQ, OptimizerConfig(codebook_factor=7.0))
    rest, codebooks = adamw.param_groups
    assert (rest["factor"], codebooks["factor"]) == (1.0, 7.0)
    assert shapes(codebooks) == [(4, 2)] * 3
    assert len(rest["params"]) + 3 == len(list(RVQ.parameters()))
    assert len(optimizers_of(GAUSSIAN, OptimizerConfig())[0].param_groups) == 1


def test_muon_moves_matrices_but_no_codebook_and_adamw_the_rest() -> None:
    adamw, muon = optimizers_of(RVQ, OptimizerConfig(kind="muon"))
    (matrices,) = muon.param_groups
    assert all(len(shape) == 2 for shape in shapes(matrices))
    assert (4, 2) not in shapes(matrices)
    names = {id(p): name for name, p in RVQ.named_parameters()}
    moved = [p for one in (adamw, muon) for group in one.param_groups for p in group["params"]]
    assert sorted(names[id(p)] for p in moved) == sorted(names.values())
    set_learning_rate(adamw, 0.5)
    assert [group["lr"] for group in adamw.param_groups] == [0.5, 5.0]


def test_muon_moves_no_table_of_the_star_backbone() -> None:
    """Decays and slopes belong to channels one by one: they are not what a layer multiplies by."""
    backbone = StarConfig(strides=(4,), widths=(4, 8), dilations=(1,), layers=1, state=2)
    whole = Autoencoder(AutoencoderConfig(backbone=backbone))
    _, muon = optimizers_of(whole, OptimizerConfig(kind="muon"))
    names = {id(p): name for name, p in whole.named_parameters()}
    moved = {names[id(p)] for p in muon.param_groups[0]["params"]}
    assert "encoder.scans.0.directions.0.select.weight" in moved
    assert {name.rpartition(".")[2] for name in moved} == {"weight"}


def test_muon_has_the_step_of_adamw() -> None:
    """An orthogonal update whose RMS is 0.2 of the learning rate, as AdamW's is in practice."""
    config = OptimizerConfig(kind="muon", learning_rate=1e-2, weight_decay=0.0)
    whole = model(GaussianConfig(channels=4))
    _, muon = optimizers_of(whole, config)
    matrix = muon.param_groups[0]["params"][0]
    before = matrix.detach().clone()
    matrix.grad = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(0))
    muon.step()
    step = (matrix.detach() - before) / 1e-2
    singular = torch.linalg.svdvals(step / (0.2 * max(matrix.shape) ** 0.5))
    # The quintic of Jordan et al. brings singular values to about 0.7-1.2, not to 1.
    assert singular.min() > 0.5
    assert singular.max() < 1.3


def test_a_torch_without_muon_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(RdbenchError, match=r"has no Muon; install torch 2\.9"):
        optimizers_of(GAUSSIAN, OptimizerConfig(kind="muon"))


def test_learning_rate_warms_up_and_falls() -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup=10, schedule="cosine", final_share=0.1)
    values = [learning_rate(config, step, 110) for step in range(110)]
    assert values[:2] == [0.1, 0.2]
    assert max(values) == values[10] == 1.0
    assert values[60] == pytest.approx(0.55)
    assert values[-1] == pytest.approx(0.1, abs=0.001)
    constant = OptimizerConfig(learning_rate=1.0, warmup=0, schedule="constant")
    assert {learning_rate(constant, step, 10) for step in range(10)} == {1.0}
