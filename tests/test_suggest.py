"""What a sentence lists of names that are known."""

from rdbench.suggest import LONGEST, nearest


def test_names_of_thousands_of_characters_are_cut() -> None:
    long = "w" * 5000
    assert nearest("x", [long, "b"], many="clips") == f"clips: {'w' * (LONGEST - 1)}…, b"
    assert nearest("w" * 4999, [long]) == f"did you mean '{'w' * (LONGEST - 1)}…'?"
