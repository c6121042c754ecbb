"""Why EC2 gave no instance, in the few classes that are acted upon differently."""

from __future__ import annotations

from enum import StrEnum


class FailureKind(StrEnum):
    """Closed; the provider's codes are mapped to it in `adapters.aws.error_codes`."""

    THROTTLED = "throttled"
    """Too many calls or instances per second: try again later, learn nothing about the offering."""
    CAPACITY = "capacity"
    """The offering is short now."""
    QUOTA = "quota"
    """The account's limit for a class of instances."""
    SUBNET_ADDRESSES = "subnet-addresses"
    """The subnet has no free address."""
    UNSUPPORTED = "unsupported"
    """The type is not offered there."""
    CONFIGURATION = "configuration"
    """A human has to change something."""
    SERVICE = "service"
    """EC2 itself failed: try again under the same token."""
    BOOTSTRAP = "bootstrap"
    """The instances come, and do not become nodes: said of a compute resource, never by EC2."""
    UNKNOWN = "unknown"
    """A code that the table does not have: permanent for this request."""


RETRIED = frozenset({FailureKind.THROTTLED, FailureKind.SERVICE})
"""Kinds after which the same node is asked for again instead of being given back to Slurm."""

REMEMBERED = frozenset(
    {
        FailureKind.CAPACITY,
        FailureKind.QUOTA,
        FailureKind.SUBNET_ADDRESSES,
        FailureKind.UNSUPPORTED,
        FailureKind.CONFIGURATION,
    }
)
"""Kinds that say something about the next request for the same."""
