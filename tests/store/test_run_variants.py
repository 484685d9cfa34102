"""The variants of a run, as readers know them."""

from __future__ import annotations

from rdbench.store.variants import VariantCard, first_stream


def test_the_stream_that_the_spec_names_first_stands_for_all() -> None:
    made = [
        VariantCard("sample", "sample", transmitted=True),
        VariantCard("mean", "mean", transmitted=False, rate="coded"),
        VariantCard("coded_trellis", "stream", transmitted=True, rate="coded"),
        VariantCard("coded", "stream", transmitted=True, rate="coded"),
    ]
    assert first_stream(made) == "coded_trellis"
    assert first_stream(reversed(made)) == "coded"
    assert first_stream(made[:2]) == ""
