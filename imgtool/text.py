"""What a person reads in a report, in both of its languages."""

from __future__ import annotations

from typing import Literal

from imgtool.records import dataclass

Language = Literal["en", "zh"]


@dataclass(frozen=True)
class Text:
    """One statement in English and in Chinese."""

    en: str
    zh: str

    def say(self, language: Language) -> str:
        """The statement in one language."""
        return self.zh if language == "zh" else self.en

    @classmethod
    def same(cls, words: str) -> Text:
        """A statement that reads the same in both languages: a command, a path, a number."""
        return cls(words, words)
