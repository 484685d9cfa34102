"""Codecs that rdbench knows and other environments run: research repositories, and other pins.

The modules of this folder are imported by the interpreter that a spec names as `python`, where
rdbench is not installed: like `remote/worker.py` they keep to Python 3.8, to numpy and what their
codec needs, and to each other. Each has one class, as `docs/codecs.md` describes those of users,
and beside that

    code_files      what was imported from a checkout, and configurations: in every key by content
    weight_files    the files of the weights: likewise

Checkpoints are read as data; code in a checkout is run, and so only with permission.
"""
