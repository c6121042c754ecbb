"""Each provider code means one thing to the caller."""

from __future__ import annotations

import pytest

from clustermgtd.adapters.aws.error_codes import error_from, is_known, kind_of
from clustermgtd.errors import (
    CapacityError,
    ClustermgtdError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PermanentError,
    ThrottledError,
    TransientError,
)
from clustermgtd.model.failure import FailureKind

K = FailureKind


@pytest.mark.parametrize(
    ("code", "kind", "error_class"),
    [
        ("RequestLimitExceeded", K.THROTTLED, ThrottledError),
        ("Throttling", K.THROTTLED, ThrottledError),
        ("ThrottlingException", K.THROTTLED, ThrottledError),
        ("ThrottledException", K.THROTTLED, ThrottledError),
        ("EC2ThrottledException", K.THROTTLED, ThrottledError),
        ("Client.RequestLimitExceeded", K.THROTTLED, ThrottledError),
        ("InsufficientInstanceCapacity", K.CAPACITY, CapacityError),
        ("Server.InsufficientInstanceCapacity", K.CAPACITY, CapacityError),
        ("UnfulfillableCapacity", K.CAPACITY, CapacityError),
        ("InsufficientHostCapacity", K.CAPACITY, CapacityError),
        ("ReservationCapacityExceeded", K.CAPACITY, CapacityError),
        ("SpotMaxPriceTooLow", K.CAPACITY, CapacityError),
        ("InsufficientReservedInstanceCapacity", K.CAPACITY, CapacityError),
        ("InsufficientReservedInstancesCapacity", K.CAPACITY, CapacityError),
        ("InsufficientCapacityOnHost", K.CAPACITY, CapacityError),
        ("InvalidPlacementGroup.InUse", K.CAPACITY, CapacityError),
        ("InvalidCapacityReservationState.PendingActivation", K.CAPACITY, CapacityError),
        ("VcpuLimitExceeded", K.QUOTA, CapacityError),
        ("MaxSpotInstanceCountExceeded", K.QUOTA, CapacityError),
        ("MaxFleetCountExceeded", K.QUOTA, CapacityError),
        ("InstanceLimitExceeded", K.QUOTA, CapacityError),
        ("InsufficientFreeAddressesInSubnet", K.SUBNET_ADDRESSES, CapacityError),
        ("Unsupported", K.UNSUPPORTED, CapacityError),
        ("InvalidFleetConfiguration", K.UNSUPPORTED, ConfigurationError),
        ("InvalidPlacementGroup.Unknown", K.CONFIGURATION, ConfigurationError),
        ("InvalidCapacityReservationId.NotFound", K.CONFIGURATION, ConfigurationError),
        ("PlacementGroupLimitExceeded", K.CONFIGURATION, ConfigurationError),
        ("MaxTemplateLimitExceeded", K.CONFIGURATION, ConfigurationError),
        ("ResourceCountExceeded", K.CONFIGURATION, ConfigurationError),
        ("OptInRequired", K.CONFIGURATION, ConfigurationError),
        ("PendingVerification", K.CONFIGURATION, ConfigurationError),
        ("UnauthorizedOperation", K.CONFIGURATION, ConfigurationError),
        ("AuthFailure", K.CONFIGURATION, ConfigurationError),
        ("InvalidLaunchTemplateId.NotFound", K.CONFIGURATION, ConfigurationError),
        ("InvalidAMIID.NotFound", K.CONFIGURATION, ConfigurationError),
        ("InvalidSubnetID.NotFound", K.CONFIGURATION, ConfigurationError),
        ("InvalidParameterValue", K.CONFIGURATION, ConfigurationError),
        ("InternalError", K.SERVICE, TransientError),
        ("Unavailable", K.SERVICE, TransientError),
        ("503", K.SERVICE, TransientError),
        ("IdempotentInstanceTerminated", K.SERVICE, PermanentError),
        ("IncorrectState", K.SERVICE, TransientError),
        ("SomethingNew", K.UNKNOWN, PermanentError),
        ("404", K.UNKNOWN, PermanentError),
    ],
)
def test_a_code_has_a_kind_and_an_error(code: str, kind: FailureKind, error_class: type[ClustermgtdError]) -> None:
    assert kind_of(code) is kind
    assert type(error_from(code, "why")) is error_class


@pytest.mark.parametrize(
    ("code", "error_class"),
    [
        ("InvalidInstanceID.NotFound", NotFoundError),
        ("ResourceNotFoundException", NotFoundError),
        ("ConditionalCheckFailedException", ConflictError),
        ("IdempotentParameterMismatch", PermanentError),
        ("ValidationException", PermanentError),
    ],
)
def test_a_failed_call_may_mean_more_than_its_kind(code: str, error_class: type[ClustermgtdError]) -> None:
    assert type(error_from(code, "why")) is error_class
    assert is_known(code)


def test_a_throttle_is_never_evidence_of_a_shortage() -> None:
    assert not isinstance(error_from("RequestLimitExceeded", ""), CapacityError)


def test_an_unknown_code_of_a_broken_server_is_transient() -> None:
    assert type(error_from("SomethingNew", "", status=500)) is TransientError
    assert type(error_from("SomethingNew", "", status=429)) is ThrottledError
    assert not is_known("SomethingNew")


def test_an_error_keeps_the_code_and_the_request_id() -> None:
    error = error_from("VcpuLimitExceeded", "You have asked for more", request_id="req-7")
    assert (error.code, error.request_id) == ("VcpuLimitExceeded", "req-7")
    assert str(error) == "VcpuLimitExceeded: You have asked for more"
