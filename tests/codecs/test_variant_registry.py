"""Variants by name: what is known, what is near, and what a package may add."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
import torch

from rdbench.codecs import variants
from rdbench.codecs.variants import (
    LatentRequest,
    LatentVariant,
    is_of_latents,
    names_of_latents,
    variant,
)
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


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("keep_x", r"no variant 'keep_x'; K of keep_K is a whole number, as in keep_2"),
        ("keep_2.5", "K of keep_K is a whole number"),
        ("keep_kl_-1", "K of keep_kl_K is a whole number"),
        ("keep_02", "K of keep_K is a whole number"),
        ("noise_0", "K of noise_K is a number above 0, .*as in noise_0.5"),
        ("noise_0.50", "K of noise_K is a number above 0, without zeros at its end"),
        ("noise_inf", "K of noise_K is a number"),
        ("latent_noise_1e3", "K of latent_noise_K is a number"),
        ("latent_nois_0.1", r"did you mean 'latent_noise_K'\?"),
        ("collapse_al", r"did you mean 'collapse_all'\?"),
        ("_5", "known: codes, sample, "),
    ],
)
def test_a_family_takes_one_spelling_of_a_number(name: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        variant(name)


def test_a_family_has_a_variant_for_every_number() -> None:
    assert variant("noise_0.5") == Variant("noise_0.5", "noise", seeded=True)
    for name in ("noise_3", "latent_noise_0.1", "keep_0", "keep_kl_36", "keep_random_36",
                 "collapse_channel_0", "collapse_frame_12"):  # fmt: skip
        found = variant(name)
        assert (found.name, found.seeded, found.transmitted) == (name, True, False)
        assert is_of_latents(found, scale=True)
    assert not is_of_latents(Variant("keep_2", "another"), scale=True)
    assert not is_of_latents(Variant("nothing", "another"), scale=True)


def test_a_latent_without_a_scale_has_no_variants_with_noise_of_it() -> None:
    streams = ["coded", "coded_rd", "coded_dither", "coded_trellis"]
    without, those = names_of_latents(scale=False), names_of_latents(scale=True)
    assert set(those) - set(without) == {"sample", "coded_sample", "noise_K", "keep_kl_K"}
    assert {"mean", *streams, "keep_K", "latent_noise_K", "predicted"} <= set(without)
    assert not is_of_latents(variant("noise_0.5"), scale=False)
    for name in (*streams, "coded_sample"):
        assert variant(name).rate is RateKind.CODED
        assert variant(name).seeded == (name not in {"coded", "coded_rd"})


def test_a_package_adds_a_variant_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("loud", f"{__name__}:LOUD", variants.ENTRY_POINT_GROUP)
    monkeypatch.setattr(variants, "entry_points", lambda group: [entry])
    variants._latents.cache_clear()
    try:
        assert variant("loud") == LOUD.variant
        assert is_of_latents(LOUD.variant, scale=False)
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
