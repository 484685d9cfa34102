"""rdbench: a rate–distortion benchmark for audio codecs and audio VAEs."""

from rdbench.version import __version__

__all__ = ["__version__"]
