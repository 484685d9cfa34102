"""The page on specs has every key of a spec, with the default that it really has."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from doc_sandbox import ROOT
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from rdbench.spec.model import (
    BenchmarkSpec,
    CorpusSpec,
    CostSpec,
    EntropySpec,
    LatentSpec,
    MetricSpec,
    ProtocolSpec,
    SystemSpec,
    TimeoutSpec,
)

MODELS: dict[str, type[BaseModel]] = {
    "The spec": BenchmarkSpec,
    "`corpus`": CorpusSpec,
    "`protocol`": ProtocolSpec,
    "`metrics`": MetricSpec,
    "`systems`": SystemSpec,
    "`costs`": CostSpec,
    "`entropy`": EntropySpec,
    "`latent`": LatentSpec,
    "`timeouts`": TimeoutSpec,
}
PAGE = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!^## ).*\n)*)", PAGE, re.MULTILINE))
# Filled in from other keys of the system, as the page says.
FILLED = {"name": "the curve, or the codec", "curve": "the name", "label": "the curve"}


def rows(section: str) -> dict[str, str]:
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", SECTIONS[section], re.MULTILINE))


def test_every_part_of_a_spec_has_its_section() -> None:
    assert list(SECTIONS) == list(MODELS)


@pytest.mark.parametrize("section", MODELS)
def test_every_key_is_there_and_no_other(section: str) -> None:
    assert list(rows(section)) == list(MODELS[section].model_fields)


@pytest.mark.parametrize("section", MODELS)
def test_defaults_are_those_of_the_spec(section: str) -> None:
    for key, said in rows(section).items():
        default: Any = MODELS[section].model_fields[key].get_default(call_default_factory=True)
        if section == "`systems`" and key in FILLED:
            assert said == FILLED[key]
        elif default is PydanticUndefined:
            assert said == "required", key
        elif isinstance(default, BaseModel):
            assert said == "`{}`", key
        elif isinstance(default, dict) and default:
            assert said == f"`{default['default']}`", key
        else:
            assert yaml.safe_load(said.strip("`")) == default, key
