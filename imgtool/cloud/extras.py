"""What the cloud's commands ask for beyond imgtool's own packages: imgtool.extras."""

from imgtool.extras import ExtraMissing, require

__all__ = ["ExtraMissing", "require"]
