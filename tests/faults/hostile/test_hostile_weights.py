"""Checkpoints that promise what they do not hold: tensors come from inspected bytes, or not at all.

`torch.load` is never called: whatever a file says, the tensors are those that its inspected table
describes over its own bytes, or the file is refused with one sentence, at once and in little
memory.
"""

from __future__ import annotations

import contextlib
import itertools
import pickle
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_files import Storage, View, archive, legacy, pickled, values, zipped

from rdbench.types import WeightsError
from rdbench.weights.checkpoints import Checkpoint, read_checkpoint
from rdbench.weights.formats import MAX_BYTES
from rdbench.weights.pickles import ITEM_BYTES

SECONDS = 10.0
MEMORY = 256e6

S = Storage("0", 4)
TABLE = {"w": View(S, (4,))}
GOOD = values(4, 1.0)


@pytest.fixture(autouse=True)
def _within_bounds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch reads no file; seconds (of the CPU: others use the machine) and memory stay small."""

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("torch.load was called")

    monkeypatch.setattr(torch, "load", never)
    before, began = peak(), time.process_time()
    yield
    assert time.process_time() - began < SECONDS
    assert peak() - before < MEMORY


def peak() -> int:
    """Most bytes that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def refused(path: Path, said: str = ".") -> None:
    with pytest.raises(WeightsError, match=said) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def read_or_refused(path: Path) -> Checkpoint | None:
    with contextlib.suppress(WeightsError):
        return read_checkpoint(path)
    refused(path)
    return None


# -- which entry counts


TWINS = ("archive/DATA.PKL", "Archive/data.pkl", "archive/data/../data.pkl", "other/data.pkl")
HUGE = pickled({"w": View(Storage("0", 2**40), (2**20, 2**20), (2**20, 1))})


@pytest.mark.parametrize("twin", [*TWINS, "archive/data.pkl"])
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_second_table_never_counts(tmp_path: Path, twin: str, first: bool) -> None:
    entries = [("archive/data.pkl", pickled(TABLE)), (twin, HUGE)]
    entries = [*(entries if not first else entries[::-1]), ("archive/data/0", GOOD)]
    found = read_or_refused(zipped(tmp_path / "w.pt", entries))
    assert found is None or found.state["w"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("twin", ["archive/DATA/0", "ARCHIVE/data/0", "archive/data/0"])
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_second_record_never_counts(tmp_path: Path, twin: str, first: bool) -> None:
    entries = [("archive/data/0", GOOD), (twin, values(4, 50.0))]
    entries = [("archive/data.pkl", pickled(TABLE)), *(entries if not first else entries[::-1])]
    refused(zipped(tmp_path / "w.pt", entries), "records do not fit together")


def test_records_that_differ_in_case_alone_are_not_taken_for_each_other(tmp_path: Path) -> None:
    table = {"w": View(Storage("a", 4), (4,))}
    refused(archive(tmp_path / "w.pt", table, {"A": GOOD}), "promises 4 values")


def test_a_file_of_another_byte_order_is_refused(tmp_path: Path) -> None:
    entries = [("archive/data.pkl", pickled(TABLE)), ("archive/data/0", GOOD)]
    refused(zipped(tmp_path / "w.pt", [*entries, ("archive/byteorder", b"big")]), "byte order")
    found = read_checkpoint(zipped(tmp_path / "v.pt", [*entries, ("archive/byteorder", b"little")]))
    assert found.state["w"].tolist() == [1, 2, 3, 4]


# -- what fills a storage


TWO = {"w": View(S, (4,)), "v": View(Storage("1", 2), (2,))}


@pytest.mark.parametrize("keys", [[], ["0"], ["0", "0"], ["0", "2"], ["0", "1", "2"], None, "01"])
def test_an_old_file_fills_every_storage_or_is_refused(tmp_path: Path, keys: Any) -> None:
    stored = [(4, GOOD), (2, values(2))]
    found = read_or_refused(legacy(tmp_path / "w.pt", TWO, keys, stored))
    assert found is None or [found.state[key].tolist() for key in "wv"] == [[1, 2, 3, 4], [0, 1]]
    assert (found is None) == (keys != "01")


@pytest.mark.parametrize(
    "stored",
    [
        [],
        [(4, GOOD)],
        [(4, GOOD), (2, b"")],
        [(4, GOOD), (3, values(2))],
        [(2**40, GOOD), (2, values(2))],
        [(-1, GOOD), (2, values(2))],
        [(4, GOOD), (2, values(2)[:7])],
    ],
)
def test_an_old_file_of_other_sizes_is_refused(tmp_path: Path, stored: Any) -> None:
    refused(legacy(tmp_path / "w.pt", TWO, ["0", "1"], stored), "is damaged")


def test_a_sound_old_file_is_read_and_one_of_another_machine_is_not(tmp_path: Path) -> None:
    stored = [(4, GOOD), (2, values(2))]
    found = read_checkpoint(legacy(tmp_path / "w.pt", TWO, ["0", "1"], stored))
    assert [found.state[key].tolist() for key in "wv"] == [[1, 2, 3, 4], [0, 1]]
    refused(legacy(tmp_path / "b.pt", TWO, ["0", "1"], stored, little_endian=False), "begin")


@pytest.mark.parametrize("items", [5, 2**29, 2**40, 2**63, 10**4000, -1])
@pytest.mark.parametrize("size", [(4,), (2**40,), (2**30, 2**30)])
def test_a_storage_is_no_larger_than_its_record(tmp_path: Path, items: int, size: Any) -> None:
    table = {"w": View(Storage("0", items), size, (1,) * len(size))}
    refused(archive(tmp_path / "w.pt", table, {"0": GOOD}), "is damaged")
    refused(legacy(tmp_path / "l.pt", table, ["0"], [(4, GOOD)]), "is damaged")


def test_one_storage_has_one_size(tmp_path: Path) -> None:
    table = {"w": View(S, (4,)), "v": View(Storage("0", 2), (2,))}
    refused(archive(tmp_path / "w.pt", table, {"0": GOOD}), "of two types or sizes")


@pytest.mark.parametrize(
    "view",
    [
        View(S, (4,), (2,)),
        View(S, (4,), (1,), 1),
        View(S, (2, 4), (0, 1)),
        View(S, (2,), (2**60,)),
        View(S, (1,), (1,), -1),
        View(S, (-4,)),
        View(S, (0,), (1,), 2**40),
        View(S, (1,) * 65, (1,) * 65),
        View(S, (2**40, 0, 2**40), (1, 1, 1)),
        View(S, (2,), (1, 1)),
    ],
)
def test_views_lie_in_their_storage(tmp_path: Path, view: View) -> None:
    found = read_or_refused(archive(tmp_path / "w.pt", {"w": view}, {"0": GOOD}))
    assert found is None or found.state["w"].numel() == 0


# -- how many


def test_many_views_are_read_in_seconds(tmp_path: Path) -> None:
    table = {str(i): View(Storage("0", 1000), (10, 10), (10, 1), i % 900) for i in range(20_000)}
    found = read_checkpoint(archive(tmp_path / "w.pt", table, {"0": values(1000)}))
    assert len(found.state) == 20_000
    assert found.state["7"][0, 0] == 7


def test_views_of_more_bytes_than_any_file_are_refused(tmp_path: Path) -> None:
    items = 2**20
    count = MAX_BYTES // (4 * items) + 1
    table = {str(i): View(Storage("0", items), (items,)) for i in range(count)}
    refused(archive(tmp_path / "w.pt", table, {"0": values(items)}), "bytes of them")


# -- what a pickle may say


def collisions() -> bytes:
    """A dictionary of numbers that share one hash."""
    prime = 2**61 - 1
    return pickle.dumps({prime * i: None for i in range(1, 3000)}, protocol=2)


def laughing(depth: int = 60) -> Any:
    """A list that doubles with each level, and takes little room."""
    item: Any = ["ha"]
    for _ in range(depth):
        item = [item, item]
    return item


def deep(depth: int) -> bytes:
    return b"\x80\x02" + b")" + b"\x85" * depth + b"."


@pytest.mark.parametrize(
    "content",
    [
        collisions(),
        pickle.dumps({1.5: 1}, protocol=2),
        pickle.dumps({None: 1}, protocol=2),
        pickle.dumps({"state_dict": {}, "metadata": laughing()}, protocol=2),
        pickle.dumps(laughing(), protocol=2),
        deep(10**5),
        b"\x80\x02" + b"]" * 10**5 + b".",
        b"\x80\x02" + b"(" * 10**5 + b".",
        b"\x80\x02X\xff\xff\xff\xff.",
        b"\x80\x02X\xff\xff\xff\x7f" + b"x" * 100 + b".",
        b"\x80\x02h\x07.",
        b"\x80\x02}q\x00]h\x00a.",
        b"\x80\x02" + b"N" * 5_000_000 + b".",
        b".",
        b"",
        b"\x80\x02",
        pickle.dumps({"w": 1}, protocol=4),
        pickle.dumps({"w": 1}, protocol=0),
        b"I" + b"9" * 10_000 + b"\n.",
        b"cposix\nsystem\nX\x02\x00\x00\x00id\x85R.",
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"ccollections\nOrderedDict\nN\x85R.",
        b"cbuiltins\nset\n]X\x01\x00\x00\x00aa\x85R.",
    ],
    ids=itertools.count(),
)
def test_a_pickle_is_a_table_or_is_refused(tmp_path: Path, content: bytes) -> None:
    refused(archive(tmp_path / "w.pt", content, {"0": GOOD}))


def test_random_programs_end_with_an_answer_or_a_sentence(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    words = [bytes([code]) for code in b"N\x88\x89K\x07)]}(tuaeshq\x85\x86\x87RQb"]
    words += [b"X\x01\x00\x00\x00w", b"ctorch\nFloatStorage\n", b"ccollections\nOrderedDict\n"]
    words += [b"ctorch._utils\n_rebuild_tensor_v2\n", b"X\x07\x00\x00\x00storage", b"K\x04"]
    for _ in range(400):
        picks = rng.integers(len(words), size=int(rng.integers(1, 40)))
        program = b"\x80\x02" + b"".join(words[pick] for pick in picks) + b"."
        read_or_refused(archive(tmp_path / "w.pt", program, {"0": GOOD}))


def test_metadata_stays_what_it_is(tmp_path: Path) -> None:
    metadata = {
        "kwargs": {"rates": [2, 4], "name": "ü", "big": 2**70, "x": 1.5, "no": None, "yes": True},
        "size": torch.Size([2, 3]), "names": {"a", "b"}, "type": torch.float16,
        "on": torch.device("cuda", 1), 3: "three",
    }  # fmt: skip
    content = {"state_dict": TABLE, "metadata": metadata}
    found = read_checkpoint(archive(tmp_path / "w.pt", content, {"0": GOOD})).metadata
    assert found["kwargs"] == metadata["kwargs"]
    assert (found["size"], found["names"], found[3]) == ((2, 3), {"a", "b"}, "three")
    assert (found["type"], found["on"]) == ("float16", "cuda")


@pytest.mark.parametrize("zipped_", [True, False])
def test_what_torch_saves_is_what_is_read(tmp_path: Path, zipped_: bool) -> None:
    kinds = [kind for kind in ITEM_BYTES if kind != "bool"]
    state = {kind: (10 * torch.randn(3, 5)).to(getattr(torch, kind)) for kind in kinds}
    state |= {"bool": torch.tensor([True, False]), "shared": state["float32"].t()}
    torch.save(state, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped_)
    found = read_checkpoint(tmp_path / "w.pt").state
    assert found.keys() == state.keys()
    for key, value in state.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value)


# -- what is remembered once and used again and again


def _many(count: int, item: bytes) -> bytes:
    """A remembered tuple (1) of `count` items, taken from the stack into a list."""
    return b"(" + item * count + b"tq\x01"


PAIR, NAME, NUMBER = b"X\x01\x00\x00\x00aK\x01\x86", b"X\x01\x00\x00\x00a", b"K\x01"
STORAGE = (
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQq\x03"
)
AGAIN = {
    "tables": (PAIR, b"ccollections\nOrderedDict\nq\x02", b"h\x02h\x01\x85R"),
    "sets": (NAME, b"c__builtin__\nset\nq\x02", b"h\x02h\x01\x85R"),
    "arguments": (NAME, b"ctorch._utils\n_rebuild_parameter\nq\x02", b"h\x02h\x01R"),
    "storages": (NAME, b"", b"h\x01Q"),
    "sizes": (
        NUMBER,
        STORAGE + b"ctorch._utils\n_rebuild_tensor_v2\nq\x02",
        b"h\x02(h\x03K\x00h\x01h\x01tR",
    ),
}


@pytest.mark.parametrize("what", AGAIN)
def test_what_is_remembered_costs_little_however_often_it_is_used(
    tmp_path: Path, what: str
) -> None:
    """A file of 0.4 MB made 4 GB of tables, and one of 3.6 MB would have taken hours."""
    item, named, used = AGAIN[what]
    table = b"\x80\x02" + _many(65_536, item) + named + used * 20_000 + b"."
    assert len(table) < 2e6
    refused(archive(tmp_path / "w.pt", table, {"0": GOOD}))
