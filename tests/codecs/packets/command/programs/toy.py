"""A codec as two programs: 8 bits for each sample, behind a header with rate and channels.

    toy.py encode INPUT BITSTREAM [STEP]        toy.py decode BITSTREAM OUTPUT [FAULT]

FAULT is what a decoder may do wrong (`FAULTS`); of an encoder it stands in the place of STEP.
"""

import os
import struct
import subprocess
import sys
import time
import wave
from pathlib import Path

HEADER = struct.Struct("<IH")


def encode(source, bitstream, step="256"):
    if step in FAULTS:
        FAULTS[step](bitstream)
        return
    with wave.open(source) as file:
        rate, channels = file.getframerate(), file.getnchannels()
        data = file.readframes(file.getnframes())
    values = struct.unpack(f"<{len(data) // 2}h", data)
    codes = bytes(max(0, min(255, round(value / int(step)) + 128)) for value in values)
    with Path(bitstream).open("wb") as file:
        file.write(HEADER.pack(rate, channels) + codes)


def decode(bitstream, output, fault=""):
    if fault in FAULTS:
        FAULTS[fault](output)
        return
    with Path(bitstream).open("rb") as file:
        rate, channels = HEADER.unpack(file.read(HEADER.size))
        codes = file.read()
    values = [(code - 128) * 256 for code in codes]
    if fault == "longer":
        values += [0] * rate
    elif fault == "shorter":
        values = values[: len(values) // 2]
    elif fault == "late":
        values = [0] * 100 + values
    elif fault == "rate":
        rate *= 2
    elif fault == "channels":
        values, channels = [v for value in values for v in (value, value)], 2 * channels
    elif fault == "cut_off":
        pass
    with wave.open(output, "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(struct.pack(f"<{len(values)}h", *values))
    if fault == "cut_off":
        os.truncate(output, Path(output).stat().st_size // 2)


def hang(_):
    time.sleep(600)


def fork(_):
    """Leaves a process in a session of its own, whose parent has ended, and hangs."""
    marked = [sys.executable, "-c", "import time; time.sleep(600)", os.environ.get("TOY", "toy")]
    if os.fork() == 0:
        subprocess.Popen(marked, start_new_session=True)
        os._exit(0)
    subprocess.Popen(marked)
    time.sleep(600)


def daemon(bitstream):
    """Does its work and leaves a process behind, which holds the pipes."""
    subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)", os.environ.get("TOY", "toy")],
        start_new_session=True,
    )
    with Path(bitstream).open("wb") as file:
        file.write(HEADER.pack(8000, 1) + b"\x80" * 8000)


def chatter(_):
    for _ in range(64):
        os.write(1, b"o" * 2**20)
        os.write(2, b"e" * 2**20)
    os.write(2, b"\nthe last line\n")
    sys.exit(3)


def endless(path):
    with Path(path).open("wb") as file:
        while True:
            file.write(bytes(2**20))


FAULTS = {
    "nothing": lambda path: None,
    "empty": lambda path: Path(path).write_bytes(b""),
    "pipe": os.mkfifo,
    "link": lambda path: Path(path).symlink_to(Path(__file__).resolve()),
    "exit": lambda path: sys.exit(f"no such mode\nin {Path(path).parent}/x"),
    "crash": lambda path: os.kill(os.getpid(), 11),
    "hang": hang,
    "fork": fork,
    "daemon": daemon,
    "chatter": chatter,
    "endless": endless,
    "garbage": lambda path: Path(path).write_bytes(b"not a file of sound"),
}

if __name__ == "__main__":
    {"encode": encode, "decode": decode}[sys.argv[1]](*sys.argv[2:])
