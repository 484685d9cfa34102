"""What BigCodec's repository has under these names, in its shapes, of a few layers."""

from .codec_decoder import CodecDecoder
from .codec_encoder import CodecEncoder

__all__ = ["CodecDecoder", "CodecEncoder"]
