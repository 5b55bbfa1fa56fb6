"""Converting images: from everything that the probe knows to what the platform takes.

`engine.convert` is the way in; the targets are rooms of their own in `imgtool.converters`.
"""
