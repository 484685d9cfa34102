"""The files of a run, as workers know them, and those on their way to a worker that lacks them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdbench.engine.executors.cluster import worker as there
from rdbench.engine.executors.cluster.files import NamedFile, pieces_of
from rdbench.identity import file_sha256

if TYPE_CHECKING:
    from rdbench.engine.measure.shard import Shard


@dataclass(frozen=True, eq=False)
class Sending:
    """A file on its way to the cache of a worker. problem: what was wrong in the end, or "".

    address: of the worker that takes it. where: the cache and the file.
    """

    address: str
    where: tuple[str, str]
    problem: Future[str]


class Sender:
    """pool: whose threads send. call: a function on a worker, as a future of Dask's. is_there:
    whether there is still a worker at an address.
    """

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        call: Callable[..., Any],
        is_there: Callable[[str], bool],
    ) -> None:
        self._pool, self._call, self._is_there = pool, call, is_there
        self._sources: dict[str, Path | bytes] = {}
        self._files: dict[str, NamedFile] = {}
        self._sending: dict[tuple[str, str], Sending] = {}

    def file(self, path: str) -> NamedFile:
        """A file of this machine, hashed once; raises OSError."""
        if path not in self._files:
            found = NamedFile(path, file_sha256(Path(path)), Path(path).stat().st_size)
            self._files[path] = found
            self._sources[found.sha256] = Path(path)
        return self._files[path]

    def blob(self, content: bytes, name: str) -> NamedFile:
        """Something of this run's, as a file."""
        digest = sha256(content).hexdigest()
        self._sources[digest] = content
        return NamedFile(f"{name} of {digest}", digest, len(content))

    def forget(self, file: NamedFile) -> None:
        """It is not sent any more."""
        self._sources.pop(file.sha256, None)

    def files_of(self, shard: Shard) -> Iterator[NamedFile]:
        """The files that a shard needs; one that cannot be read here is nobody's."""
        for work in shard.clips:
            clip = work.clip
            if clip.file is not None:
                self._sources[clip.file.sha256] = clip.clip.path
                yield NamedFile(str(clip.clip.path), clip.file.sha256, clip.file.size)
            for kept in work.kept.values():
                if is_file(str(kept.path)):
                    yield self.file(str(kept.path))

    def send(self, address: str, cache: str, file: NamedFile, *, again: bool) -> Sending:
        """Sends a file to a worker, unless it is on its way to that cache, or was sent there.

        again: even where it was sent, since it is not there.
        """
        where = cache, file.sha256
        known = self._sending.get(where)
        if known is None or (again and known.problem.done()):
            problem = self._pool.submit(self._sent, address, file)
            self._sending[where] = Sending(address, where, problem)
        return self._sending[where]

    def ended(self, sending: Sending) -> None:
        """The file is there, or may be tried again."""
        if sending.problem.result() and self._sending.get(sending.where) is sending:
            del self._sending[sending.where]

    def _sent(self, address: str, file: NamedFile) -> str:
        transfer = uuid.uuid4().hex
        try:
            for piece, last in _marked_last(pieces_of(self._sources[file.sha256])):
                call = self._call(address, there.receive, transfer, file, piece, last=last)
                if problem := self._answer_of(call, address):
                    return problem
        except (OSError, KeyError):
            return there.CHANGED
        return ""

    def _answer_of(self, call: Any, address: str) -> str:
        """What a worker answers, as long as there is one."""
        while self._is_there(address):
            try:
                return str(call.result(timeout=2.0))
            except TimeoutError:
                continue
            except Exception as error:  # whatever a worker raised, or Dask for one that went
                return f"{type(error).__name__}: {error}"
        call.cancel()
        return "it is gone"


def _marked_last(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each with whether it is the last; an empty one where there are none."""
    before = None
    for piece in pieces:
        if before is not None:
            yield before, False
        before = piece
    yield before or b"", True


def is_file(path: str) -> bool:
    """Whether there is a file that can be looked at."""
    try:
        return Path(path).is_file()
    except OSError:
        return False
