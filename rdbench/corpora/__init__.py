"""Public corpora by name: what they are, where they come from, and the clips that are in them.

- `rdbench.corpora.entries`: an entry says all that is known of a corpus; `entries/*.yaml` are data.
- `rdbench.corpora.fetch`: brings a corpus here, checked against what its publisher states.
- `rdbench.corpora.unpack`: unpacks archives that may be anybody's.
- `rdbench.corpora.clips`: the clips of a folder in the layout of an entry.
- `rdbench.corpora.check`: whether a folder holds what it should.
- `rdbench.corpora.listening`: a listening test that came with a corpus, as a run's input.
"""
