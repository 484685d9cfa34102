"""Error rates of a recognizer's text: its text against direct calls, the rates against counts."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from rdbench.metrics.neural.recognition import error_rate
from rdbench.metrics.registry import backend
from rdbench.types import Score, SpecError, Status, WeightsError

RATE = 16000


def heard_by_whisper(folder, clip: np.ndarray) -> str:
    """The package's own way: its feature extractor, `generate`, the tokenizer of the file."""
    from tokenizers import Tokenizer
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

    model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    made = WhisperFeatureExtractor(feature_size=80, chunk_length=3)(
        clip, sampling_rate=RATE, return_tensors="pt"
    )
    tokens = model.generate(made.input_features, num_beams=1, do_sample=False, max_new_tokens=12)
    return Tokenizer.from_file(str(folder / "tokenizer.json")).decode(tokens[0].tolist())


def heard_by_ctc(folder, clip: np.ndarray) -> str:
    from transformers import (
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    processor = Wav2Vec2Processor(
        Wav2Vec2FeatureExtractor.from_pretrained(folder),
        Wav2Vec2CTCTokenizer(str(folder / "vocab.json")),
    )
    model = Wav2Vec2ForCTC.from_pretrained(folder).eval()
    made = processor(clip, sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        return processor.batch_decode(model(made.input_values).logits.argmax(-1))[0]


@pytest.mark.parametrize(("name", "heard"), [("whisper", heard_by_whisper), ("ctc", heard_by_ctc)])
def test_text_is_what_the_package_makes_of_each_clip(
    name, heard, saved, voices, by_model
) -> None:
    import jiwer
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer

    folder, normalize = saved(name), BasicTextNormalizer()
    first, second = voices(0, 2.0), voices(1, 1.3)
    said = "One two, three COLOUR of a"
    options = {"weights": str(folder)}
    words = [heard(folder, clip) for clip in (first, second)]
    assert len(set(words)) == 2
    expected = [jiwer.cer(normalize(said).strip(), normalize(one).strip()) for one in words]
    found = by_model("cer_basic", [first, second], [first, second], [said] * 2, **options)
    assert [one.value for one in found] == pytest.approx(expected)
    pair = [first, first[:20800]], [first, second]
    against = jiwer.wer(
        normalize(heard(folder, first[:20800])).strip(), normalize(words[1]).strip()
    )
    both = by_model("wer_basic_transcript", *pair, **options)
    assert [one.value for one in both] == pytest.approx([0.0, against])
    assert against > 0


@pytest.mark.parametrize(
    ("count", "reference", "hypothesis", "rate"),
    [
        ("wer", "the cat sat", "the cat sat", 0.0),
        ("wer", "the cat sat", "a cat sat down", 2 / 3),
        ("wer", "yes", "no not at all", 4.0),
        ("cer", "abc d", "abd d", 1 / 5),
        ("wer", "the cat", "", 1.0),
    ],
)
def test_rates_are_edits_per_word_of_the_reference(count, reference, hypothesis, rate) -> None:
    assert error_rate(count, reference=reference, hypothesis=hypothesis).value == pytest.approx(rate)


def test_a_text_of_no_words_has_no_rate() -> None:
    assert error_rate("wer", reference="", hypothesis="one").status is Status.UNDEFINED


def test_clips_without_text_silence_and_long_clips_say_why(saved, voices, by_model) -> None:
    clip, options = voices(0, 1.0), {"weights": str(saved("whisper"))}
    none = Score.undefined("it has no text")
    texts = ["one", none, "one"]
    found = by_model("wer_basic", [clip] * 3, [clip, clip, 0 * clip], texts, **options)
    assert [one.status for one in found] == [Status.OK, Status.UNDEFINED, Status.UNDEFINED]
    assert [one.reason for one in found[1:]] == ["it has no text", "the reconstruction is silent"]
    long = by_model("wer_basic_transcript", [voices(0, 3.5)], [voices(0, 3.5)], **options)[0]
    assert long.reason.startswith("3.5 s, and the model hears 3 s or less")


def test_english_is_spelt_one_way_and_needs_the_list(saved, voices, by_model, tmp_path) -> None:
    folder, clip = saved("whisper"), voices(0, 1.0)
    metric = backend("wer_english", options={"weights": str(folder)})
    network = metric._listener(_audio(clip)).network
    assert network.read("wer_english", "I won't colour two.", "i will not color 2").value == 0.0
    assert network.read("wer_basic", "I won't colour two.", "i will not color 2").value > 0
    bare = shutil.copytree(folder, tmp_path / "bare")
    (bare / "normalizer.json").unlink()
    with pytest.raises(WeightsError, match=r"has no normalizer.json; copy it"):
        backend("wer_english", options={"weights": str(bare)})
    assert backend("wer_basic", options={"weights": str(bare)})


def _audio(clip: np.ndarray):
    from rdbench.types import AudioBatch

    return AudioBatch(torch.from_numpy(clip)[None, None], torch.tensor([len(clip)]), RATE)


def test_what_is_wrong_with_the_model_is_one_sentence(saved, tmp_path) -> None:
    with pytest.raises(SpecError, match=r"needs the option weights: a folder .*whisper-small"):
        backend("wer_basic")
    with pytest.raises(WeightsError, match=r"has no vocab.json; copy it"):
        backend("wer_basic", options={"weights": str(saved("hubert"))})
    with pytest.raises(SpecError, match="language is for Whisper"):
        backend("wer_basic", options={"weights": str(saved("ctc")), "language": "en"})
    hostile = shutil.copytree(saved("ctc"), tmp_path / "hostile")
    said = json.loads((hostile / "config.json").read_text())
    (hostile / "config.json").write_text(json.dumps(said | {"auto_map": {"AutoModel": "x.Y"}}))
    with pytest.raises(WeightsError, match="asks for code of its own, which is never run"):
        backend("wer_basic", options={"weights": str(hostile)})
