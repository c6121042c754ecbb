"""Every error the project raises, by what the caller does about it.

    ClustermgtdError
    ├── TransientError                 retry later, nothing learned about the request itself
    │   ├── ThrottledError             pause the bucket; never evidence of a capacity shortage
    │   └── IncompleteObservationError this tick decides nothing
    ├── CapacityError                  remember the offering, use another one
    ├── ConflictError                  our record is older than the stored one: read again, decide again
    │   └── FencedError                another daemon took over: stop
    ├── WithdrawnError                 no call was made: nobody wants its effect any more
    ├── NotFoundError                  often success (terminating what is gone)
    ├── PermanentError                 the same request will fail again: stop, tell a human
    │   └── ConfigurationError         a human can mend it in cluster.yaml, IAM or Slurm
    └── IllegalTransitionError         our own bug: a state machine was asked for an edge it does not have

Provider codes are mapped to these in one table (`adapters.aws.error_codes`). Causes are chained with `from`.
"""

from __future__ import annotations


class ClustermgtdError(Exception):
    """Base of every error raised on purpose."""

    def __init__(self, message: str, *, code: str = "", request_id: str = "") -> None:
        super().__init__(message)
        self.code = code
        """The provider's own code (`InsufficientInstanceCapacity`), empty when there is none."""
        self.request_id = request_id
        """The provider's request id, for a support case; empty when there is none."""


class TransientError(ClustermgtdError):
    """The call may succeed if it is made again."""


class ThrottledError(TransientError):
    """The provider asked for fewer calls."""


class IncompleteObservationError(TransientError):
    """A source could not be read whole, so nothing may be decided from it."""


class CapacityError(ClustermgtdError):
    """The offering cannot be had now."""


class ConflictError(ClustermgtdError):
    """A stored record has another version than expected."""


class FencedError(ConflictError):
    """Another daemon holds the leader record; this one must not write any more."""


class WithdrawnError(ClustermgtdError):
    """The call was taken back before it was made; nothing happened."""


class NotFoundError(ClustermgtdError):
    """What was named does not exist."""


class PermanentError(ClustermgtdError):
    """The same request will fail again."""


class ConfigurationError(PermanentError):
    """The site's configuration or permissions forbid the request."""


class IllegalTransitionError(ClustermgtdError):
    """A state machine was asked for an edge that its table does not have."""
