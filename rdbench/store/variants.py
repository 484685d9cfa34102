"""What readers of a run know of its variants: from the manifest, or as they always were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rdbench.types import RateKind, StoreError


@dataclass(frozen=True)
class VariantCard:
    """What was decoded under a name of the column `variant`.

    source: where the decoder's input comes from ("codes", "mean", "sample", "stream", "noise", and
    whatever a plugin names). transmitted: whether one can transmit it at a stated rate. rate: the
    kind of rate that belongs to it; "" is the system's headline kind. digest: of an input that
    comes from outside of the codec. of: the variant that it is, drawn with another seed; "" where
    it is drawn with the protocol's, or not at all.
    """

    name: str
    source: str
    transmitted: bool
    rate: str = ""
    digest: str = ""
    of: str = ""

    @property
    def headline(self) -> bool:
        """Whether it is the system's own point, which tables and figures show without a suffix."""
        return self.transmitted and not self.rate and not self.of

    @property
    def stream(self) -> bool:
        """Whether it is what a decodable stream of a latent decodes to."""
        return self.transmitted and self.rate == "coded"

    def as_dict(self) -> dict[str, Any]:
        """The card as manifests hold it under its name."""
        return {
            "source": self.source,
            "transmitted": self.transmitted,
            "rate": str(self.rate),
            "digest": self.digest,
        } | ({"of": self.of} if self.of else {})


def with_seed(variant: str, seed: int) -> str:
    """What rows call a variant that is drawn with another seed than the protocol's (0)."""
    return f"{variant}@{seed}" if seed else variant


BUILT_IN: Mapping[str, VariantCard] = {
    card.name: card
    for card in (
        VariantCard("codes", "codes", True),
        VariantCard("sample", "sample", True),
        VariantCard("mean", "mean", False),
        VariantCard("coded", "stream", True, RateKind.CODED),
        VariantCard("coded_rd", "stream", True, RateKind.CODED),
        VariantCard("coded_dither", "stream", True, RateKind.CODED),
        VariantCard("coded_trellis", "stream", True, RateKind.CODED),
        VariantCard("coded_sample", "stream", True, RateKind.CODED),
        VariantCard("noise_0.5", "noise", False),
        VariantCard("noise_2", "noise", False),
    )
}


def variants_of(manifest: Mapping[str, Any]) -> dict[str, VariantCard]:
    """The variants of a run by name: those that its manifest describes, in the order of the spec,
    then the others of rdbench.

    Raises StoreError where what the manifest says of them is damaged.
    """
    told = manifest.get("variants") or {}
    if not isinstance(told, Mapping) or not all(isinstance(c, Mapping) for c in told.values()):
        raise StoreError(
            "the variants in manifest.json are damaged; restore the file from a copy, or run again"
        )
    found = {
        str(name): VariantCard(
            str(name),
            str(card.get("source", "")),
            card.get("transmitted") is True,
            str(card.get("rate") or ""),
            str(card.get("digest") or ""),
            str(card.get("of") or ""),
        )
        for name, card in told.items()
    }
    return found | {name: card for name, card in BUILT_IN.items() if name not in found}


def first_stream(cards: Iterable[VariantCard]) -> str:
    """The stream that stands for all streams of a latent in figures and comparisons.

    It is the one that the spec names first; "" where there is none.
    """
    return next((card.name for card in cards if card.stream), "")
