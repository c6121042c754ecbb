"""EC2's words for what a pool does not give."""

from __future__ import annotations

from clustermgtd.lab.ec2.records import SPOT, Ec2Error


def unsupported(instance_type: str, zone: str) -> Ec2Error:
    """The type is not offered in the zone."""
    return Ec2Error(
        "Unsupported",
        f"Your requested instance type ({instance_type}) is not supported in your requested Availability Zone "
        f"({zone}).",
    )


def price_too_low(offered: float, needed: float) -> Ec2Error:
    return Ec2Error(
        "SpotMaxPriceTooLow",
        f"Your Spot request price of {offered:g} is lower than the minimum required Spot request fulfillment price "
        f"of {needed:g}.",
    )


def no_addresses(subnet: str) -> Ec2Error:
    return Ec2Error(
        "InsufficientFreeAddressesInSubnet",
        f"There are not enough free addresses in subnet '{subnet}' to satisfy the requested number of instances.",
    )


def over_quota(market: str) -> Ec2Error:
    """The market's vCPU quota is used up."""
    if market == SPOT:
        return Ec2Error("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
    return Ec2Error(
        "VcpuLimitExceeded",
        "You have requested more vCPU capacity than your current vCPU limit allows for the instance bucket that the "
        "specified instance type belongs to.",
    )
