"""What a check found: the properties that were tried, those that failed, and why that may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isnan
from types import MappingProxyType

from opalg.errors import AdjointError, NotLinearError, OpalgError


class FailedCheckError(OpalgError, AssertionError):
    """A check found a property that does not hold; ``report`` has the details.

    Attributes
    ----------
    report : Report or None
        What was checked and found.
    """

    report: Report | None = None


class FailedAdjointError(AdjointError, FailedCheckError):
    """A check found that an adjoint does not match its forward map."""


class FailedLinearityError(NotLinearError, FailedCheckError):
    """A check found that a map is not linear."""


_ERRORS: dict[str, type[FailedCheckError]] = {"adjoint": FailedAdjointError, "linear": FailedLinearityError}


@dataclass(frozen=True)
class Finding:
    """A property that does not hold.

    Attributes
    ----------
    name : str
        The property: ``"adjoint"``, ``"linear"``, ``"dtype"``, ...
    message : str
        What was seen.
    error : float or None
        By how much, relative to the sizes involved.
    tolerance : float or None
        What would have passed.
    where : tuple or None
        The worst pair ``(output index, input index)``, or the worst index.
    hint : str
        The likely mistake, where it can be told.
    """

    name: str
    message: str
    error: float | None = None
    tolerance: float | None = None
    where: tuple | None = None
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.name}: {self.message}"
        if self.error is not None:
            limit = "" if self.tolerance is None else f", tolerance {self.tolerance:.1e}"
            text += f" (error {self.error:.1e}{limit})"
        return f"{text}. {self.hint}" if self.hint else text


@dataclass(frozen=True)
class Report:
    """The outcome of a check; true where every property holds.

    Attributes
    ----------
    subject : str
        What was checked.
    checked : tuple of str
        The properties that were tried.
    findings : tuple of Finding
        Those that do not hold.
    notes : tuple of str
        What could not be tried, and why.
    errors : mapping from str to float
        The largest relative error that was measured for each property that has one.
    """

    subject: str
    checked: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    errors: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def ok(self) -> bool:
        """Whether every property that was tried holds."""
        return not self.findings

    def __bool__(self) -> bool:
        return self.ok

    def failed(self, name: str) -> bool:
        """Whether the property of that name was found not to hold."""
        return any(finding.name == name for finding in self.findings)

    def raise_if_failed(self) -> Report:
        """The report itself where all is well.

        Raises
        ------
        FailedAdjointError, FailedLinearityError, FailedCheckError
            Where a property failed; each is an ``AssertionError`` too, and carries the ``report``.
        """
        if self.findings:
            error = _ERRORS.get(self.findings[0].name, FailedCheckError)(str(self))
            error.report = self
            raise error
        return self

    def __str__(self) -> str:
        count = len(self.findings)
        verdict = "all hold" if not count else f"{count} {'does' if count == 1 else 'do'} not hold"
        lines = [f"{self.subject}: {len(self.checked)} properties checked, {verdict}"]
        lines += [f"  - {finding}" for finding in self.findings]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)

    __repr__ = __str__


class Findings:
    """A report while it is being written.

    Parameters
    ----------
    subject : str
        What is being checked.
    skip : tuple of str
        Properties that are not tried.
    """

    def __init__(self, subject: str, skip: tuple[str, ...] = ()) -> None:
        self.subject, self.skip = subject, skip
        self.checked: dict[str, None] = {}
        self.found: dict[tuple[str, str], Finding] = {}
        self.notes: dict[str, None] = {}
        self.errors: dict[str, float] = {}

    def trying(self, name: str) -> bool:
        """Whether a property is to be tried; notes that it was."""
        if name in self.skip:
            return False
        self.checked[name] = None
        return True

    def measure(
        self,
        name: str,
        error: float,
        tolerance: float,
        message: str,
        where: tuple | None = None,
        hint: str = "",
        part: str = "",
    ) -> None:
        """Keep an error; where it exceeds the tolerance, or is NaN, it is a finding."""
        known = self.errors.get(name, 0.0)
        self.errors[name] = known if error <= known or isnan(known) else error
        if not error <= tolerance:
            self.fail(name, message, error, tolerance, where, hint, part)

    def fail(
        self,
        name: str,
        message: str,
        error: float | None = None,
        tolerance: float | None = None,
        where: tuple | None = None,
        hint: str = "",
        part: str = "",
    ) -> None:
        """Keep a finding; of several about the same part of a property, the one with the largest error."""
        known = self.found.get((name, part))
        if known is None or (error is not None and known.error is not None and not error <= known.error):
            self.found[name, part] = Finding(name, message, error, tolerance, where, hint)

    def take(self, place: str, report: Report) -> None:
        """Keep what another report says of a part, under names that begin with where the part is."""
        self.checked.update(dict.fromkeys(f"{place}: {name}" for name in report.checked))
        for finding in report.findings:
            self.found[f"{place}: {finding.name}", str(finding)] = replace(finding, name=f"{place}: {finding.name}")
        self.errors.update({f"{place}: {name}": error for name, error in report.errors.items()})

    def failed(self, name: str) -> bool:
        """Whether there is a finding of that name."""
        return any(found == name for found, _ in self.found)

    def note(self, text: str) -> None:
        """Keep a remark about what could not be tried."""
        self.notes[text] = None

    def report(self) -> Report:
        """The finished report."""
        return Report(
            self.subject,
            tuple(self.checked),
            tuple(self.found.values()),
            tuple(self.notes),
            MappingProxyType(dict(self.errors)),
        )
