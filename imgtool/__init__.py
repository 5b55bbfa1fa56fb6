"""imgtool tells whether a disk image will import into the cloud and boot there, and why not."""

__version__ = "0.1.0"
