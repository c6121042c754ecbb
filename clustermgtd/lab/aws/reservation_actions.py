"""Capacity reservations."""

from __future__ import annotations

from clustermgtd.lab.aws.instance_actions import filters_of
from clustermgtd.lab.aws.protocol import Params
from clustermgtd.lab.aws.region_actions import page
from clustermgtd.lab.ec2.instances import accepts
from clustermgtd.lab.ec2.model import Ec2Model
from clustermgtd.lab.ec2.records import Ec2Error
from clustermgtd.lab.ec2.reservations import unknown_reservation

_FILTERS = {
    "state": "State",
    "instance-type": "InstanceType",
    "availability-zone": "AvailabilityZone",
    "instance-match-criteria": "InstanceMatchCriteria",
}


def describe_capacity_reservations(model: Ec2Model, p: Params, now: float) -> Params:
    """DescribeCapacityReservations, in pages."""
    now = model.enter("DescribeCapacityReservations", now)
    known, filters = model.reservations.all(), filters_of(p)
    for name in filters:
        if name not in _FILTERS:
            raise Ec2Error("InvalidParameterValue", f"The filter '{name}' is invalid")
    for id in p.get("CapacityReservationIds", ()):
        if id not in known:
            raise unknown_reservation(id)
    items = [_item(model, id, now) for id in p.get("CapacityReservationIds") or known]
    found = [i for i in items if all(accepts(values, str(i[_FILTERS[name]])) for name, values in filters.items())]
    shown, token = page(found, p)
    return {"CapacityReservations": shown, "NextToken": token}


def _item(model: Ec2Model, id: str, now: float) -> Params:
    spec = model.reservations.all()[id]
    return {
        "CapacityReservationId": id,
        "OwnerId": model.scenario.account,
        "InstanceType": spec.instance_type,
        "InstancePlatform": "Linux/UNIX",
        "AvailabilityZone": spec.zone,
        "Tenancy": "default",
        "TotalInstanceCount": spec.count,
        "AvailableInstanceCount": model.reservations.available(id),
        "State": model.reservations.state(id, now),
        "StartDate": spec.starts_at,
        "EndDate": spec.ends_at,
        "EndDateType": "unlimited" if spec.ends_at is None else "limited",
        "InstanceMatchCriteria": "targeted" if spec.targeted or spec.kind != "default" else "open",
        "ReservationType": spec.kind,
    }
