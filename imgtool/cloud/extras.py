"""What the cloud's commands ask for beyond imgtool's own packages: imgtool.extras."""

from imgtool.extras import ExtraMissing as ExtraMissing
from imgtool.extras import require as require
