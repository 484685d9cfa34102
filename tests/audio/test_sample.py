"""A sample is the same for everybody, spread over domains and groups, and nested."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rdbench.audio.clip import Clip, Corpus

PER = st.sampled_from([(), ("domain",), ("group",), ("domain", "group")])
KINDS = st.tuples(st.sampled_from(["speech", "music", "sound"]), st.sampled_from("abcd"))
SEEDS = st.integers(0, 2**63 - 1)


def clip(name: str, domain: str = "speech", group: str = "") -> Clip:
    return Clip(name, Path(name), domain, group or name)


def corpus_of(kinds: list[tuple[str, str]]) -> Corpus:
    """A clip for each (domain, group)."""
    clips = (clip(f"{n}.wav", domain, group) for n, (domain, group) in enumerate(kinds))
    return Corpus("c", tuple(clips), "")


CORPORA = st.lists(
    st.tuples(st.sampled_from(["speech", "music"]), st.sampled_from("abc")), min_size=1, max_size=24
).map(corpus_of)


@given(CORPORA, SEEDS, PER, st.randoms(use_true_random=False))
def test_neither_the_order_of_the_files_nor_the_size_decides(
    corpus: Corpus, seed: int, per: tuple[str, ...], random: object
) -> None:
    shuffled = list(corpus.clips)
    random.shuffle(shuffled)
    before: set[str] = set()
    for count in range(1, len(shuffled) + 1):
        chosen = corpus.sample(count, seed=seed, per=per).clips
        names = {one.name for one in chosen}
        again = Corpus("c", tuple(shuffled), "").sample(count, seed=seed, per=per).clips
        assert {one.name for one in again} == names
        assert len(names) == count
        assert before < names
        assert list(chosen) == [one for one in corpus.clips if one.name in names]
        before = names
    assert corpus.sample(len(shuffled) + 1, seed=seed, per=per) == corpus


@given(CORPORA, SEEDS, PER, st.integers(1, 24), KINDS)
def test_a_clip_that_is_added_takes_the_place_of_one_other_at_most(
    corpus: Corpus, seed: int, per: tuple[str, ...], count: int, kind: tuple[str, str]
) -> None:
    added = Corpus("c", (*corpus.clips, clip("added", *kind)), "")
    before = {one.name for one in corpus.sample(count, seed=seed, per=per).clips}
    after = {one.name for one in added.sample(count, seed=seed, per=per).clips}
    assert len(before - after) <= 1


@given(CORPORA, SEEDS, st.integers(1, 24))
def test_clips_are_spread_over_domains_and_in_each_over_groups(
    corpus: Corpus, seed: int, count: int
) -> None:
    def even(counts: Counter[str], room: Counter[str]) -> bool:
        """Whether nobody has two more than another who has more to give."""
        return all(counts[a] <= counts[b] + 1 for a in room for b in room if counts[b] < room[b])

    chosen = corpus.sample(count, seed=seed).clips
    room = Counter(one.domain for one in corpus.clips)
    assert even(Counter(one.domain for one in chosen), room)
    for domain in room:
        groups = [Counter(one.group for one in part if one.domain == domain)
                  for part in (chosen, corpus.clips)]  # fmt: skip
        assert even(*groups)
    by_group = corpus.sample(count, seed=seed, per=("group",)).clips
    room = Counter(one.group for one in corpus.clips)
    assert even(Counter(one.group for one in by_group), room)


def test_the_choice_is_the_same_on_every_machine() -> None:
    # Computed by hand, with hashlib alone: sha256("SEED\nclip\nNAME"), least first.
    names = [f"{letter}.wav" for letter in "abcdefgh"]
    corpus = Corpus("c", tuple(map(clip, names)), "")

    def first(seed: int) -> list[str]:
        return [one.name for one in corpus.sample(3, seed=seed, per=()).clips]

    code = (
        "import hashlib; names = [f'{x}.wav' for x in 'abcdefgh'];"
        "print(*(n for s in (0, 7) for n in sorted(sorted(names, key=lambda n:"
        " hashlib.sha256(f'{s}\\nclip\\n{n}'.encode()).digest())[:3])))"
    )
    run = [sys.executable, "-c", code]
    told = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
    assert [*first(0), *first(7)] == told
    assert first(0) != first(7)


def test_an_accent_is_one_name_however_a_file_system_spells_it() -> None:
    spelt = [Corpus("c", tuple(clip(n) for n in (name, "b", "c", "d")), "")
             for name in ("caf\u00e9", "cafe\u0301")]  # fmt: skip
    places = [
        [one.name in ("caf\u00e9", "cafe\u0301") for one in corpus.sample(n, per=()).clips]
        for n in range(1, 5)
        for corpus in spelt
    ]
    assert places[::2] == places[1::2]
