"""A model of `transformers` from a folder: its configuration, its weights, nothing else.

`config.json` is data: its sizes are bounded before anything is built of it, and it may name neither
code of its own nor parts of other kinds than the models here have. The model is built by the
package without memory, and filled from the tensors that were read and hashed here: under the names
of the model or of an older version of the package, which the package renames itself. Every tensor
of the model must be there with its shape, and none besides, but for those that are named as of no
use. The package then makes what is in no file (rotary frequencies, windows, resampling filters).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdbench.text import first_line
from rdbench.types import CodecError, MissingExtraError, WeightsError
from rdbench.weights.checkpoints import Checkpoint, read_checkpoint, without_memory
from rdbench.weights.configs import no_config
from rdbench.weights.hub import CONFIG, TRANSFORMERS_FILES, TRANSFORMERS_WEIGHTS, read_config

_MAX_NUMBER = 2**20
_MAX_REPEATS = 256
_MAX_ITEMS = 64
_MAX_TOKENS = 1000  # that a recognizer never says: the one list that is long
_MAX_DEPTH = 4

_PARTS = frozenset(
    {"dac", "hubert", "wavlm", "wav2vec2-bert", "clap_text_model", "clap_audio_model"}
)
"""Model types of which the models here have parts."""
_CODE = ("auto_map", "custom_pipelines")
_WAYS = frozenset(
    {"_attn_implementation", "attn_implementation", "fusion_config", "transformers_weights"}
)
"""Which kernels run, and where weights lie: not the file's to say."""


@dataclass(frozen=True)
class Wanted:
    """What a folder must hold.

    named: as sentences call what reads it, such as "codec 'mimi'". classes: the package's class by
    model type. surplus: tensors that published files hold and the model has no use for. unused:
    those of the model that nothing here uses, which files may lack; both are names or their ends.
    files: what the weights may be called, the one that is taken first.
    """

    named: str
    classes: Mapping[str, str]
    surplus: Collection[str] = ()
    unused: Collection[str] = ()
    files: tuple[str, ...] = (TRANSFORMERS_WEIGHTS,)


def read_configuration(wanted: Wanted, folder: Path) -> tuple[Any, Any, Mapping[str, Any]]:
    """The package's class and configuration of what `config.json` in a folder says, and that.

    Raises:
        MissingExtraError: without the package `transformers`.
        WeightsError: for a configuration that is absent, of another model, or asks for code.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(wanted.named, "transformers") from error
    path = folder / CONFIG
    content = read_config(folder, codec=wanted.named)
    if not isinstance(content, Mapping):
        raise no_config(path, "it is no table", codec=wanted.named)
    said = str(content.get("model_type"))
    if said not in wanted.classes:
        types = " or ".join(repr(one) for one in wanted.classes)
        raise WeightsError(
            f"{wanted.named}: {path} is of the model type {said[:60]!r}, not {types}; "
            "give a model of this type, or name the codec that reads it"
        )
    build = getattr(transformers, wanted.classes[said], None)
    if build is None:
        raise CodecError(
            f"{wanted.named}: transformers {transformers.__version__} has no "
            f"{wanted.classes[said]}; run `pip install --upgrade transformers`"
        )
    fault = _fault({key: value for key, value in content.items() if key != "model_type"})
    if fault:
        raise no_config(path, fault, codec=wanted.named)
    try:
        with quiet():
            return build, build.config_class.from_dict(_without_ways(content)), content
    except Exception as error:  # values from a file: the package may raise anything
        raise no_config(path, first_line(error), codec=wanted.named) from error


def read_model(wanted: Wanted, build: Any, config: Any, folder: Path) -> tuple[Any, Checkpoint]:
    """The model with the weights of a folder, and these; WeightsError for what does not fit.

    It is in evaluation mode on the CPU, in float32, without gradients.
    """
    checkpoint = _read_weights(wanted, folder)
    with quiet():
        return _fill(wanted, build, config, checkpoint), checkpoint


def weights_file(folder: Path, names: Sequence[str] = TRANSFORMERS_FILES) -> Path:
    """The file of weights in a folder: the first of `names` that is there, else the first."""
    found = [folder / name for name in names if (folder / name).exists()]
    return found[0] if found else folder / names[0]


def _fault(value: Any, key: str = "", depth: int = 0) -> str:
    """What in a configuration is refused unbuilt; "" where nothing is."""
    named = _named_fault(key, value)
    if named or not isinstance(value, Mapping | list):
        return named
    items = (
        [(str(name), item) for name, item in value.items()]
        if isinstance(value, Mapping)
        else [(key, item) for item in value]
    )
    # Labels of a recognizer, which a part may have been, are the longest tables there are.
    longest = _MAX_ITEMS if isinstance(value, list) else 1000
    if key.endswith("suppress_tokens"):
        longest = _MAX_TOKENS
    if depth > _MAX_DEPTH or len(items) > longest:
        return f"{key[:60] or 'it'} holds too much"
    return next(filter(None, (_fault(item, name, depth + 1) for name, item in items)), "")


def _named_fault(key: str, value: Any) -> str:
    if key in _CODE and value:
        return f"{key} asks for code of its own, which is never run"
    if key == "quantization_config" and value:
        return f"{key}: quantized weights are not read"
    if key == "model_type" and value and value not in _PARTS:
        return f"model_type {str(value)[:60]!r} is no part of such a model"
    if isinstance(value, int | float) and not isinstance(value, bool):
        most = _MAX_REPEATS if _repeats(key) else _MAX_NUMBER
        return "" if abs(value) <= most else f"{key[:60]} is {value!r:.60}, more than {most}"
    return ""


def _repeats(key: str) -> bool:
    """Whether a number says how many modules of one kind there are."""
    return "layers" in key or key in ("depths", "n_codebooks", "num_quantizers")


def _without_ways(value: Any) -> Any:
    """A copy without what the file may not say."""
    if isinstance(value, Mapping):
        return {key: _without_ways(item) for key, item in value.items() if key not in _WAYS}
    return value


def _read_weights(wanted: Wanted, folder: Path) -> Checkpoint:
    path = weights_file(folder, wanted.files)
    if not path.exists() and (folder / f"{TRANSFORMERS_WEIGHTS}.index.json").exists():
        raise WeightsError(
            f"{wanted.named}: the weights in {folder} are split into several files, which is not "
            f"read; save them as one {TRANSFORMERS_WEIGHTS}"
        )
    return read_checkpoint(path)


def _is_one_of(name: str, ends: Collection[str]) -> bool:
    return any(name == end or name.endswith(f".{end}") for end in ends)


def _fill(wanted: Wanted, build: Any, config: Any, checkpoint: Checkpoint) -> Any:
    """The model with every tensor of the file, and no other."""
    import torch

    sizes = _sizes(wanted, build, config)
    state = {
        name: value
        for name, value in checkpoint.state.items()
        if name in sizes or not _is_one_of(name, wanted.surplus)
    }
    asked, held = sum(sizes.values()), sum(value.numel() for value in state.values())
    if asked > 2 * held:  # what is missing takes memory before it is found to be missing
        raise WeightsError(
            f"{wanted.named}: its {CONFIG} asks for a model of {asked} values, the file of weights "
            f"holds {held}; give the two files of one model"
        )
    try:
        model, info = _strict(build).from_pretrained(
            None,
            config=config,
            state_dict=state,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:  # values from a file: the package may raise anything
        raise _unbuilt(wanted, error) from error
    faults = {
        "missing": sorted(
            one for one in info["missing_keys"] if not _is_one_of(one, wanted.unused)
        ),
        "unexpected": sorted(info["unexpected_keys"]),
        "of another shape": sorted(str(one[0]) for one in info["mismatched_keys"]),
        "in error": sorted(map(str, info.get("error_msgs", ()))),
    }
    if any(faults.values()):
        said = ", ".join(f"{len(v)} {k} (first {v[0]!r})" for k, v in faults.items() if v)
        raise WeightsError(
            f"weights file {checkpoint.filename} does not fit {wanted.named}: of "
            f"{len(model.state_dict())} tensors {said}; give the checkpoint of this model"
        )
    return model.requires_grad_(False).eval()


def _strict(build: Any) -> Any:
    """A class of the same name that tells of every tensor.

    The package passes over names that it expects in some files, and so over whole layers.
    """

    def tell_of_all(self: Any, info: Any) -> None:
        del self, info

    return type(
        build.__name__,
        (build,),
        {
            "__module__": build.__module__,
            "__qualname__": build.__qualname__,
            "_adjust_missing_and_unexpected_keys": tell_of_all,
        },
    )


def _sizes(wanted: Wanted, build: Any, config: Any) -> dict[str, int]:
    """How many values each tensor of the model has."""
    try:
        with without_memory():
            tensors = build(config).state_dict()
    except Exception as error:  # values from a file: the package may raise anything
        raise _unbuilt(wanted, error) from error
    return {name: tensor.numel() for name, tensor in tensors.items()}


def _unbuilt(wanted: Wanted, error: Exception) -> WeightsError:
    return WeightsError(
        f"{wanted.named}: no model can be built of its {CONFIG} ({first_line(error)}); "
        "fetch it again"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Without the package's progress bars and remarks, which users cannot mend."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
