"""Variants by name: what is known, what is near, and what a package may add."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
import torch

from rdbench.codecs import variants
from rdbench.codecs.variants import LatentRequest, LatentVariant, variant, variants_of_latents
from rdbench.store.variants import BUILT_IN
from rdbench.types import RateKind, SpecError, Variant

LOUD = LatentVariant(
    Variant("loud", "scaled mean", digest="k=2"), lambda request: 2 * request.posterior.mean
)


def test_a_misspelt_variant_is_told_its_neighbour() -> None:
    with pytest.raises(SpecError, match=r"no variant 'smaple'; did you mean 'sample'\?"):
        variant("smaple")


def test_what_readers_know_of_built_in_variants_is_what_they_are() -> None:
    for name, card in BUILT_IN.items():
        found = variant(name)
        assert (found.source, found.transmitted) == (card.source, card.transmitted)
        assert (found.rate or "") == card.rate


def test_a_latent_without_a_scale_has_no_variants_with_noise() -> None:
    streams = ["coded", "coded_rd", "coded_dither", "coded_trellis"]
    assert [one.name for one in variants_of_latents(scale=False)] == ["mean", *streams]
    assert {one.name for one in variants_of_latents(scale=True)} == {
        "sample", "mean", *streams, "coded_sample", "noise_0.5", "noise_2",
    }  # fmt: skip
    for name in (*streams, "coded_sample"):
        assert variant(name).rate is RateKind.CODED
        assert variant(name).seeded == (name not in {"coded", "coded_rd"})


def test_a_package_adds_a_variant_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("loud", f"{__name__}:LOUD", variants.ENTRY_POINT_GROUP)
    monkeypatch.setattr(variants, "entry_points", lambda group: [entry])
    variants._latents.cache_clear()
    try:
        assert variant("loud") == LOUD.variant
        assert LOUD.variant in variants_of_latents(scale=False)
        posterior = type("P", (), {"mean": torch.ones(1, 2, 3)})
        request = LatentRequest(posterior, [0], None)  # type: ignore[arg-type]
        assert variants.make_latent(variant("loud"), request).sum() == 12
        wrong = EntryPoint("quiet", f"{__name__}:LOUD", variants.ENTRY_POINT_GROUP)
        monkeypatch.setattr(variants, "entry_points", lambda group: [wrong])
        variants._latents.cache_clear()
        with pytest.raises(SpecError, match="no LatentVariant of this name"):
            variant("mean")
    finally:
        variants._latents.cache_clear()
