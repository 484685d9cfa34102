"""From what `--cluster` says to a scheduler with workers.

    local:N                   a scheduler and N workers on this machine, on its loopback interface
    tcp://HOST:PORT, tls://…  a scheduler that is there
    FILE.yaml                 workers that are started for the run (`…cluster.settings`)

Whoever can reach a scheduler of Dask's can run any code on its workers; a `tls://` one takes the
certificates that Dask's own configuration names.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdbench.engine.devices import most_workers
from rdbench.engine.executors.cluster.local import LocalCluster
from rdbench.engine.executors.cluster.settings import ClusterSettings, read_settings
from rdbench.types import MissingExtraError, RdbenchError, SpecError

CONNECT_SECONDS = 30.0
LOCAL = "local:"


@dataclass
class Connection:
    """A client of Dask's, and the scheduler's address.

    end: ends what was started for the run. words: what workers complained of last, if that is
    known.
    """

    client: Any
    address: str
    end: Callable[[], None] = lambda: None
    words: Callable[[], str] = lambda: ""

    def last_words(self) -> str:
        """What a worker that is gone may have died of, "" where that is not known."""
        return self.words()

    def close(self) -> None:
        """Leaves; what was started for the run is ended."""
        with suppress(Exception), warnings.catch_warnings():  # of a scheduler that is gone
            warnings.simplefilter("ignore")
            self.client.close(timeout=2)
        with suppress(Exception):
            self.end()


@dataclass(frozen=True)
class Target:
    """What `--cluster` names, read and found to be sound, before anything is started."""

    text: str
    local_workers: int = 0
    settings: ClusterSettings | None = None

    @classmethod
    def of(cls, text: str) -> Target:
        """Raises SpecError for what is none, MissingExtraError without Dask."""
        import importlib.util

        if importlib.util.find_spec("distributed") is None:
            raise MissingExtraError("a run on a cluster", "cluster")
        if text.startswith(LOCAL):
            return cls(text, local_workers=_count(text.removeprefix(LOCAL)))
        if "://" in text:
            return cls(text)
        if Path(text).suffix in (".yaml", ".yml"):
            return cls(text, settings=read_settings(Path(text)))
        raise SpecError(
            f"--cluster {text!r} names no cluster; give local:N, the address of a scheduler "
            "(tcp://HOST:PORT), or a YAML file"
        )

    def connect(self) -> Connection:
        """Raises RdbenchError where nothing answers, or nothing can be started."""
        _keep_quiet()
        if self.local_workers:
            local = LocalCluster(self.local_workers)
            try:
                client = _client(local.address)
            except BaseException:
                local.close()
                raise
            return Connection(client, local.address, local.close, local.last_words)
        if self.settings is not None:
            cluster = self.settings.start()
            try:
                return Connection(_client(cluster), str(cluster.scheduler_address), cluster.close)
            except BaseException:
                cluster.close()
                raise
        return Connection(_client(self.text), self.text)


def _client(where: Any) -> Any:
    from distributed import Client

    make: Any = Client
    try:
        return make(where, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        name = where if isinstance(where, str) else "the cluster that was started"
        raise RdbenchError(
            f"no scheduler answers at {name} ({_first(error)}); start one there (`dask scheduler`),"
            " or mend --cluster"
        ) from error


def _count(text: str) -> int:
    most = most_workers()
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise SpecError(
            f"--cluster local:{text} starts no workers; give a number from 1 to {most} "
            "(--cluster local:2)"
        )
    return int(text)


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _keep_quiet() -> None:
    """Dask's messages go nowhere, unless its own configuration says where.

    That is left as it was: programs on other machines take it, and SSHCluster waits for a line of
    their log.
    """
    import dask.config

    if dask.config.get("logging", None) is None:
        with dask.config.set({"logging": {"distributed": "critical"}}):
            import distributed  # noqa: F401  (which sets its loggers up)

        for name in list(logging.root.manager.loggerDict):
            if name.partition(".")[0] in ("distributed", "tornado", "asyncio"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
