"""Models on the Hugging Face hub: found in its cache, and fetched by name alone.

What a spec names, a folder or an id, is found by `folders_of`: an id where it is in the cache of
`huggingface_hub` already. `fetch` downloads the configuration, the file of weights and what else of
`SIDE_FILES` there is of a revision, whose sizes are known and bounded before a byte comes, and
holds the weights against the hash that the hub keeps of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdbench.files import is_folder, user_path
from rdbench.identity import file_sha256
from rdbench.text import first_line
from rdbench.types import CodecError, MissingExtraError, WeightsError
from rdbench.weights.configs import MAX_CONFIG_BYTES, read_json
from rdbench.weights.formats import MAX_BYTES
from rdbench.weights.published import NotFetchedError

CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
"""The weights of a model of `diffusers`."""
TRANSFORMERS_WEIGHTS = "model.safetensors"
"""The weights of a model of `transformers`."""
TRANSFORMERS_FILES = (TRANSFORMERS_WEIGHTS, "pytorch_model.bin")
"""What they may be called, the one that is taken first; many older models have the second alone."""
WEIGHTS_NAMES = (WEIGHTS, *TRANSFORMERS_FILES, "SpeechTokenizer.pt")
"""What files of weights are called; of several in one folder, the first is meant."""
SIDE_FILES = (
    "preprocessor_config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "normalizer.json",
)
"""What a model that hears words has beside them: how audio is prepared, and how text is spelt."""
MAX_SIDE_BYTES = 2**25
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]*")


def is_id(text: str) -> bool:
    """Whether a text can be the id of a model: OWNER/NAME, or OWNER/NAME@REVISION."""
    name, at, revision = text.partition("@")
    return _ID.fullmatch(name) is not None and (not at or _REVISION.fullmatch(revision) is not None)


@dataclass(frozen=True)
class HubModel:
    """A model by its id.

    subfolder: where it lies in its repository. revision: a commit or a branch. weights: what its
    file of weights may be called.
    """

    id: str
    subfolder: str = ""
    revision: str = "main"
    weights: tuple[str, ...] = WEIGHTS_NAMES

    @classmethod
    def of(
        cls,
        text: str,
        subfolder: str = "",
        revision: str = "main",
        weights: tuple[str, ...] = WEIGHTS_NAMES,
    ) -> HubModel:
        """Of OWNER/NAME, or of OWNER/NAME@REVISION, which says more than `revision`."""
        name, _, own = text.partition("@")
        return cls(name, subfolder, own or revision, weights)

    @property
    def name(self) -> str:
        """As `rdbench weights fetch` is told."""
        more = f" --subfolder {self.subfolder}" if self.subfolder else ""
        more += f" --revision {self.revision}" if self.revision != "main" else ""
        return self.id + more

    def folder(self) -> Path | None:
        """Where its files lie in the cache, all of one commit; None where they do not."""
        config = self._cached(CONFIG)
        for name in self.weights:
            folder = self._cached(name)
            if folder is not None and folder == config:
                return folder
        return None

    def _cached(self, name: str) -> Path | None:
        """The folder of one file in the cache."""
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.id, self._path(name), revision=self.revision)
        return Path(found).parent if isinstance(found, str) else None

    def tell(self, say: Callable[[str], None]) -> None:
        """See `rdbench.weights.published.Download`; what it says is the hub's word."""
        try:
            from huggingface_hub import HfApi

            found = HfApi().model_info(self.id, revision=self.revision, files_metadata=True)
        except Exception as error:  # of the network, of its library, of an account
            raise WeightsError(
                f"the hub does not tell of {self.name} ({type(error).__name__}: "
                f"{first_line(error)}); check the id, the network, and whether the model asks for "
                "an account"
            ) from error
        licence = getattr(found.card_data, "license", None) or "not stated"
        files = {file.rfilename: file for file in found.siblings or ()}
        for names in ((CONFIG,), *((one,) for one in SIDE_FILES), self.weights):
            for file in self._there(files, names)[:1]:
                digest = getattr(file.lfs, "sha256", None)
                say(
                    f"{self.name}: {file.rfilename} at {found.sha} from "
                    f"https://huggingface.co/{self.id}, {file.size} bytes"
                    f"{f', SHA-256 {digest}' if digest else ''}; licence: {licence}"
                )

    def take(self, folder: Path, say: Callable[[str], None]) -> None:
        """Refused: what the hub's cache holds, its own library alone puts there."""
        raise WeightsError(
            f"{self.name} is a model of the hub, which is not copied into its cache; give its "
            "folder in the spec, as weights: FOLDER"
        )

    def fetch(self, say: Callable[[str], None]) -> None:
        """Downloads the files; see `rdbench.weights.published.Download`."""
        try:
            from huggingface_hub import HfApi, hf_hub_download
        except ImportError as error:
            raise MissingExtraError("the Hugging Face hub", "diffusers") from error
        say(f"fetching {self.name} from https://huggingface.co/{self.id}")
        try:
            found = HfApi().model_info(self.id, revision=self.revision, files_metadata=True)
            files = {one.rfilename: one for one in found.siblings or ()}
            sides = [((one,), MAX_SIDE_BYTES) for one in SIDE_FILES if self._path(one) in files]
            weights = (self.weights, MAX_BYTES)
            for names, most in (((CONFIG,), MAX_CONFIG_BYTES), *sides, weights):
                file = self._listed(files, names, most)
                path = Path(hf_hub_download(self.id, file.rfilename, revision=self.revision))
                digest = self._check_fetched(path, file, str(found.sha))
                say(f"{path}: {path.stat().st_size} bytes, revision {found.sha}, SHA-256 {digest}")
        except WeightsError:
            raise
        except Exception as error:  # of the network, of its library, of an account
            raise WeightsError(
                f"{self.name} could not be fetched ({type(error).__name__}: {first_line(error)}); "
                "check the id, the network, and whether the model asks for an account"
            ) from error

    def _there(self, files: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
        """Those of `names` that the hub lists, in their order."""
        return [files[self._path(name)] for name in names if self._path(name) in files]

    def _path(self, name: str) -> str:
        return f"{self.subfolder}/{name}" if self.subfolder else name

    def _listed(self, files: Mapping[str, Any], names: Sequence[str], most: int) -> Any:
        """The first of `names` that the hub lists; WeightsError for none, or for one too large."""
        file = next(iter(self._there(files, names)), None)
        if file is None or not isinstance(file.size, int):
            raise WeightsError(
                f"{self.name} has no {' and no '.join(map(self._path, names))} on the hub; give "
                "the model's --subfolder, or a model with such a file"
            )
        if file.size > most:
            raise WeightsError(
                f"{file.rfilename} of {self.name} has {file.size} bytes, more than the {most} "
                "that are fetched"
            )
        return file

    def _check_fetched(self, path: Path, file: Any, commit: str) -> str:
        digest = file_sha256(path)
        published = getattr(file.lfs, "sha256", None)
        if path.stat().st_size != file.size or published not in (None, digest):
            raise WeightsError(
                f"{path} is not the file that the hub tells of (SHA-256 {digest}, {published} was "
                "expected); delete it and fetch it again"
            )
        if commit not in path.parts:
            raise WeightsError(f"{self.name} has just changed on the hub; fetch it again")
        return digest


def folder_of(
    weights: str | Path | None,
    subfolder: str = "",
    revision: str = "main",
    *,
    codec: str,
    package: str,
    names: tuple[str, ...],
    wanted: str,
) -> Path:
    """Where the files of a codec of one model lie, as `folders_of`."""
    (folder,) = folders_of(
        weights, [subfolder], revision, codec=codec, package=package, names=names, wanted=wanted
    )
    return folder


def folders_of(
    weights: str | Path | None,
    subfolders: Sequence[str],
    revision: str = "main",
    *,
    codec: str,
    package: str,
    names: tuple[str, ...],
    wanted: str,
) -> list[Path]:
    """Where the files of each model lie: below the folder `weights`, or in the cache of the hub.

    codec, package: for sentences, such as "codec 'mimi'" and "transformers". names: of the files of
    weights. wanted: what `weights` is to be, for a spec that leaves it out.

    Raises:
        CodecError: where `weights` is None.
        WeightsError: where there is no such folder.
        NotFetchedError: with all models of the hub that are not on this machine.
    """
    if weights is None:
        raise CodecError(f"{codec} needs the option weights: {wanted}")
    place, weights = user_path(weights), str(weights)
    if is_folder(place):
        return [place / subfolder for subfolder in subfolders]
    if not is_id(weights):
        raise WeightsError(
            f"{codec}: there is no folder {weights!r}; give one in the layout of {package}, or the "
            "id of a model on the Hugging Face hub"
        )
    models = [HubModel.of(weights, subfolder, revision, names) for subfolder in subfolders]
    found = [model.folder() for model in models]
    absent = [model for model, folder in zip(models, found, strict=True) if folder is None]
    if absent:
        told = " and ".join(f"`rdbench weights fetch {model.name}`" for model in absent)
        raise NotFetchedError(
            f"{codec}: {absent[0].id} at {absent[0].revision} is not on this machine; {told} or "
            "--allow-download fetches it from the Hugging Face hub",
            *absent,
        )
    return [folder for folder in found if folder is not None]


def origin_of(weights: str, folder: Path) -> str:
    """Where the files in `folder` came from: the hub with its commit, or a folder."""
    if is_folder(user_path(weights)):
        return "a folder"
    parts = folder.parts
    commit = parts[parts.index("snapshots") + 1] if "snapshots" in parts else "no commit"
    return f"https://huggingface.co/{HubModel.of(weights).id} at {commit}"


def read_config(folder: Path, *, codec: str) -> Any:
    """What `config.json` in a folder of `folder_of` holds; raises WeightsError."""
    where = "give the folder of the model, or its parent with the option subfolder"
    return read_json(folder / CONFIG, codec=codec, missing=where)
