"""Codecs that rdbench knows and other environments run: names, rates, keys, and what goes wrong."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from stand_in.vq.codec_decoder import CodecDecoder
from stand_in.vq.codec_encoder import CodecEncoder

from rdbench.codecs.base import Codec
from rdbench.codecs.registry import ELSEWHERE, create
from rdbench.codecs.remote.adapters.loading import imported_from
from rdbench.codecs.remote.codec import ADAPTERS
from rdbench.codecs.testing import check_codec
from rdbench.rate import rates
from rdbench.types import (
    CODES,
    AudioBatch,
    CodecError,
    MissingProgramError,
    RateKind,
    Tokens,
    WeightsError,
)

HERE = Path(__file__).parent


def save_weights(path: Path, *, seed: int = 0) -> None:
    """A checkpoint of the stand-in in BigCodec's format, with a discriminator's tensor beside."""
    torch.manual_seed(seed)
    encoder, decoder = CodecEncoder(), CodecDecoder()
    beside = {**decoder.state_dict(), "discriminator.weight": torch.ones(1)}
    torch.save({"CodecEnc": encoder.state_dict(), "generator": beside}, path)


@pytest.fixture
def options(tmp_path: Path) -> dict[str, str]:
    """What a spec names: a checkout, and weights."""
    shutil.copytree(
        HERE / "stand_in", tmp_path / "BigCodec", ignore=shutil.ignore_patterns("__pycache__")
    )
    save_weights(tmp_path / "bigcodec.pt")
    return {
        "checkout": str(tmp_path / "BigCodec"),
        "weights": str(tmp_path / "bigcodec.pt"),
    }


def adapter_of(name: str) -> Any:
    module, _, attribute = ELSEWHERE[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def bigcodec(options: dict[str, str], python: str = sys.executable) -> Codec:
    return create("bigcodec", python=python, options=options, allow_code=True)


def test_a_codec_from_a_checkout_is_one_like_any_other(options: dict[str, str]) -> None:
    codec = bigcodec(options)
    check_codec(codec)
    assert codec.info.name == "bigcodec"
    assert [(one.name, one.target_kbps) for one in codec.points] == [("1.04", 1.04)]
    audio = AudioBatch(0.1 * torch.randn(2, 1, 1001), torch.tensor([1001, 900]), 16_000)
    encoded = codec.encode(audio, codec.point("1.04"))
    measured = rates(encoded)[RateKind.NOMINAL]
    assert [one.bits for one in measured] == [13 * 6, 13 * 5]
    torch.manual_seed(0)
    encoder, decoder = CodecEncoder(), CodecDecoder()
    padded = torch.nn.functional.pad(audio.samples[:1], (0, 199))
    embedded, codes, _ = decoder(encoder(padded))
    assert isinstance(encoded.payload, Tokens)
    assert torch.equal(encoded.payload.streams[0].codes[:1], codes)
    decoded = codec.decode(codec.decoder_input(encoded, CODES, [0, 0]))
    expected = decoder(embedded, vq=False)[0, 0, :1001]
    assert torch.allclose(decoded.samples[0, 0], expected, atol=1e-6)


def test_its_key_has_code_and_weights_by_content(options: dict[str, str]) -> None:
    def key() -> tuple[str, str]:
        info = bigcodec(options).info
        return info.version, info.weights_sha256

    checkout = Path(options["checkout"])
    first = key()
    assert f"Python {sys.version.split()[0]}, numpy {np.__version__}" in first[0]
    (checkout / "README.md").write_text("touched\n")
    os.utime(checkout / "vq" / "codec_decoder.py", (0, 0))
    assert key() == first
    assert not list(checkout.rglob("*.pyc"))
    (checkout / "vq" / "codec_decoder.py").open("a").write("# another\n")
    second = key()
    assert second[0] != first[0]
    assert second[1] == first[1]
    save_weights(Path(options["weights"]), seed=1)
    third = key()
    assert third[0] == second[0]
    assert third[1] != second[1]
    assert set(bigcodec(options).opens) >= {
        checkout / "vq" / "codec_decoder.py",
        Path(options["weights"]),
    }


def test_it_needs_an_interpreter_permission_and_its_options(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="environment of its own; name the interp"):
        create("bigcodec", allow_code=True)
    with pytest.raises(CodecError, match="needs the option 'checkout'"):
        create("bigcodec", python=sys.executable, allow_code=True)
    with pytest.raises(CodecError, match="has no option 'wieghts'; did you mean 'weights'"):
        create("bigcodec", python=sys.executable, allow_code=True, options={"wieghts": "a"})
    both = {"checkout": "a", "weights": "b"}
    with pytest.raises(CodecError, match="its option 'weights' is 3, which is no str"):
        create("bigcodec", python=sys.executable, allow_code=True, options={**both, "weights": 3})
    with pytest.raises(CodecError, match="--allow-code"):
        create("bigcodec", python=sys.executable, options=both)
    with pytest.raises(MissingProgramError, match="codec 'bigcodec': there is no interpreter"):
        bigcodec(both, str(tmp_path / "python"))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("no_checkout", "there is no .*BigCodec"),
        ("another_checkout", "has no vq/codec_decoder.py; name a checkout of https://github"),
        ("no_weights", "there is no .*bigcodec.pt"),
        ("pickle", "UnpicklingError while being built"),
        ("a_tensor_less", r"lack 1 of 3 tensors and have 0 unknown \(first 'quantizer"),
        ("a_layer_more", r"lack 0 of 2 tensors and have 1 unknown \(first 'block.extra'"),
    ],
)
def test_what_a_spec_names_wrongly_costs_its_system_alone(
    options: dict[str, str], fault: str, said: str
) -> None:
    checkout, weights = Path(options["checkout"]), Path(options["weights"])
    state = torch.load(weights, weights_only=True)
    if fault == "no_checkout":
        shutil.rmtree(checkout)
    elif fault == "another_checkout":
        shutil.rmtree(checkout / "vq")
    elif fault == "no_weights":
        weights.unlink()
    elif fault == "pickle":
        torch.save({"CodecEnc": HERE}, weights)
    elif fault == "a_tensor_less":
        del state["generator"]["quantizer.layers.0._codebook.weight"]
        torch.save(state, weights)
    else:
        state["CodecEnc"]["block.extra"] = torch.ones(1)
        torch.save(state, weights)
    with pytest.raises(WeightsError, match=said) as caught:
        bigcodec(options)
    assert "\n" not in str(caught.value)


def test_a_package_that_is_not_there_is_named(options: dict[str, str]) -> None:
    (Path(options["checkout"]) / "vq" / "__init__.py").write_text("import no_such_package\n")
    with pytest.raises(MissingProgramError, match="No module named 'no_such_package'; install"):
        bigcodec(options)


def test_a_module_that_is_no_file_is_of_no_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some are made up and say a bare name, which would mean a file of the folder one is in."""
    made_up, real = ModuleType("made_up"), ModuleType("real")
    made_up.__file__, real.__file__ = "made_up.py", str(tmp_path / "real.py")
    (tmp_path / "real.py").touch()
    for module in (made_up, real):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(tmp_path)
    assert imported_from(tmp_path) == [(tmp_path / "real.py").resolve()]


def test_adapters_need_no_rdbench_and_no_newer_python() -> None:
    """At the top they import the standard library and each other: all else in their classes."""
    for file in ADAPTERS.glob("*.py"):
        tree = ast.parse(file.read_text(), feature_version=(3, 8))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("rdbench"), file
        for node in tree.body:
            if isinstance(node, ast.Import):
                assert {one.name for one in node.names} <= sys.stdlib_module_names, file
            elif isinstance(node, ast.ImportFrom) and not node.level:
                assert node.module in {"__future__", *sys.stdlib_module_names}, file


@pytest.mark.parametrize("name", sorted(ELSEWHERE))
def test_every_adapter_says_whose_it_is(name: str) -> None:
    adapter = adapter_of(name)
    assert adapter.name == name
    assert adapter.licence
    assert re.search(r"arXiv:\d{4}\.\d{5}", adapter.citation)
    assert re.fullmatch(rf"{name} adapter \d+", adapter.version)
    parameters = list(inspect.signature(adapter).parameters.values())
    assert all(one.kind is inspect.Parameter.KEYWORD_ONLY for one in parameters)


PLACE = os.environ.get("RDBENCH_RESEARCH", "")
"""A folder with the codecs' checkouts and `env`, an environment that has their packages:

    python -m venv R/env
    R/env/bin/pip install torch==2.4.1 torchaudio==2.4.1 'numpy<2' einops pyyaml scipy \\
        huggingface_hub
    git clone https://github.com/jishengpeng/WavTokenizer R/wavtokenizer
    git clone https://github.com/Aria-K-Alethia/BigCodec R/bigcodec
    git clone https://github.com/OpenMOSS/MOSS-Audio-Tokenizer R/moss
    git clone https://github.com/meituan-longcat/LongCat-Audio-Codec R/longcat
    RDBENCH_RESEARCH=R pytest -m slow tests/codecs/remote/test_research_codecs.py

A codec whose checkout is not there is skipped. Pins differ, so a codec may have an environment of
its own as `R/NAME/env`. `stable_codec` and `nanocodec` have no checkout and need one, with the
packages `stable-codec` and `nemo_toolkit[tts]`.
"""
GIVEN: dict[str, dict[str, str]] = {
    "wavtokenizer": {"config": "config.yaml", "weights": "weights.ckpt"},
    "bigcodec": {"weights": "weights.pt"},
    "stable_codec": {"config": "config.json", "weights": "weights.ckpt"},
    "moss": {"weights": "model"},
    "longcat": {"checkout": "LongCat"},
    "nanocodec": {"weights": "weights.nemo"},
}
"""What `by_their_authors.py` writes, by option."""


@pytest.mark.slow
@pytest.mark.skipif(not PLACE, reason="RDBENCH_RESEARCH names no folder of checkouts")
@pytest.mark.parametrize("name", GIVEN)
def test_codes_and_audio_are_those_of_the_authors(name: str, tmp_path: Path) -> None:
    checkout = Path(PLACE).absolute() / name
    if not checkout.is_dir():
        pytest.skip(f"there is no {checkout}")
    own = checkout / "env"
    python = (own if own.exists() else checkout.parent / "env") / "bin" / "python"
    from_checkout = "checkout" in inspect.signature(adapter_of(name)).parameters
    rate = {"bigcodec": 16_000, "stable_codec": 16_000, "nanocodec": 22_050}.get(name, 24_000)
    time = np.arange(rate + 7) / rate
    noise = 0.05 * np.random.default_rng(0).standard_normal((2, len(time)))
    tone = 0.3 * np.sin(2 * np.pi * np.array([[220.0], [700.0]]) * time * (1 + 0.3 * time))
    samples = (tone + noise).astype(np.float32)
    np.save(tmp_path / "samples.npy", samples)
    program = [python, HERE / "by_their_authors.py", name, checkout if from_checkout else ""]
    subprocess.run([*program, tmp_path], check=True)
    options = {option: str(tmp_path / file) for option, file in GIVEN[name].items()}
    if name == "longcat":
        options["decoder"] = "24k_4codebooks"
    elif from_checkout:
        options["checkout"] = str(checkout)
    codec = create(name, python=str(python), options=options, allow_code=True)
    audio = AudioBatch(torch.from_numpy(samples)[:, None], torch.full((2,), samples.shape[1]), rate)
    encoded = codec.encode(audio, codec.points[-1])
    assert isinstance(encoded.payload, Tokens)
    codes = np.load(tmp_path / "codes.npy")
    assert len(np.unique(codes)) > 20
    assert (encoded.payload.streams[0].codes.numpy() == codes).mean() >= 0.999
    decoded = codec.decode(codec.decoder_input(encoded, CODES, [0, 0]))
    expected = np.load(tmp_path / "audio.npy")
    difference = np.abs(decoded.samples[:, 0].numpy() - expected).max()
    assert difference <= 1e-5 * np.abs(expected).max()
    check_codec(codec)
