"""The one table from provider codes to what the caller does about them.

`kind_of` classes a code for a fleet's `Errors`; `error_from` makes the exception for a failed call. A code that no row
knows is permanent, and is counted and logged once (`unknown_codes`), so that the table can grow.

EC2's codes are those of "Error codes for the Amazon EC2 API" in its API reference. Where a code is not in that list the
row says what it is taken from.
"""

from __future__ import annotations

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

_K = FailureKind

_KINDS: dict[str, FailureKind] = {
    # too many calls, or too many instances, per second
    "RequestLimitExceeded": _K.THROTTLED,
    "EC2ThrottledException": _K.THROTTLED,
    "RequestThrottled": _K.THROTTLED,
    "RequestThrottledException": _K.THROTTLED,
    "TooManyRequestsException": _K.THROTTLED,
    "BandwidthLimitExceeded": _K.THROTTLED,
    "ResourceCountLimitExceeded": _K.THROTTLED,
    "LimitExceededException": _K.THROTTLED,
    "ProvisionedThroughputExceeded": _K.THROTTLED,
    "ProvisionedThroughputExceededException": _K.THROTTLED,
    "PriorRequestNotComplete": _K.THROTTLED,
    "SlowDown": _K.THROTTLED,
    "OverLimit": _K.THROTTLED,  # SQS: as many messages as may be are received and not deleted
    "KmsThrottled": _K.THROTTLED,
    "429": _K.THROTTLED,
    # the offering is short now
    "InsufficientInstanceCapacity": _K.CAPACITY,
    "InsufficientCapacity": _K.CAPACITY,
    "InsufficientHostCapacity": _K.CAPACITY,
    "InsufficientReservedInstanceCapacity": _K.CAPACITY,
    "InsufficientReservedInstancesCapacity": _K.CAPACITY,
    "InsufficientCapacityOnHost": _K.CAPACITY,
    "InsufficientVolumeCapacity": _K.CAPACITY,
    "InsufficientAddressCapacity": _K.CAPACITY,
    "IncompatibleHostRequirements": _K.CAPACITY,
    "UnavailableHostRequirements": _K.CAPACITY,
    "UnfulfillableCapacity": _K.CAPACITY,
    "ReservationCapacityExceeded": _K.CAPACITY,
    "InvalidPlacementGroup.InUse": _K.CAPACITY,  # in another zone, or being deleted: passes
    "SpotMaxPriceTooLow": _K.CAPACITY,
    # the account's limit for a class of instances
    "VcpuLimitExceeded": _K.QUOTA,
    "InstanceLimitExceeded": _K.QUOTA,
    "MaxSpotInstanceCountExceeded": _K.QUOTA,
    "MaxSpotFleetRequestCountExceeded": _K.QUOTA,
    "MaxFleetCountExceeded": _K.QUOTA,
    "VolumeLimitExceeded": _K.QUOTA,
    "MaxIOPSLimitExceeded": _K.QUOTA,
    "VolumeIOPSLimit": _K.QUOTA,
    "ResourceLimitExceeded": _K.QUOTA,
    "NetworkInterfaceLimitExceeded": _K.QUOTA,
    "SpotInstanceCountExceeded": _K.QUOTA,
    # the subnet is full
    "InsufficientFreeAddressesInSubnet": _K.SUBNET_ADDRESSES,
    # the type is not offered there
    "Unsupported": _K.UNSUPPORTED,
    "UnsupportedInstanceType": _K.UNSUPPORTED,
    "InstanceTypeNotSupported": _K.UNSUPPORTED,
    "UnsupportedHostConfiguration": _K.UNSUPPORTED,
    "UnsupportedInstanceTypeOnHost": _K.UNSUPPORTED,
    "VolumeTypeNotAvailableInZone": _K.UNSUPPORTED,
    "InvalidFleetConfiguration": _K.UNSUPPORTED,  # not in the list; users see it for a type that a zone does not have
    # a human has to change something (every `Invalid...` too)
    "AuthFailure": _K.CONFIGURATION,
    "UnauthorizedOperation": _K.CONFIGURATION,
    "AccessDenied": _K.CONFIGURATION,
    "AccessDeniedException": _K.CONFIGURATION,
    "UnrecognizedClientException": _K.CONFIGURATION,
    "SignatureDoesNotMatch": _K.CONFIGURATION,
    "RequestExpired": _K.CONFIGURATION,  # the clock of this machine is wrong
    "MissingAuthenticationToken": _K.CONFIGURATION,
    "OptInRequired": _K.CONFIGURATION,
    "PendingVerification": _K.CONFIGURATION,
    "Blocked": _K.CONFIGURATION,
    "AccountDisabled": _K.CONFIGURATION,
    "OperationNotPermitted": _K.CONFIGURATION,
    "MissingParameter": _K.CONFIGURATION,
    "MissingInput": _K.CONFIGURATION,
    "UnknownParameter": _K.CONFIGURATION,
    "LaunchTemplateVersionNotFound": _K.CONFIGURATION,
    "NoLaunchTemplateVersions": _K.CONFIGURATION,
    "MaxTemplateLimitExceeded": _K.CONFIGURATION,
    "MaxTemplateVersionLimitExceeded": _K.CONFIGURATION,
    "PlacementGroupLimitExceeded": _K.CONFIGURATION,
    "AttachmentLimitExceeded": _K.CONFIGURATION,
    "SecurityGroupLimitExceeded": _K.CONFIGURATION,
    "SecurityGroupsPerInstanceLimitExceeded": _K.CONFIGURATION,
    "SecurityGroupsPerInterfaceLimitExceeded": _K.CONFIGURATION,
    "PrivateIpAddressLimitExceeded": _K.CONFIGURATION,
    "TagLimitExceeded": _K.CONFIGURATION,
    "TagPolicyViolation": _K.CONFIGURATION,
    "ResourceCountExceeded": _K.CONFIGURATION,  # more instances in one request than EC2 takes
    "RequestResourceCountExceeded": _K.CONFIGURATION,  # the same, of spot
    "EncryptedVolumesNotSupported": _K.CONFIGURATION,
    "UnknownVolumeType": _K.CONFIGURATION,
    "BootForVolumeTypeUnsupported": _K.CONFIGURATION,
    "CustomerKeyHasBeenRevoked": _K.CONFIGURATION,
    "UnsupportedTenancy": _K.CONFIGURATION,
    "UnsupportedException": _K.CONFIGURATION,  # no capacity reservations in this Region
    "VPCResourceNotSpecified": _K.CONFIGURATION,
    "UserDataLimitExceeded": _K.CONFIGURATION,
    "UnsupportedOperation": _K.CONFIGURATION,
    "VPCIdNotSpecified": _K.CONFIGURATION,
    "DefaultVpcDoesNotExist": _K.CONFIGURATION,
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted": _K.CONFIGURATION,
    "KMSAccessDeniedException": _K.CONFIGURATION,
    "KmsAccessDenied": _K.CONFIGURATION,
    "KmsDisabled": _K.CONFIGURATION,
    "KmsNotFound": _K.CONFIGURATION,
    "AWS.SimpleQueueService.NonExistentQueue": _K.CONFIGURATION,
    "QueueDoesNotExist": _K.CONFIGURATION,
    # AWS itself failed, or will answer when it has caught up
    "InternalError": _K.SERVICE,
    "InternalFailure": _K.SERVICE,
    "InternalServerError": _K.SERVICE,
    "InternalServiceError": _K.SERVICE,
    "ServerInternal": _K.SERVICE,
    "RetryableError": _K.SERVICE,
    "IncorrectState": _K.SERVICE,  # of a volume, a subnet, a gateway: it is changing
    "IdempotentInstanceTerminated": _K.SERVICE,  # what the token gave has ended: another token may be used
    "ServiceUnavailable": _K.SERVICE,
    "Unavailable": _K.SERVICE,
    "RequestTimeout": _K.SERVICE,
    "RequestTimeoutException": _K.SERVICE,
    "ExpiredToken": _K.SERVICE,  # short-lived credentials were exchanged during the call
    "ExpiredTokenException": _K.SERVICE,
    "IncompleteSignature": _K.SERVICE,
    "TransactionConflict": _K.SERVICE,
    "TransactionConflictException": _K.SERVICE,
    "TransactionInProgressException": _K.SERVICE,
    "ReplicatedWriteConflictException": _K.SERVICE,
}

_PREFIXES: tuple[tuple[str, FailureKind], ...] = (
    ("Throttl", _K.THROTTLED),
    ("InvalidCapacityReservationState", _K.CAPACITY),  # `.PendingActivation`: the capacity block has not started
    ("Invalid", _K.CONFIGURATION),
)

_CLASSES: dict[FailureKind, type[ClustermgtdError]] = {
    _K.THROTTLED: ThrottledError,
    _K.CAPACITY: CapacityError,
    _K.QUOTA: CapacityError,
    _K.SUBNET_ADDRESSES: CapacityError,
    _K.UNSUPPORTED: CapacityError,
    _K.CONFIGURATION: ConfigurationError,
    _K.SERVICE: TransientError,
    _K.UNKNOWN: PermanentError,
}

_CALL_CLASSES: dict[str, type[ClustermgtdError]] = {
    # what was named does not exist
    "InvalidInstanceID.NotFound": NotFoundError,
    "InvalidLaunchTemplateName.NotFoundException": NotFoundError,
    "ResourceNotFoundException": NotFoundError,
    "NoSuchResourceException": NotFoundError,
    # somebody else was faster
    "ConditionalCheckFailed": ConflictError,
    "ConditionalCheckFailedException": ConflictError,
    "ResourceInUseException": ConflictError,
    "TransactionCanceledException": ConflictError,  # where its reasons say no more
    "InvalidLaunchTemplateName.AlreadyExistsException": ConflictError,
    "InvalidPlacementGroup.Duplicate": ConflictError,
    "IncorrectInstanceState": ConflictError,
    # one entry of it speaks of a type and a zone, as a whole it may be anything
    "InvalidFleetConfiguration": ConfigurationError,
    # our own bugs, which no human can mend in a configuration file
    "IdempotentParameterMismatch": PermanentError,
    "IdempotentParameterMismatchException": PermanentError,
    "IdempotentInstanceTerminated": PermanentError,  # under this token, and it is the whole call's
    "ValidationError": PermanentError,
    "ValidationException": PermanentError,
    "SerializationException": PermanentError,
    "InvalidAction": PermanentError,
}
"""Codes of whole calls whose meaning is finer than their kind."""


def kind_of(code: str) -> FailureKind:
    """The class of failure that a provider code stands for; `UNKNOWN` if no row of the table has it."""
    bare = _bare(code)
    if bare in _KINDS:
        return _KINDS[bare]
    if bare.isdigit():
        return _K.SERVICE if int(bare) >= 500 else _K.UNKNOWN
    for prefix, kind in _PREFIXES:
        if bare.startswith(prefix):
            return kind
    return _K.UNKNOWN


def is_known(code: str) -> bool:
    """Some row of the table has this code."""
    return _bare(code) in _CALL_CLASSES or kind_of(code) is not _K.UNKNOWN


def error_from(code: str, message: str, *, status: int = 0, request_id: str = "") -> ClustermgtdError:
    """The exception for a failed call.

    `status` is the HTTP status, 0 if there was no reply: a code that no row has is transient with 5xx, else permanent.
    """
    bare = _bare(code)
    kind = kind_of(code)
    if bare in _CALL_CLASSES:
        error_class = _CALL_CLASSES[bare]
    elif kind is _K.UNKNOWN and status == 429:
        error_class = ThrottledError
    elif kind is _K.UNKNOWN and status >= 500:
        error_class = TransientError
    else:
        error_class = _CLASSES[kind]
    return error_class(f"{code}: {message}" if message else code, code=code, request_id=request_id)


def _bare(code: str) -> str:
    """The code without the side that EC2 puts before it in some replies."""
    return code.removeprefix("Client.").removeprefix("Server.")
