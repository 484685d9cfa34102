"""Objects that cross between processes through shared memory."""

from __future__ import annotations

from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
import pytest

from rdbench.engine import parcel
from rdbench.engine import pool as pool_module


def things() -> dict[str, Any]:
    generator = np.random.default_rng(0)
    return {
        "wide": generator.standard_normal((2, 70_000)).astype(np.float32),
        "strided": np.arange(40_000)[::2],
        "small": np.arange(3, dtype=np.int16),
        "text": "a clip",
        "nested": [{16000: np.ones((1, 20_000))}],
    }


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    for name in ("wide", "strided", "small"):
        np.testing.assert_array_equal(one[name], other[name])
        assert one[name].dtype == other[name].dtype
    np.testing.assert_array_equal(one["nested"][0][16000], other["nested"][0][16000])
    assert one["text"] == other["text"]


@pytest.mark.parametrize("copy", [True, False])
def test_what_is_unpacked_is_what_was_packed(copy: bool) -> None:
    packed = parcel.pack(things())
    assert packed.block
    assert len(packed.content) < 200_000  # the strided array alone, which is not contiguous
    found = parcel.unpack(packed, copy=copy)
    packed.release()
    assert_same(things(), found)  # a view outlives the name of its block


def test_a_released_block_is_gone_and_may_be_released_again() -> None:
    packed = parcel.pack(things())
    packed.release()
    packed.release()
    with pytest.raises(FileNotFoundError):
        SharedMemory(packed.block)


def test_little_travels_without_a_block() -> None:
    packed = parcel.pack({"a": np.arange(10)})
    assert packed.block == ""
    np.testing.assert_array_equal(parcel.unpack(packed, copy=False)["a"], np.arange(10))


def test_without_shared_memory_arrays_travel_through_the_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parcel.os, "posix_fallocate", full)
    packed = parcel.pack(things())
    assert packed.block == ""
    assert_same(things(), parcel.unpack(packed, copy=True))


def test_jobs_get_and_give_arrays_and_leave_no_block(monkeypatch: pytest.MonkeyPatch) -> None:
    crossed: list[str] = []

    def packing(thing: Any) -> parcel.Parcel:
        packed = parcel.pack(thing)
        crossed.append(packed.block)
        return packed

    def unpacking(packed: parcel.Parcel, *, copy: bool) -> Any:
        crossed.append(packed.block)
        return parcel.unpack(packed, copy=copy)

    monkeypatch.setattr(pool_module, "pack", packing)
    monkeypatch.setattr(pool_module, "unpack", unpacking)
    samples = np.random.default_rng(1).standard_normal((2, 100_000)).astype(np.float32)
    found: list[Any] = []
    with pool_module.worker_pool(1) as pool:
        for _ in range(3):
            pool.submit(
                np.multiply, samples, np.float32(2), timeout=60, done=found.append, lost=pytest.fail
            )
        pool.wait()
    assert len(found) == 3
    for result in found:
        np.testing.assert_array_equal(result, 2 * samples)
    assert len(crossed) == 6
    for name in crossed:
        with pytest.raises(FileNotFoundError):
            SharedMemory(name)
