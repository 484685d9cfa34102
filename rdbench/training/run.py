"""Running recipes: what the command line calls."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rdbench.identity import file_sha256
from rdbench.models import checkpoint, shipped
from rdbench.models.probe.checkpoint import CONFIG as PROBE
from rdbench.models.probe.config import ProbeConfig
from rdbench.suggest import nearest
from rdbench.training.autoencoder import AutoencoderRun
from rdbench.training.data import CropData
from rdbench.training.loop import STATE, WEIGHTS, Outcome, TrainingError, check_base, is_finished
from rdbench.training.probe.latents import Latents, latents_of
from rdbench.training.probe.recipe import ProbeRecipe
from rdbench.training.probe.run import ProbeRun
from rdbench.training.recipe import Recipe, load
from rdbench.training.staging import gate
from rdbench.types import MissingExtraError, SpecError, WeightsError

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.loggers.logger import Logger

    from rdbench.audio.clip import Corpus

_LOG = logging.getLogger(__name__)


def train(
    recipe: Recipe,
    *,
    out: Path,
    corpus: Corpus | CropData,
    init: Path | None = None,
    accelerator: str = "auto",
    devices: int = 1,
    deadline: float = float("inf"),
    tensorboard: bool = False,
) -> Outcome:
    """Trains `recipe` on `corpus` in the folder `out`, going on where a state lies there.

    corpus: clips, or the crops of them that `recipe` asks for (`crops`), which several runs may
    share. init: the checkpoint that `recipe.init_from` names. accelerator, devices: as Lightning
    Fabric takes them. deadline: on time.monotonic's clock; reached before the last step, the state
    is saved and the outcome has no weights. Where the gate does not let pass, it says why
    (`failure`).

    Raises TrainingError, AudioError, WeightsError.
    """
    data = corpus if isinstance(corpus, CropData) else crops(recipe, corpus)
    fabric = _fabric(recipe, out, accelerator, devices, tensorboard=tensorboard)
    with torch.random.fork_rng():
        outcome = AutoencoderRun(recipe, data, out, fabric, init).run(deadline)
    if outcome.weights is None:
        return outcome
    return replace(outcome, failure=_failure(recipe, outcome.weights))


def train_probe(
    recipe: ProbeRecipe,
    *,
    out: Path,
    latents: Latents,
    accelerator: str = "auto",
    devices: int = 1,
    deadline: float = float("inf"),
    tensorboard: bool = False,
) -> Outcome:
    """As `train`, a probe on `latents`."""
    fabric = _fabric(recipe, out, accelerator, devices, tensorboard=tensorboard)
    with torch.random.fork_rng():
        return ProbeRun(recipe, latents, out, fabric).run(deadline)


def _fabric(
    recipe: Recipe | ProbeRecipe, out: Path, accelerator: str, devices: int, *, tensorboard: bool
) -> Fabric:
    try:
        from lightning_fabric import Fabric
    except ModuleNotFoundError as error:
        raise MissingExtraError("rdbench train", "train") from error
    out.mkdir(parents=True, exist_ok=True)
    if recipe.data.batch % devices:
        raise TrainingError(
            f"{recipe.name}: a batch of {recipe.data.batch} cannot be shared by {devices} devices; "
            "choose a multiple"
        )
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        precision=recipe.precision,
        loggers=_tensorboard(out) if tensorboard else None,
    )
    fabric.launch()
    return fabric


def crops(recipe: Recipe, corpus: Corpus) -> CropData:
    """The crops that `recipe` asks for, from `corpus`."""
    return CropData(
        corpus,
        sample_rate=recipe.model.sample_rate,
        channels=recipe.model.channels,
        crop=round(recipe.data.seconds * recipe.model.sample_rate),
        silence_db=recipe.data.silence_db,
        cache_mib=recipe.data.cache_mib,
    )


def train_file(
    path: Path,
    *,
    out: Path,
    data: str | None = None,
    only: list[str] | None = None,
    max_minutes: float | None = None,
    accelerator: str = "auto",
    devices: int = 1,
    tensorboard: bool = False,
) -> dict[str, Outcome]:
    """Trains every recipe of the file at `path`, each in the folder of its name under `out`.

    data: a corpus in place of the recipes' own. only: names of stages. max_minutes: after that
    much time the run stops, its state saved; the same call goes on from there. What is finished
    is not done again. A stage that its gate does not let pass is the last one.

    Raises SpecError for a stage in `only` that the file has not, TrainingError for a finished stage
    that another recipe or other data made, or whose base was trained anew since, and for one that
    starts from a stage that failed its gate, and as `train` does.
    """
    deadline = time.monotonic() + 60.0 * max_minutes if max_minutes else float("inf")
    recipes = load(path)
    corpora = _Corpora(data)
    outcomes: dict[str, Outcome] = {}
    for recipe in _chosen(recipes, only or (), path):
        finished = out / recipe.name / WEIGHTS
        done = finished.is_file() and _is_finished(finished, recipe, path, out)
        if done and _is_measured(recipe, finished):
            corpora.check(recipe, finished)
            _LOG.info("%s is finished: %s", recipe.name, finished)
            outcome = Outcome(recipe.steps, finished, _failure(recipe, finished))
        else:
            _check_before(recipe, recipes, out)
            outcome = _train_stage(
                recipe,
                path,
                out,
                corpora,
                accelerator=accelerator,
                devices=devices,
                deadline=deadline,
                tensorboard=tensorboard,
            )
        outcomes[recipe.name] = outcome
        if not outcome.finished:
            break
    return outcomes


class _Corpora:
    """The data of the stages of one call; crops that several share are decoded once."""

    def __init__(self, data: str | None) -> None:
        self._data = data
        self._last: tuple[str, CropData] | None = None

    def corpus(self, recipe: Recipe | ProbeRecipe) -> Corpus:
        return open_corpus(recipe, self._data)

    def crops(self, recipe: Recipe) -> CropData:
        model = recipe.model
        alike = f"{recipe.data.model_dump_json()} {model.sample_rate} {model.channels}"
        if self._last is None or self._last[0] != alike:
            self._last = None  # first: two corpora in memory are one too many
            self._last = alike, crops(recipe, self.corpus(recipe))
        return self._last[1]

    def check(self, recipe: Recipe | ProbeRecipe, finished: Path) -> None:
        """Raises TrainingError where a finished stage was trained on other data than there is now.

        Data that is not there any more is no other data.
        """
        said = _provenance(finished, recipe)
        try:
            corpus = self.corpus(recipe)
        except TrainingError:
            return
        if isinstance(recipe, Recipe):
            same = said.get("data_sha256") in (None, self.crops(recipe).sha256)
        else:
            there = {file_sha256(clip.path) for clip in corpus.clips if clip.path.is_file()}
            same = there >= set(said.get("fitted_on") or ())
        if not same:
            raise TrainingError(
                f"{finished} was trained on other data than {corpus.name!r} is now; restore it, "
                f"choose another folder, or remove {finished.parent} to train it again"
            )


def _is_measured(recipe: Recipe | ProbeRecipe, finished: Path) -> bool:
    """Whether a finished stage has what its gate asks for; else its state goes on, and gets it."""
    if not isinstance(recipe, Recipe) or recipe.gate is None:
        return True
    measured = gate.read(finished)
    if measured is not None and gate.answers(recipe.gate, measured):
        return True
    if not finished.with_name(STATE).is_file():
        raise TrainingError(
            f"{finished} was not measured for its gate, and its state is gone; take the gate out "
            f"of {recipe.name!r}, or remove {finished.parent} to train it again"
        )
    return False


def _failure(recipe: Recipe | ProbeRecipe, finished: Path) -> str:
    """What the gate of a finished stage does not let pass, in a sentence; else ""."""
    if not isinstance(recipe, Recipe) or recipe.gate is None:
        return ""
    measured = gate.read(finished)
    assert measured is not None
    return gate.failure(recipe.gate, measured.values, recipe.target_kbps)


def _check_before(
    recipe: Recipe | ProbeRecipe, recipes: Sequence[Recipe | ProbeRecipe], out: Path
) -> None:
    """Raises TrainingError where a stage starts from one that has not passed its gate."""
    for before in recipes:
        finished = out / before.name / WEIGHTS
        if before.name == recipe.after and finished.is_file():
            if not _is_measured(before, finished):
                raise TrainingError(
                    f"{recipe.name} starts from {before.name}, whose gate was not measured; run "
                    "that stage first"
                )
            failure = _failure(before, finished)
            if failure:
                raise TrainingError(
                    f"{recipe.name} starts from {before.name}, which failed: {failure}; train that "
                    "longer or otherwise, or loosen its gate"
                )


def _chosen(
    recipes: list[Recipe | ProbeRecipe], only: Sequence[str], path: Path
) -> list[Recipe | ProbeRecipe]:
    names = [recipe.name for recipe in recipes]
    for name in only:
        if name not in names:
            raise SpecError(f"{path} has no stage {name!r}; {nearest(name, names, many='stages')}")
    return [recipe for recipe in recipes if not only or recipe.name in only]


def _is_finished(finished: Path, recipe: Recipe | ProbeRecipe, path: Path, out: Path) -> bool:
    """Whether a stage is done, by this recipe and from what its base is now (`train_file`)."""
    said = _provenance(finished, recipe)
    if not is_finished(finished, said, recipe):
        return False
    key = "started_from_sha256" if isinstance(recipe, Recipe) else "codec_sha256"
    base = None
    with contextlib.suppress(TrainingError, WeightsError):  # what is gone was not trained anew
        base = _init(recipe, path, out) if isinstance(recipe, Recipe) else _codec(recipe, path, out)
    if base is not None:
        check_base(finished, base, str(said.get(key) or ""))
    return True


def _provenance(path: Path, recipe: Recipe | ProbeRecipe) -> Mapping[str, Any]:
    """What the header of a finished checkpoint says; raises WeightsError."""
    if isinstance(recipe, Recipe):
        return checkpoint.read_header(path).provenance
    return checkpoint.read_header_of(path, PROBE, ProbeConfig).provenance


def _train_stage(
    recipe: Recipe | ProbeRecipe, path: Path, out: Path, corpora: _Corpora, **how: Any
) -> Outcome:
    if isinstance(recipe, Recipe):
        init = _init(recipe, path, out)
        data = corpora.crops(recipe)
        return train(recipe, out=out / recipe.name, corpus=data, init=init, **how)
    corpus = corpora.corpus(recipe)
    latents = latents_of(_codec(recipe, path, out), recipe.codec, corpus, out / "latents")
    return train_probe(recipe, out=out / recipe.name, latents=latents, **how)


def open_corpus(recipe: Recipe | ProbeRecipe, data: str | None = None) -> Corpus:
    """The training corpus: the folder or manifest `data`, or the one that the recipe names."""
    from rdbench.audio.corpus import folder_corpus, manifest_corpus

    text = os.path.expandvars(data or recipe.data.corpus)
    if not text or "$" in text:
        raise TrainingError(
            f"{recipe.name} has no training data ({text or 'data.corpus is empty'}); "
            "set the variable, or give a folder or manifest with --data"
        )
    path = Path(text)
    if not path.exists():
        raise TrainingError(
            f"{recipe.name}: there is no training data at {path}; give a folder of audio, or a "
            "manifest, with --data"
        )
    return folder_corpus(path, domain="speech") if path.is_dir() else manifest_corpus(path)


def _init(recipe: Recipe, path: Path, out: Path) -> Path | None:
    if recipe.init_from is None:
        return None
    stage = out / recipe.init_from / WEIGHTS
    if stage.is_file():
        return stage
    for candidate in (Path(recipe.init_from), path.parent / recipe.init_from):
        if candidate.is_file():
            return candidate
    raise TrainingError(
        f"{recipe.name} starts from {recipe.init_from!r}, which is neither a finished stage under "
        f"{out} nor a file; train that stage first"
    )


def _codec(recipe: ProbeRecipe, path: Path, out: Path) -> Path:
    """The checkpoint of a probe; raises WeightsError where there is none."""
    for candidate in (out / recipe.codec / WEIGHTS, path.parent / recipe.codec):
        if candidate.is_file():
            return candidate
    return shipped.find(recipe.codec)


def _tensorboard(out: Path) -> Logger:
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

    return TensorBoardLogger(root_dir=out, name="tensorboard", version="")
