"""Mutated files of other people, given to every reader of rdbench in processes that are watched.

A case is a seed file, changed by a generator that is made from (seed, format, case number), so that
each can be made again from its number. Readers may answer or refuse with an `RdbenchError`; any
other exception, the end of the process, more than 10 s, or memory beyond the limit is a finding.
The process of the readers has an address space of `LIMIT_BYTES` beyond what it had when it began.
"""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rdbench.spec import shipped

SECONDS = 10.0
LIMIT_BYTES = 2 * 2**30
FORMATS = (
    "wav", "flac", "ogg", "mp3", "safetensors", "pt", "yaml", "parquet", "csv", "jsonl", "json",
    "tables", "probe", "npy", "npz", "bytes",
)  # fmt: skip
"""Endings of files; tables: of `rdbench fit-entropy`; probe: weights of one; bytes: a table of the
sizes of bitstreams."""
TEXTUAL = ("yaml", "csv", "jsonl", "json", "tables", "bytes")
REPOSITORY = Path(__file__).resolve().parents[2]
_INTEGERS = (
    0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1,
)  # fmt: skip
_WORDS = (
    b"1e999", b"-1", b"NaN", b"Infinity", b"99999999999999999999999", b"null", b"true", b"[]",
    b"{}", b'""', b"\x00", b"\xff\xfe", b"../../../etc/passwd",
    b"!!python/object/apply:os.system",
    b"&a [*a]", b"<<: *x", b"1_000", b"0x7f", b"\xc2\xb2", b"9" * 5000, b"[" * 2000,
    b'{"a":' * 2000,
)  # fmt: skip


# -- seeds


def make_seeds(folder: Path) -> dict[str, list[bytes]]:
    """Small sound files of every format, made anew each time by the same generator."""
    seeds = _audio_seeds(folder)
    seeds["safetensors"], seeds["pt"] = _weights_seeds(folder)
    specs = sorted([*shipped.FOLDER.glob("*.yaml"), *(REPOSITORY / "benchmarks").rglob("*.yaml")])
    seeds["yaml"] = [path.read_bytes() for path in specs]
    seeds["parquet"], seeds["json"] = _run_seeds(folder)
    seeds["csv"] = [
        b"file,start,duration,domain,group\na.wav,0,1.5,speech,s1\na.wav,1.5,,music,\n",
        b'\xef\xbb\xbffile\n"a.wav"\n',
    ]
    rows = [{"file": "a.wav", "start": 0.5, "duration": 1, "group": 3}, {"file": "a.wav"}]
    seeds["jsonl"] = [b"\n".join(json.dumps(row).encode() for row in rows)]
    seeds["tables"] = [_tables_seed()]
    seeds["probe"] = [_probe_seed(folder)]
    seeds["npy"], seeds["npz"] = _array_seeds()
    seeds["bytes"] = [b"file,bytes\nclip.wav,120\n", b"point,file,bytes\n12,clip,7\n6,clip,5\n"]
    return seeds


def _audio_seeds(folder: Path) -> dict[str, list[bytes]]:
    import soundfile

    generator = np.random.default_rng(0)
    made: dict[str, list[bytes]] = {}
    for name, rate, channels, suffix, subtype in (
        ("wav", 16000, 1, "wav", "PCM_16"), ("wav", 44100, 2, "wav", "FLOAT"),
        ("wav", 8000, 1, "wav", "ULAW"), ("wav", 16000, 3, "wav", "PCM_24"),
        ("wav", 16000, 1, "wav", "IMA_ADPCM"), ("wav", 16000, 1, "wav", "MS_ADPCM"),
        ("flac", 16000, 1, "flac", "PCM_16"), ("flac", 48000, 2, "flac", "PCM_24"),
        ("ogg", 16000, 1, "ogg", "VORBIS"), ("ogg", 48000, 2, "ogg", "OPUS"),
        ("mp3", 16000, 1, "mp3", "MPEG_LAYER_III"), ("mp3", 44100, 2, "mp3", "MPEG_LAYER_III"),
    ):  # fmt: skip
        time_ = np.arange(round(0.3 * rate)) / rate
        samples = 0.3 * np.sin(2 * np.pi * 220 * time_)[:, None] * np.ones((1, channels))
        samples = samples + 0.01 * generator.standard_normal(samples.shape)
        path = folder / f"seed.{suffix}"
        soundfile.write(path, samples, rate, subtype=subtype)
        made.setdefault(name, []).append(path.read_bytes())
    return made


def _weights_seeds(folder: Path) -> tuple[list[bytes], list[bytes]]:
    import torch
    from safetensors.torch import save as to_bytes

    from rdbench.models.autoencoder import Autoencoder
    from rdbench.models.checkpoint import save
    from rdbench.models.config import AutoencoderConfig, GaussianConfig, SpectralConfig

    torch.manual_seed(0)
    config = AutoencoderConfig(
        backbone=SpectralConfig(hop=80, width=8, encoder_layers=1, decoder_layers=1),
        bottleneck=GaussianConfig(channels=4),
    )
    save(folder / "seed.safetensors", Autoencoder(config), {"recipe": "fuzz"})
    state = {"a": torch.randn(3, 4), "b": torch.arange(5), "c": torch.randn(2).half()}
    tensors = [(folder / "seed.safetensors").read_bytes(), to_bytes(state, {"k": "[1, 2]"})]
    archives = []
    for zipped in (True, False):
        path = folder / "seed.pt"
        torch.save(
            {"state_dict": state, "metadata": {"k": 1}},
            path,
            _use_new_zipfile_serialization=zipped,
        )
        archives.append(path.read_bytes())
    return tensors, archives


def _run_seeds(folder: Path) -> tuple[list[bytes], list[bytes]]:
    from rdbench.rate.trace import Trace
    from rdbench.store.schema import Kind, Row
    from rdbench.store.writer import RunWriter
    from rdbench.types import RateKind, Status

    def beside(kind: Kind, key: str) -> Row:
        return replace(row(1), unit_key=kind, kind=kind, key=key, value=1.0, backend="")

    def row(index: int) -> Row:
        failed = index % 7 == 0
        return Row(
            f"{index:032x}", "opus", "Opus", str(index % 3), "codes", f"c{index // 3}.wav",
            "speech", "g", 3.0, Kind.METRIC, "pesq_wb", float("nan") if failed else index / 7,
            "MOS", "r", Status.FAILED if failed else Status.OK, "it broke" if failed else "",
        )  # fmt: skip

    run = folder / "seed_run"
    with RunWriter(run) as writer:
        writer.append([row(index) for index in range(60)])
        trace = Trace(RateKind.KL, "channel", (0, 1), (0.0, 0.0), (0.25, 0.75), 9)
        writer.trace(beside(Kind.TRACE, "channel"), trace)
        writer.feature(beside(Kind.FEATURE, "d"), np.arange(12.0).reshape(3, 4))
        writer.write_manifest(
            {
                "corpus": {"clips": [{"name": f"c{i}.wav", "domain": "speech"} for i in range(20)]},
                "plan": [
                    {"system": "opus", "point": str(p), "variant": "codes", "domain": "speech",
                     "each": [["metric", "pesq_wb", ""]], "whole": []}
                    for p in range(3)
                ],
                "systems": {"opus": {"headline": "payload", "points": ["0", "1", "2"]}},
            }
        )  # fmt: skip
    parts = [path.read_bytes() for path in sorted(run.glob("*/*.parquet"))]
    return parts, [(run / "manifest.json").read_bytes()]


def _tables_seed() -> bytes:
    import torch

    from rdbench.rate.coded.fitted import FittedLatent
    from rdbench.rate.linear import LinearGaussian
    from rdbench.rate.prior import GaussianPrior, Moments
    from rdbench.rate.static import StaticTables
    from rdbench.rate.tables import Entry, Tables
    from rdbench.types import Posterior

    mean = torch.randn(1, 3, 60, generator=torch.Generator().manual_seed(0))
    fitted = [Posterior(mean, torch.full_like(mean, 0.1), torch.tensor([60]), 50.0)]
    moments = Moments.of(fitted)
    tokens = StaticTables.fit([[np.arange(8, dtype=np.int32)[None]]], [(8,)])
    latents = Entry(
        "vae", "bb", "6", prior=GaussianPrior.fit(moments),
        full=LinearGaussian.fit(fitted, moments, 0),
        linear=LinearGaussian.fit(fitted, moments, 2),
        latent=FittedLatent.fit(fitted, moments, np.ones(3)),
    )  # fmt: skip
    return Tables((Entry("lyra", "aa", "9.2", tokens=tokens), latents), ("f1",)).dumps()


def _probe_seed(folder: Path) -> bytes:
    import torch

    from rdbench.models.probe.checkpoint import save
    from rdbench.models.probe.config import ProbeConfig, ProbeShape
    from rdbench.models.probe.transformer import Probe

    torch.manual_seed(0)
    shape = ProbeShape(width=16, layers=1, heads=2)
    config = ProbeConfig(shape=shape, channels=3, live=(0, 2), frame_rate=10, sample_rate=8000)
    about = {"codec": "vae", "codec_sha256": "ab" * 32, "fitted_on": ["11"]}
    save(folder / "seed_probe.safetensors", Probe(config), about)
    return (folder / "seed_probe.safetensors").read_bytes()


def _array_seeds() -> tuple[list[bytes], list[bytes]]:
    """Of `read_array_file`: a latent, tokens, mean and scale."""
    latent = np.linspace(-1, 1, 30, dtype=np.float32).reshape(3, 10)
    tokens = (np.arange(20) % 7).reshape(2, 10)

    def written(save: Callable[..., None], *arrays: Any, **named: Any) -> bytes:
        file = io.BytesIO()
        save(file, *arrays, **named)
        return file.getvalue()

    plain = [written(np.save, latent), written(np.save, tokens)]
    packed = [
        written(np.savez, mean=latent, scale=np.exp(latent)),
        written(np.savez_compressed, tokens),
    ]
    return plain, packed


# -- mutations


def mutated(seeds: dict[str, list[bytes]], name: str, case: int, seed: int) -> bytes:
    """Case number `case` of a format."""
    rng = np.random.default_rng([seed, FORMATS.index(name), case])
    pool = seeds[name]
    content = bytearray(pool[int(rng.integers(len(pool)))])
    for _ in range(int(rng.choice([1, 1, 1, 2, 3, 8]))):
        kinds = _CHANGES if name not in TEXTUAL else (*_CHANGES, _word, _word, _word, _line, _line)
        change = kinds[int(rng.integers(len(kinds)))]
        content = change(content, rng, pool)
        if name in ("safetensors", "probe") and rng.random() < 0.5:
            content = _word(content, rng, pool)
    return bytes(content[: 4 * 2**20])


def _at(content: bytearray, rng: np.random.Generator) -> int:
    """A place, more often near the beginning, where headers are."""
    limit = max(1, len(content))
    return int(rng.integers(min(limit, 128))) if rng.random() < 0.5 else int(rng.integers(limit))


def _flip(content: bytearray, rng: np.random.Generator, pool: list[bytes]) -> bytearray:
    if content:
        content[_at(content, rng)] ^= 1 << int(rng.integers(8))
    return content


def _byte(content: bytearray, rng: np.random.Generator, pool: list[bytes]) -> bytearray:
    if content:
        content[_at(content, rng)] = int(rng.integers(256))
    return content


def _integer(content: bytearray, rng: np.random.Generator, pool: list[bytes]) -> bytearray:
    size = int(rng.choice([2, 4, 8]))
    value = _INTEGERS[int(rng.integers(len(_INTEGERS)))] % 2 ** (8 * size)
    place = _at(content, rng)
    content[place : place + size] = value.to_bytes(size, "little" if rng.random() < 0.5 else "big")
    return content


def _cut(content: bytearray, rng: np.random.Generator, pool: list[bytes]) -> bytearray:
    return content[: _at(content, rng)]


def _remove(content: bytearray, rng: np.random.Generator, pool: list[bytes]) -> bytearray:
    place = _at(content, rng)
    del content[place : place + int(rng.integers(1, 64))]
    return content


def _repeat(content: bytearray, rng: np.random.Generator, pool: list[bytes]) -> bytearray:
    place = _at(content, rng)
    piece = content[place : place + int(rng.integers(1, 512))]
    content[place:place] = piece * int(rng.integers(1, 40))
    return content


def _noise(content: bytearray, rng: np.random.Generator, pool: list[bytes]) -> bytearray:
    place = _at(content, rng)
    content[place : place + int(rng.integers(1, 64))] = rng.bytes(int(rng.integers(1, 64)))
    return content


def _splice(content: bytearray, rng: np.random.Generator, pool: list[bytes]) -> bytearray:
    other = pool[int(rng.integers(len(pool)))]
    return content[: _at(content, rng)] + other[_at(bytearray(other), rng) :]


def _word(content: bytearray, rng: np.random.Generator, pool: list[bytes]) -> bytearray:
    """Replaces a number or a word."""
    place = _at(content, rng)
    end = place
    while end < len(content) and chr(content[end]).isalnum():
        end += 1
    content[place:end] = _WORDS[int(rng.integers(len(_WORDS)))]
    return content


def _line(content: bytearray, rng: np.random.Generator, pool: list[bytes]) -> bytearray:
    """Moves, repeats or removes lines."""
    lines = bytes(content).split(b"\n")
    first, second = (int(rng.integers(len(lines))) for _ in range(2))
    if rng.random() < 0.4:
        lines[first] = lines[second]
    elif rng.random() < 0.5:
        lines.insert(first, b" " * int(rng.integers(9)) + lines[second])
    else:
        del lines[first]
    return bytearray(b"\n".join(lines))


_CHANGES = (_flip, _byte, _integer, _cut, _remove, _repeat, _noise, _splice)


# -- readers


def read_audio(content: bytes, folder: Path, suffix: str) -> None:
    from rdbench.audio.clip import Clip
    from rdbench.audio.load import ExcerptProtocol, load_excerpt, read
    from rdbench.engine.plan.clips import PlannedClip, duration_hint

    path = folder / f"case.{suffix}"
    path.write_bytes(content)
    clip = Clip(path.name, path, "audio", "g")
    part = Clip("part", path, "audio", "g", start=0.05, duration=0.1)
    duration_hint(PlannedClip(clip, "", 0))
    _refusing(lambda: load_excerpt(part, ExcerptProtocol(16000, "mono", 0.05)))
    _refusing(lambda: load_excerpt(clip, ExcerptProtocol(16000, "mono", 0.1)))
    _refusing(lambda: read(path))


def read_weights(content: bytes, folder: Path, suffix: str) -> None:
    from rdbench.codecs.registry import create
    from rdbench.weights.checkpoints import read_checkpoint

    path = folder / f"case.{suffix}"
    path.write_bytes(content)
    _refusing(lambda: read_checkpoint(path))
    _refusing(lambda: create("vae", options={"weights": str(path)}))


def read_yaml(content: bytes, folder: Path, suffix: str) -> None:
    from rdbench.analysis.gate.config import read_config
    from rdbench.codecs.registry import names
    from rdbench.metrics.registry import keys
    from rdbench.spec.load import load_spec
    from rdbench.training.recipe import load

    path = folder / "case.yaml"
    path.write_bytes(content)
    _refusing(lambda: load_spec(path, metric_keys=keys(), codec_names=names()))
    _refusing(lambda: load(path))
    _refusing(lambda: read_config(path))


def read_parquet(content: bytes, folder: Path, suffix: str) -> None:
    from rdbench.store.features import read_features
    from rdbench.store.reader import done_keys, index, read_rows
    from rdbench.store.schema import Kind, Quantity
    from rdbench.store.traces import read_traces
    from rdbench.store.validate import validate_run

    run, others = folder / "run", folder / "attached_run"
    if not others.exists():
        _run_seeds(folder)
        (folder / "seed_run").rename(others)
    for parts in (run / "measurements", others / "traces", others / "features"):
        parts.mkdir(parents=True, exist_ok=True)
        for old in parts.iterdir():
            old.unlink()
        name = f"part-00000001-{hashlib.sha256(content).hexdigest()[:16]}.parquet"
        (parts / name).write_bytes(content)
    for read in (done_keys, read_rows, index, validate_run):
        _refusing(partial(read, run))
    _refusing(lambda: read_traces(others))
    _refusing(lambda: read_features(others, Quantity(Kind.FEATURE, "d")))
    _refusing(lambda: validate_run(others))


def read_list(content: bytes, folder: Path, suffix: str) -> None:
    from rdbench.audio.corpus import manifest_corpus

    path = folder / f"case.{suffix}"
    path.write_bytes(content)
    (folder / "a.wav").touch()
    _refusing(lambda: manifest_corpus(path))


def read_json(content: bytes, folder: Path, suffix: str) -> None:
    from rdbench.analysis.runs import read_run
    from rdbench.store.manifest import read_manifest
    from rdbench.store.status import run_status
    from rdbench.store.validate import validate_run

    run = folder / "json_run"
    if not run.exists():
        _run_seeds(folder)
        (folder / "seed_run").rename(run)
    (run / "manifest.json").write_bytes(content)
    _refusing(lambda: read_manifest(run))
    _refusing(lambda: run_status(run))
    _refusing(lambda: validate_run(run))
    _refusing(lambda: read_run(run))


def read_tables(content: bytes, folder: Path, suffix: str) -> None:
    from rdbench.rate.tables import Tables

    path = folder / "case.json"
    path.write_bytes(content)
    _refusing(lambda: Tables.load(path))


def read_probe(content: bytes, folder: Path, suffix: str) -> None:
    from rdbench.models.probe.checkpoint import load

    path = folder / "case.safetensors"
    path.write_bytes(content)
    _refusing(lambda: load(path))


def read_array_file(content: bytes, folder: Path, suffix: str) -> None:
    """As a predicted latent, and as tokens and a posterior beside a reconstruction."""
    from rdbench.engine.plan.predicted import FolderPredictions

    own, decoded = _folder_with(content, folder, suffix), _decoded(folder)
    predictions = FolderPredictions.of(own, ["clip"])
    _refusing(lambda: predictions.latent("clip", (3, 10)))
    for bits in (
        {"tokens": str(own), "codebook_sizes": 7},
        {"latents": str(own), "decoded_from": "sample"},
    ):
        _refusing(partial(_encode_files, {"folders": str(decoded), **bits}))


def read_bytes_table(content: bytes, folder: Path, suffix: str) -> None:
    table = folder / "bytes.csv"
    table.write_bytes(content)
    for point in ("6", "12"):
        bits = {"folders": {point: str(_decoded(folder))}, "byte_counts": str(table)}
        _refusing(partial(_encode_files, bits))


def _folder_with(content: bytes, folder: Path, suffix: str) -> Path:
    """A folder with this file alone, of the clip `clip`."""
    own = folder / f"of_{suffix}"
    own.mkdir(exist_ok=True)
    (own / f"clip.{suffix}").write_bytes(content)
    return own


def _decoded(folder: Path) -> Path:
    import soundfile

    decoded = folder / "decoded"
    if not decoded.exists():
        decoded.mkdir()
        soundfile.write(decoded / "clip.wav", np.zeros(8000), 8000)
    return decoded


def _encode_files(options: dict[str, Any]) -> None:
    """What the codec `files` makes of the rates of a clip: kinds and kbps."""
    import torch

    from rdbench.codecs.registry import create
    from rdbench.rate.measure import rates
    from rdbench.types import AudioBatch

    codec: Any = create("files", options=options)
    audio = AudioBatch(torch.zeros(1, 1, 8000), torch.tensor([8000]), 8000)
    (point,) = codec.points
    given = codec.find(point, ["clip"], Path)
    rates(codec.encode(audio, point, [given["clip"]]))


def _refusing(read: Callable[[], Any]) -> None:
    from rdbench.types import RdbenchError

    try:
        read()
    except RdbenchError as error:
        message = str(error)
        if not message or "\n" in message:
            raise AssertionError(f"no sentence: {message!r}") from error


READERS: dict[str, Callable[[bytes, Path, str], None]] = {
    "wav": read_audio, "flac": read_audio, "ogg": read_audio, "mp3": read_audio,
    "safetensors": read_weights, "pt": read_weights, "yaml": read_yaml, "parquet": read_parquet,
    "csv": read_list, "jsonl": read_list, "json": read_json, "tables": read_tables,
    "probe": read_probe, "npy": read_array_file, "npz": read_array_file,
    "bytes": read_bytes_table,
}  # fmt: skip


# -- watching


@dataclass
class Result:
    """What came of some cases of one format."""

    cases: int = 0
    crashes: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    slowest: float = 0.0
    peak_bytes: int = 0
    """Largest resident memory of a process of readers, Python and libraries included."""
    idle_bytes: int = 0
    """The same before its first case."""


@dataclass(frozen=True)
class Subject:
    """What reads a kind of case, and what it does first, so that imports are no part of a case."""

    name: str
    read: Callable[[bytes, Path, str], None]
    warm_up: Callable[[Path], None] | None = None
    seconds: float = SECONDS


def _serve(subject: Subject, cases: range, seed: int, contents: Any, pipe: Any) -> None:
    """The process of the readers: announces every case before it is read."""
    name = subject.name
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    os.dup2(sys.stderr.fileno(), 2)
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        seeds = contents if contents is not None else make_seeds(folder)
        if subject.warm_up:
            subject.warm_up(folder)
        for item in seeds[name][:1] if isinstance(seeds, dict) else ():
            subject.read(item, folder, name)  # imports and warms up
        pipe.send(("idle", 0, _peak()))
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + LIMIT_BYTES, resource.RLIM_INFINITY))
        for case in cases:
            content = mutated(seeds, name, case, seed) if isinstance(seeds, dict) else seeds[case]
            pipe.send(("begin", case, None))
            try:
                subject.read(content, folder, name)
            except BaseException:
                pipe.send(("raised", case, traceback.format_exc(limit=-3)))
        pipe.send(("peak", 0, _peak()))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fuzz(
    what: str | Subject, cases: range, *, seed: int = 0, contents: list[bytes] | None = None
) -> Result:
    """Reads cases of one format (or the given contents) in watched processes."""
    subject = Subject(what, READERS[what]) if isinstance(what, str) else what
    result = Result()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rdbench.audio.load", "torch", "pyarrow.parquet", "pandas"])
    current, limit = cases.start, cases.stop
    while current < limit:
        ours, theirs = context.Pipe(duplex=False)
        worker = context.Process(
            target=_serve, args=(subject, range(current, limit), seed, contents, theirs)
        )
        worker.start()
        theirs.close()
        current = _watch(worker, ours, subject, range(current, limit), result)
        worker.join()
    return result


def _watch(worker: Any, pipe: Any, subject: Subject, cases: range, result: Result) -> int:
    """Follows one process to its end; returns the case that the next one begins with."""
    name = subject.name
    began, at, patience = time.monotonic(), cases.start, 300.0
    while True:
        if not pipe.poll(patience):
            worker.kill()
            result.hangs.append(f"{name} {at}: more than {patience:g} s")
            result.cases += 1
            return at + 1
        try:
            kind, case, more = pipe.recv()
        except EOFError:
            worker.join()
            result.crashes.append(f"{name} {at}: the process ended with {worker.exitcode}")
            result.cases += 1
            return at + 1
        now = time.monotonic()
        if kind == "begin":
            if patience == subject.seconds and case > at:
                result.slowest = max(result.slowest, now - began)
                result.cases += 1
            began, at, patience = now, case, subject.seconds
        elif kind == "raised":
            result.crashes.append(f"{name} {case}: {more}")
        elif kind == "idle":
            result.idle_bytes = max(result.idle_bytes, more)
        elif kind == "peak":
            result.peak_bytes = max(result.peak_bytes, more)
            result.slowest = max(result.slowest, now - began)
            result.cases += 1
            return cases.stop
