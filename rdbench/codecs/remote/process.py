"""A worker process in another Python environment, and one question after another to it.

What it prints is read all the while and its end is kept, so that it can neither block the process
nor fill a disk, and a reason can say the last of it. A process that has died, has not answered in
time or has sent what is no message is ended with all that it has started; the next question starts
another.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rdbench.codecs.remote import worker
from rdbench.text import first_line, printable
from rdbench.types import CodecError, MissingProgramError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

_KEPT_BYTES = 4096
_LAST_CHARACTERS = 160
_ENDING_SECONDS = 5.0
_DROPPED = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONSAFEPATH", "VIRTUAL_ENV")
"""Variables that say where this environment has its packages."""
_SETTINGS = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
"""What is said is read at once, and nothing is written beside somebody's code."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


class WorkerDiedError(CodecError):
    """The process ended, or was ended, instead of answering."""


class RaisedError(CodecError):
    """The codec raised something. kind: the name of its class."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class WorkerProcess:
    """A process of another interpreter that runs `rdbench.codecs.remote.worker`.

    name: of the codec, for messages. threads: of the numeric libraries there. It is ended with
    this object.
    """

    def __init__(self, python: Path, *, name: str, threads: int) -> None:
        """Starts it; raises MissingProgramError where there is no such interpreter."""
        self._name = name
        self._said = bytearray()
        ours, theirs = socket.socketpair()
        life, self._life = os.pipe()
        self._output, output = os.pipe()
        environment = {key: text for key, text in os.environ.items() if key not in _DROPPED}
        environment |= dict.fromkeys(_THREADS, str(threads)) | _SETTINGS
        try:
            self._process = subprocess.Popen(
                [python, worker.__file__, str(theirs.fileno()), str(life)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(), life),
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            ours.close()
            os.close(self._life)
            os.close(self._output)
            reason = getattr(error, "strerror", None) or first_line(error)
            raise MissingProgramError(
                f"codec {name!r}: the interpreter {python} cannot be run ({reason}); set `python` "
                "to that of the environment which has the codec's packages"
            ) from error
        finally:
            theirs.close()
            os.close(life)
            os.close(output)
        self._socket = ours
        for each in (self._output, ours.fileno()):
            os.set_blocking(each, False)
        held = (self._life, self._output)
        self.end = weakref.finalize(self, _end, os.getpid(), self._process, ours, held)

    @property
    def running(self) -> bool:
        """Whether it can be asked."""
        return self.end.alive

    def ask(
        self,
        what: str,
        header: Mapping[str, Any],
        arrays: Sequence[Array] = (),
        *,
        seconds: float,
    ) -> tuple[dict[str, Any], list[Array]]:
        """Sends a message and returns the answer.

        what: what is done, for messages ("encoding"). seconds: until it is ended.

        Raises:
            RaisedError: with the reason, where the codec raised something.
            WorkerDiedError: where it did not answer.
            torch.cuda.OutOfMemoryError: where its device has no room.
        """
        try:
            exchange = _Exchange(worker.pack(dict(header), arrays))
            self._run(exchange, time.monotonic() + seconds, what, seconds)
            answer, made = exchange.answer()
        except WorkerDiedError:
            raise
        except worker.MessageError as error:
            self._give_up(f"sent no answer that can be understood while {what} ({error})")
        except BaseException:
            self.end()  # half a message is of no use to the next question
            raise
        if "failed" in answer:
            self._raise(what, answer)
        return answer, made

    def _run(self, exchange: _Exchange, deadline: float, what: str, seconds: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            selector.register(self._socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
            while not exchange.done:
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    self._give_up(f"gave no answer within {seconds:g} s while {what}")
                for key, events in ready:
                    if key.fd == self._output:
                        if not self._listen():
                            selector.unregister(self._output)
                        continue
                    if events & selectors.EVENT_WRITE and not exchange.send(self._socket):
                        selector.modify(self._socket, selectors.EVENT_READ)
                    if events & selectors.EVENT_READ and not exchange.receive(self._socket):
                        self._give_up(f"{{ended}} while {what}")

    def _listen(self) -> bool:
        """Reads what was printed; False at its end."""
        with contextlib.suppress(BlockingIOError):
            said = os.read(self._output, 2**16)
            self._said = (self._said + said)[-_KEPT_BYTES:]
            return bool(said)
        return True

    def _give_up(self, how: str) -> NoReturn:
        """Ends it. how: what it did, with {ended} for the way in which it has ended by itself."""
        code = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(_ENDING_SECONDS if "{ended}" in how else 0)
        while _readable(self._output) and self._listen():
            pass
        self.end()
        raise WorkerDiedError(
            f"the process of codec {self._name!r} {how.replace('{ended}', _ending(code))}"
            f"{self._last_words()}"
        )

    def _last_words(self) -> str:
        lines = self._said.decode(errors="replace").strip().splitlines()
        self._said.clear()
        return f"; the last that it said: {_shown(lines[-1])}" if lines else ""

    def _raise(self, what: str, answer: Mapping[str, Any]) -> NoReturn:
        kind, reason = str(answer["failed"])[:80], str(answer.get("reason", ""))
        if kind == "OutOfMemoryError":
            import torch

            raise torch.cuda.OutOfMemoryError(reason)
        said = f"{self._name} raised {printable(kind)} while {what}: {_shown(reason)}"
        raise RaisedError(said, kind)


class _Exchange:
    """A message that is sent piece by piece, and one that is received likewise."""

    def __init__(self, pieces: Sequence[Any]) -> None:
        self._pieces = [memoryview(piece) for piece in pieces]
        self._start = bytearray(worker.LENGTH.size)
        self._missing = [memoryview(self._start)]
        self._text: bytearray | None = None
        self._answer: tuple[dict[str, Any], list[Any]] | None = None

    @property
    def done(self) -> bool:
        """Whether the answer is whole."""
        return self._answer is not None and not self._missing

    def answer(self) -> tuple[dict[str, Any], list[Any]]:
        """The answer, when it is whole."""
        assert self._answer is not None
        return self._answer

    def send(self, connection: socket.socket) -> bool:
        """Sends what there is room for; False when all is sent. A reader that is gone is no error:
        what it has said before is still to be read.
        """
        with contextlib.suppress(BlockingIOError):
            while self._pieces:
                try:
                    sent = connection.send(self._pieces[0]) if len(self._pieces[0]) else 0
                except (BrokenPipeError, ConnectionResetError):
                    self._pieces.clear()
                    break
                self._pieces[0] = self._pieces[0][sent:]
                if not len(self._pieces[0]):
                    self._pieces.pop(0)
        return bool(self._pieces)

    def receive(self, connection: socket.socket) -> bool:
        """Takes what there is; False where the other end is closed. Raises MessageError."""
        with contextlib.suppress(BlockingIOError):
            while self._missing:
                if len(self._missing[0]):
                    try:
                        count = connection.recv_into(self._missing[0])
                    except ConnectionResetError:
                        count = 0
                    if not count:
                        return False
                    self._missing[0] = self._missing[0][count:]
                if not len(self._missing[0]):
                    self._missing.pop(0)
                    self._next()
        return True

    def _next(self) -> None:
        """Makes room for what follows, when all was received that there was room for."""
        if self._missing or self._answer is not None:
            return
        if self._text is None:
            self._text = bytearray(worker.header_length(bytes(self._start)))
            self._missing = [memoryview(self._text)]
            return
        header, arrays = worker.unpack(bytes(self._text))
        self._answer = header, arrays
        self._missing = [memoryview(one.reshape(-1).view("u1")) for one in arrays if one.size]


def _readable(descriptor: int) -> bool:
    """Whether there is something to be read."""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        return bool(selector.select(0))


def _end(
    owner: int,
    process: subprocess.Popen[bytes],
    connection: socket.socket,
    descriptors: Sequence[int],
) -> None:
    """Kills the process and all that it has started; nothing in a fork of its owner."""
    if os.getpid() != owner:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    connection.close()
    for descriptor in descriptors:
        os.close(descriptor)
    process.wait()


def _ending(code: int | None) -> str:
    if code is None:
        return "closed its connection"
    with contextlib.suppress(ValueError):
        if code < 0:
            return f"was ended by signal {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _shown(text: str) -> str:
    """The beginning of somebody's text, without addresses: equal runs have equal rows."""
    return printable(first_line(ValueError(text)))[:_LAST_CHARACTERS]
