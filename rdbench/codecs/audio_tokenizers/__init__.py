"""Audio tokenizers of the package `transformers`."""
