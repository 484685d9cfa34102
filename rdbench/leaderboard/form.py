"""`submission.yaml`: what a submission says of itself, and the manifest does not know.

    name: my_codec                    # of the submission
    by: A. Author, Some Institute
    link: https://example.org/paper
    description: A residual quantizer with 12 codebooks.
    systems:                          # each of the run
      my_codec:
        licence: MIT                  # of the weights; of the codec, where it has none
        weights: public               # shipped (in rdbench), request, closed, none (no weights)
        weights_link: https://example.org/weights
        latency_ms: 40                # algorithmic: frames and look-ahead; null: not stated

`filled` writes what can be found out of a run's manifest, so that little is left to fill in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)

from rdbench.spec.complaints import sentence
from rdbench.spec.load import read_yaml
from rdbench.suggest import nearest
from rdbench.types import SpecError

FORM = "submission.yaml"
LONGEST = 2000
SHIPPED_LICENCE = "Apache-2.0"  # of rdbench, and of the checkpoints in it

Text = Annotated[str, StringConstraints(max_length=LONGEST, strip_whitespace=True)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")]
Weights = Literal["", "public", "shipped", "request", "closed", "none"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SystemForm(_Strict):
    """What is said of one system; "" and None where nothing is."""

    description: Text = ""
    link: Text = ""
    licence: Text = ""
    weights: Weights = ""
    weights_link: Text = ""
    latency_ms: float | None = Field(default=None, ge=0, le=1e6, allow_inf_nan=False)

    @field_validator("link", "weights_link")
    @classmethod
    def _https(cls, value: str) -> str:
        return _link(value)


class Form(_Strict):
    """See the module."""

    name: Name
    by: Text = ""
    link: Text = ""
    description: Text = ""
    systems: dict[str, SystemForm] = Field(default_factory=dict)

    @field_validator("link")
    @classmethod
    def _https(cls, value: str) -> str:
        return _link(value)

    def system(self, name: str) -> SystemForm:
        """What is said of a system, blank where nothing is."""
        return self.systems.get(name) or SystemForm()


def read_form(path: Path) -> Form:
    """The form at `path`; raises SpecError in one sentence."""
    content = read_yaml(path, "submission")
    try:
        return Form.model_validate(content)
    except ValidationError as error:
        raise SpecError(f"{path}: {sentence(error, Form)}") from None


def unfilled(form: Form, manifest: Mapping[str, Any]) -> Iterator[str]:
    """What a form leaves out, or says of systems that the run has not: a sentence each."""
    if not form.by:
        yield f"{FORM} does not say who submits; fill in `by`"
    systems = manifest.get("systems") or {}
    for name in form.systems:
        if name not in systems:
            hint = nearest(name, list(systems), many="it has")
            yield f"{FORM} tells of a system {name!r} that the run has not; {hint}"
    for name, card in systems.items():
        said = form.system(name)
        if not card.get("weights_sha256"):
            continue
        if not said.weights:
            yield (
                f"{FORM} does not say how the weights of {name} can be had; set its `weights` to "
                "public, request or closed"
            )
        if said.weights == "none":
            yield f"{FORM} says that {name} has no weights, and the manifest names their hash"
        if said.weights == "public" and not said.weights_link:
            yield f"the weights of {name} are public; say where in its `weights_link`"
        if not said.licence:
            yield f"{FORM} does not name the licence of the weights of {name}; fill in `licence`"


def filled(name: str, manifest: Mapping[str, Any]) -> str:
    """The text of a form with what the manifest and this rdbench know."""
    lines = [
        "# What the manifest of the run does not know. Empty text is for you to fill in.",
        f"name: {_yaml(name)}",
        'by: ""  # who submits: names, institute',
        'link: ""  # a paper, a repository',
        f"description: {_yaml(str(manifest.get('description') or ''))}",
        "systems:",
    ]
    shipped = _shipped_weights()
    for system, card in (manifest.get("systems") or {}).items():
        sha = str(card.get("weights_sha256") or "")
        weights = "none" if not sha else "shipped" if sha in shipped else ""
        licence = str(card.get("licence") or (SHIPPED_LICENCE if weights == "shipped" else ""))
        lines += [
            f"  {_yaml(system)}:",
            f"    licence: {_yaml(licence)}",
            f"    weights: {_yaml(weights)}  # public, shipped, request, closed, none",
            '    weights_link: ""',
            "    latency_ms: null  # algorithmic: frames and look-ahead, where you know it",
        ]
    return "\n".join(lines) + "\n"


def _shipped_weights() -> set[str]:
    """SHA-256 of the checkpoints that come with rdbench."""
    from rdbench.identity import file_sha256
    from rdbench.models import shipped

    return {file_sha256(shipped.find(name)) for name in shipped.names()}


def _yaml(text: str) -> str:
    """Text as YAML reads it back, whatever it holds."""
    import yaml

    return str(yaml.safe_dump(text[:LONGEST], default_style='"', width=math.inf)).strip()


def _link(value: str) -> str:
    if value and not value.startswith("https://"):
        raise ValueError("a link begins with https://")
    return value
