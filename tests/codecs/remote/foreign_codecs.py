"""Codecs as people have them in environments of their own: no rdbench, Python 3.8, numpy alone."""

# ruff: noqa: RUF012, NPY002, UP032

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SCALES = (1.0, 1 / 16)


class Residual:
    """Two nested codebooks of 16 for every fourth sample; prints, as libraries do."""

    sample_rate = 16000
    frame_rate = 4000.0
    codebook_sizes = (16, 16)
    points = {"one": 16.0, "two": 32.0}
    licence = "MIT"

    def __init__(self, gain=1.0):
        self.gain = gain
        print("loading", gain)

    def encode(self, samples, point):
        print("x" * 100_000)
        left = np.pad(samples[:, 0], ((0, 0), (0, -samples.shape[2] % 4)))
        left = left.reshape(len(left), -1, 4).mean(2)
        codes = []
        for scale in SCALES[: 1 + (point == "two")]:
            index = np.clip(np.round(left / scale * 7.5 + 7.5), 0, 15)
            left = left - (index - 7.5) / 7.5 * scale
            codes.append(index.astype(int))
        return np.stack(codes, 1)

    def decode(self, codes, length):
        steps = [(codes[:, k] - 7.5) / 7.5 * SCALES[k] for k in range(codes.shape[1])]
        return self.gain * np.repeat(sum(steps), 4, axis=1)[:, None, :length]


class TwoRates:
    """Two streams at different rates, and one number of side information."""

    sample_rate = 16000
    frame_rate = (4000.0, 1000.0)
    codebook_sizes = ((256,), (4, 4))

    def encode(self, samples, point):
        peak = np.abs(samples).max((1, 2)) + 1e-9
        scaled = np.pad(samples[:, 0] / peak[:, None], ((0, 0), (0, -samples.shape[2] % 16)))
        blocks = scaled.reshape(len(scaled), -1, 4).mean(2)
        fast = np.round(blocks * 127.5 + 127.5).astype(int)[:, None]
        slow = np.tile(fast[:, :, ::4] % 4, (1, 2, 1))
        return [fast, slow], {"peak": (peak[:, None], 32)}

    def decode(self, codes, length, side):
        fast = (codes[0][:, 0] - 127.5) / 127.5 * side["peak"]
        return np.repeat(fast, 4, axis=1)[:, None, :length]


class Graded(Residual):
    """Its points have codebooks of differing sizes, as post-hoc quantizers do."""

    points = {"one": 24.0, "two": 32.0}
    codebook_sizes = {"one": (64,), "two": (16, 16)}

    def encode(self, samples, point):
        codes = Residual.encode(self, samples, point)
        return codes * 4 if point == "one" else codes

    def decode(self, codes, length):
        return Residual.decode(self, codes // 4 if codes.shape[1] == 1 else codes, length)


class Draws(Residual):
    """Its decoder draws noise, so that it takes clips one by one."""

    batched = False

    def decode(self, codes, length):
        assert len(codes) == 1
        clean = Residual.decode(self, codes, length)
        return clean + 0.01 * np.random.standard_normal(clean.shape)


class Gaussian:
    """A posterior of 16 channels: blocks of 16 samples."""

    payload = "posterior"
    sample_rate = 16000
    frame_rate = 1000.0

    def __init__(self, prior=True):
        self.prior = prior

    def encode(self, samples, point):
        padded = np.pad(samples[:, 0], ((0, 0), (0, -samples.shape[2] % 16)))
        mean = padded.reshape(len(samples), -1, 16).transpose(0, 2, 1)
        return mean, (np.full_like(mean, 0.01) if self.prior else None)

    def decode(self, latent, length):
        return latent.transpose(0, 2, 1).reshape(len(latent), 1, -1)[..., :length]


class Halved(Gaussian):
    """A latent with half of the frames that it promises."""

    def encode(self, samples, point):
        mean, _ = Gaussian.encode(self, samples, point)
        return mean[..., ::2], None


class Bytes:
    """Packets of 8-bit samples, 20 ms each, in stereo."""

    payload = "packets"
    sample_rate = 8000
    channels = 2
    points = {"8bit": 128.0}

    def encode(self, samples, point):
        levels = np.round(np.clip(samples, -1, 1) * 127.5 + 127.5).astype(np.uint8)
        cuts = range(0, samples.shape[2], 160)
        return [[clip[:, at : at + 160].tobytes() for at in cuts] for clip in levels]

    def decode(self, clips, length):
        made = []
        for packets in clips:
            blocks = [np.frombuffer(one, np.uint8).reshape(2, -1) for one in packets]
            made.append(np.concatenate(blocks, 1)[:, :length] / 127.5 - 1)
        return np.stack(made)


class Nothing(Bytes):
    """Bytes, and no byte of a clip."""

    def encode(self, samples, point):
        return [b"" for _ in samples]


class Faulty(Residual):
    """Does what its option says: the name of one of its methods, while it encodes."""

    def __init__(self, fault, place=None):
        Residual.__init__(self)
        self.fault, self.place = fault, place and Path(place)
        if fault == "constructor":
            raise ValueError("no such checkpoint")
        if fault == "silent_start":
            time.sleep(3600)

    def encode(self, samples, point):
        codes = Residual.encode(self, samples, point)
        print("about to go wrong")
        return getattr(self, self.fault, lambda codes: codes)(codes)

    def decode(self, codes, length):
        made = Residual.decode(self, codes, length)
        return {"short": made[..., :-5], "flat": made[0]}.get(self.fault, made)

    def raises(self, codes):
        raise RuntimeError("the codebook\nis empty")

    def memory(self, codes):
        raise type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory")

    def free(self, codes):
        return codes, {"speaker": (np.ones((len(codes), 100)), 0)}

    def part_of_a_bit(self, codes):
        return codes, {"speaker": (np.ones((len(codes), 100)), 12.5)}

    def nan(self, codes):
        return codes, {"speaker": (np.full((len(codes), 1), np.nan), 32)}

    def exits(self, codes):
        sys.exit(3)

    def dies(self, codes):
        os._exit(3)

    def dies_once(self, codes):
        if not self.place.exists():
            self.place.touch()
            os._exit(4)
        return codes

    def segfaults(self, codes):
        os.kill(os.getpid(), signal.SIGSEGV)

    def hangs(self, codes):
        child = subprocess.Popen(["sleep", "3600"])
        self.place.write_text("{} {}".format(os.getpid(), child.pid))
        while True:
            pass

    def floats(self, codes):
        return codes / 2

    def out_of_range(self, codes):
        return codes + 100

    def half(self, codes):
        return codes[..., ::2]

    def one_codebook_less(self, codes):
        return codes[:, 0]

    def writes_anywhere(self, codes):
        for descriptor in range(3, 64):
            with contextlib.suppress(OSError):
                os.write(descriptor, b"hello, world")
        return codes


class Wrong:
    sample_rate = 16000
    frame_rate = 50.0


class Ungraded(Residual):
    codebook_sizes = {"one": (16,)}
