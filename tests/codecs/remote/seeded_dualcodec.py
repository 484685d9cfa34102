"""Run by an interpreter that has the package `dualcodec`: makes weights, and calls it directly.

python seeded_dualcodec.py weights FOLDER
python seeded_dualcodec.py calls FOLDER AUDIO.npy CODEBOOKS OUT.npz
"""

import contextlib
import sys
from pathlib import Path
from unittest import mock

import dualcodec
import hydra
import numpy as np
import torch
from dualcodec.infer.dualcodec.get_model import model_id_to_fname
from safetensors.torch import save_model
from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertModel


def make(folder: Path) -> None:
    """A model as it is published, beside a w2v-BERT of its depth and width with narrow layers."""
    torch.manual_seed(3)
    semantic = Wav2Vec2BertModel(
        Wav2Vec2BertConfig(num_hidden_layers=17, intermediate_size=16, num_attention_heads=8)
    ).eval()
    semantic.save_pretrained(folder / "semantic")
    features = SeamlessM4TFeatureExtractor()
    features.save_pretrained(folder / "semantic")
    noise = (0.1 * torch.randn(16_000)).numpy()
    given = features(noise, sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        hidden = semantic(**given, output_hidden_states=True).hidden_states[17]
    statistics = {"mean": hidden.mean((0, 1)), "var": hidden.var((0, 1))}
    torch.save(statistics, folder / "w2vbert2_mean_var_stats_emilia.pt")
    place = str(Path(dualcodec.__file__).parent / "conf/model")
    with hydra.initialize_config_dir(place, version_base="1.3"):
        config = hydra.compose("dualcodec_12hz_16384_4096_8vq.yaml")
    model = hydra.utils.instantiate(config.model).eval()
    with torch.no_grad():  # a random encoder's output is nearly constant
        latents = model.dac.encoder(0.1 * torch.randn(1, 1, 48_000))[0]
        last = model.dac.encoder.block[-1]
        last.weight_g /= latents.std(1).mean()
    save_model(model, str(folder / model_id_to_fname["12hz_v1"]))


def call(folder: Path, audio: str, count: int, out: str) -> None:
    """What the package's `Inference` makes of a clip (time,), in float32."""
    model = dualcodec.get_model("12hz_v1", str(folder))
    semantic = str(folder / "semantic")
    with mock.patch("torch.autocast", return_value=contextlib.nullcontext()):
        codec = dualcodec.Inference(model, str(folder), semantic, device="cpu")
        clip = torch.from_numpy(np.load(audio))[None, None]
        first, rest = codec.encode(clip, n_quantizers=count)
        made = codec.decode(first, rest)
    np.savez(out, codes=torch.cat([first, rest], 1).numpy(), audio=made.numpy())


if __name__ == "__main__":
    if sys.argv[1] == "weights":
        make(Path(sys.argv[2]))
    else:
        call(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5])
