"""The option ``pytest --opalg-check MODULE``: the kit of `opalg.testing` over what a module holds, one test for each.

This file stands beside the package so that pytest, which loads it at every start, does not import opalg unless the
option is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("opalg").addoption(
        "--opalg-check",
        action="append",
        default=[],
        metavar="MODULE",
        help="check every operator, functional and energy of a module or package (package.module, or folder/file.py); "
        "may be given several times; without paths to tests, nothing else runs",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Where modules are named but no tests, collect only the modules."""
    if config.getoption("opalg_check") and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Put one test for each object behind those that were collected; selections such as ``-k`` come later."""
    for name in session.config.getoption("opalg_check"):
        collector = OpalgModule.from_parent(session, name=name, nodeid=name)
        report = session.ihook.pytest_make_collect_report(collector=collector)
        session.ihook.pytest_collectreport(report=report)
        if report.passed:
            items.extend(report.result)


class OpalgModule(pytest.Collector):
    """A module whose objects are checked."""

    def collect(self) -> Iterator[OpalgItem]:
        """One test for each operator, functional and energy."""
        from opalg.cli.objects import load_module
        from opalg.errors import ParameterError
        from opalg.testing import collected

        try:
            found = collected(load_module(self.name))
        except SystemExit as problem:
            raise ParameterError(
                f"{self.name} ends the interpreter when it is imported (SystemExit: {problem}); put what runs behind "
                f'if __name__ == "__main__":'
            ) from problem
        if not found:
            raise ParameterError(
                f"{self.name} holds no operator, functional or energy under a public name; mark functions that make "
                f"one with @oa.testing.checked"
            )
        for thing in found:
            yield OpalgItem.from_parent(self, name=thing.name, value=thing.value)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:
        """The sentence of opalg where it has one, else what pytest prints."""
        from opalg.errors import OpalgError

        return str(excinfo.value) if isinstance(excinfo.value, OpalgError) else super().repr_failure(excinfo)


class OpalgItem(pytest.Item):
    """The check of one object."""

    def __init__(self, *, value: Any, **options: Any) -> None:
        super().__init__(**options)
        self.value = value

    def runtest(self) -> None:
        """Check, and raise where something does not hold."""
        from opalg.testing import check

        check(self.value).raise_if_failed()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:
        """The report of the check, without a traceback of the kit; the traceback of anything else."""
        from opalg.errors import OpalgError

        return str(excinfo.value) if isinstance(excinfo.value, OpalgError) else super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Where pytest says that the test is."""
        assert self.parent is not None
        return self.path, None, f"{self.parent.name}: {self.name}"
