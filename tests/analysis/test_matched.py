"""A run against an earlier one: what is compared with what."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_runs import make_run

from rdbench.analysis.compare import bd_rate
from rdbench.analysis.matched import match
from rdbench.analysis.runs import Run, merge
from rdbench.report.text.matched import matched_text

SYSTEMS = {f"vae_{kbps:g}": ("payload", {"6k": kbps}, 9.0) for kbps in (6.0, 9.0, 12.0, 18.0, 30.0)}


def sweep(name: str, shift: dict[str, float]) -> Run:
    """Five systems of one point each on one curve; shift: of the quality of some."""
    run = make_run(SYSTEMS, shift=lambda system, point: shift.get(system, 0.0))
    cards = {key: {**card, "curve": "VAE"} for key, card in run.systems.items()}
    manifest = {**run.manifest, "systems": cards}
    return replace(run, name=name, rows=run.rows.assign(curve="VAE"), manifest=manifest)


def test_the_bd_rate_of_a_curve_is_of_the_whole_curve() -> None:
    old, new = sweep("last week", {}), sweep("today", {"vae_12": 0.2})
    matched = match(old, new)
    assert set(matched.pairs["system"]) == {"today:vae_12"}
    assert len(matched.same) == 4
    assert matched.curves == (("VAE", 5, 5, 1),)
    assert matched.bd is not None
    found = matched.bd.set_index("key")["value"]
    assert found["quality"] < 0
    # The same as of two runs in which every point has another name.
    apart = [
        replace(
            run,
            rows=run.rows.assign(system=run.name + run.rows["system"], curve=run.name),
            manifest={
                **run.manifest,
                "systems": {f"{run.name}{k}": {**c, "curve": run.name}
                            for k, c in run.systems.items()},
            },
        )
        for run in (old, new)
    ]  # fmt: skip
    both = merge(apart)
    table = bd_rate(both.rows, manifest=both.manifest, anchor="last week", methods=("pchip",))
    expected = table[table["quantity"] == "bd_rate"].set_index("key")["value"]
    assert found["quality"] == pytest.approx(expected["quality"], rel=1e-12)
    text = matched_text(matched, old="last week", new="today")
    assert "of whole curves" in text
    assert "5 points in the old one, 5 in the new one, 1 of them measured otherwise" in text


def test_a_curve_on_which_nothing_has_changed_is_not_compared() -> None:
    matched = match(sweep("last week", {}), sweep("today", {}))
    assert (matched.bd, matched.curves) == (None, ())
    assert len(matched.same) == 5
