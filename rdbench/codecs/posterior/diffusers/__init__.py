"""Audio autoencoders of the package `diffusers`: one codec, and a module for each class."""
