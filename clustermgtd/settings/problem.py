"""What is wrong with a configuration file, all of it, with the place in the file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from clustermgtd.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that a human has to change."""

    path: str
    """Where in the configuration: `Scheduling.SlurmQueues[0].Name`; empty for the whole file."""
    message: str
    line: int = 1
    """Counted from 1, as editors do."""
    column: int = 1
    value: str = ""
    """What the file says there, shortened; `<hidden>` where it may be a secret, empty for sections."""
    suggestion: str = ""
    """The nearest thing that would have been accepted, or what to do; empty if there is none."""

    def text(self, source: str) -> str:
        """`FILE:LINE:COLUMN: PATH: message (suggestion)`, which editors and CI systems make clickable."""
        where = f"{source}:{self.line}:{self.column}: "
        what = f"{self.path}: {self.message}" if self.path else self.message
        return where + what + (f" ({self.suggestion})" if self.suggestion else "")

    def as_dict(self) -> dict[str, str | int]:
        """For `--output json`."""
        return asdict(self)


class SettingsError(ConfigurationError):
    """A configuration is refused. Its text names every problem, one per line."""

    def __init__(self, problems: Iterable[Problem], source: str = "cluster.yaml") -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.column, problem.path)))
        self.source = source
        assert self.problems, "a refusal has a reason"
        super().__init__("\n".join(problem.text(source) for problem in self.problems))
