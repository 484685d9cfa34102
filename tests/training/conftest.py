"""The clips that tiny models are trained on."""

import numpy as np
import pytest
import soundfile
from tiny_runs import RATE

from rdbench.audio.clip import Corpus
from rdbench.audio.corpus import folder_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("speech")
    generator = np.random.default_rng(0)
    for clip in range(3):
        time = np.arange(RATE) / RATE
        tone = np.sin(2 * np.pi * (150 + 90 * clip) * time) * np.hanning(RATE)
        soundfile.write(
            folder / f"{clip}.wav", 0.3 * tone + 0.01 * generator.standard_normal(RATE), RATE
        )
    return folder_corpus(folder)
