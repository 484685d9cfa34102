"""Whatever a command is at, a signal ends it: first what was registered, one sentence, one code."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BEGIN = """
import os, sys, threading, time
from rdbench import interrupts
from rdbench.interrupts import before_the_end
interrupts.install()
"""
AT_WORK = 'print("at work", flush=True)\n'
LIMIT = 20.0  # seconds; two are promised on an idle machine, and this one may have other work


def ended(
    program: str, number: signal.Signals = signal.SIGINT, *, ignored: bool = False
) -> tuple[int, str]:
    """The exit code and stderr of a program that gets the signal once it is at work."""
    script = BEGIN + program
    if ignored:
        script = f"import signal\nsignal.signal({int(number)}, signal.SIG_IGN)\n" + script
    running = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "at work\n"
    running.send_signal(number)
    began = time.monotonic()
    _, said = running.communicate(timeout=60)
    assert time.monotonic() - began < LIMIT
    return running.returncode, said


@pytest.mark.parametrize(
    ("number", "code", "what"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGHUP, 129, "the terminal was closed"),
    ],
)
def test_each_signal_has_its_word_and_its_code(
    number: signal.Signals, code: int, what: str
) -> None:
    assert ended(AT_WORK + "time.sleep(60)", number) == (
        code,
        f"rdbench: {what}; run the same command again\n",
    )


@pytest.mark.parametrize(
    "work",
    [
        # What a library may do to an exception, none of which is thrown here.
        "while True:\n try: time.sleep(0.01)\n except BaseException: pass",
        "class Dropped:\n def __del__(self):\n  time.sleep(0.01)\nwhile True: Dropped()",
        "sorted(range(10**7), key=lambda _: time.sleep(1e-6))",
        # One lock that is never given back, held by nobody who could hear of a signal.
        "lock = threading.Lock(); lock.acquire(); lock.acquire()",
        "threading.Thread(target=lambda: time.sleep(60)).start()",
        "import subprocess; subprocess.run(['sleep', '60'])",
    ],
)
def test_work_that_would_swallow_an_exception_ends_too(work: str) -> None:
    code, said = ended(AT_WORK + work)
    assert (code, said) == (130, "rdbench: interrupted; run the same command again\n")


def test_what_was_registered_is_done_in_order_and_the_last_word_is_told(tmp_path: Path) -> None:
    made = tmp_path / "made"
    program = f"""
def note(text): open({str(made)!r}, "a").write(text)
with before_the_end(lambda: note("never")):
    pass
with before_the_end(lambda: "first"), before_the_end(lambda: note("a")), before_the_end(
    lambda: "all is kept"
), before_the_end(lambda: note("b")):
    {AT_WORK}    time.sleep(60)
"""
    assert ended(program) == (130, "rdbench: interrupted; all is kept\n")
    assert made.read_text() == "ab"


def test_what_fails_before_the_end_is_told_and_does_not_prevent_it() -> None:
    program = f"""
def fail(): raise OSError("the disk is full")
with before_the_end(fail), before_the_end(lambda: None):
    {AT_WORK}    time.sleep(60)
"""
    assert ended(program) == (130, "rdbench: interrupted; the disk is full\n")


def test_what_takes_too_long_before_the_end_is_cut_off() -> None:
    program = f"with before_the_end(lambda: time.sleep(60)):\n {AT_WORK} time.sleep(60)"
    code, said = ended(program)
    assert (code, said.count("\n")) == (130, 1)


@pytest.mark.parametrize(
    "odd",
    [
        "from rdbench.native import stderr_held\nstderr_held().__enter__()",
        # No descriptor is left to open.
        "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))",
        # Signals that were ignored from the start do not hide that others are taken over.
        "signal = __import__('signal')\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)",
    ],
)
def test_the_sentence_is_seen_whatever_the_process_has_done_to_itself(odd: str) -> None:
    code, said = ended(f"{odd}\ninterrupts.install()\n{AT_WORK}time.sleep(60)")
    assert (code, said) == (130, "rdbench: interrupted; run the same command again\n")


def test_processes_below_end_too() -> None:
    """They have the pipes as well: whoever reads these would wait for them."""
    program = f"""
import subprocess
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
{AT_WORK}
time.sleep(60)
"""
    assert ended(program)[0] == 130


def test_what_is_ignored_from_the_start_stays_so() -> None:
    """A shell starts jobs in the background, and `nohup` everything, with a signal ignored."""
    for number in (signal.SIGINT, signal.SIGHUP):
        assert ended(AT_WORK + "time.sleep(0.5)", number, ignored=True) == (0, "")


def test_a_signal_to_a_forked_process_is_its_own() -> None:
    """Loaders of data are forked and terminated one by one; the command goes on."""
    program = """
import signal
child = os.fork()
if child == 0:
    time.sleep(60)
time.sleep(0.5)
os.kill(child, signal.SIGTERM)
assert os.waitpid(child, 0)[1] == signal.SIGTERM
time.sleep(0.5)
"""
    # Python 3.12 warns of a fork beside threads; in a module, as a library's is, it says nothing.
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c"]
    done = subprocess.run([*command, BEGIN + program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_signal_after_all_is_done_changes_nothing() -> None:
    assert ended("interrupts.leave()\n" + AT_WORK + "time.sleep(0.5)") == (0, "")


def test_a_signal_while_the_interpreter_ends_changes_nothing() -> None:
    """It gives up its own handlers then, after which a signal would end the process at once."""
    program = f"""
class Late:
    def __del__(self, sleep=time.sleep):
        sleep(0.5)
sys.late = Late()  # lives longer than the handlers
interrupts.leave()
{AT_WORK}
sleep = time.sleep
"""
    assert ended(program, signal.SIGTERM) == (0, "")


def test_without_install_nothing_is_taken_over() -> None:
    """A program that uses rdbench has its own handlers, and `leave` does not wait there."""
    script = "from rdbench import interrupts\ninterrupts.leave()\ninterrupts.leave()\n"
    script += "import signal; assert signal.getsignal(2) is signal.default_int_handler"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
