"""Making the findings of a rehearsal: a stage that was reached under its own id, a failure under the id of
the rule that explains it, with the evidence and the remedy that the static check has for this very guest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from imgtool.rehearsal.sign import Sign
from imgtool.rehearsal.stages import STAGES
from imgtool.rehearsal.watch import Sighting
from imgtool.rules import Finding, Rule, Severity, Status
from imgtool.text import Text

_VIRTIO = ("linux.virtio.initramfs", "linux.virtio.kernel", "linux.virtio.loading")


class Naming:
    """rules: the catalogue; statics: the static check's findings by rule, the gravest of each."""

    def __init__(self, rules: Mapping[str, Rule], statics: Mapping[str, Finding]) -> None:
        self._rules = rules
        self._statics = statics

    def is_broken(self, rule: str) -> bool:
        """Whether the static check finds a rule broken."""
        found = self._statics.get(rule)
        return found is not None and found.status is Status.FAIL

    def passed(
        self, stage: str, message: Text, *, evidence: Iterable[str] = (), age: float | None = None
    ) -> Finding:
        """A stage that was reached, `age` seconds after power-on."""
        of = STAGES[stage]
        return Finding(
            of.id, Status.PASS, Severity.ERROR, of.title, message, evidence=tuple(evidence), time_s=age
        )

    def skipped(self, stage: str) -> Finding:
        """A stage that the boot did not come to."""
        of = STAGES[stage]
        message = Text("Not reached: the boot ended before.", "未到达：启动在此之前已结束。")
        return Finding(of.id, Status.SKIP, Severity.ERROR, of.title, message)

    def failed(
        self,
        stage: str,
        message: Text,
        *,
        remedy: Text,
        evidence: Iterable[str] = (),
        age: float | None = None,
        severity: Severity = Severity.ERROR,
        rule: str = "",
    ) -> Finding:
        """A stage that failed. rule: what it is reported as, in place of the stage's own rule."""
        of = STAGES[stage]
        name = rule or of.rule or of.id
        known, static = self._rules.get(name), self._statics.get(name)
        proven = static if static is not None and static.status in (Status.FAIL, Status.WARN) else None
        return Finding(
            id=name,
            status=Status.FAIL if severity is Severity.ERROR else Status.WARN,
            severity=severity,
            title=of.title,
            message=message,
            platform_code=proven.platform_code if proven else known.platform_code if known else None,
            evidence=(*evidence, *(proven.evidence[:3] if proven else ())),
            remedy=proven.remedy if proven and proven.remedy else remedy,
            fixable=proven.fixable if proven else False,
            time_s=age,
        )

    def sighted(
        self,
        sighting: Sighting,
        stage: str,
        *,
        partitions: tuple[str, ...] | None = None,
        severity: Severity = Severity.ERROR,
    ) -> Finding:
        """A known failure that the console named. partitions: what a shell that stood open listed."""
        age, said = f"{sighting.age:.1f} s", sighting.sign.message
        evidence = [f"{age}: {sighting.line}"]
        if partitions is not None:
            evidence.append(f"/proc/partitions: {' '.join(partitions) or '-'}")
        return self.failed(
            stage,
            Text(f"{said.en} ({age} after power-on)", f"{said.zh}（加电后 {age}）"),
            remedy=sighting.sign.remedy,
            evidence=evidence,
            age=sighting.age,
            severity=severity,
            rule=self.rule_of(sighting.sign, partitions),
        )

    def rule_of(self, sign: Sign, partitions: tuple[str, ...] | None = None) -> str:
        """The rule that explains a sign: what the guest sees of its disks tells virtio from the rest, and of
        what is left, the one that is broken on the image."""
        rules = sign.rules
        if partitions is not None:
            has_disk = any(name.startswith("vd") for name in partitions)
            rules = tuple(rule for rule in rules if (rule in _VIRTIO) != has_disk) or rules
        return next((rule for rule in rules if self.is_broken(rule)), rules[0])
