"""The configuration of a listening test as webMUSHRA reads it (YAML).

Paths are relative to webMUSHRA's root. Its page `mushra` adds the hidden reference by itself and
shuffles what it plays; its low-pass versions are left out, since ours stand among the stimuli. Its
page `paired_comparison` offers a reference and, as A and B by chance, the reference again and a
stimulus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WELCOME = {
    "mushra": (
        "You will hear several versions of each recording. Rate the quality of each against the "
        "reference from 0 (bad) to 100 (excellent: no difference that you can hear). One version "
        "in each trial is the reference itself: give it 100. Use headphones in a quiet room."
    ),
    "ab": (
        "You will hear a reference, A and B. One of A and B is the reference, the other is not. "
        "Say which one is the reference; where you hear no difference, guess. Use headphones in a "
        "quiet room."
    ),
    "abx": (
        "You will hear X (the button “Reference”), A and B. One of A and B is X, the other is not. "
        "Say which one is X; where you hear no difference, say so. Use headphones in a quiet room."
    ),
}
TRIAL = {
    "mushra": "Rate the quality of every version against the reference.",
    "ab": "Which of A and B is the reference?",
    "abx": "Which of A and B is X (the button “Reference”)?",
}
LISTENER = "listener"
"""The question whose answer tells listeners apart in the results."""


def mushra_page(trial: str, reference: str, stimuli: Mapping[str, str]) -> dict[str, object]:
    """One trial of BS.1534."""
    return {
        "type": "mushra",
        "id": trial,
        "name": "Rate the versions",
        "content": TRIAL["mushra"],
        "showWaveform": False,
        "enableLooping": True,
        "randomize": True,
        "showConditionNames": False,
        "createAnchor35": False,
        "createAnchor70": False,
        "reference": reference,
        "stimuli": dict(stimuli),
    }


def pair_page(
    kind: str, trial: str, reference: str, stimuli: Mapping[str, str]
) -> dict[str, object]:
    """One comparison; in an abx test a listener may hear no difference."""
    page: dict[str, object] = {
        "type": "paired_comparison",
        "id": trial,
        "name": "Compare",
        "content": TRIAL[kind],
        "showWaveform": False,
        "enableLooping": True,
        "reference": reference,
        "stimuli": dict(stimuli),
    }
    if kind == "abx":
        page["unforced"] = "I hear no difference"
    return page


def configuration(kind: str, title: str, test: str, pages: Sequence[Mapping[str, object]]) -> bytes:
    """The whole configuration; webMUSHRA draws a new order of the trials for every listener."""
    import yaml

    first = pages[0]["reference"] if pages else ""
    content = {
        "testname": _text(title),
        "testId": test,
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": True,
        "remoteService": "service/write.php",
        "pages": [
            {"type": "generic", "id": "welcome", "name": "Welcome", "content": WELCOME[kind]},
            {
                "type": "volume",
                "id": "volume",
                "name": "Volume",
                "content": "Set a comfortable volume, and leave it there.",
                "stimulus": first,
                "defaultVolume": 0.5,
            },
            ["random", *(dict(page) for page in pages)],
            {
                "type": "finish",
                "name": "Thank you",
                "content": "Give your name or number, and send your answers.",
                "showResults": False,
                "writeResults": True,
                "questionnaire": [
                    {"type": "text", "label": "Your name or number", "name": LISTENER}
                ],
            },
        ],
    }
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    return text.encode()


def _text(title: str) -> str:
    """The text for webMUSHRA, which takes HTML: a title is shown as it is written."""
    from html import escape

    return escape(title)
