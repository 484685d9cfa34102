"""Ends a command that Ctrl-C, SIGTERM or a closed terminal interrupts: one sentence, one exit code.

Nothing is raised in the work. An exception at any moment of any thread would as soon land in an
import, a callback or the `__del__` of some library, which drops it or breaks. A thread of this
module's own waits for the signal instead, has done what was registered for that end, says the
sentence, and ends the process and those below it. Whatever the rest of the process is at may be
cut off there, as it may by SIGKILL: files are written whole or not at all.

The command line alone calls `install`; in a program that uses rdbench, signals are the program's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

SAID = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "the terminal was closed",
}
"""The signals that end a command, and what is said of them; the exit code is 128 + the signal."""
PATIENCE_SECONDS = 1.5
"""How long what is done before the end may take."""
AGAIN = "run the same command again"

Action = Callable[[], str | None]

# Signals are the process's, and so is what is done on one; the first to have `_leaving` ends it.
_actions: list[Action] = []
_leaving = threading.Lock()


def install() -> None:
    """Takes over the signals of this process, once; those that it was started to ignore stay so."""
    if _installed():
        return
    waiting, noted = os.pipe()
    os.set_blocking(noted, False)
    # The interpreter writes the number of a signal there at once, whatever it is doing.
    signal.set_wakeup_fd(noted, warn_on_full_buffer=False)
    for number in SAID:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _noted)
    os.register_at_fork(after_in_child=_hand_back)
    # Of its own: descriptor 2 may lead elsewhere for a while (`rdbench.native`), and at the end
    # there may be none left to open.
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    threading.Thread(target=_wait, args=(waiting, stderr, nowhere), daemon=True).start()


@contextlib.contextmanager
def before_the_end(action: Action) -> Iterator[None]:
    """Has `action` called if the command is interrupted inside, in another thread.

    Actions are called in the order in which they were registered, all within `PATIENCE_SECONDS`;
    what the last of them returns or raises, but None, is told the user.
    """
    _actions.append(action)
    try:
        yield
    finally:
        _actions.remove(action)


def leave() -> None:
    """Says that the work is done and told: a signal that comes later changes nothing.

    Where an end has begun it does not return. To be called in the main thread.
    """
    if _installed():
        _leaving.acquire()
        for number in SAID:  # the interpreter gives up its own handlers before it ends
            signal.signal(number, signal.SIG_IGN)


def _installed() -> bool:
    return any(signal.getsignal(number) is _noted for number in SAID)


def _noted(*_: object) -> None:
    """What the interpreter calls some time after the signal was noted."""


def _hand_back() -> None:
    """In a process that a library has forked, signals do what they do by default."""
    signal.set_wakeup_fd(-1)
    for number in SAID:
        if signal.getsignal(number) is _noted:
            signal.signal(number, signal.SIG_DFL)


def _wait(waiting: int, stderr: int, nowhere: int) -> None:
    while (number := os.read(waiting, 1)[0]) not in list(SAID):
        pass
    if not _leaving.acquire(blocking=False):
        return
    told: list[str] = []
    try:
        acting = threading.Thread(target=_act, args=(told,), daemon=True)
        acting.start()
        acting.join(PATIENCE_SECONDS)
    finally:
        try:
            sentence = f"rdbench: {SAID[signal.Signals(number)]}; {(told or [AGAIN])[-1]}\n"
            _say(sentence, stderr, nowhere)
            end_children()
            _remove_folder()
        finally:
            os._exit(128 + number)


def _act(told: list[str]) -> None:
    for action in list(_actions):
        try:
            said = action()
        except Exception as error:  # the end comes all the same, and says so
            said = str(error)
        if said:
            told.append(said)


def _say(sentence: str, stderr: int, nowhere: int) -> None:
    """Writes the sentence, after which nothing else of this process is seen."""
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    if os.isatty(stderr):
        sentence = "\r" + sentence  # over the terminal's own ^C
    with contextlib.suppress(OSError):  # a terminal that was closed
        os.write(stderr, sentence.encode(errors="replace"))


def end_children() -> None:
    """Ends the processes below this one.

    What they were doing is lost to them, not to the store. The tracker of their semaphores stays,
    since it alone knows them, and ends by itself when it has taken them away.
    """
    if not {"subprocess", "multiprocessing"} & sys.modules.keys():
        return
    import psutil

    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "resource_tracker" not in " ".join(child.cmdline()):
                child.kill()


def _remove_folder() -> None:
    """Takes away the folder of their sockets, which an interpreter that ends does by itself."""
    if "multiprocessing.forkserver" in sys.modules:
        import shutil
        from multiprocessing.util import get_temp_dir

        shutil.rmtree(get_temp_dir(), ignore_errors=True)
