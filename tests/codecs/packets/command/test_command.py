"""Codecs that are programs: bits of files, audio back, and whatever a program may do instead."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import psutil
import pytest
import soundfile
import torch

from rdbench.codecs.packets import pcm
from rdbench.codecs.packets.command import program
from rdbench.codecs.packets.command.codec import Command
from rdbench.codecs.packets.framing import split
from rdbench.codecs.registry import create
from rdbench.codecs.testing import check_codec
from rdbench.engine.plan.systems import build_systems
from rdbench.engine.run import RunOptions, run_benchmark
from rdbench.identity import Watch
from rdbench.rate import rates
from rdbench.rate.trace import traces
from rdbench.spec.load import load_spec
from rdbench.spec.model import BenchmarkSpec
from rdbench.store.reader import read_rows
from rdbench.types import CODES, AudioBatch, CodecError, MissingProgramError, RateKind

TOY = str(Path(__file__).with_name("programs") / "toy.py")
PYTHON = [sys.executable, "-I", "-S", TOY]
ENCODE = [*PYTHON, "encode", "{input}", "{bitstream}"]
DECODE = [*PYTHON, "decode", "{bitstream}", "{output}"]
RATE = 8000


def toy(**options: Any) -> Command:
    return Command(**({"encode": ENCODE, "decode": DECODE, "sample_rate": RATE} | options))


def faulty(fault: str, *, encoder: bool = False, **options: Any) -> Command:
    which = "encode" if encoder else "decode"
    return toy(**{which: [*{"encode": ENCODE, "decode": DECODE}[which], fault], **options})


def tone(*lengths: int, channels: int = 1, rate: int = RATE) -> AudioBatch:
    samples = torch.zeros(len(lengths), channels, max(lengths))
    for clip, length in enumerate(lengths):
        time = torch.arange(length) / rate
        samples[clip, :, :length] = 0.4 * torch.sin(2 * torch.pi * (200 + 50 * clip) * time)
    return AudioBatch(samples, torch.tensor(lengths), rate)


def through(codec: Command, audio: AudioBatch):
    encoded = codec.encode(audio, codec.points[0])
    return encoded, codec.decode(codec.decoder_input(encoded, CODES, [0] * audio.clips)).samples


def marked() -> list[int]:
    """The processes that programs of this test have left behind."""
    mark = os.environ["TOY"]
    running = psutil.process_iter(["cmdline"])
    return [one.pid for one in running if mark in (one.info["cmdline"] or [])]


@pytest.fixture(autouse=True)
def mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOY", f"toy of {tmp_path}")


@pytest.mark.parametrize(
    "options",
    [
        {"padding": 100, "sample_rate": [8000, 16000], "channels": [1, 2]},
        {"decode": [*DECODE, "late"], "delay": 100, "payload": "raw", "header_bytes": 6},
    ],
)
def test_it_keeps_the_rules_of_codecs(options: dict[str, Any]) -> None:
    check_codec(toy(**options), seconds=0.1)


def test_what_is_decoded_is_what_the_program_made() -> None:
    audio = tone(4001, 3000)
    _, decoded = through(toy(), audio)
    wanted = (audio.samples * 128).round() / 128
    assert torch.equal(decoded, wanted)


def test_bytes_are_those_of_the_file_and_of_its_payload() -> None:
    audio = tone(4000)
    whole = rates(toy().encode(audio, toy().points[0]))
    assert {kind: found[0].bits for kind, found in whole.items()} == {
        RateKind.CONTAINER: 8 * 4006.0
    }
    codec = toy(payload="raw", header_bytes=6)
    encoded = codec.encode(audio, codec.points[0])
    found = {kind: found[0].bits for kind, found in rates(encoded).items()}
    assert found == {RateKind.PAYLOAD: 8 * 4000.0, RateKind.CONTAINER: 8 * 4006.0}
    assert toy().info.headline is RateKind.CONTAINER
    assert codec.info.headline is RateKind.PAYLOAD
    assert traces(toy().encode(audio, toy().points[0])) == [[]]


def test_packets_behind_their_lengths_are_told_apart() -> None:
    stream = split(b"head" + b"\3\0abc" + b"\0\0" + b"\1\0z", "prefixed", 4)
    assert (stream.packets, stream.header) == ((b"abc", b"", b"z"), b"head")
    with pytest.raises(CodecError, match="do not end where the file does"):
        split(b"head" + b"\3\0ab", "prefixed", 4)
    with pytest.raises(CodecError, match="no header of 8"):
        split(b"head", "raw", 8)
    with pytest.raises(CodecError, match="FFmpeg does not know its container"):
        split(b"head" * 100, "demuxed")


def test_packets_in_a_container_are_those_that_were_put_there() -> None:
    audio, opus = tone(8000), create("opus", points=[24])
    (stream,) = opus.encode(audio, opus.points[0]).payload.clips
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as container:
        added = container.add_stream("libopus", rate=RATE, options=opus._settings)
        added.codec_context.layout, added.codec_context.bit_rate = "mono", 24000
        added.codec_context.format = "flt"
        frame = av.AudioFrame.from_ndarray(audio.samples[0].numpy(), "flt", "mono")
        frame.sample_rate = RATE
        container.mux(added.encode(frame))
        container.mux(added.encode(None))
    found = split(file.getvalue(), "demuxed")
    assert (found.packets, found.header) == (stream.packets, stream.header)
    assert found.container_bytes == stream.container_bytes


# Arguments and points.


def test_placeholders_stand_for_the_point() -> None:
    codec = toy(
        encode=[*ENCODE, "{step}"],
        settings={"fine": {"kbps": 64, "step": 256}, "coarse": {"kbps": 32, "step": 512}},
    )
    assert [point.name for point in codec.points] == ["coarse", "fine"]
    audio = tone(4000)
    coarse, fine = (codec.encode(audio, point).payload.clips[0].file[6:] for point in codec.points)
    middle = [(byte - 128) for byte in fine]
    assert [byte - 128 for byte in coarse] == pytest.approx([m / 2 for m in middle], abs=0.51)
    assert [p.name for p in create("command", points=[32], allow_code=True, options={
        "encode": ENCODE, "decode": DECODE,
        "settings": {"a": {"kbps": 64}, "b": {"kbps": 32}},
    }).points] == ["b"]  # fmt: skip


def test_braces_in_the_name_of_a_folder_are_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "a{kbps}" / "{b"
    folder.mkdir(parents=True)
    (folder / "toy.py").write_text(Path(TOY).read_text())
    python = [sys.executable, "-I", "-S", str(folder / "toy.py")]
    codec = toy(
        encode=[*python, "encode", "{input}", "{bitstream}"],
        decode=[*python, "decode", "{bitstream}", "{output}"],
    )
    assert [point.name for point in codec.points] == ["default"]
    assert folder / "toy.py" in codec.opens
    _, decoded = through(codec, tone(1000))
    assert decoded.any()
    with pytest.raises(CodecError, match=r"\{kbp\} in encode stands for nothing"):
        toy(encode=[*ENCODE, f"{tmp_path}/a{{kbps}}/{{kbp}}.bin"])


def test_doubled_braces_around_a_name_are_braces(tmp_path: Path) -> None:
    texts = [f"{tmp_path}/new{{{{kbps}}}}/{{kbps}}.bin", "{{kbp}}", '{"a": {"b": 1}}', "{{ x }}"]
    codec = toy(points=[24], encode=[*ENCODE, *texts])
    (point,) = codec.points
    files = {"input": Path("i"), "bitstream": Path("b")}
    filled = codec._templates.filled("encode", files, point.settings)[-4:]
    assert filled == [f"{tmp_path}/new{{kbps}}/24.bin", "{kbp}", '{"a": {"b": 1}}', "{{ x }}"]
    with pytest.raises(CodecError, match=r"encode has no \{input\}"):
        toy(encode=[*PYTHON, "{{input}}", "{bitstream}"])
    with pytest.raises(MissingProgramError, match=r"no_such_\{kbps\}"):
        toy(encode=["./no_such_{{kbps}}", "{input}", "{bitstream}"])


def test_rates_are_written_as_a_user_would() -> None:
    codec = toy(points=[24, 9.6], encode=[*ENCODE, "{kbps}", "{bps}", "{sample_rate}"])
    filled = [
        codec._templates.filled("encode", {"input": Path("i"), "bitstream": Path("b")},
                         {**point.settings, "sample_rate": 8000})[-3:]
        for point in codec.points
    ]  # fmt: skip
    assert filled == [["9.6", "9600", "8000"], ["24", "24000", "8000"]]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"encode": [*PYTHON, "{input}"]}, r"encode has no \{bitstream\}"),
        ({"decode": [*PYTHON, "{bitstream}"]}, r"decode has no \{output\}"),
        ({"encode": []}, "encode is .*; list a program"),
        ({"encode": ["{input}", "{bitstream}"]}, "list a program"),
        ({"encode": [*ENCODE, "{kpbs}"]}, r"\{kpbs\} in encode stands for nothing"),
        ({"encode": [*ENCODE, "{kbps}"]}, "list `points`"),
        ({"points": [24]}, "command has no rate, so 24"),
        ({"settings": {"a": {"x": 1}, "b": {"x": 2}}}, "give the rate that the point promises"),
        ({"settings": {"a": {"input": "x"}}}, "not for them to say"),
        ({"delay": -1}, "delay is -1"),
        ({"time_limit": 0.0}, "time_limit is 0"),
        ({"suffix": "/../x"}, "suffix is"),
        ({"sample_rate": 4000}, "sample_rate is 4000"),
        ({"channels": []}, "channels is"),
    ],
)
def test_wrong_options_are_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CodecError, match=sentence):
        toy(**options)


def test_it_runs_with_permission_alone() -> None:
    options = {"encode": ["rm", "{input}", "{bitstream}"], "decode": DECODE}
    with pytest.raises(CodecError, match=r"programs that the spec names \(rm, .*--allow-code"):
        create("command", options=options)


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(MissingProgramError, match="'no_such_encoder' is not installed"):
        toy(encode=["no_such_encoder", "{input}", "{bitstream}"])


def test_the_version_has_the_programs_and_what_they_say(tmp_path: Path) -> None:
    script = tmp_path / "toy.py"
    script.write_text(Path(TOY).read_text())
    encode = [sys.executable, "-I", "-S", str(script), *ENCODE[4:]]
    before = toy(encode=encode)
    assert script in before.opens
    script.write_text(script.read_text() + "\n")
    assert toy(encode=encode).info.version != before.info.version
    said = toy(version=[sys.executable, "--version"]).info.version
    assert said.startswith("Python 3.")
    assert "adapter 1" in said
    twin = pickle.loads(pickle.dumps(before))
    assert twin.info == before.info


@pytest.mark.parametrize("where", ["of the rate", "in settings"])
def test_a_file_that_a_point_names_is_of_the_version(tmp_path: Path, where: str) -> None:
    model = tmp_path / "model_24.txt"
    model.write_text("8000")
    options: dict[str, Any] = {
        "of the rate": {"points": [24], "encode": [*ENCODE, str(tmp_path / "model_{kbps}.txt")]},
        "in settings": {
            "settings": {"m": {"kbps": 24, "file": str(model)}},
            "encode": [*ENCODE, "{file}"],
        },
    }[where]
    before = toy(**options)
    assert model in before.opens
    model.write_text("20000")
    assert toy(**options).info.version != before.info.version


def test_a_run_watches_programs_and_files_of_arguments(tmp_path: Path) -> None:
    """They are held against their hashes as weights are, and paths start at the spec's folder."""
    (tmp_path / "mine.py").write_text(Path(TOY).read_text())
    spec = tmp_path / "mine.yaml"
    spec.write_text(f"""
name: mine
corpus: {{kind: embedded}}
protocol: {{sample_rate: 16000}}
metrics: {{default: [si_sdr]}}
systems:
  - codec: command
    options:
      encode: [python3, ./mine.py, encode, "{{input}}", "{{bitstream}}"]
      decode: {DECODE}
""")
    loaded = load_spec(spec, metric_keys=["si_sdr"], codec_names=["command"])
    (system,) = build_systems(loaded, allow_code=True)
    assert tmp_path / "mine.py" in system.files
    watch = Watch(system.files)
    assert watch.changed() is None
    (tmp_path / "mine.py").write_text("")
    assert watch.changed() == tmp_path / "mine.py"


# Files.


@pytest.mark.parametrize("sample_format", pcm.FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_survive_files(tmp_path: Path, sample_format: str, channels: int) -> None:
    generator = np.random.default_rng(0)
    whole = generator.integers(-(2**15), 2**15, (channels, 1000))
    whole[:, :2] = [-(2**15), 2**15 - 1]
    samples = (whole / 2**15).astype(np.float32)
    pcm.write_raw(tmp_path / "x.raw", samples, sample_format)
    again = pcm.read_raw(tmp_path / "x.raw", channels, sample_format, 10**6)
    assert np.array_equal(again, samples)
    pcm.write_wav(tmp_path / "x.wav", samples, 8000, sample_format)
    read, _ = soundfile.read(tmp_path / "x.wav", dtype="float32", always_2d=True)
    assert np.array_equal(read.T, samples)
    loud = np.array([[1.5, -1.5]], np.float32)
    if sample_format != "f32":
        assert pcm.to_whole(loud, 16).tolist() == [[32767, -32768]]


def test_raw_samples_go_both_ways() -> None:
    """A codec that stores what it is given: `cp`."""
    copy = {"encode": ["cp", "{input}", "{bitstream}"], "decode": ["cp", "{bitstream}", "{output}"]}
    codec = toy(**copy, input_format="raw", output_format="raw", sample_format="s24")
    audio = tone(4000)
    encoded, decoded = through(codec, audio)
    assert rates(encoded)[RateKind.CONTAINER][0].bits == 4000 * 24
    assert float((decoded - audio.samples).abs().max()) <= 2**-24


def test_what_is_decoded_at_another_rate_is_resampled() -> None:
    codec = faulty("rate", output_rate=2 * RATE)
    audio = tone(4000)
    # Twice the rate in the header: half as long, and said to be so, which is no reconstruction.
    with pytest.raises(CodecError, match="decoded to 2000 samples, and the clip has 4000"):
        through(codec, audio)


# What a program may do.


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("nothing", r"ended well, and its \{bitstream\} cannot be used: it is not there"),
        ("empty", "ended well and wrote 0 bytes"),
        ("pipe", "it is no regular file"),
        ("link", r"its \{bitstream\} is a link out of its folder; let it write the file itself"),
        ("exit", r"ended with exit code 1 \(it said: no such mode / in x\)"),
        ("crash", "was ended by SIGSEGV"),
        ("chatter", r"ended with exit code 3 \(it said: .*the last line\)"),
    ],
)
def test_an_encoder_that_fails_says_why(fault: str, sentence: str) -> None:
    codec = faulty(fault, encoder=True)
    with pytest.raises(CodecError, match=sentence):
        codec.encode(tone(1000), codec.points[0])


def test_a_file_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "MOST_BYTES", 2**22)
    codec = faulty("endless", encoder=True)
    with pytest.raises(CodecError, match=r"SIGXFSZ|File too large"):
        codec.encode(tone(1000), codec.points[0])


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("nothing", r"wrote no \{output\}"),
        ("empty", "is empty"),
        ("link", r"its \{output\} is a link out of its folder"),
        ("garbage", "decoded cannot be used: output.wav cannot be read"),
        ("cut_off", "decoded .*"),
        ("longer", "decoded to 12000 samples, and the clip has 4000"),
        ("shorter", "decoded to 2000 samples"),
        ("rate", "decoded to 16000 Hz where 8000 Hz are expected"),
        ("channels", "decoded to 2 channels of 1"),
    ],
)
def test_a_decoder_that_fails_says_why(fault: str, sentence: str) -> None:
    with pytest.raises(CodecError, match=sentence) as raised:
        through(faulty(fault), tone(4000))
    assert "rdbench-command-" not in str(raised.value)


@pytest.mark.parametrize("fault", ["hang", "fork"])
def test_what_hangs_is_ended_with_all_that_it_started(fault: str) -> None:
    codec = faulty(fault, encoder=True, time_limit=1.0)
    began = time.monotonic()
    with pytest.raises(CodecError, match="was not done within 1 s and was ended"):
        codec.encode(tone(1000), codec.points[0])
    assert time.monotonic() - began < 10
    assert not marked()


def test_a_program_ends_where_the_run_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is for a worker whose main process was killed."""
    sentinel, alive = os.pipe()
    monkeypatch.setattr(
        "multiprocessing.parent_process", lambda: SimpleNamespace(sentinel=sentinel)
    )
    codec = faulty("hang", encoder=True, time_limit=600)
    threading.Timer(0.5, os.close, [alive]).start()
    began = time.monotonic()
    with pytest.raises(CodecError):
        codec.encode(tone(4000), codec.points[0])
    assert time.monotonic() - began < 60
    os.close(sentinel)
    assert marked() == []


def test_a_program_that_stops_its_supervisor_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("rdbench.codecs.packets.command.program._GRACE_SECONDS", 0.5)
    script = tmp_path / "stops.py"
    script.write_text("import os, signal; os.kill(os.getppid(), signal.SIGSTOP)")
    stops = [sys.executable, "-I", "-S", str(script), "{input}", "{bitstream}"]
    codec = toy(encode=stops, time_limit=0.5)
    with pytest.raises(CodecError, match="was ended by SIGKILL"):
        codec.encode(tone(4000), codec.points[0])


def test_what_a_program_leaves_behind_is_ended() -> None:
    codec = faulty("daemon", encoder=True)
    began = time.monotonic()
    assert codec.encode(tone(8000), codec.points[0]).payload.clips[0].container_bytes == 8006
    assert time.monotonic() - began < 10
    assert not marked()


def test_it_says_megabytes_into_no_memory() -> None:
    before = psutil.Process().memory_info().rss
    codec = faulty("chatter", encoder=True)
    with pytest.raises(CodecError) as raised:
        codec.encode(tone(1000), codec.points[0])
    assert len(str(raised.value)) < 600
    assert psutil.Process().memory_info().rss - before < 2**25


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGALRM])
def test_programs_and_folders_end_with_the_process(number: int, tmp_path: Path) -> None:
    script = f"""
import torch
from rdbench.codecs.packets.command.codec import Command
from rdbench.types import AudioBatch
codec = Command(encode={[*ENCODE, "fork"]!r}, decode={DECODE!r}, sample_rate={RATE})
codec.encode(AudioBatch(torch.zeros(1, 1, 1000), torch.tensor([1000]), {RATE}), codec.points[0])
"""
    around = os.environ | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", script], env=around)
    try:
        _until(lambda: len(marked()) == 2)
        assert list(tmp_path.glob("rdbench-command-*"))
    finally:
        process.send_signal(number)
        process.wait()
    _until(lambda: not marked())
    _until(lambda: not list(tmp_path.glob("rdbench-command-*")))


def _until(so: Any, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end
        time.sleep(0.02)


# In a run.


def test_a_run_keeps_what_went_well_and_says_what_did_not(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for name, length in (("a", 4000), ("b", 3000)):
        soundfile.write(clips / f"{name}.wav", tone(length).samples[0].T.numpy(), RATE)
    commands = {
        "good": {"payload": "raw", "header_bytes": 6},
        "stops": {"decode": [*DECODE, "exit"]},
        "forks": {"encode": [*ENCODE, "fork"], "time_limit": 1.0},
        "absent": {"encode": ["no_such_encoder", "{input}", "{bitstream}"]},
    }
    systems = [
        {"codec": "command", "name": name,
         "options": {"encode": ENCODE, "decode": DECODE, "sample_rate": RATE} | options}
        for name, options in commands.items()
    ]  # fmt: skip
    spec = BenchmarkSpec.model_validate(
        {
            "name": "commands",
            "corpus": {"kind": "folder", "path": str(clips)},
            "protocol": {"sample_rate": RATE, "excerpt_seconds": None},
            "metrics": {"default": ["si_sdr"]},
            "systems": systems,
            "costs": {"enabled": False},
        }
    )
    run_benchmark(spec, tmp_path / "run", RunOptions(device="cpu", workers=1, allow_code=True))
    rows = read_rows(tmp_path / "run")
    rows = rows[rows.kind.isin(["rate", "metric"])]
    by_system = dict(list(rows.groupby("system", observed=True)))
    assert (by_system["good"].status == "ok").all()
    payload = by_system["good"].query("kind == 'rate' and key == 'payload'")
    assert sorted(payload.value) == [8 * 3000, 8 * 4000]
    stopped = by_system["stops"]
    assert (stopped[stopped.kind == "rate"].status == "ok").all()
    assert stopped[stopped.kind == "metric"].reason.str.contains("no such mode").all()
    assert by_system["forks"].reason.str.contains("not done within 1 s").all()
    assert by_system["absent"].reason.str.contains("no_such_encoder.* is not installed").all()
    assert not marked()


def test_ctrl_c_ends_programs_and_takes_their_folders_away(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (tmp_path / "clips").mkdir()
    soundfile.write(tmp_path / "clips" / "a.wav", tone(4000).samples[0].T.numpy(), RATE)
    encode = [*ENCODE, "fork"]
    (tmp_path / "hangs.yaml").write_text(f"""
name: hangs
corpus: {{kind: folder, path: clips}}
protocol: {{sample_rate: {RATE}, excerpt_seconds: null}}
metrics: {{default: [si_sdr]}}
systems: [{{codec: command, options: {{encode: {encode}, decode: {DECODE}}}}}]
""")
    temporary = tmp_path_factory.mktemp("t")  # sockets have room for 107 bytes
    process = subprocess.Popen(
        [sys.executable, "-m", "rdbench", "run", "hangs.yaml", "--allow-code", "--quiet"],
        cwd=tmp_path, env=os.environ | {"TMPDIR": str(temporary)}, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        _until(lambda: len(marked()) == 2, 120.0)
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert (process.returncode, said.count("\n")) == (130, 1)
    _until(lambda: not marked())
    assert not list(temporary.glob("rdbench-*"))
