"""Results of webMUSHRA, read back with the key of `rdbench listen`.

webMUSHRA's service writes one CSV per kind of page: `mushra.csv` with the columns session_test_id,
the questionnaire's answers by their names, session_uuid, trial_id, rating_stimulus, rating_score,
…, and `paired_comparison.csv` with session_test_id, the questionnaire's answers, trial_id,
choice_reference, choice_non_reference, choice_answer (correct, incorrect, undecided or unknown), ….
A listener is who the answer `listener` names, or a session where it is empty.

What a listener gave the hidden reference and the anchors says whether the listener hears:
BS.1534-3, 4.1.2, leaves out who rates the hidden reference below 90, or the mid-range anchor above
90, in more than 15 % of the trials.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rdbench.analysis.listeners.answers import read_table
from rdbench.text import from_cell
from rdbench.types import RdbenchError

if TYPE_CHECKING:
    import pandas as pd

KEY = ("test", "trial", "stimulus", "clip", "condition", "against")
MUSHRA = ("session_test_id", "trial_id", "rating_stimulus", "rating_score")
PAIRS = ("session_test_id", "trial_id", "choice_non_reference", "choice_answer")
REFERENCE = "reference"
NOT_IN_RUN = (REFERENCE, "anchor35", "anchor70")
FOUND = {"correct": 1.0, "incorrect": 0.0, "undecided": 0.5}
UNANSWERED = "unknown"
SCREEN_SHARE, SCREEN_SCORE = 0.15, 90.0


@dataclass(frozen=True)
class Answer:
    """One answer. against: what a pair was compared to, "" for a rating."""

    line: int
    listener: str
    clip: str
    condition: str
    against: str
    score: str


def read_answers(results: Path, key: Path) -> tuple[str, list[Answer]]:
    """The kind of test (mushra, ab or abx) and its answers.

    Raises RdbenchError, naming the line, for what is no result of webMUSHRA, an answer without a
    listener, and a stimulus that the key does not have.
    """
    known = _key(key)
    columns, rows = read_table(results)
    if set(MUSHRA) <= set(columns):
        kind, stimulus, score = "mushra", "rating_stimulus", "rating_score"
    elif set(PAIRS) <= set(columns):
        kind, stimulus, score = "", "choice_non_reference", "choice_answer"
    else:
        raise RdbenchError(
            f"{results.name} is no result of webMUSHRA (mushra.csv or paired_comparison.csv); "
            "without --key it must have the columns condition, clip, listener and score"
        )
    tests = {test for test, *_ in known}
    found = []
    for line, row in rows:
        if row["session_test_id"] not in tests:
            raise RdbenchError(
                f"line {line} of {results.name} is of the test {row['session_test_id']!r}, and "
                f"the key is of {', '.join(sorted(tests))}; give the key that was made with it"
            )
        place = (row["session_test_id"], row["trial_id"], row[stimulus])
        if place not in known:
            raise RdbenchError(
                f"line {line} of {results.name} names the stimulus {row[stimulus]!r} of the trial "
                f"{row['trial_id']!r}, which {key.name} does not have; give the key that was made "
                "with the test"
            )
        listener = row.get("listener") or row.get("session_uuid") or ""
        if not listener:
            raise RdbenchError(
                f"line {line} of {results.name} does not say who listened; fill in its column "
                "listener"
            )
        clip, condition, against = known[place]
        found.append(Answer(line, listener, clip, condition, against, row[score]))
    if not kind:
        kind = "abx" if any(a.against not in ("", REFERENCE) for a in found) else "ab"
    return kind, found


def rejected(answers: Iterable[Answer]) -> list[str]:
    """The listeners whom BS.1534-3 leaves out of a MUSHRA test, in order of their names."""
    wrong: dict[str, dict[str, list[bool]]] = {}
    for answer in answers:
        if answer.condition not in (REFERENCE, "anchor70"):
            continue
        score = _float(answer.score)
        missed = score < SCREEN_SCORE if answer.condition == REFERENCE else score > SCREEN_SCORE
        wrong.setdefault(answer.listener, {}).setdefault(answer.condition, []).append(missed)
    return sorted(
        listener
        for listener, found in wrong.items()
        if any(sum(missed) > SCREEN_SHARE * len(missed) for missed in found.values())
    )


def pair_table(answers: Iterable[Answer]) -> pd.DataFrame:
    """How often two points were told apart, one row per pair.

    share: correct of the answers that decided, with an exact 95 % interval (Clopper and Pearson,
    Biometrika 26, 1934) and the one-sided p of a binomial test against guessing. Answers count as
    independent, which those of one listener or on one clip are not quite.
    """
    import pandas as pd
    from scipy.stats import binomtest

    counts: dict[tuple[str, str], dict[str, int]] = {}
    listeners: dict[tuple[str, str], set[str]] = {}
    for answer in answers:
        one, two = sorted((answer.condition, answer.against))
        found = counts.setdefault((one, two), dict.fromkeys(FOUND, 0))
        listeners.setdefault((one, two), set()).add(answer.listener)
        if answer.score in FOUND:
            found[answer.score] += 1
    rows = []
    for pair, found in counts.items():
        decided = found["correct"] + found["incorrect"]
        test = binomtest(found["correct"], decided, alternative="greater") if decided else None
        span = binomtest(found["correct"], decided).proportion_ci() if decided else None
        rows.append(
            {
                "one": pair[0], "two": pair[1], "listeners": len(listeners[pair]),
                "correct": found["correct"], "decided": decided,
                "undecided": found["undecided"],
                "share": found["correct"] / decided if decided else float("nan"),
                "low": span.low if span else float("nan"),
                "high": span.high if span else float("nan"),
                "p": test.pvalue if test else float("nan"),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _key(path: Path) -> dict[tuple[str, str, str], tuple[str, str, str]]:
    columns, rows = read_table(path)
    absent = [name for name in KEY if name not in columns]
    if absent:
        raise RdbenchError(
            f"{path.name} is no key of a listening test (it lacks {', '.join(absent)}); give the "
            "key.csv that `rdbench listen` wrote"
        )
    return {
        (row["test"], row["trial"], row["stimulus"]): (
            from_cell(row["clip"]), from_cell(row["condition"]), from_cell(row["against"]),
        )
        for _, row in rows
    }  # fmt: skip


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
