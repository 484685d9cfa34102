"""One spec of every kind of codec that papers compare, on the embedded clips, as a user runs it.

Other people's models carry seeded weights, in their packages' own layouts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from seeded_tokenizers import mimi, save, xcodec
from typer.testing import CliRunner

from rdbench.audio.corpus import embedded_corpus
from rdbench.cli.main import app
from rdbench.codecs.credits import CREDITS
from rdbench.store.reader import read_manifest, read_rows

diffusers = pytest.importorskip("diffusers", reason="pip install 'rdbench[diffusers]'")
snac = pytest.importorskip("snac", reason="pip install 'rdbench[snac]'")

PROGRAM = """
import pathlib, sys, zlib
work = {"encode": zlib.compress, "decode": zlib.decompress}[sys.argv[1]]
pathlib.Path(sys.argv[3]).write_bytes(work(pathlib.Path(sys.argv[2]).read_bytes()))
"""
SPEC = """
name: families
corpus: {kind: embedded, domains: [speech], sample: {clips: 2}}
protocol: {sample_rate: 16000, channels: mono, excerpt_seconds: null}
metrics: {default: [si_sdr, mel_dac_16k]}
systems:
  - {codec: files, name: elsewhere, options: {folders: decoded, stated_kbps: {decoded: 5}}}
  - codec: command
    name: program
    options:
      encode: [PYTHON, ./program.py, encode, "{input}", "{bitstream}"]
      decode: [PYTHON, ./program.py, decode, "{bitstream}", "{output}"]
  - {codec: mimi, points: [q1, q4], options: {weights: mimi}}
  - {codec: snac, options: {weights: snac}}
  - {codec: xcodec, points: [q1, q2], options: {weights: xcodec}}
  - {codec: diffusers, options: {weights: oobleck}}
  - {codec: opus, points: [12]}
costs: {enabled: false}
"""
KINDS = {
    "elsewhere": "stated", "program": "container", "mimi": "nominal", "snac": "nominal",
    "xcodec": "nominal", "diffusers": "kl", "opus": "payload",
}  # fmt: skip


def decoded_elsewhere(folder: Path) -> None:
    for clip in embedded_corpus().clips:
        samples, rate = soundfile.read(clip.path)
        path = folder / Path(clip.name).with_suffix(".wav")
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.round(samples * 256) / 256, rate)


def snac_model(folder: Path) -> None:
    config = {
        "sampling_rate": 24_000, "encoder_dim": 8, "decoder_dim": 128, "latent_dim": None,
        "encoder_rates": [2, 4, 8, 8], "decoder_rates": [8, 8, 4, 2], "attn_window_size": None,
        "codebook_size": 4096, "codebook_dim": 8, "vq_strides": [4, 2, 1], "noise": True,
        "depthwise": True,
    }  # fmt: skip
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    torch.save(snac.SNAC(**config).state_dict(), folder / "pytorch_model.bin")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("families")
    decoded_elsewhere(root / "decoded")
    (root / "program.py").write_text(PROGRAM)
    save(root / "mimi", mimi)
    save(root / "xcodec", xcodec)
    snac_model(root / "snac")
    torch.manual_seed(0)
    diffusers.AutoencoderOobleck(
        encoder_hidden_size=8, downsampling_ratios=[2, 4, 8], channel_multiples=[1, 2, 4],
        decoder_channels=8, decoder_input_channels=4, audio_channels=2, sampling_rate=16_000,
    ).save_pretrained(root / "oobleck")  # fmt: skip
    (root / "spec.yaml").write_text(SPEC.replace("PYTHON", sys.executable))
    return root


def test_codecs_of_every_family_run_from_one_spec(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    line = ["run", "spec.yaml", "--out", "run", "--allow-code", "--device", "cpu", "--quiet"]
    done = CliRunner().invoke(app, [*line, "--workers", "1"])
    assert done.exit_code == 0, done.output
    rows = read_rows(project / "run")
    scores = rows[rows["key"].isin(["si_sdr", "mel_dac_16k"])]  # a random model has no delay
    assert set(scores["system"]) == set(KINDS)
    assert set(scores["status"]) == {"ok"}
    cards = read_manifest(project / "run")["systems"]
    assert {name: cards[name]["headline"] for name in KINDS} == KINDS
    for name in ("mimi", "snac", "xcodec", "opus"):
        assert cards[name]["citation"] == CREDITS[name].citation
    assert cards["diffusers"]["citation"] == CREDITS["oobleck"].citation
    for name, kind in KINDS.items():
        bits = rows[(rows["system"] == name) & (rows["kind"] == "rate") & (rows["key"] == kind)]
        assert len(bits) >= 2, name
        assert (bits["value"] > 0).all(), name
    lossless = scores[(scores["system"] == "program") & (scores["key"] == "si_sdr")]
    assert (lossless["value"] > 50).all()  # 16 bits
    page = (project / "run" / "table.md").read_text()
    assert "stated" in page
