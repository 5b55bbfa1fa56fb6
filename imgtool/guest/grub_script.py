"""GRUB 2's script language, read and followed as far as it decides which kernel starts with which arguments.

The grammar is that of grub-core/script/{yylex.l,parser.y}; the manual's chapter "Shell-like scripting".
Commands that do not change variables or the menu succeed and do nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from imgtool.errors import CannotRead
from imgtool.records import dataclass, field
from imgtool.text import Text

LARGEST_SCRIPT = 10 << 20
MOST_TOKENS = 300_000
MOST_STEPS = 200_000
MOST_DEPTH = 40
MOST_ENTRIES = 1_000
LONGEST_WORD = 64 << 10

_LEXEME = re.compile(
    r"(?P<space>(?:[ \t\r]|\\\r?\n)+)|(?P<end>[\n;])|(?P<single>'[^']*')"
    r'|(?P<double>"(?:[^"\\]|\\.)*")'
    r"|\$\{(?P<braced>[\w?@*#]+)\}|\$(?P<variable>[A-Za-z_]\w*|[0-9?@*#])"
    r"|\\(?P<escaped>.)|(?P<plain>[^\s;'\"\\$]+)|(?P<odd>.)",
    re.DOTALL,
)
_COMMENT = re.compile(r"#[^\n]*")
_IN_QUOTES = re.compile(r"\$\{([\w?@*#]+)\}|\$([A-Za-z_]\w*|[0-9?@*#])|\\([$\"\\\n])|([^$\\]+|.)", re.DOTALL)
_CLOSING = frozenset({"then", "elif", "else", "fi", "do", "done", "}"})


class ScriptError(CannotRead):
    """A script that GRUB itself could not read, or that is larger than any real one."""

    def __init__(self, line: int, en: str, zh: str) -> None:
        super().__init__(Text(en=f"line {line}: {en}", zh=f"第 {line} 行：{zh}"))
        self.line = line


@dataclass(frozen=True)
class Part:
    """A piece of a word: text, or the name of a variable, in double quotes or not."""

    text: str
    variable: bool = False
    quoted: bool = False


Word = tuple[Part, ...]


@dataclass(frozen=True)
class Command:
    """A command with its words, and the block in braces that menuentry and submenu have."""

    words: tuple[Word, ...]
    block: tuple[Statement, ...] | None
    line: int


@dataclass(frozen=True)
class If:
    """branches: condition and body; the condition of `else` is empty."""

    branches: tuple[tuple[tuple[Statement, ...], tuple[Statement, ...]], ...]


@dataclass(frozen=True)
class For:
    """`for variable in words`."""

    variable: str
    words: tuple[Word, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class Function:
    """`function name { body }`."""

    name: str
    body: tuple[Statement, ...]


Statement = Command | If | For | Function
Script = tuple[Statement, ...]


@dataclass(frozen=True)
class _Token:
    word: Word | None  # None for the end of a command
    line: int

    @property
    def keyword(self) -> str:
        """The word's text where nothing in it is quoted or a variable; else ""."""
        if self.word and len(self.word) == 1 and not self.word[0].variable and not self.word[0].quoted:
            return self.word[0].text
        return ""


def _tokens(text: str) -> Iterator[_Token]:
    word: list[Part] = []
    begun = False
    line, at, count = 1, 0, 0
    while at < len(text):
        if not begun and text[at] == "#" and (comment := _COMMENT.match(text, at)):
            at = comment.end()
            continue
        found = _LEXEME.match(text, at)
        if found is None:  # can't be: `odd` takes any character
            return
        at = found.end()
        kind, lexeme = found.lastgroup, found[0]
        count += 1
        if count > MOST_TOKENS:
            raise ScriptError(line, "the script has too many words", "脚本过长")
        if kind in ("space", "end"):
            if begun:
                yield _Token(tuple(word), line)
                word, begun = [], False
            if kind == "end":
                yield _Token(None, line)
        else:
            begun = True
            if kind == "single":
                word.append(Part(lexeme[1:-1], quoted=True))
            elif kind == "double":
                word += _in_quotes(lexeme[1:-1])
            elif kind in ("braced", "variable"):
                word.append(Part(found[kind], variable=True))
            elif kind == "escaped":
                word.append(Part(found["escaped"], quoted=True))
            elif lexeme in "'\"":
                raise ScriptError(line, "a quotation mark is not closed", "引号未闭合")
            else:
                word.append(Part(lexeme))
        line += lexeme.count("\n")
    if begun:
        yield _Token(tuple(word), line)
    yield _Token(None, line)


def _in_quotes(text: str) -> Iterator[Part]:
    if not text:
        yield Part("", quoted=True)
    for braced, name, escaped, plain in _IN_QUOTES.findall(text):
        if braced or name:
            yield Part(braced or name, variable=True, quoted=True)
        elif escaped != "\n":
            yield Part(escaped or plain, quoted=True)


def parse(text: str) -> Script:
    """Read a script. Raises ScriptError."""
    if len(text) > LARGEST_SCRIPT:
        raise ScriptError(1, "the script is too large", "脚本过大")
    parser = _Parser(list(_tokens(text)))
    script = parser.statements(0)
    if parser.here is not None:
        raise parser.unexpected()
    return script


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.at = 0

    @property
    def here(self) -> _Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def unexpected(self) -> ScriptError:
        token = self.here or (self.tokens[-1] if self.tokens else None)
        line = token.line if token else 1
        word = token.keyword if token and self.here else ""
        return ScriptError(line, f"unexpected {word or 'end'}", f"意外的 {word or '结尾'}")

    def expect(self, keyword: str) -> None:
        self.skip_ends()
        if self.here is None or self.here.keyword != keyword:
            raise self.unexpected()
        self.at += 1

    def skip_ends(self) -> None:
        while self.here is not None and self.here.word is None:
            self.at += 1

    def statements(self, depth: int) -> Script:
        """Up to a word that closes what they are in."""
        if depth > MOST_DEPTH:
            raise ScriptError(self.here.line if self.here else 1, "nested too deeply", "嵌套过深")
        found: list[Statement] = []
        while True:
            self.skip_ends()
            if self.here is None or self.here.keyword in _CLOSING:
                return tuple(found)
            found.append(self.statement(depth))

    def statement(self, depth: int) -> Statement:
        assert self.here is not None  # noqa: S101 - statements() has looked
        keyword = self.here.keyword
        if keyword == "if":
            return self.conditional(depth)
        if keyword in ("while", "until"):
            return self.loop(depth)
        if keyword == "for":
            return self.each(depth)
        if keyword == "function":
            self.at += 1
            name = self.here.keyword if self.here else ""
            self.at += 1
            return Function(name, self.block(depth))
        return self.command(depth)

    def conditional(self, depth: int) -> If:
        branches = []
        self.at += 1
        while True:
            condition = self.statements(depth + 1)
            self.expect("then")
            branches.append((condition, self.statements(depth + 1)))
            if self.here is not None and self.here.keyword == "elif":
                self.at += 1
                continue
            if self.here is not None and self.here.keyword == "else":
                self.at += 1
                branches.append(((), self.statements(depth + 1)))
            self.expect("fi")
            return If(tuple(branches))

    def loop(self, depth: int) -> If:
        """A loop that waits for something: nothing here changes while it waits, so it is passed over."""
        self.at += 1
        self.statements(depth + 1)
        self.expect("do")
        self.statements(depth + 1)
        self.expect("done")
        return If(())

    def each(self, depth: int) -> For:
        self.at += 1
        name = self.here.keyword if self.here else ""
        self.at += 1
        self.expect("in")
        words = []
        while self.here is not None and self.here.word is not None:
            words.append(self.here.word)
            self.at += 1
        self.expect("do")
        body = self.statements(depth + 1)
        self.expect("done")
        return For(name, tuple(words), body)

    def block(self, depth: int) -> Script:
        self.expect("{")
        body = self.statements(depth + 1)
        self.expect("}")
        return body

    def command(self, depth: int) -> Command:
        assert self.here is not None  # noqa: S101 - statements() has looked
        line = self.here.line
        words: list[Word] = []
        while (token := self.here) is not None and token.word is not None:
            if token.keyword == "{":
                return Command(tuple(words), self.block(depth), line)
            if token.keyword == "}" and words:  # `menuentry x { linux y }` in one line
                break
            words.append(token.word)
            self.at += 1
        return Command(tuple(words), None, line)


@dataclass
class Entry:
    """One menu entry as found: what is in its braces, and the variables where it stood."""

    title: str
    id: str
    body: Script
    submenu: bool
    file: str
    line: int


@dataclass
class Loaded:
    """What an entry loads: words of `linux` and `initrd`, and $root when they were met."""

    kernel: str = ""
    arguments: tuple[str, ...] = ()
    initrds: list[str] = field(default_factory=list)
    root: str = ""
    chain: str = ""


Builtin = Callable[["Run", list[str]], bool]


class Run:
    """A script being followed: its variables, its menu so far, and what has been loaded.

    commands: what the surroundings add: each gets the run and the command's words, and says whether it
    succeeded.
    """

    def __init__(self, commands: dict[str, Builtin], variables: dict[str, str], file: str) -> None:
        self.commands = commands
        self.variables = variables
        self.file = file
        self.line = 0
        self.functions: dict[str, Script] = {}
        self.menu: list[Entry] = []
        self.loaded = Loaded()
        self.steps = MOST_STEPS
        self.depth = 0

    def run(self, script: Script) -> bool:
        """Follow statements; whether the last one succeeded. Raises ScriptError for one that never ends."""
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise ScriptError(self.line, "nested too deeply", "嵌套过深")
        succeeded = True
        for statement in script:
            self.steps -= 1
            if self.steps < 0:
                raise ScriptError(self.line, "the script does not end", "脚本无法结束")
            if isinstance(statement, Command):
                succeeded = self._command(statement)
            elif isinstance(statement, If):
                succeeded = True
                for condition, body in statement.branches:
                    if not condition or self.run(condition):
                        succeeded = self.run(body)
                        break
            elif isinstance(statement, For):
                for value in self.expand(statement.words):
                    self.variables[statement.variable] = value
                    succeeded = self.run(statement.body)
            else:
                self.functions[statement.name] = statement.body
        self.depth -= 1
        return succeeded

    def inside(self, entry: Entry) -> Run:
        """A run of the entry's own body, with a copy of the variables as they are now."""
        run = Run(self.commands, dict(self.variables), entry.file)
        run.functions = self.functions
        run.steps = min(self.steps, MOST_STEPS // 10)
        run.run(entry.body)
        self.steps -= MOST_STEPS // 10 - max(run.steps, 0)
        return run

    def expand(self, words: tuple[Word, ...]) -> list[str]:
        """Words with their variables replaced; those without quotes are split at blanks, as GRUB does."""
        expanded: list[str] = []
        for word in words:
            text, there = "", False
            for part in word:
                value = self.variables.get(part.text, "") if part.variable else part.text
                if part.variable and not part.quoted:
                    pieces = value.split()
                    if not pieces:
                        continue
                    for piece in pieces[:-1]:
                        expanded.append(text + piece)
                        text = ""
                    text, there = text + pieces[-1], True
                else:
                    text, there = text + value, True
                if len(text) > LONGEST_WORD:
                    raise ScriptError(self.line, "a word is too long", "单词过长")
            if there:
                expanded.append(text)
        # Long words cost as much as many statements do.
        self.steps -= (len(expanded) >> 3) + (sum(map(len, expanded)) >> 9)
        return expanded

    def _command(self, command: Command) -> bool:
        self.line = command.line
        words = self.expand(command.words)
        if not words:
            return True
        name = words[0]
        if name == "!":
            words = words[1:]
            name = words[0] if words else "true"
            return not self._one(name, words, command)
        return self._one(name, words, command)

    def _one(self, name: str, words: list[str], command: Command) -> bool:
        if name in self.functions:
            return self.run(self.functions[name])
        if name in ("menuentry", "submenu") and command.block is not None:
            self.add(_entry(words, command.block, self.file, command.line))
            return True
        if name in ("linux", "linux16", "linuxefi"):
            rest = words[1:]
            self.loaded.kernel = rest[0] if rest else ""
            self.loaded.arguments = tuple(rest[1:])
            self.loaded.root = self.variables.get("root", "")
            return True
        if name in ("initrd", "initrd16", "initrdefi"):
            self.loaded.initrds += words[1:]
            return True
        if name in ("chainloader", "multiboot", "multiboot2"):
            self.loaded.chain = " ".join(words[1:])
            return True
        if name == "set":
            for word in words[1:]:
                variable, equals, value = word.partition("=")
                if equals:
                    self.variables[variable] = value
            return True
        if name == "unset":
            for word in words[1:]:
                self.variables.pop(word, None)
            return True
        if name == "false":
            return False
        found = self.commands.get(name)
        if found is not None:
            return found(self, words)
        if "=" in name and re.match(r"\w+=", name):  # an assignment without `set`
            variable, _, value = name.partition("=")
            self.variables[variable] = value
        return True

    def add(self, entry: Entry) -> None:
        """Put an entry at the menu's end. Raises ScriptError when there are too many."""
        if len(self.menu) >= MOST_ENTRIES:
            raise ScriptError(entry.line, "too many menu entries", "菜单项过多")
        self.menu.append(entry)


_WITH_VALUE = frozenset({"--class", "--users", "--hotkey", "--source"})


def _entry(words: list[str], block: Script, file: str, line: int) -> Entry:
    title, name, at = "", "", 1
    free: list[str] = []
    while at < len(words):
        word = words[at]
        if word == "--id" and at + 1 < len(words):
            name = words[at + 1]
            at += 1
        elif word.startswith("--id="):
            name = word.removeprefix("--id=")
        elif word in _WITH_VALUE:
            at += 1
        elif not word.startswith("--"):
            free.append(word)
        at += 1
    title = free[0] if free else ""
    return Entry(title, name or title, block, words[0] == "submenu", file, line)
