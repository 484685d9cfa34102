"""What pydantic finds wrong in a file of somebody's, as one sentence of ours.

Unknown keys come before all else, with the nearest that there is: a misspelt key makes a required
one missing too, and the misspelling is what helps.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from rdbench.spec.model import DEFAULT, NAME_PATTERN
from rdbench.suggest import nearest

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails


def sentence(error: ValidationError, model: type[BaseModel], whole: str = "the file") -> str:
    """The first of the errors that `model` found, with its place; whole: what has no place."""
    errors = sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    # A list whose items are wrong is also said to be too short.
    around = {item["loc"][:end] for item in errors for end in range(len(item["loc"]))}
    errors = [item for item in errors if item["loc"] not in around]
    text = _one(errors[0], model, whole)
    more = len(errors) - 1
    return f"{text} (and {more} more)" if more else text


def _one(error: ErrorDetails, model: type[BaseModel], whole: str) -> str:
    where = f"`{_path(error['loc'])}`" if _path(error["loc"]) else whole
    return f"{where}{_complaint(error, model)}"


def _complaint(error: ErrorDetails, model: type[BaseModel]) -> str:
    kind, location, value = error["type"], error["loc"], error["input"]
    context = error.get("ctx", {})
    if kind == "value_error":
        return f": {context.get('error', error['msg'])}"
    if kind == "extra_forbidden":
        known = _model_at(model, location[:-1]).model_fields
        text = f"is not a known key; {nearest(str(location[-1]), known)}"
        if {"codec", "options"} <= known.keys() and "did you mean" not in text:
            text += "; what a codec is given stands under `options`"
    elif kind == "missing":
        text = "is missing; add it"
    elif kind in ("literal_error", "enum"):
        choices = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        text = f"is {shown(value)}; {nearest(str(value), choices, many='choose from')}"
    elif kind == "string_pattern_mismatch" and context.get("pattern") == NAME_PATTERN:
        text = f"is {shown(value)}; use a name without slashes, and without a dot at its end"
    elif kind == "string_too_long":
        text = f"has {len(value)} characters; use at most {context['max_length']}"
    elif kind in ("dict_type", "model_type", "model_attributes_type"):
        text = f"must be a mapping of keys, not {type_name(value)}"
    elif kind == "too_short":
        text = "is empty; name at least one, or leave the key out"
    elif kind in ("tuple_type", "list_type"):
        text = f"must be a list, not {type_name(value)}"
    else:
        reason = re.sub("^(Input|Value|String) ", "", error["msg"])
        text = f"is {shown(value)}, but it {reason}"
    return f" {text}"


def _path(location: tuple[int | str, ...]) -> str:
    """`systems[2].poinst`; the `default` that one value for all domains became is left out."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part not in (DEFAULT, "[key]"):
            text += f".{part}" if text else str(part)
    return text


def _model_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that is validated at a place."""
    for part in location:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        model = (_model_in(field.annotation) if field else None) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def shown(value: Any) -> str:
    """A value as a sentence has room for it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def type_name(value: Any) -> str:
    """What a file of YAML calls the kind of a value."""
    names = {dict: "a mapping", list: "a list", str: "text", type(None): "nothing", bool: "yes/no"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else "another type")
