"""The tables file: comes back whole, is found by codec and weights, and refuses its own clips."""

from __future__ import annotations

import contextlib
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from rdbench.rate.coded.fitted import FittedLatent
from rdbench.rate.linear import LinearGaussian
from rdbench.rate.prior import GaussianPrior, Moments
from rdbench.rate.static import StaticTables
from rdbench.rate.tables import Entry, Tables, TablesError
from rdbench.types import Posterior


@pytest.fixture
def tables() -> Tables:
    mean = torch.randn(1, 3, 60, generator=torch.Generator().manual_seed(0))
    posterior = Posterior(mean, torch.full_like(mean, 0.1), torch.tensor([60]), 50.0)
    moments = Moments.of([posterior])
    tokens = StaticTables.fit([[np.arange(8, dtype=np.int32)[None]]], [(8,)])
    return Tables(
        (
            Entry("lyra", "aa", "9.2", tokens=tokens),
            Entry("vae", "bb", "6", prior=GaussianPrior.fit(moments),
                  full=LinearGaussian.fit([posterior], moments, 0),
                  linear=LinearGaussian.fit([posterior], moments, 4),
                  latent=FittedLatent.fit([posterior], moments, np.ones(3))),
        ),
        ("f1", "f2"),
    )  # fmt: skip


def test_what_was_saved_is_what_is_loaded(tables: Tables, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_bytes(tables.dumps())
    back = Tables.load(tmp_path / "t.json")
    assert back.fitted_digest == tables.fitted_digest
    lyra, vae = back.get("lyra", "aa", ["3.2", "9.2"]), back.get("vae", "bb", ["6"])
    assert lyra is not None
    assert vae is not None
    assert lyra.tokens is not None
    assert lyra.tokens.digest == tables.entries[0].tokens.digest  # type: ignore[union-attr]
    assert vae.latent is not None
    for part in ("rounding", "water", "profile"):
        before = getattr(tables.entries[1].latent, part)
        assert getattr(vae.latent, part).digest == before.digest
    np.testing.assert_array_equal(vae.prior.scale, tables.entries[1].prior.scale)  # type: ignore[union-attr]
    assert [p.digest for p in vae.priors] == [p.digest for p in tables.entries[1].priors]


def test_a_file_of_version_1_lacks_what_it_did_not_know(tables: Tables, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_bytes(tables.dumps())
    content = json.loads((tmp_path / "t.json").read_text())
    for entry in content["entries"]:
        del entry["full"], entry["linear"]
    (tmp_path / "t.json").write_text(json.dumps(content | {"version": 1}))
    vae = Tables.load(tmp_path / "t.json").get("vae", "bb", ["6"])
    assert vae is not None
    assert [prior.title for prior in vae.priors] == ["Gaussian prior"]


def test_other_weights_and_points_are_not_found(tables: Tables) -> None:
    assert tables.get("lyra", "other", ["9.2"]) is None
    assert tables.get("lyra", "aa", ["1"]) is None
    assert tables.get("lyra", "aa", ["1", "9.2"]) is tables.entries[0]


def test_clips_that_were_fitted_on_are_refused_by_content(tables: Tables) -> None:
    tables.check_apart([("a.wav", "f3")])
    with pytest.raises(TablesError, match=r"'b.wav' is one of the 2 clips"):
        tables.check_apart([("a.wav", "f3"), ("b.wav", "f2")])


@pytest.mark.parametrize("text", ["", "[]", '{"format": "x"}', "{" * 5000])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(TablesError, match="is not a file of `rdbench fit-entropy`"):
        Tables.load(path)
    with pytest.raises(TablesError, match="cannot read"):
        Tables.load(tmp_path / "absent.json")


def test_a_damaged_or_later_file_is_refused(tables: Tables, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(tables.dumps())
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"version": 99}))
    with pytest.raises(TablesError, match="version 99"):
        Tables.load(path)
    content["entries"][1]["prior"] = [[0.0], [-1.0]]
    path.write_text(json.dumps(content))
    with pytest.raises(TablesError, match="damaged"):
        Tables.load(path)


WRONG = (None, "x", [], {}, [[]], True, -1, 2**70, 10**400, 1e308, math.inf, math.nan, "A" * 5000)


def test_numbers_that_are_none_are_damage_wherever_they_stand(
    tables: Tables, tmp_path: Path
) -> None:
    path, rng = tmp_path / "t.json", random.Random(0)
    for _ in range(400):
        content = json.loads(tables.dumps())
        holder, place = content["entries"], rng.randrange(len(content["entries"]))
        while isinstance(holder[place], dict | list) and holder[place] and rng.random() < 0.8:
            holder = holder[place]
            place = (
                rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
            )
        holder[place] = rng.choice(WRONG)
        path.write_text(json.dumps(content))
        with contextlib.suppress(TablesError):
            Tables.load(path)


def test_a_file_of_very_many_values_is_refused_before_they_are_made(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(f'{{"format": "rdbench entropy tables", "entries": [{"[]," * 8_100_000}[]]}}')
    with pytest.raises(TablesError, match="holds more than"):
        Tables.load(path)
