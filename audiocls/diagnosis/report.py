"""A diagnosis in words: lines for a terminal, Markdown, JSON and tags."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any, Final

from audiocls.diagnosis.finding import KINDS, Finding
from audiocls.errors import counted
from audiocls.markdown import escaped

_MOST_LINES: Final = 5
HEALTHY: Final = "Diagnosis: nothing was found that an override would mend."
_NOT_JUDGED: Final = "Diagnosis: runs with labels: multi are not diagnosed."


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The findings of a run, those of the highest expected gain first.

    Attributes:
        findings: Empty if the run is healthy.
        changes: What came and went since the last run of the experiment, a sentence each.
        judged: Whether the run could be diagnosed at all.
    """

    findings: tuple[Finding, ...]
    changes: tuple[str, ...] = ()
    judged: bool = True

    @property
    def lines(self) -> tuple[str, ...]:
        """At most five lines for the end of a summary, as Markdown."""
        if not self.findings:
            return (*_first_of(self.changes, _MOST_LINES - 1), HEALTHY if self.judged else _NOT_JUDGED)
        changes = _first_of(self.changes, 1)
        room = _MOST_LINES - len(changes)
        shown = room if len(self.findings) <= room else room - 1
        left = self.findings[shown:]
        more = (f"{counted(len(left), 'more finding')} in diagnosis/findings.json",) if left else ()
        return (*map(_line, self.findings[:shown]), *more, *changes)

    @property
    def short(self) -> str:
        """The lines as a list in Markdown."""
        return "\n".join(f"- {line}" for line in self.lines)

    @property
    def markdown(self) -> str:
        """Everything, in Markdown."""
        if not self.findings:
            return "\n".join(f"- {line}" for line in (*self.changes, HEALTHY if self.judged else _NOT_JUDGED))
        parts = [_section(number, finding) for number, finding in enumerate(self.findings, start=1)]
        return "\n\n".join([*parts, *(f"- {escaped(change)}" for change in self.changes)])

    @property
    def tags(self) -> dict[str, str]:
        """Tags by which runs can be filtered: `finding.overfitting`, and `findings`, which lists all or says none."""
        found = {f"finding.{kind}": ", ".join(f.cause for f in self.findings if f.kind == kind) for kind in KINDS}
        names = ", ".join(f"{each.kind}/{each.cause}" for each in self.findings)
        return {"findings": names or ("none" if self.judged else "not judged")} | {k: v for k, v in found.items() if v}

    def described(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "judged": self.judged,
            "findings": [finding.described() for finding in self.findings],
            "changes": list(self.changes),
        }


def _first_of(changes: tuple[str, ...], most: int) -> tuple[str, ...]:
    return tuple(escaped(change) for change in changes[:most])


def _line(finding: Finding) -> str:
    gain = f", up to {finding.gain:+.2f} recall" if finding.gain >= 0.005 else ""
    remedy = f"`{shlex.quote(finding.overrides[0])}`" if finding.overrides else "see `audiocls diagnose`"
    return f"**{escaped(finding.name)}**{gain}: {remedy}"


def _section(number: int, finding: Finding) -> str:
    lines = [f"**{number}. {escaped(finding.name)}.** {escaped(finding.sentence)}", ""]
    lines += [f"- {escaped(f'{name} {text}')}" for name, text in finding.figures.items()]
    lines += [f"- look at: {escaped(', '.join(finding.look_at))}"] if finding.look_at else []
    lines += [f"- try: `{shlex.quote(override)}`" for override in finding.overrides]
    return "\n".join(lines)
