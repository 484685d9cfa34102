"""A codec in another environment: the same promises, and what becomes of its faults."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from rdbench.codecs.base import Codec
from rdbench.codecs.registry import create
from rdbench.codecs.remote import codec as remote
from rdbench.codecs.remote import process, worker
from rdbench.codecs.testing import check_codec, example_audio
from rdbench.rate import rates
from rdbench.types import CODES, MEAN, CodecError, MissingProgramError, Posterior, RateKind, Tokens


def connect(name: str, **options: Any) -> Codec:
    return remote.connect(f"foreign_codecs:{name}", python=sys.executable, options=options)


def kbps(codec: Codec, kind: RateKind, point: int = -1) -> float:
    audio = example_audio(codec)
    measured = rates(codec.encode(audio, codec.points[point]))[kind]
    return sum(one.bits for one in measured) / sum(one.seconds for one in measured) / 1000


@pytest.mark.parametrize("name", ["Residual", "TwoRates", "Graded", "Draws", "Gaussian", "Bytes"])
def test_it_keeps_what_every_codec_promises(name: str) -> None:
    check_codec(connect(name))


def test_a_latent_without_a_prior_has_no_rate() -> None:
    codec = connect("Gaussian", prior=False)
    audio = example_audio(codec)
    encoded = codec.encode(audio, codec.points[0])
    assert codec.info.headline is None
    assert isinstance(encoded.payload, Posterior)
    assert encoded.payload.scale is None
    decoded = codec.decode(codec.decoder_input(encoded, MEAN, [0] * audio.clips))
    assert torch.allclose(decoded.samples, audio.samples)


def test_rates_are_computed_of_what_comes_back() -> None:
    codec = connect("Residual")
    assert kbps(codec, RateKind.NOMINAL, 0) == pytest.approx(16.0, rel=2e-3)
    assert kbps(codec, RateKind.NOMINAL) == pytest.approx(32.0, rel=2e-3)
    assert kbps(connect("Bytes"), RateKind.PAYLOAD) == pytest.approx(128.0)
    codec = connect("Bytes")
    kinds = rates(codec.encode(example_audio(codec), codec.points[0]))
    assert tuple(kinds) == codec.rate_kinds == (RateKind.PAYLOAD,)
    assert kbps(connect("Graded"), RateKind.NOMINAL, 0) == pytest.approx(24.0, rel=2e-3)
    assert kbps(connect("Graded"), RateKind.NOMINAL) == pytest.approx(32.0, rel=2e-3)
    both = connect("TwoRates")
    assert [point.target_kbps for point in both.points] == [36.0]
    audio = example_audio(both)
    encoded = both.encode(audio, both.points[0])
    assert isinstance(encoded.payload, Tokens)
    bits = [one.bits for one in rates(encoded)[RateKind.NOMINAL]]
    frames = [stream.frames for stream in encoded.payload.streams]
    assert bits == (8 * frames[0] + 4 * frames[1] + 32).tolist()


def test_it_gives_what_a_direct_call_gives() -> None:
    from foreign_codecs import Residual

    codec = connect("Residual")
    audio = example_audio(codec)
    encoded = codec.encode(audio, codec.point("two"))
    assert isinstance(encoded.payload, Tokens)
    length = int(audio.lengths[1])
    direct = Residual().encode(audio.samples[1:2, :, :length].numpy(), "two")
    frames = direct.shape[-1]
    assert encoded.payload.streams[0].codes[1, :, :frames].tolist() == direct[0].tolist()
    decoded = codec.decode(codec.decoder_input(encoded, CODES, [0] * audio.clips))
    expected = torch.from_numpy(Residual().decode(direct, length)).float()
    assert torch.equal(decoded.samples[1, :, :length], expected[0])


def test_the_card_names_the_environment_and_the_code() -> None:
    codec = connect("Residual")
    info = codec.info
    assert info.name == "Residual"
    assert info.licence == "MIT"
    for part in (f"Python {sys.version.split()[0]}", "numpy ", f"adapter {remote.ADAPTER}"):
        assert part in info.version
    assert codec.code_files is not None
    assert [path.name for path in codec.code_files].count("foreign_codecs.py") == 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raises", "raised RuntimeError while encoding at two: the codebook"),
        ("exits", "raised SystemExit while encoding at two: 3"),
        (
            "dies",
            "ended with exit code 3 while encoding at two; the last that it said: about to go",
        ),
        ("segfaults", "was ended by signal SIGSEGV while encoding"),
        ("floats", "codes must be whole numbers"),
        ("one_codebook_less", r"codes of shape \(4, 2400\) where"),
        ("out_of_range", r"token 1\d\d of codebook 0 .* outside its 16 entries"),
        ("half", r"it has 1200 frames, and 0\.6 s at 4000 frames per second are 2400"),
        ("free", "in 0 bits; say how many it takes"),
        ("part_of_a_bit", "has 12.5 bits; give a whole number"),
        ("nan", "'speaker' must have finite values"),
        ("writes_anywhere", "sent no answer that can be understood"),
    ],
)
def test_a_fault_is_one_sentence(fault: str, said: str) -> None:
    codec = connect("Faulty", fault=fault)
    audio = example_audio(codec).select([0, 2])
    audio = type(audio)(audio.samples.repeat(2, 1, 1), audio.lengths.repeat(2), audio.sample_rate)
    with pytest.raises(CodecError, match=said) as caught:
        codec.encode(audio, codec.points[-1])
    assert "\n" not in str(caught.value)


def test_a_latent_lasts_as_long_as_its_frame_rate_says() -> None:
    codec = connect("Halved", prior=False)
    with pytest.raises(
        CodecError, match=r"it has 300 frames, and 0\.6 s at 1000 frames per second"
    ):
        codec.encode(example_audio(codec), codec.points[0])


def test_a_clip_of_no_bytes_is_no_code() -> None:
    codec = connect("Nothing")
    with pytest.raises(CodecError, match="a packet of 0 bytes"):
        codec.encode(example_audio(codec), codec.points[0])


@pytest.mark.parametrize(
    ("fault", "said"), [("short", "or longer was asked"), ("flat", "array of")]
)
def test_a_decoder_must_give_what_was_asked(fault: str, said: str) -> None:
    codec = connect("Faulty", fault=fault)
    encoded = codec.encode(example_audio(codec), codec.points[-1])
    with pytest.raises(CodecError, match=said):
        codec.decode(codec.decoder_input(encoded, CODES, [0] * 4))


def test_no_room_on_a_device_is_what_the_engine_knows() -> None:
    codec = connect("Faulty", fault="memory")
    with pytest.raises(torch.cuda.OutOfMemoryError):
        codec.encode(example_audio(codec), codec.points[-1])


def test_after_a_death_the_next_call_works(tmp_path: Path) -> None:
    codec = connect("Faulty", fault="dies_once", place=str(tmp_path / "died"))
    audio = example_audio(codec)
    with pytest.raises(process.WorkerDiedError, match="exit code 4"):
        codec.encode(audio, codec.points[-1])
    whole = connect("Residual").encode(audio, codec.points[-1])
    again = codec.encode(audio, codec.points[-1])
    assert torch.equal(again.payload.streams[0].codes, whole.payload.streams[0].codes)  # type: ignore[union-attr]


def gone(pids: list[int], seconds: float = 10.0) -> bool:
    """Whether the processes end in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        left = [pid for pid in pids if psutil.pid_exists(pid)]
        left = [pid for pid in left if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
        if not left:
            return True
        time.sleep(0.05)
    return False


def test_a_hang_is_ended_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "pids"
    codec = connect("Faulty", fault="hangs", place=str(place))
    monkeypatch.setattr(remote, "ANSWER_SECONDS", 1.0)
    with pytest.raises(process.WorkerDiedError, match="no answer within 1 s while encoding"):
        codec.encode(example_audio(codec), codec.points[-1])
    assert gone([int(pid) for pid in place.read_text().split()])


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_the_one_that_asks(tmp_path: Path, end: signal.Signals) -> None:
    """A process of the engine is killed while a codec hangs in a loop."""
    place = tmp_path / "pids"
    program = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parent)!r}]
from rdbench.codecs.remote.codec import connect
from rdbench.codecs.testing import example_audio
codec = connect(
    "foreign_codecs:Faulty", python=sys.executable,
    options={{"fault": "hangs", "place": {str(place)!r}}},
)
codec.encode(example_audio(codec), codec.points[-1])
"""
    asking = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (place.exists() and place.read_text().count(" ")) and time.monotonic() < until:
        time.sleep(0.05)
    asking.send_signal(end)
    asking.wait(30)
    assert gone([int(pid) for pid in place.read_text().split()])


def test_a_codec_that_is_dropped_takes_its_process_along() -> None:
    codec = connect("Residual")
    before = [child.pid for child in psutil.Process().children()]
    pid = codec._host._process._process.pid  # type: ignore[attr-defined]
    assert pid in before
    del codec
    assert gone([pid])


@pytest.mark.parametrize(
    ("code", "options", "said"),
    [
        (
            "foreign_codecs:Faulty",
            {"fault": "constructor"},
            "ValueError while being built: no such",
        ),
        ("foreign_codecs:Residual", {"pitch": 1}, "unexpected keyword argument 'pitch'"),
        ("foreign_codecs:Missing", {}, "foreign_codecs has no 'Missing'"),
        ("no_such_module:Codec", {}, "No module named 'no_such_module'"),
        ("foreign_codecs:Wrong", {}, "describes itself wrongly .*codebook_sizes"),
        ("foreign_codecs:Ungraded", {}, "describes itself wrongly .*codebook_sizes of every"),
    ],
)
def test_what_cannot_be_built_is_one_sentence(
    code: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(CodecError, match=said):
        create(code, options=options, allow_code=True, python=sys.executable)


def test_it_needs_an_interpreter_and_permission(tmp_path: Path) -> None:
    with pytest.raises(MissingProgramError, match="there is no interpreter"):
        create("foreign_codecs:Residual", allow_code=True, python=str(tmp_path / "python"))
    no_program = tmp_path / "text"
    no_program.write_text("#!/no/such/interpreter\n")
    no_program.chmod(0o755)
    with pytest.raises(MissingProgramError, match="cannot be run"):
        create("foreign_codecs:Residual", allow_code=True, python=str(no_program))
    with pytest.raises(CodecError, match="--allow-code"):
        create("foreign_codecs:Residual", python=sys.executable)
    with pytest.raises(CodecError, match="`python` is for code of your own"):
        create("opus", allow_code=True, python=sys.executable)


def test_an_interpreter_without_numpy_says_so(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path], check=True)
    with pytest.raises(MissingProgramError, match=r"No module named 'numpy'; .* with numpy and"):
        create("foreign_codecs:Residual", allow_code=True, python=str(tmp_path / "bin" / "python"))


def test_the_worker_needs_nothing_newer_than_python_38_and_numpy() -> None:
    tree = ast.parse(Path(worker.__file__).read_text(), feature_version=(3, 8))
    top = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert {name.partition(".")[0] for name in top} - sys.stdlib_module_names == {"numpy"}


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b'{"arrays": [{"type": "object", "shape": [1]}]}',
        b'{"arrays": [{"type": "float32", "shape": [65536, 65536, 65536]}]}',
        b'{"arrays": [{"type": "float32", "shape": [-1]}]}',
        b'{"arrays": [{"type": "float32", "shape": [true]}]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_message_is_refused(text: bytes) -> None:
    with pytest.raises(worker.MessageError):
        worker.unpack(text)


def test_a_start_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "BUILD_SECONDS", 2.0)
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(MissingProgramError, match="no answer within 2 s while being built"):
        connect("Faulty", fault="silent_start")
    assert {child.pid for child in psutil.Process().children()} <= before


def test_packages_of_this_environment_do_not_hide_those_of_the_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('of another Python')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    first, last = remote._folders()
    assert str(Path(__file__).parent) in first
    assert last == [str(tmp_path)]
    assert not any("site-packages" in folder for folder in first)
    assert connect("Residual").info.name == "Residual"


def test_the_key_has_code_and_files_of_the_other_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rdbench.engine.plan.systems import System, build_systems
    from rdbench.spec.model import BenchmarkSpec

    monkeypatch.syspath_prepend(tmp_path)
    code, weights = tmp_path / "older.py", tmp_path / "weights.bin"
    text = "import foreign_codecs\n\nclass Older(foreign_codecs.Residual):\n    pass\n"
    code.write_text(text)
    weights.write_bytes(b"1")
    spec = BenchmarkSpec.model_validate(
        {
            "name": "older",
            "corpus": {},
            "protocol": {"sample_rate": 16000},
            "metrics": ["si_sdr"],
            "systems": [
                {
                    "codec": "older:Older",
                    "python": sys.executable,
                    "options": {"gain": str(weights)},
                },
                {"codec": "older:Older", "python": str(tmp_path / "none"), "name": "absent"},
            ],
        }
    )

    def built() -> list[System]:
        return build_systems(spec, allow_code=True)

    first, absent = built()
    assert set(first.files) == {code, weights}
    assert absent.codec is None
    assert "there is no interpreter" in absent.failure
    code.write_text(text + "# another\n")
    second, _ = built()
    weights.write_bytes(b"2")
    third, _ = built()
    assert len({system.source for system in (first, second, third)}) == 3


OLD_PYTHON = os.environ.get("RDBENCH_OLD_PYTHON", "")
"""An interpreter with other versions, of torch among them. To make one and run the checks:

    python -m venv /tmp/old && /tmp/old/bin/pip install torch==2.4.1 'numpy<2'
    RDBENCH_OLD_PYTHON=/tmp/old/bin/python pytest -m slow tests/codecs/remote
"""


@pytest.mark.slow
@pytest.mark.skipif(not OLD_PYTHON, reason="RDBENCH_OLD_PYTHON names no interpreter")
@pytest.mark.parametrize("name", ["foreign_codecs:Residual", "foreign_torch:Network"])
def test_it_works_beside_another_torch(name: str) -> None:
    codec = remote.connect(name, python=OLD_PYTHON)
    check_codec(codec)
    versions = codec.info.details["environment"]
    if "torch" in versions:
        assert codec.info.parameters == 320 * 64 * 2 + 32 + 1 + 3 * 256 * 32
        assert versions["torch"].split("+")[0] != torch.__version__.split("+")[0]
