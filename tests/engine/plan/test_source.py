"""A codec that is not rdbench's own is measured again when anything of it has changed."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rdbench.engine.plan.digests import digest
from rdbench.engine.plan.metrics import Metric
from rdbench.metrics.base import SetBackend
from rdbench.metrics.registry import backend
from rdbench.store.schema import Kind, Quantity

CODE = """
import torch
from rdbench.codecs.posterior.base import PosteriorCodec
from helper import SCALE

class MyVae(PosteriorCodec):
    def __init__(self, *, points=None, weights, folder=""):
        net = torch.nn.Linear(1, 1)
        net.load_state_dict(torch.load(weights, weights_only=True))
        super().__init__(
            name="my", sample_rate=8000, frame_rate=100.0, modules=net, points=points
        )

    def posterior(self, audio):
        mean = self.modules.weight * audio.unfold(-1, 80, 80).mean(-1)
        return mean, torch.full_like(mean, SCALE)

    def decode_latent(self, z):
        return z.repeat_interleave(80, -1)
"""
TOLD = """
import json, sys
from rdbench.engine.plan.source import code_of, name_weights
from rdbench.codecs.registry import create
options = json.loads(sys.argv[1])
codec = create("myvae:MyVae", options=options, allow_code=True)
name_weights(codec)
print(code_of(codec, sys.argv[1]).source, codec.info.weights_sha256)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "myvae.py").write_text(CODE)
    (tmp_path / "helper.py").write_text("SCALE = 0.5\n")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "notes.txt").write_text("first")
    torch.save({"weight": torch.ones(1, 1), "bias": torch.zeros(1)}, tmp_path / "my.pt")
    return tmp_path


def source(folder: Path) -> str:
    """What a fresh process says."""
    options = json.dumps({"weights": "my.pt", "folder": "models"})
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", TOLD, options],
        cwd=folder, env=os.environ | {"PYTHONPATH": path},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def test_code_beside_it_files_of_options_and_weights_count(folder: Path) -> None:
    told = [source(folder)]
    assert source(folder) == told[0]
    for changed in ("myvae.py", "helper.py", "models/notes.txt", "my.pt"):
        path = folder / changed
        if changed == "my.pt":
            torch.save({"weight": 2 * torch.ones(1, 1), "bias": torch.zeros(1)}, path)
        else:
            path.write_text(path.read_text() + "\n")
        told.append(source(folder))
        assert told[-1] not in told[:-1], changed


def test_weights_count_wherever_they_came_from(folder: Path) -> None:
    """A plugin may load them from a path that no option names."""
    from rdbench.weights.checkpoints import tensors_sha256

    model = torch.nn.Linear(2, 1)
    before = tensors_sha256(model)
    assert tensors_sha256(model) == before
    with torch.no_grad():
        model.bias += 1e-6
    assert tensors_sha256(model) != before


def test_codecs_of_rdbench_know_their_own() -> None:
    from rdbench.codecs.registry import create
    from rdbench.engine.plan.source import code_of

    assert code_of(create("opus", points=[12]), "{}").source == ()


def test_features_that_a_foreign_metric_shares_are_of_its_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it says of them cannot tell that it was edited; built-in ones keep their keys."""
    built = {}
    for options, source in (("{}", ()), ('{"a": 1}', ("ab",)), ('{"a": 2}', ("cd",))):
        built[options] = copy.copy(backend("frechet_logmel"))
        built[options].source = source
    monkeypatch.setattr("rdbench.engine.plan.metrics._built", lambda metric: built[metric.options])
    own, *foreign = (Metric("frechet_logmel", options=one) for one in built)
    assert len({metric.feature for metric in (own, *foreign)}) == 3
    shared = own.feature_identity()
    assert [one.feature_identity() for one in foreign] == [[*shared, "ab"], [*shared, "cd"]]
    assert isinstance(built["{}"], SetBackend)
    assert built["{}"].shared_features is not None
    name, identity = built["{}"].shared_features
    assert own.feature == Quantity(Kind.FEATURE, name, digest(identity)[:12])
