"""What a metric of sets is put together of: features of a clip, and how two sets of them compare.

An `Embedding` turns each clip into windows × dimensions. A `Comparison` makes one value of the
features of two sets. Every pair of the two is a metric (`rdbench.metrics.sets.distances`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from rdbench.metrics.base import ChannelRule, Distance
from rdbench.types import AudioBatch

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rdbench.metrics.sets.saved import Saved
    from rdbench.weights.model_files import ModelFiles

    Features = npt.NDArray[np.float32]


class Embedding(ABC):
    """Features of clips.

    name: as keys have it. title: as people do. unit: of a feature. what: a clause on what features
    are. at: on which audio. sample_rate: hertz; None, the protocol's. domains: on which they mean
    something; all, where there are none. options: what a spec may set. source: what `weights` wants
    and where that is published, "" for an embedding without. citation: of the network.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    unit: ClassVar[str] = ""
    what: ClassVar[str]
    at: ClassVar[str]
    channels: ClassVar[ChannelRule] = ChannelRule.DOWNMIX
    sample_rate: ClassVar[int | None] = None
    minimum_seconds: ClassVar[float]
    domains: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = ""
    citation: ClassVar[str] = ""

    def __init__(self, *, weights: str | None = None) -> None:
        self.weights = weights or ""

    @cached_property
    def files(self) -> ModelFiles:
        """Those of the model; raises SpecError or WeightsError where there are none."""
        from rdbench.weights.model_files import find_model

        return find_model(self.weights, named=f"embedding {self.name!r}")

    @property
    @abstractmethod
    def version(self) -> str:
        """Of the program or the package; a plain attribute will do."""

    @property
    def identity(self) -> str:
        """All that features depend on beside the audio: code, packages, options, weights."""
        from rdbench.weights.model_files import sha256_of

        more = f", weights sha256 {sha256_of(self.files.hashes())}" if self.weights else ""
        return f"{self.version}{more}"

    @abstractmethod
    def windows(self, audio: AudioBatch) -> list[Features]:
        """What each clip adds to a set, float32 (windows, dimensions), whatever the padding."""


class Comparison(ABC):
    """One value of the features of two sets.

    name, title, what, citation: as for an embedding. squared: whether its unit is the square of
    the features'. lower: the least value. fewest_clips: below, there is no value.
    fixed_reference: whether references are another, larger set, which no weight changes.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    what: ClassVar[str]
    squared: ClassVar[bool] = False
    lower: ClassVar[float] = 0.0
    citation: ClassVar[str]
    fewest_clips: ClassVar[int]
    tolerance: ClassVar[float]

    def __init__(self, *, fixed_reference: bool = False) -> None:
        self.fixed_reference = fixed_reference

    def of_clips(
        self, *, reference: Sequence[Features], reconstruction: Sequence[Features]
    ) -> float:
        """The value of two sets of clips, (windows, dimensions) each, in one order.

        Raises ValueError for sides without clips, of other numbers or other dimensions.
        """
        import numpy as np

        _check(reference, reconstruction)
        sides = [[self.summary([clip]) for clip in side] for side in (reference, reconstruction)]
        values = self.distance(reference=sides[0], reconstruction=sides[1])
        return float(values(np.ones((1, len(reference))))[0])

    @abstractmethod
    def summary(self, features: Sequence[Features]) -> Any:
        """All that the value needs of one group, from the features of its clips."""

    @abstractmethod
    def saved(self, statistics: Saved) -> Sequence[Any]:
        """Summaries of a saved set of references."""

    @abstractmethod
    def distance(self, *, reference: Sequence[Any], reconstruction: Sequence[Any]) -> Distance:
        """The value under any weighting of the groups of reconstructions (and of references, which
        stand in the same order, unless they are fixed).
        """


def _check(reference: Sequence[Features], reconstruction: Sequence[Features]) -> None:
    import numpy as np

    if len(reference) != len(reconstruction) or not len(reference):
        raise ValueError(
            f"there are features of {len(reference)} references and {len(reconstruction)} "
            "reconstructions; give one of each clip, in one order"
        )
    shapes = {np.shape(clip)[1:] for clip in (*reference, *reconstruction)}
    if len(shapes) > 1 or len(next(iter(shapes))) != 1:
        raise ValueError(
            "features of clips differ in dimensions, or have none; give (windows, dimensions) of "
            "one embedding for all"
        )
