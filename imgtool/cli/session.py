"""What holds for one run of the program, whatever the command: language, and whether tracebacks are shown."""

from __future__ import annotations

import os

from imgtool.records import dataclass, field
from imgtool.text import Language, Text


def language_of_locale() -> Language:
    """zh when the locale of messages is Chinese, else en (locale(7): LC_ALL, LC_MESSAGES, LANG)."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name)
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


@dataclass
class Session:
    """Set by the options of the command; read where the program ends."""

    language: Language = field(default_factory=language_of_locale)
    debug: bool = False

    def remark(self, text: Text) -> None:
        """A word on stderr about what takes long, where somebody watches."""
        import sys

        if sys.stderr.isatty():
            print(f"imgtool: {self.say(text)}", file=sys.stderr, flush=True)

    def say(self, text: Text) -> str:
        """A statement in the language of this run."""
        return text.say(self.language)
