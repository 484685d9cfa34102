"""Inputs that are swapped while a run goes on: what rows say was measured must be what was.

A clip, a checkpoint and a file that a codec of somebody else's opens when it likes have an old and
a new content. A run is given the old ones; one of them is swapped at some moment, in place or by
renaming. References are undisturbed runs with the old ones, and with each new one: a row's key
stands for what was measured, so that a good row under a known key must have its value, and a good
row under another key was made of something that nobody asked for.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
for place in (HERE, HERE.parent / "engine"):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

from fakes import Quantizer  # noqa: E402

from rdbench.types import AudioBatch, Encoded, OperatingPoint  # noqa: E402

TARGETS = ("clip", "weights", "option")
HOW = ("in place", "replaced")
HALVES = "in two halves"
"""In place too, as a slow disk or network does it."""
VARIABLE = "RDBENCH_TEST_SWAP"


class LateReader(Quantizer):
    """Opens the file that its option names whenever it encodes: how much is taken off."""

    nested = False

    def __init__(self, *, file: str, points: Sequence[float | str] | None = None) -> None:
        super().__init__(points=points)
        self.file = Path(file)

    def encode(self, audio: AudioBatch, point: OperatingPoint) -> Encoded:
        text = self.file.read_text()
        if not text.endswith("\n"):
            raise ValueError("the file is not written to its end")
        taken = float(text)
        return super().encode(replace(audio, samples=audio.samples - taken), point)


@dataclass(frozen=True)
class Inputs:
    """The files of a run, and what each may hold."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, clips: int = 1) -> Inputs:
        from small_benchmark import make_clips

        inputs = cls(folder)
        folder.mkdir(parents=True)
        made = {"clip": _clip, "weights": _weights, "option": _option}
        for target, make in made.items():
            for number, version in enumerate(("old", "new")):
                make(folder / f"{target}.{version}", number)
        make_clips(folder / "clips", count=clips)
        inputs.reset()
        return inputs

    def reset(self) -> None:
        """The old contents, written long ago: what is new to the clock is hashed more often."""
        for target in TARGETS:
            self.put(target, "old", "in place")
            os.utime(self.path(target), (0, 0))

    def path(self, target: str) -> Path:
        names = {"clip": "clips/clip_0.wav", "weights": "net.safetensors", "option": "taken.txt"}
        return self.folder / names[target]

    def content(self, target: str, version: str) -> Path:
        return self.folder / f"{target}.{version}"

    def put(self, target: str, version: str, how: str) -> None:
        put(self.path(target), self.content(target, version).read_bytes(), how)

    def trial(self, folder: Path, **more: Any) -> Any:
        from small_benchmark import Trial

        systems = (
            {
                "codec": "swaps:LateReader",
                "name": "late",
                "options": {"file": str(self.path("option"))},
            },
            {
                "codec": "vae",
                "name": "vae",
                "options": {"weights": str(self.path("weights"))},
                "variants": ["mean"],
            },
        )
        return Trial(self.folder / "clips", folder, systems, **more)


def put(path: Path, content: bytes, how: str) -> None:
    """Overwrites a file as a training job does, or puts another one in its place."""
    if how == HALVES:
        with path.open("wb", buffering=0) as file:
            file.write(content[: len(content) // 2])
            time.sleep(0.02)
            file.write(content[len(content) // 2 :])
    elif how == "replaced":
        beside = path.with_name(f"{path.name}.beside")
        beside.write_bytes(content)
        beside.replace(path)
    else:
        path.write_bytes(content)


def _clip(path: Path, number: int) -> None:
    import numpy as np
    import soundfile

    noise = 0.1 * np.random.default_rng(number).standard_normal(8000)
    soundfile.write(path, noise, 16000, format="WAV")


def _weights(path: Path, number: int) -> None:
    import torch

    from rdbench.models.autoencoder import Autoencoder
    from rdbench.models.checkpoint import save
    from rdbench.models.config import AutoencoderConfig, GaussianConfig, SpectralConfig

    torch.manual_seed(number)
    config = AutoencoderConfig(
        backbone=SpectralConfig(hop=80, width=8, encoder_layers=1, decoder_layers=1),
        bottleneck=GaussianConfig(channels=4),
    )
    save(path, Autoencoder(config), {"recipe": "swaps"}, half=False)


def _option(path: Path, number: int) -> None:
    path.write_text(f"0.0{number + 1}\n")


# -- swapping at an opening


@dataclass(frozen=True)
class AtOpening:
    """A swap when the target is opened for the `at`-th time, in whatever process of the run.

    after: the next thing that the process does comes first, which is after the opening. at: 0 swaps
    nothing. counter: a file with a byte for every opening.
    """

    path: str
    content: str
    how: str
    counter: str
    at: int = 0
    after: bool = False

    def install(self) -> None:
        """Watches this process, and those that it starts."""
        os.environ[VARIABLE] = json.dumps(vars(self))
        _watch(self)


def _watch(swap: AtOpening) -> None:
    state = {"busy": False, "due": False}

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if state["busy"]:
            return
        state["busy"] = True
        if state["due"]:
            state["due"] = False
            put(Path(swap.path), Path(swap.content).read_bytes(), swap.how)
        elif event == "open" and str(arguments[0]) == swap.path:
            with open(swap.counter, "ab") as counter:  # noqa: PTH123 (as little as may be)
                counter.write(b".")
                count = counter.tell()
            state["due"] = count == swap.at
            if state["due"] and not swap.after:
                state["due"] = False
                put(Path(swap.path), Path(swap.content).read_bytes(), swap.how)
        state["busy"] = False

    sys.addaudithook(hook)


if VARIABLE in os.environ:  # a process that a watched one has started
    _watch(AtOpening(**json.loads(os.environ[VARIABLE])))


# -- what must hold


def values(folder: Path) -> dict[str, tuple[Any, ...]]:
    """By unit key, the value of every good row, and what lies beside it."""
    from rdbench.store.reader import read_rows
    from rdbench.store.traces import read_traces

    rows = read_rows(folder)
    good = rows[rows["status"] == "ok"]
    found = {
        key: (system, clip, kind, name, value.hex())
        for key, system, clip, kind, name, value in zip(
            *(good[c] for c in ("unit_key", "system", "clip", "kind", "key", "value")), strict=True
        )
    }
    for trace in read_traces(folder).itertuples(index=False):
        found[f"trace {trace}"] = ()
    return found


@dataclass
class References:
    """What undisturbed runs measure, by which input is new."""

    by_new: dict[str, dict[str, tuple[Any, ...]]] = field(default_factory=dict)

    @classmethod
    def measure(cls, children: Any, inputs: Inputs, folder: Path) -> References:
        found = cls()
        for new in ("nothing", *TARGETS):
            inputs.reset()
            if new in TARGETS:
                inputs.put(new, "new", "in place")
            trial = inputs.trial(folder / f"new {new}")
            end = children.finish(trial, folder / "reports")
            assert end["end"] == "finished", end
            assert end["failed"] == 0
            found.by_new[new] = values(trial.folder)
        return found

    def wrong(self, folder: Path) -> Iterator[str]:
        """Good rows that are not what their keys say."""
        known: dict[str, tuple[Any, ...]] = {}
        for rows in self.by_new.values():
            known |= rows
        for key, row in values(folder).items():
            if known.get(key) != row:
                yield f"{key}: {row}, not {known.get(key, 'asked for')}"

    def unfinished(self, folder: Path, new: str) -> Iterator[str]:
        """Whether a run that nobody disturbed has, in the end, the rows of its inputs alone."""
        wanted = self.by_new[new]
        found = values(folder)
        if found != wanted:
            lost, more = len(wanted.keys() - found.keys()), len(found.keys() - wanted.keys())
            yield f"{lost} rows are missing, {more} are of other inputs"


@dataclass
class Tally:
    """What was tried and what was found."""

    swaps: int = 0
    noticed: int = 0
    wrong: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)

    @property
    def findings(self) -> list[str]:
        return [*self.wrong, *self.unfinished, *self.unexplained]


def check(folder: Path, references: References, tally: Tally, what: str) -> None:
    """Looks at the rows of a run of which an input was swapped.

    What failed must say so; what was half written when it was read may have other reasons.
    """
    from rdbench.store.reader import read_rows

    rows = read_rows(folder)
    failed = rows[rows["status"] == "failed"]
    tally.swaps += 1
    tally.noticed += bool(len(failed))
    tally.wrong += [f"{what}: {one}" for one in references.wrong(folder)]
    others = [one for one in set(failed["reason"]) if "was changed while the run went" not in one]
    if HALVES not in what:
        tally.unexplained += [f"{what}: {one}" for one in others]


def check_next(  # noqa: PLR0917
    children: Any, trial: Any, references: References, new: str, tally: Tally, what: str
) -> None:
    """Lets a run end undisturbed whose input `new` is the new one."""
    end = children.finish(replace(trial, swap=None), trial.folder.with_suffix(".reports"))
    if end["end"] != "finished" or end["failed"]:
        tally.unfinished.append(f"{what}: the next run {end}")
    tally.unfinished += [f"{what}: {one}" for one in references.unfinished(trial.folder, new)]


def swap_at_random(
    children: Any, inputs: Inputs, folder: Path, references: References, rng: Any, *, swaps: int
) -> Tally:
    """Swaps one input of each run at a random moment; every other run is then gone on with."""
    import shutil

    tally, seconds = Tally(), 2.0
    while tally.swaps < swaps:
        shutil.rmtree(folder, ignore_errors=True)
        inputs.reset()
        trial = inputs.trial(folder, workers=2)
        target = TARGETS[int(rng.integers(len(TARGETS)))]
        how = (*HOW, HALVES)[int(rng.integers(3))]
        moment = float(rng.uniform(0.0, seconds))
        child, pipe = children.start(trial, folder.with_suffix(".reports"))
        pipe.recv()
        began = time.monotonic()
        over = pipe.poll(moment)
        if not over:
            inputs.put(target, "new", how)
        end = pipe.recv()
        child.join()
        seconds = 0.5 * (seconds + time.monotonic() - began)
        if over:  # the run was over before: the machine is less busy now
            continue
        what = f"swap {tally.swaps}, {target} {how} after {moment:.3f} s"
        if end["end"] != "finished":
            tally.swaps += 1
            tally.unfinished.append(f"{what}: {end}")
            continue
        check(folder, references, tally, what)
        if tally.swaps % 2:
            check_next(children, trial, references, target, tally, what)
    return tally
