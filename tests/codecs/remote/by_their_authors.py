"""Runs in the other environment: seeded checkpoints, and codes and audio as the authors get them.

    python by_their_authors.py CODEC CHECKOUT FOLDER

reads FOLDER/samples.npy, (clips, time) of one length, writes a checkpoint in the format in which
the authors publish theirs, and by direct calls of their code codes.npy, (clips, codebooks, frames),
and audio.npy, (clips, time). CHECKOUT is "" for a codec that is installed.
"""

import re
import sys
from pathlib import Path

import numpy as np
import torch


def seeded(model):
    """Gives a model weights of a size at which different inputs get different codes."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=1.2 / parameter[0].numel() ** 0.5)
    return model.eval()


def wavtokenizer(checkout, folder, samples):
    from decoder.pretrained import WavTokenizer

    config = Path(checkout, "configs").glob("*frame40*.yaml").__next__()
    (folder / "config.yaml").write_bytes(config.read_bytes())
    model = WavTokenizer.from_hparams0802(str(config)).eval()
    torch.manual_seed(0)
    book = model.feature_extractor.encodec.quantizer.vq.layers[0]._codebook
    latents = model.feature_extractor.encodec.encoder(samples[:, None])
    centre, spread = latents.mean((0, 2)), latents.std((0, 2))
    book.embed.copy_(centre + spread * torch.randn(book.embed.shape))
    book.inited.fill_(1)
    state = {**model.state_dict(), "multiperioddisc.weight": torch.ones(1)}
    torch.save({"state_dict": state, "epoch": 3}, folder / "weights.ckpt")
    model = WavTokenizer.from_pretrained0802(
        str(folder / "config.yaml"), str(folder / "weights.ckpt")
    )
    bandwidth = torch.tensor([0])
    features, codes = model.encode_infer(samples, bandwidth_id=bandwidth)
    return codes.transpose(0, 1), model.decode(features, bandwidth_id=bandwidth)


def bigcodec(checkout, folder, samples):
    from vq.codec_decoder import CodecDecoder
    from vq.codec_encoder import CodecEncoder

    torch.manual_seed(0)
    encoder, decoder = CodecEncoder(), CodecDecoder()
    torch.save(
        {"CodecEnc": encoder.state_dict(), "generator": decoder.state_dict()},
        folder / "weights.pt",
    )
    padded = torch.nn.functional.pad(samples, (0, -samples.shape[1] % 200))
    embedded, codes, _ = decoder.eval()(encoder.eval()(padded[:, None]), vq=True)
    return codes.transpose(0, 1), decoder(embedded, vq=False)[:, 0]


def stable_codec(checkout, folder, samples):
    import json

    from stable_codec import StableCodec

    layers = {
        "channels": 128,
        "c_mults": [1, 1],
        "strides": [2, 4],
        "latent_dim": 6,
        "transformer_depths": [1, 1],
        "sliding_window": [-1, -1],  # the published one needs FlashAttention
    }
    config = {
        "model_type": "autoencoder",
        "sample_rate": 16000,
        "model": {
            "encoder": {"type": "taae", "config": {**layers, "in_channels": 80}},
            "decoder": {"type": "taae", "config": {**layers, "out_channels": 80}},
            "bottleneck": {
                "type": "dithered_fsq",
                "config": {"levels": 17, "dim": 6, "num_codebooks": 1},
            },
            "pretransform": {"type": "patched", "config": {"patch_size": 80, "channels": 1}},
            "latent_dim": 6,
            "downsampling_ratio": 640,
            "io_channels": 1,
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    model = StableCodec(model_config_path=str(folder / "config.json"))
    model.model.encoder.layers[-1].weight_g.mul_(20)
    torch.save({"state_dict": model.model.state_dict()}, folder / "weights.ckpt")
    model = StableCodec(
        model_config_path=str(folder / "config.json"), ckpt_path=str(folder / "weights.ckpt")
    )
    model.set_posthoc_bottleneck("4x729_1000bps")
    padded = torch.nn.functional.pad(samples, (0, -samples.shape[1] % 640))
    _, tokens = model.encode(padded[:, None], posthoc_bottleneck=True, normalize=False)
    return torch.cat(tokens, -1).transpose(1, 2), model.decode(tokens, posthoc_bottleneck=True)[
        :, 0
    ]


def moss(checkout, folder, samples):
    import json
    import shutil

    from transformers import AutoConfig, AutoModel

    model_folder = folder / "model"
    model_folder.mkdir(exist_ok=True)
    for file in Path(checkout).glob("*_moss_audio_tokenizer.py"):
        shutil.copy(file, model_folder)
    config = json.loads((Path(checkout) / "config.json").read_text())
    narrow = {"d_model": 64, "dim_feedforward": 128, "num_heads": 2, "num_layers": 1}
    for layer in [*config["encoder_kwargs"], *config["decoder_kwargs"]]:
        layer.update(narrow if layer["module_type"] == "Transformer" else {})
    (model_folder / "config.json").write_text(json.dumps(config))
    built = AutoConfig.from_pretrained(model_folder, trust_remote_code=True)
    torch.manual_seed(0)
    AutoModel.from_config(built, trust_remote_code=True).save_pretrained(model_folder)
    (model_folder / "config.json").write_text(json.dumps(config))  # as it was published
    model = AutoModel.from_pretrained(model_folder, trust_remote_code=True).eval()
    padded = torch.nn.functional.pad(samples, (0, -samples.shape[1] % 1920))
    codes = [model.encode(one[None, None], return_dict=True).audio_codes for one in padded]
    audio = [model.decode(one, return_dict=True).audio[:, 0] for one in codes]
    return torch.cat(codes, 1).transpose(0, 1), torch.cat(audio)


NARROW = {
    "select_layer": 1, "num_encoder_layers": 1, "d_model": 64, "nhead": 2, "dim_feedforward": 128,
    "codebook_dim": 64, "semantic_dim": 64, "codec_dimension": 64, "encoder_dim": 8,
    "decoder_dim": 96,
}  # fmt: skip
"""Sizes of LongCat's layers here: as published one call takes seconds of a core."""


def longcat(checkout, folder, samples):
    import os
    import shutil

    place = folder / "LongCat"
    shutil.copytree(checkout, place, ignore=shutil.ignore_patterns(".git", "demos", "*.pdf"))
    for file in place.rglob("configs/*.yaml"):
        text = file.read_text()
        for setting, size in NARROW.items():
            text = re.sub(rf"\b{setting}: *\d+", f"{setting}: {size}", text)
        file.write_text(text)
    sys.path[0] = str(place)
    os.chdir(place)
    stats = np.zeros((2, 81), np.float32)
    stats[1] = stats[0, -1] = 1
    np.save(place / "ckpts" / "LongCatAudioCodec_encoder_cmvn.npy", stats)
    from networks.semantic_codec import model_loader

    torch.manual_seed(0)
    load, torch.load = torch.load, lambda *_, **__: {}
    strict = torch.nn.Module.load_state_dict
    torch.nn.Module.load_state_dict = lambda *_, **__: None  # there are no files yet
    encoder = model_loader.load_encoder("configs/LongCatAudioCodec_encoder.yaml", "cpu")
    config = "configs/LongCatAudioCodec_decoder_24k_4codebooks.yaml"
    decoder = model_loader.load_decoder(config, "cpu")
    torch.load, torch.nn.Module.load_state_dict = load, strict
    torch.save(encoder.state_dict(), "ckpts/LongCatAudioCodec_encoder.pt")
    torch.save(decoder.state_dict(), "ckpts/LongCatAudioCodec_decoder_24k_4codebooks.pt")
    codes = encoder(samples[:, None], 24000, 3)
    audio = decoder(*codes)[:, 0]
    frames = min(one.shape[-1] for one in codes)
    return torch.cat([codes[0][:, None, :frames], codes[1][..., :frames]], 1), audio


def nanocodec(checkout, folder, samples):
    from nemo.collections.tts.models import AudioCodecModel
    from omegaconf import OmegaConf

    modules, losses = "nemo.collections.tts.modules", "nemo.collections.tts.losses"
    blocks = {"activation": "half_snake", "resblock_dilation_sizes": [1, 3, 5]}
    config = {
        "sample_rate": 22050,
        "samples_per_frame": 1764,
        "loss_resolutions": [[512, 128, 512]],
        "mel_loss_dims": [20],
        "commit_loss_scale": 0.0,
        "generator_loss": {"_target_": f"{losses}.audio_codec_loss.GeneratorSquaredLoss"},
        "discriminator_loss": {"_target_": f"{losses}.audio_codec_loss.DiscriminatorSquaredLoss"},
        "audio_encoder": {
            "_target_": f"{modules}.audio_codec_modules.HiFiGANEncoder",
            "down_sample_rates": [2, 3, 6, 7, 7],
            "encoded_dim": 16,
            "base_channels": 4,
            **blocks,
        },
        "vector_quantizer": {
            "_target_": f"{modules}.audio_codec_modules.GroupFiniteScalarQuantizer",
            "num_groups": 4,
            "num_levels_per_group": [9, 8, 8, 7],
        },
        "audio_decoder": {
            "_target_": f"{modules}.audio_codec_modules.CausalHiFiGANDecoder",
            "up_sample_rates": [7, 7, 6, 3, 2],
            "input_dim": 16,
            "base_channels": 64,
            **blocks,
        },
    }  # as published, but for the widths
    torch.manual_seed(0)
    built = AudioCodecModel(cfg=OmegaConf.create(config)).eval()
    encoder = built.audio_encoder
    lengths = torch.full((2,), samples.shape[1] // 1764 * 1764)
    made, _ = encoder(audio=samples[:, : lengths[0]], audio_len=lengths)
    last, spread = encoder.post_conv.conv, made.std((0, 2))  # a random encoder hardly varies
    last.parametrizations.weight.original0 /= spread[:, None, None]
    last.bias.copy_((last.bias - made.mean((0, 2))) / spread)
    built.save_to(str(folder / "weights.nemo"))
    model = AudioCodecModel.restore_from(str(folder / "weights.nemo"), map_location="cpu").eval()
    codes, frames = model.encode(audio=samples, audio_len=torch.full((2,), samples.shape[1]))
    audio, _ = model.decode(tokens=codes, tokens_len=frames)
    return codes, audio


def main():
    name, checkout, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    if checkout:
        sys.path.insert(0, checkout)
    samples = torch.from_numpy(np.load(folder / "samples.npy"))
    with torch.no_grad():
        codes, audio = globals()[name](checkout, folder, samples)
    np.save(folder / "codes.npy", codes.numpy())
    np.save(folder / "audio.npy", audio.numpy()[:, : samples.shape[1]])


if __name__ == "__main__":
    main()
