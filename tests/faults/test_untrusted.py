"""Files of other people: an error or a failed row, never a crash, a hang, code, or all memory.

Cases are made again from their numbers; the long version is
`python benchmarks/reliability.py --fuzz 20000`. What was ever found stays as a test of its own.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from fuzz import FORMATS, LIMIT_BYTES, SECONDS, fuzz

from rdbench.audio.clip import Clip
from rdbench.audio.corpus import folder_corpus, manifest_corpus
from rdbench.audio.load import ExcerptProtocol, load_excerpt
from rdbench.codecs.registry import create
from rdbench.engine.plan.clips import batches_of, plan_clips
from rdbench.models.autoencoder import Autoencoder
from rdbench.models.checkpoint import load, read_header, save
from rdbench.models.config import AutoencoderConfig, GaussianConfig, SpectralConfig
from rdbench.store.parts import list_parts, read_part, schema, with_version
from rdbench.types import AudioError, SpecError, StoreError, WeightsError
from rdbench.weights.checkpoints import read_checkpoint

CASES = 60


@pytest.mark.parametrize("name", FORMATS)
def test_mutated_files_are_answered_or_refused(name: str) -> None:
    result = fuzz(name, range(CASES), seed=7)
    assert result.cases == CASES
    assert not result.crashes, result.crashes[0]
    assert not result.hangs, result.hangs[0]
    assert result.slowest < SECONDS
    assert result.peak_bytes < LIMIT_BYTES


# -- audio


BOMB = """
import re, sys
from pathlib import Path
from rdbench.audio.clip import Clip
from rdbench.audio.load import ExcerptProtocol, load_excerpt
from rdbench.types import AudioError
import torch
torch.set_num_threads(1)
def kib(what):
    return int(re.search(what + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
small, clip = (Clip(path, Path(path), "audio", "g") for path in sys.argv[1:])
load_excerpt(small, ExcerptProtocol(16000, "mono", None))
before = kib("VmRSS")
for seconds in (1.0, None):
    try:
        load_excerpt(clip, ExcerptProtocol(16000, "mono", seconds))
    except AudioError as error:
        print(error)
# Not ru_maxrss, which begins at what the process that started this one held; and without the
# libraries, of which more or less is in memory.
print(kib("VmHWM") - before)
"""


@pytest.mark.parametrize("minutes", [11, 240])
def test_hours_of_silence_in_a_small_file_stay_small(tmp_path: Path, minutes: int) -> None:
    path = tmp_path / "bomb.flac"
    with soundfile.SoundFile(path, "w", 48000, 2) as file:
        for _ in range(minutes):
            file.write(np.zeros((48000 * 60, 2), np.float32))
    assert path.stat().st_size < 4e6
    small = tmp_path / "small.flac"
    soundfile.write(small, np.zeros((48000, 2), np.float32), 48000)
    command = [sys.executable, "-c", BOMB, str(small), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    *said, grown = done.stdout.splitlines()
    assert int(grown) * 1024 < 1.4e9
    assert len(said) == (minutes > 11)
    assert all("too long to be read at once" in line for line in said)


def test_of_a_wav_that_promises_2_to_the_40_samples_only_what_is_there_is_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lie.wav"
    soundfile.write(path, np.zeros(16000), 16000, format="RF64", subtype="PCM_16")
    content = bytearray(path.read_bytes())
    at = content.index(b"ds64") + 8
    content[at : at + 24] = struct.pack("<QQQ", 2**41 + 60, 2**41, 2**40)
    path.write_bytes(bytes(content))
    clip = Clip("lie", path, "audio", "g")
    for seconds in (0.5, None):
        with contextlib.suppress(AudioError):
            assert load_excerpt(clip, ExcerptProtocol(16000, "mono", seconds)).seconds <= 1.0


def test_a_pipe_among_the_clips_is_a_failed_clip_and_no_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    soundfile.write(tmp_path / "good.wav", np.zeros(1600), 16000)
    planned = plan_clips(folder_corpus(tmp_path), seed=0)
    assert {clip.clip.name: bool(clip.failure) for clip in planned} == {
        "good.wav": False, "pipe.wav": True,
    }  # fmt: skip
    assert batches_of(planned, seconds=1.0, longest={"audio": None})


# -- checkpoints


def refused(path: Path, said: str) -> None:
    with pytest.raises(WeightsError, match=said) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_view_larger_than_its_storage_allocates_nothing(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "w.pt"
    huge = torch.zeros(1).expand(2**20, 2**20)
    torch.save({"a": huge}, path, _use_new_zipfile_serialization=zipped)
    refused(path, "a tensor of 1099511627776 values in a storage of 1")


def test_a_storage_larger_than_its_record_is_not_read_past_its_end(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(8)}, buffer)
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename.endswith("data.pkl"):
                content = content.replace(b"K\x08", b"J\xff\xff\xff\x0f")
            new.writestr(entry.filename, content)
    refused(path, "promises 268435455 values in a storage that holds fewer")


@pytest.mark.parametrize(
    "value",
    [collections.Counter(bytearray(3)), bytearray(3), torch.zeros(3).to_sparse(), b"bytes", 3j],
    ids=["counter", "bytearray", "sparse", "bytes", "complex"],
)
def test_what_no_table_of_tensors_needs_is_not_interpreted(tmp_path: Path, value: Any) -> None:
    torch.save({"a": torch.ones(1), "b": value}, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", "holds code or objects")


def test_parameters_views_and_metadata_are_read_as_before(tmp_path: Path) -> None:
    state = {
        "turned": torch.nn.Parameter(torch.randn(3, 4)).t(),
        "part": torch.randn(10)[2:5],
        "empty": torch.zeros(0),
        "one": torch.tensor(3.0),
    }
    for zipped in (True, False):
        path = tmp_path / f"{zipped}.pt"
        content = {"state_dict": state, "metadata": {"size": torch.Size([2]), "set": {1}}}
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        found = read_checkpoint(path).state
        assert all(torch.equal(found[key], value) for key, value in state.items())


def safetensors(path: Path, header: Any, size: int = 16) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))
    return path


META = {"rdbench.format": "1", "rdbench.config": "{}"}
GOOD = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}


@pytest.mark.parametrize(
    "header",
    [
        {"__metadata__": {"rdbench.format": "²"}, "a": GOOD},
        {"__metadata__": {"rdbench.format": "9" * 5000}, "a": GOOD},
        {"__metadata__": META, "a": GOOD | {"shape": [10**4000] * 500}},
        {"__metadata__": META, "a": GOOD | {"shape": [2**40]}},
        {"__metadata__": META, "a": GOOD | {"dtype": ["F32"]}},
        {"__metadata__": META, "a": GOOD | {"data_offsets": ["0", "16"]}},
        {"__metadata__": META, "a": GOOD | {"data_offsets": [0.0, 16.0]}},
        {"__metadata__": META, "a": GOOD | {"data_offsets": [None, 16]}},
        {"__metadata__": META, "a": [GOOD]},
        {"__metadata__": [], "a": GOOD},
        {"__metadata__": META | {"rdbench.provenance": "[" * 10_000}, "a": GOOD},
        {"__metadata__": META | {"rdbench.provenance": "[]"}, "a": GOOD},
        b'{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, Infinity]}}',
        b"[" * 50_000,
    ],
    ids=range(14),
)
def test_headers_that_are_none_are_refused_at_once(tmp_path: Path, header: Any) -> None:
    path = safetensors(tmp_path / "w.safetensors", header)
    for read in (read_header, load):
        with pytest.raises(WeightsError) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    with contextlib.suppress(WeightsError):  # rdbench's own fields mean nothing there
        read_checkpoint(path)


@pytest.mark.parametrize("provenance", [{"recipe": "text"}, {"recipe": {"objective": [1]}}, {}])
def test_a_provenance_of_another_shape_is_no_rate(tmp_path: Path, provenance: Any) -> None:
    config = AutoencoderConfig(
        backbone=SpectralConfig(hop=80, width=8, encoder_layers=1, decoder_layers=1),
        bottleneck=GaussianConfig(channels=4),
    )
    path = tmp_path / "w.safetensors"
    save(path, Autoencoder(config), provenance)
    assert create("vae", options={"weights": str(path)}).points[0].target_kbps is None


def test_types_that_no_codec_uses_are_refused(tmp_path: Path) -> None:
    header = {"a": {"dtype": "F8_E4M3", "shape": [16], "data_offsets": [0, 16]}}
    refused(safetensors(tmp_path / "w.safetensors", header), "which no codec here uses")


# -- results of others


def part(folder: Path, table: pa.Table, **options: Any) -> Path:
    buffer = io.BytesIO()
    pq.write_table(with_version(table), buffer, compression="zstd", **options)
    content = buffer.getvalue()
    folder.mkdir(exist_ok=True)
    path = folder / f"part-00000001-{hashlib.sha256(content).hexdigest()[:16]}.parquet"
    path.write_bytes(content)
    return path


def columns(rows: int, reason: str) -> pa.Table:
    """Rows that differ in nothing but that they are many."""
    values = {
        name: pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), [reason])
        if kind == pa.string()
        else pa.array(np.zeros(rows))
        for name, kind in zip(schema().names, schema().types, strict=True)
    }
    return pa.table(values)


@pytest.mark.parametrize(
    ("rows", "length"), [(2_000_000, 10_000), (20_000_000, 1)], ids=["long text", "many rows"]
)
def test_a_part_that_would_unpack_to_gigabytes_is_refused(
    tmp_path: Path, rows: int, length: int
) -> None:
    path = part(tmp_path / "m", columns(rows, "x" * length))
    assert path.stat().st_size < 2e6
    with pytest.raises(StoreError, match=r"would unpack to .*more than rdbench writes"):
        read_part(list_parts(tmp_path / "m")[0])


def test_text_that_is_none_is_damage(tmp_path: Path) -> None:
    table = columns(3, "x").cast(schema())
    bad = pa.array([b"\xf3\xff\xfe"] * 3, pa.binary())
    text = pa.StringArray.from_buffers(3, bad.buffers()[1], bad.buffers()[2])
    place = table.schema.get_field_index("reason")
    part(tmp_path / "m", table.set_column(place, "reason", text))
    with pytest.raises(StoreError, match="is damaged"):
        read_part(list_parts(tmp_path / "m")[0])


# -- paths


@pytest.mark.parametrize(
    "name", ["a" * 5000, "../" * 2000 + "etc/passwd", "loop/x.wav", "/etc/passwd", "link/passwd"]
)
def test_names_in_manifests_stay_inside(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / "manifest.jsonl").write_text(json.dumps({"file": name}) + "\n")
    with pytest.raises(SpecError) as caught:
        manifest_corpus(tmp_path / "manifest.jsonl")
    assert len(str(caught.value)) < 12_000
