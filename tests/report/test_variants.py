"""What a report makes of variants is what the manifest says of them, and not their names."""

from __future__ import annotations

import make_run
import pandas as pd

from rdbench.analysis.aggregate import points
from rdbench.report.cards import describe
from rdbench.report.config import ReportConfig
from rdbench.report.figures.panel import find_panels
from rdbench.report.html.numbering import point_name
from rdbench.report.tables.rows import point_columns, point_keys

CARDS = {
    "quantized": {"source": "codes", "transmitted": True},
    "projected": {"source": "latent", "transmitted": False},
    "noise_0.25": {"source": "noise", "transmitted": False},
}


def renamed() -> tuple[pd.DataFrame, dict]:
    """The run in which Opus has three variants that no list of rdbench knows."""
    frame = make_run.make_frame()
    frame = frame[(frame["system"] == "opus") & (frame["domain"] != "music")]
    rates = frame["kind"] != "metric"
    parts = [frame.assign(variant="quantized")]
    parts += [frame[~rates].assign(variant=name) for name in ("projected", "noise_0.25")]
    manifest = {**make_run.make_manifest(), "variants": CARDS}
    return points(pd.concat(parts, ignore_index=True)), manifest


def test_variants_of_a_plugin_are_shown_as_their_cards_say() -> None:
    table, manifest = renamed()
    card = describe(table, manifest)
    panels, _ = find_panels(table, card, ReportConfig())
    data = panels[0].data
    assert set(data["variant"]) == {"quantized", "projected"}  # other noise is told and not drawn
    assert dict(data.groupby("variant")["rate_point"].all()) == {
        "quantized": True, "projected": False,
    }  # fmt: skip
    rows = point_keys(table[table["point"] == "12"], card)
    assert [key.variant for key in rows] == ["quantized", "projected", "noise_0.25"]
    assert [point_name(key, card) for key in rows] == [
        "Opus 12", "Opus 12, projected", "Opus 12, noise_0.25",
    ]  # fmt: skip
    assert [column.title for column in point_columns(rows, card)] == ["system", "point", "variant"]
    own = [key for key in rows if key.variant == "quantized"]
    assert [column.title for column in point_columns(own, card)] == ["system", "point"]
