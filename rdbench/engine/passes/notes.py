"""Notes on clips that a reader of their scores should know: clipped, silent, there twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdbench.engine.measure.passes import Pass
from rdbench.engine.measure.work import Work
from rdbench.store.schema import Kind, Quantity
from rdbench.types import Score, Status

if TYPE_CHECKING:
    from rdbench.engine.measure.batch import Batch
    from rdbench.engine.measure.desk import Desk


REPEATED = "repeated"
"""The key of the note on a clip whose audio another clip has too."""


@dataclass(frozen=True, eq=False)
class NotesPass(Pass):
    """Nobody asks for notes: they come with the first measuring of a clip, and stay."""

    name = "notes"

    def owns(self, quantity: Quantity) -> bool:
        """Notes."""
        return quantity.kind is Kind.NOTE

    def reference_may_have(self, domain: str) -> Sequence[Quantity]:
        """Every note there is."""
        from rdbench.audio.load import NOTES

        return [Quantity(Kind.NOTE, key) for key in (*NOTES, REPEATED)]

    def depends(self, step: Any, quantity: Quantity) -> Any:
        """Nothing but the clip."""
        return [self.name]

    def on_reference(self, work: Work, batch: Batch, desk: Desk) -> None:
        """Tells what was seen when the clips were planned and loaded."""
        for position, index in enumerate(batch.places(work.clips)):
            notes = {note.key: note.sentence for note in batch.excerpts[index].notes}
            if twin := work.clips[position].twin:
                notes[REPEATED] = (
                    f"the same audio as {twin}: it counts twice, leave one of them out"
                )
            for key, sentence in notes.items():
                told = Score(1.0, Status.OK, sentence)
                work.tell(position, Quantity(Kind.NOTE, key), told)
