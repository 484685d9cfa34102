"""Neural codecs with discrete tokens."""
