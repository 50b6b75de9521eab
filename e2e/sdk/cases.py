"""Runs cases: functions that restate what the test suite of an SDK asserts."""

import sys


class Cases:
    """The cases of one script, each with the suite that asserts the same."""

    def __init__(self, sdk):
        self.sdk = sdk
        self.cases = []

    def of(self, suite):
        """Decorates a case. `suite` names the test, or the tests, whose assertions it restates."""

        def add(case):
            self.cases.append((suite, case))
            return case

        return add

    def run(self, way, *arguments):
        """Runs all cases with these arguments, and fails with the first that fails."""
        for suite, case in self.cases:
            try:
                case(*arguments)
            except Exception:
                print(self.sdk, way, case.__name__, f"({suite})", "FAILED", file=sys.stderr)
                raise
        print(self.sdk, way, len(self.cases), "cases ok")


def raises(error, call, *arguments, **named):
    """Asserts that a call raises this error, and returns it."""
    try:
        call(*arguments, **named)
    except error as raised:
        return raised
    raise AssertionError(f"{error.__name__} was not raised")
