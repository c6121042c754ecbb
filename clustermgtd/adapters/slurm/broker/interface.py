"""pyslurm as operations that yield rows of strings, whatever its release calls things.

Two interfaces are found, in some releases beside each other: collections (`pyslurm.Nodes.load()`; 22.5.2 has the first,
all from 23.2.1 on) and dictionaries (`pyslurm.job().get()`; up to 25.5 for what has no collection). An operation that a
pyslurm has neither way is not offered, and the command line carries it.

Every operation raises `Complaint` for what Slurm says, and `Unsupported` if pyslurm is not as it is known here.
"""

from __future__ import annotations

import functools
import pwd
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from clustermgtd.adapters.slurm.broker import collections_interface, dictionaries_interface

Row = list[str]
Operation = Callable[..., Iterable[Row]]


class Complaint(Exception):
    """slurmctld refused, or did not answer."""

    def __init__(self, text: str, errno: int) -> None:
        super().__init__(text)
        self.text = text
        self.errno = errno


class Unsupported(Exception):
    """This pyslurm does not have what is asked, or has it otherwise."""


@dataclass(frozen=True, slots=True)
class Interface:
    """What one pyslurm can do."""

    release: str
    """pyslurm's own, whose first two numbers are Slurm's."""
    operations: Mapping[str, Operation]

    @classmethod
    def load(cls) -> Interface:
        """Import pyslurm and look what it has.

        Raises:
            ImportError: there is none, or none that fits the installed libslurm.
            Unsupported: it is not the pyslurm that is meant here.
        """
        import pyslurm

        found = {
            **dictionaries_interface.operations(pyslurm, user_name),
            **collections_interface.operations(pyslurm, user_name),
        }
        if "jobs" not in found or not hasattr(pyslurm, "__version__"):
            raise Unsupported(f"{pyslurm.__file__} has neither pyslurm.Jobs nor pyslurm.job")
        return cls(str(pyslurm.__version__), {name: _guarded(pyslurm, run) for name, run in found.items()})


@functools.cache
def user_name(uid: int) -> str:
    """As squeue prints it: the number if nobody has it. pyslurm's own translation raises KeyError then."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _guarded(pyslurm: ModuleType, operation: Operation) -> Operation:
    """`operation` with what pyslurm raises turned into the two errors of this module.

    The collections raise RPCError; the dictionaries raise ValueError(text, number).
    """
    rpc_error: type[Exception] = getattr(pyslurm, "RPCError", ValueError)

    def run(**arguments: Any) -> Iterator[Row]:
        try:
            yield from operation(**arguments)
        except rpc_error as error:
            raise Complaint(str(getattr(error, "msg", error.args[0])), int(getattr(error, "errno", 0) or 0)) from error
        except ValueError as error:
            if len(error.args) == 2 and isinstance(error.args[1], int):
                raise Complaint(str(error.args[0]), error.args[1]) from error
            raise Unsupported(f"ValueError: {error}") from error
        except (AttributeError, KeyError, TypeError) as error:
            raise Unsupported(f"{type(error).__name__}: {error}") from error

    return run
