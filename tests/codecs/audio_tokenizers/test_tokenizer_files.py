"""What is read of a folder in the layout of `transformers`, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import seeded_tokenizers as made
import torch

from rdbench.codecs import registry
from rdbench.types import CodecError, WeightsError
from rdbench.weights.configs import MAX_CONFIG_BYTES
from rdbench.weights.hub import CONFIG, TRANSFORMERS_WEIGHTS
from rdbench.weights.published import NotFetchedError

pytest.importorskip("transformers", reason="pip install 'rdbench[transformers]'")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("saved")
    for name in ("mimi", "transformers_encodec", "higgs_audio_v2"):
        made.save(base / name, made.TOKENIZERS[name])
    return base


def copied(saved: Path, folder: Path, name: str = "mimi", **changes: Any) -> Path:
    """A copy of a model with other values in its configuration."""
    shutil.copytree(saved / name, folder, dirs_exist_ok=True)
    content = json.loads((folder / CONFIG).read_text()) | changes
    (folder / CONFIG).write_text(json.dumps(content))
    return folder


def create(name: str, folder: Path, **options: Any) -> Any:
    return registry.create(name, options={"weights": str(folder), "check": False, **options})


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / TRANSFORMERS_WEIGHTS)


def save_tensors(folder: Path, state: dict[str, torch.Tensor]) -> None:
    from safetensors.torch import save_file

    save_file(state, folder / TRANSFORMERS_WEIGHTS, {"format": "pt"})


def refused(name: str, folder: Path, said: str) -> None:
    with pytest.raises(WeightsError, match=said) as found:
        create(name, folder)
    assert "\n" not in str(found.value)
    assert str(found.value).count(" ") < 90


def test_tensors_are_those_of_the_file_under_its_own_names(saved: Path) -> None:
    codec = create("mimi", saved / "mimi")
    state = codec.model.state_dict()
    assert state["encoder.encoder_seanet.layers.0.conv.weight"].dtype == torch.float32
    assert sorted(float(t.double().sum()) for t in state.values()) == sorted(
        float(t.double().sum()) for t in tensors(saved / "mimi").values()
    )


def test_reading_asks_no_network_and_says_nothing(
    saved: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import socket

    from transformers.utils import logging

    asked: list[Any] = []
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, lambda *given, **options: asked.append(given))
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    assert create("mimi", saved / "mimi").points
    assert asked == []
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (level, bars)


def older_mimi(name: str) -> str:
    """The names under which Mimi is published: both halves in one."""
    for new, old in (
        ("encoder.encoder_seanet.", "encoder."), ("decoder.decoder_seanet.", "decoder."),
        ("encoder.encoder_transformer.", "encoder_transformer."),
        ("decoder.decoder_transformer.", "decoder_transformer."),
        ("encoder.downsample.", "downsample."), ("decoder.upsample.", "upsample."),
    ):  # fmt: skip
        if name.startswith(new):
            return old + name.removeprefix(new)
    return name


def older_encodec(name: str) -> str:
    """EnCodec is published with the older names of weight normalization."""
    return name.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v"
    )


@pytest.mark.parametrize(
    ("name", "older"), [("mimi", older_mimi), ("transformers_encodec", older_encodec)]
)
def test_names_of_older_files_are_read(saved: Path, tmp_path: Path, name: str, older: Any) -> None:
    new = create(name, saved / name).model.state_dict()
    folder = copied(saved, tmp_path, name)
    save_tensors(folder, {older(key): value.contiguous() for key, value in new.items()})
    assert set(tensors(folder)) != set(new)
    again = create(name, folder).model.state_dict()
    assert all(torch.equal(again[key], value) for key, value in new.items())


def test_a_tensor_that_published_files_have_too_many_is_passed_over(
    saved: Path, tmp_path: Path
) -> None:
    """Higgs Audio's speech model has no mask in use, its file has one."""
    folder = copied(saved, tmp_path, "higgs_audio_v2")
    content = json.loads((folder / CONFIG).read_text())
    content["semantic_model_config"]["mask_time_prob"] = 0.0
    (folder / CONFIG).write_text(json.dumps(content))
    assert "semantic_model.masked_spec_embed" in tensors(folder)
    codec = create("higgs_audio_v2", folder)
    assert "semantic_model.masked_spec_embed" not in codec.model.state_dict()


def test_half_precision_is_read_as_float32(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path, dtype="bfloat16")
    save_tensors(folder, {k: v.bfloat16() for k, v in tensors(folder).items()})
    codec = create("mimi", folder)
    assert {tensor.dtype for tensor in codec.model.state_dict().values()} == {torch.float32}


def test_the_configuration_is_part_of_the_version(saved: Path, tmp_path: Path) -> None:
    one = create("mimi", saved / "mimi").info
    other = create("mimi", copied(saved, tmp_path, sliding_window=9)).info
    assert one.weights_sha256 == other.weights_sha256
    assert one.version != other.version
    assert one.details["weights_from"] == "a folder"


def test_absent_weights_are_one_sentence(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=r"needs the option weights: .* such as kyutai/mimi"):
        registry.create("mimi")
    refused("mimi", tmp_path / "nowhere", "there is no folder")
    refused("mimi", tmp_path, r"has no config\.json")
    assert create("mimi", saved, subfolder="mimi").points
    (tmp_path / CONFIG).write_text((saved / "mimi" / CONFIG).read_text())
    refused("mimi", tmp_path, r"model\.safetensors cannot be read: .*No such file")
    (tmp_path / f"{TRANSFORMERS_WEIGHTS}.index.json").write_text("{}")
    refused("mimi", tmp_path, "split into several files")


def test_a_model_of_the_hub_is_fetched_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(NotFetchedError, match="rdbench weights fetch kyutai/mimi --revision abc"):
        registry.create("mimi", options={"weights": "kyutai/mimi", "revision": "abc"})


def test_a_model_in_the_cache_of_the_hub_is_found(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0" * 40
    shutil.copytree(saved / "mimi", tmp_path / "models--a--b" / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    codec = registry.create("mimi", options={"weights": "a/b", "revision": commit})
    assert codec.info.details["weights_from"] == f"https://huggingface.co/a/b at {commit}"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "dac"}, "of the model type 'dac', not 'mimi'"),
        ({"model_type": None}, "of the model type 'None'"),
        ({"auto_map": {"AutoModel": "mine.Mine"}}, "auto_map asks for code of its own"),
        ({"quantization_config": {"quant_method": "bnb"}}, "quantized weights are not read"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000, more than 256"),
        ({"hidden_size": 10**9}, "hidden_size is 1000000000, more than"),
        ({"hidden_size": 2**20}, "asks for a model of"),
        ({"num_filters": 4096}, "asks for a model of .* values, the file of weights holds"),
        ({"num_quantizers": 200}, "the number of codebooks is 200"),
        ({"upsampling_ratios": [2**10] * 4}, "strides make"),
        ({"upsampling_ratios": [8] * 100}, "upsampling_ratios holds too much"),
        ({"upsampling_ratios": "8654"}, "is no configuration of such a model"),
        ({"_frame_rate": 10.0}, "its frame rate is 10.0, its strides make 12.5"),
        ({"_frame_rate": 25.0}, r"2 unexpected \(first 'decoder.upsample"),
        ({"sampling_rate": 0}, "is no configuration of such a model"),
        ({"sampling_rate": "24"}, "is no configuration of such a model"),
        ({"decoder_config": None}, "one half of the model"),
        ({"num_hidden_layers": 2}, "missing"),
        ({"num_hidden_layers": 0}, "unexpected"),
        ({"codebook_size": 32}, "of another shape"),
    ],
)
def test_a_configuration_that_is_another_or_hostile(
    saved: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused("mimi", copied(saved, tmp_path, **changes), said)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_segments_that_are_none_are_refused(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path, "transformers_encodec", chunk_length_s=1e-9, overlap=0.01)
    refused("transformers_encodec", folder, "its segments have 0 samples")


def test_a_model_that_cannot_encode_is_one_sentence(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path, pad_mode="sideways")
    with pytest.raises(WeightsError, match="the model cannot encode a test signal") as found:
        registry.create("mimi", options={"weights": folder})
    assert "\n" not in str(found.value)


def test_a_part_of_another_kind_is_refused(saved: Path, tmp_path: Path) -> None:
    part = {"model_type": "llama"}
    folder = copied(saved, tmp_path, "higgs_audio_v2", semantic_model_config=part)
    refused("higgs_audio_v2", folder, "model_type 'llama' is no part of such a model")


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 5000, " " * (MAX_CONFIG_BYTES + 1), '"x"'])
def test_a_configuration_that_is_none(saved: Path, tmp_path: Path, text: str) -> None:
    (copied(saved, tmp_path) / CONFIG).write_text(text)
    refused("mimi", tmp_path, "is no configuration of such a model")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop(min(state)), r"of 110 tensors 1 missing \(first"),
        (lambda state: state.update(extra=torch.zeros(3)), r"1 unexpected \(first 'extra'\)"),
        (
            lambda state: state.update({min(state): torch.zeros(2, 3)}),
            r"1 of another shape \(first",
        ),
        (
            lambda state: state.update({"encoder.layers.99.conv.bias": torch.zeros(3)}),
            "1 unexpected",
        ),
    ],
)
def test_other_tensors_than_those_of_the_model_are_refused(
    saved: Path, tmp_path: Path, change: Any, said: str
) -> None:
    state = tensors(copied(saved, tmp_path))
    change(state)
    save_tensors(tmp_path, state)
    refused("mimi", tmp_path, said)


def test_kernels_and_places_are_not_the_files_to_choose(saved: Path, tmp_path: Path) -> None:
    folder = copied(
        saved, tmp_path, attn_implementation="someone/kernel", transformers_weights="other.bin"
    )
    codec = create("mimi", folder)
    assert codec.model.config._attn_implementation == "sdpa"


def test_a_pickle_is_not_unpickled(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path)
    (folder / TRANSFORMERS_WEIGHTS).unlink()
    torch.save({}, folder / "pytorch_model.bin")
    refused("mimi", folder, r"model\.safetensors cannot be read")
