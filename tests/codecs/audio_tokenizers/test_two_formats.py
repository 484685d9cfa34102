"""EnCodec and DAC of their own packages, and the same weights in the format of `transformers`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from seeded_checkpoints import DAC_ARGUMENTS, agreement, save_dac, save_encodec

from rdbench.codecs.neural.trained import probe
from rdbench.codecs.registry import create
from rdbench.types import CODES
from rdbench.weights.checkpoints import read_checkpoint

transformers = pytest.importorskip("transformers", reason="pip install 'rdbench[transformers]'")

Layers = dict[str, dict[str, Any]]


def layers(state: Mapping[str, Any], part: str) -> Layers:
    """The tensors of each layer of a part of a model, in the model's order."""
    found: Layers = {}
    for name, value in state.items():
        if name.startswith(f"{part}."):
            layer, _, leaf = name.replace("parametrizations.weight.original0", "weight_g").replace(
                "parametrizations.weight.original1", "weight_v"
            ).rpartition(".")  # fmt: skip
            found.setdefault(layer, {})[leaf] = value
    return found


def folded(layer: Mapping[str, Any]) -> dict[str, Any]:
    """A layer's weight in the place of its size and direction."""
    if "weight_g" not in layer:
        return dict(layer)
    size, direction = layer["weight_g"], layer["weight_v"]
    norm = direction.flatten(1).norm(dim=1).reshape(-1, *(1,) * (direction.ndim - 1))
    return {"weight": size * direction / norm, "bias": layer["bias"]}


def converted(state: Mapping[str, Any], model: Any, *, fold: bool) -> Any:
    """`model` with the tensors of its own package's model, whose layers have the same order."""
    wanted, given = model.state_dict(), {}
    for part in ("encoder", "quantizer", "decoder"):
        theirs, ours = layers(state, part), layers(wanted, part)
        assert len(theirs) == len(ours)
        for layer, tensors in zip(ours, theirs.values(), strict=True):
            for leaf, value in (folded(tensors) if fold else tensors).items():
                given[f"{layer}.{leaf}"] = value.contiguous()
    renamed = {
        name: given[
            name.replace("parametrizations.weight.original0", "weight_g").replace(
                "parametrizations.weight.original1", "weight_v"
            )
        ]
        for name in wanted
    }
    model.load_state_dict(renamed)
    return model


def check_same(one: Any, other: Any, seconds: float) -> None:
    audio = probe(one.info.sample_rates[0], one.info.channels[0], seconds)
    first = one.encode(audio, one.points[-1])
    second = other.encode(audio, other.points[-1])
    codes = first.payload.streams[0]
    assert codes.frame_rate == second.payload.streams[0].frame_rate
    assert codes.codebook_sizes == second.payload.streams[0].codebook_sizes
    assert agreement(codes.codes, second.payload.streams[0].codes) >= 0.999
    for name, side in first.side.items():
        torch.testing.assert_close(side.values, second.side[name].values)
        assert torch.equal(side.bits, second.side[name].bits)
    wave = one.decode(one.decoder_input(first, CODES, [0])).samples
    again = other.decode(other.decoder_input(first, CODES, [0])).samples
    torch.testing.assert_close(again, wave, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("rate", "config"),
    [
        (24_000, {}),
        (
            48_000,
            {
                "sampling_rate": 48_000, "audio_channels": 2, "normalize": True,
                "chunk_length_s": 1.0, "overlap": 0.01, "norm_type": "time_group_norm",
                "use_causal_conv": False, "target_bandwidths": [3.0, 6.0, 12.0, 24.0],
            },
        ),
    ],
)  # fmt: skip
def test_encodec_is_the_same_in_both_formats(
    rate: int, config: dict[str, Any], tmp_path: Path
) -> None:
    path = save_encodec(tmp_path, rate)
    model = transformers.EncodecModel(transformers.EncodecConfig(**config))
    converted(read_checkpoint(path).state, model, fold=False).save_pretrained(tmp_path / "other")
    one = create(f"encodec_{rate // 1000}khz", options={"weights": path})
    other = create("transformers_encodec", options={"weights": tmp_path / "other"})
    assert [p.target_kbps for p in one.points] == [p.target_kbps for p in other.points]
    check_same(one, other, 0.4 if rate == 24_000 else 1.03)


def test_dac_is_the_same_in_both_formats(tmp_path: Path) -> None:
    path = save_dac(tmp_path, "dac_16khz")
    arguments = DAC_ARGUMENTS["dac_16khz"]
    config = transformers.DacConfig(
        encoder_hidden_size=16,
        decoder_hidden_size=96,
        downsampling_ratios=arguments["encoder_rates"],
        n_codebooks=arguments["n_codebooks"],
        sampling_rate=16_000,
        hidden_size=256,
    )
    state = read_checkpoint(path).state
    model = converted(state, transformers.DacModel(config), fold=True)
    model.save_pretrained(tmp_path / "other")
    check_same(
        create("dac_16khz", options={"weights": path}),
        create("transformers_dac", options={"weights": tmp_path / "other"}),
        0.4,
    )
