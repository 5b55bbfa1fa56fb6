"""What a step is, and what all steps share of one run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from imgtool.cloud.retry import Patience
from imgtool.errors import ImgtoolError
from imgtool.records import dataclass, field
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.cloud.cvm import Cvm
    from imgtool.cloud.journal import Journal
    from imgtool.cloud.store import Store
    from imgtool.convert.progress import Progress
    from imgtool.profiles import Profile
    from imgtool.repair.registration import Wishes
    from imgtool.report.model import ImageReport
    from imgtool.rules import Target

Result = dict[str, Any]


@dataclass(frozen=True)
class Order:
    """What is to be prepared, and how. folder: where the journal and what is made on the way lie.

    os_type, os_version: None for what is found in the image. limit_rate, part_size: for the upload.
    """

    image: Path
    folder: Path
    profile: Profile
    address: str
    name: str
    description: str = ""
    target: Target = "import"
    boot_mode: Literal["bios", "uefi"] | None = None
    force_import: bool = False
    os_type: str | None = None
    os_version: str | None = None
    fix: bool = True
    rehearse: bool = False
    public_read: bool = False
    keep_object: bool = False
    limit_rate: int = 0
    part_size: int | None = None
    wishes: Wishes | None = None
    patience: Patience = field(default_factory=Patience)
    debug: bool = False


@dataclass
class Run:
    """One run: the order, what the steps tell one another, and the ways to the outside.

    product: the image as it goes up, once it is made. say: tells the person something. agree: asks whether
    the repairs may be made. store, cvm: made when first asked for, so that local steps need no keys.
    """

    order: Order
    journal: Journal
    progress: Progress
    say: Callable[[Text], None]
    agree: Callable[[], bool]
    make_store: Callable[[], Store]
    make_cvm: Callable[[], Cvm]
    results: dict[str, Result] = field(default_factory=dict)
    reports: dict[str, ImageReport] = field(default_factory=dict)
    _store: Store | None = None
    _cvm: Cvm | None = None

    @property
    def store(self) -> Store:
        """The object's place in the storage."""
        if self._store is None:
            self._store = self.make_store()
        return self._store

    @property
    def cvm(self) -> Cvm:
        """The CVM API."""
        if self._cvm is None:
            self._cvm = self.make_cvm()
        return self._cvm

    @property
    def source(self) -> Path:
        """The image to work on: the one that was given, or what was in the archive that was given."""
        return self.unpacked if self.results.get("unpack", {}).get("identity") else self.order.image

    @property
    def source_identity(self) -> list[int] | None:
        """What tells that image's content; it may be gone once the cloud has it."""
        found: list[int] | None = self.results.get("unpack", {}).get("identity")
        return found or file_identity(self.order.image)

    @property
    def unpacked(self) -> Path:
        """Where the content of an archive goes."""
        return self.order.folder / "unpacked.qcow2"

    @property
    def product(self) -> Path:
        """The image that is uploaded: the converted one, in the run's folder."""
        return self.order.folder / "image.qcow2"

    @property
    def begun(self) -> bool:
        """Whether the cloud has been asked for an import: what was made on the way is no longer needed."""
        begun = self.journal.last("import.begun")
        return begun is not None and begun["name"] == self.order.name


class Step(Protocol):
    """One step."""

    name: str
    title: Text

    def inputs(self, run: Run) -> Any:
        """What its result depends on, as JSON; another value and it is done again."""

    def holds(self, run: Run, result: Mapping[str, Any]) -> bool:
        """Whether what an earlier run did is still there and right."""

    def do(self, run: Run) -> Result:
        """Do it. Raises ImgtoolError, among them Halt."""


class Halt(ImgtoolError):
    """The image does not pass, or the person said no: the run ends here with exit code 1, nothing lost."""

    exit_code = 1

    def __init__(
        self, statement: Text, report: ImageReport | None = None, verdict: str | None = None
    ) -> None:
        """verdict: the report's by default; `unknown` ends with 3."""
        super().__init__(statement.en)
        self._statement, self.report = statement, report
        if (verdict or (report.verdict if report else "fail")) == "unknown":
            self.exit_code = 3  # type: ignore[misc]

    def statement(self) -> Text:
        return self._statement


def file_identity(path: Path) -> list[int] | None:
    """What tells whether a file is still the same one, unchanged; None without a file."""
    from imgtool.cloud.source import identity_of

    try:
        return identity_of(os.stat(path))
    except (OSError, ValueError):
        return None
