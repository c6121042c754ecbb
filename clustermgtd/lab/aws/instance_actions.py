"""The actions on instances that exist."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from clustermgtd.lab.aws.instance_xml import reservations_xml
from clustermgtd.lab.aws.launch_data import tag_dict
from clustermgtd.lab.aws.protocol import Params, required
from clustermgtd.lab.ec2.instances import accepts
from clustermgtd.lab.ec2.model import Ec2Model
from clustermgtd.lab.ec2.records import STATE_CODES, Ec2Error, InstanceStatus, StateChange

IDS_MAX = 1000


def filters_of(p: Params) -> dict[str, tuple[str, ...]]:
    """The call's filters.

    Raises:
        Ec2Error: a filter has no name or no value.
    """
    filters: dict[str, tuple[str, ...]] = {}
    for f in p.get("Filters", ()):
        if not f.get("Name") or not f.get("Values"):
            raise Ec2Error("InvalidParameterValue", f"The filter '{f.get('Name', '')}' has no values")
        filters[f["Name"]] = tuple(f["Values"])
    return filters


def describe_instances(model: Ec2Model, p: Params, now: float) -> str:
    """DescribeInstances: by ids, or by filters with pages."""
    ids, size = p.get("InstanceIds", []), p.get("MaxResults")
    if ids and size is not None:
        raise Ec2Error(
            "InvalidParameterCombination",
            "The parameter instancesSet cannot be used with the parameter maxResults",
        )
    if len(ids) > IDS_MAX:
        raise Ec2Error("InvalidParameterValue", f"At most {IDS_MAX} instance ids may be given")
    filters, token = filters_of(p), p.get("NextToken", "")
    if size is None and not token:
        return reservations_xml(model, model.describe_instances(now, ids=ids, filters=filters))
    page = model.describe_instances_page(now, filters, size if size is not None else IDS_MAX, token)
    more = f"<nextToken>{page.next_token}</nextToken>" if page.next_token else ""
    return reservations_xml(model, page.records) + more


def terminate_instances(model: Ec2Model, p: Params, now: float) -> Params:
    return {"TerminatingInstances": _changes(model.terminate_instances(p.get("InstanceIds", ()), now))}


def stop_instances(model: Ec2Model, p: Params, now: float) -> Params:
    return {"StoppingInstances": _changes(model.stop_instances(p.get("InstanceIds", ()), now))}


def start_instances(model: Ec2Model, p: Params, now: float) -> Params:
    return {"StartingInstances": _changes(model.start_instances(p.get("InstanceIds", ()), now))}


def reboot_instances(model: Ec2Model, p: Params, now: float) -> Params:
    """RebootInstances: accepted; the model's instances do not notice."""
    model.enter("RebootInstances", now)
    for id in p.get("InstanceIds", ()):
        model.instance(id)
    return {}


def describe_instance_status(model: Ec2Model, p: Params, now: float) -> Params:
    ids, filters = p.get("InstanceIds", []), filters_of(p)
    now = model.enter("DescribeInstanceStatus", now, bare=not ids and not filters)
    every = p.get("IncludeAllInstances", False)
    found = model.statuses.describe(now, ids, all_states=every)
    return {"InstanceStatuses": [_status(s) for s in found if _status_passes(s, filters)]}


def _status_passes(status: InstanceStatus, filters: dict[str, tuple[str, ...]]) -> bool:
    facts: dict[str, Sequence[str]] = {
        "availability-zone": (status.record.zone,),
        "instance-state-name": (status.record.state,),
        "instance-state-code": (str(STATE_CODES[status.record.state]),),
        "instance-status.status": (status.instance,),
        "system-status.status": (status.system,),
        "event.code": [e.code for e in status.events],
        "event.instance-event-id": [e.id for e in status.events],
    }
    for name, values in filters.items():
        if name not in facts:
            raise Ec2Error("InvalidParameterValue", f"The filter '{name}' is invalid")
        if not any(accepts(values, fact) for fact in facts[name]):
            return False
    return True


def _status(s: InstanceStatus) -> Params:
    def check(status: str) -> Params:
        word = {"ok": "passed", "impaired": "failed"}.get(status, status)
        detail: Params = {"Name": "reachability", "Status": word}
        if word == "failed" and s.impaired_since:
            detail = {**detail, "ImpairedSince": s.impaired_since}
        return {"Status": status, "Details": [detail]}

    events = [
        {
            "InstanceEventId": e.id,
            "Code": e.code,
            "Description": e.description,
            "NotBefore": e.not_before,
            "NotAfter": e.not_after,
        }
        for e in s.events
    ]
    return {
        "InstanceId": s.record.id,
        "AvailabilityZone": s.record.zone,
        "InstanceState": {"Code": STATE_CODES[s.record.state], "Name": s.record.state},
        "SystemStatus": check(s.system),
        "InstanceStatus": check(s.instance),
        "Events": events,
    }


def create_tags(model: Ec2Model, p: Params, now: float) -> Params:
    model.create_tags(p.get("Resources", ()), tag_dict(p.get("Tags", ())), now)
    return {}


def delete_tags(model: Ec2Model, p: Params, now: float) -> Params:
    model.delete_tags(p.get("Resources", ()), [t["Key"] for t in p.get("Tags", ())], now)
    return {}


def describe_tags(model: Ec2Model, p: Params, now: float) -> Params:
    """DescribeTags, of instances."""
    filters = filters_of(p)
    model.enter("DescribeTags", now)
    found = []
    for record in model.instances():
        for key, value in record.tags.items():
            facts = {"resource-id": record.id, "resource-type": "instance", "key": key, "value": value}
            unknown = [n for n in filters if n not in facts and not n.startswith("tag:")]
            if unknown:
                raise Ec2Error("InvalidParameterValue", f"The filter '{unknown[0]}' is invalid")
            if all(_tag_passes(name, values, facts) for name, values in filters.items()):
                found.append({"ResourceId": record.id, "ResourceType": "instance", "Key": key, "Value": value})
    return {"Tags": found}


def _tag_passes(name: str, values: Sequence[str], facts: dict[str, str]) -> bool:
    if name.startswith("tag:"):
        return facts["key"] == name[4:] and accepts(values, facts["value"])
    return accepts(values, facts[name])


def get_console_output(model: Ec2Model, p: Params, now: float) -> Params:
    now = model.enter("GetConsoleOutput", now)
    record = model.instance(required(p, "InstanceId"))
    text = model.consoles.get(record.id)
    reply: dict[str, Any] = {"InstanceId": record.id, "Timestamp": now}
    if text:
        reply["Output"] = base64.b64encode(text.encode()).decode()
    return reply


def modify_instance_attribute(model: Ec2Model, p: Params, now: float) -> Params:
    """ModifyInstanceAttribute, of disableApiTermination; other attributes are accepted and forgotten."""
    wanted = p.get("DisableApiTermination", {}).get("Value")
    named = {"disableApiTermination": p.get("Value")}.get(p.get("Attribute", ""))
    if wanted is None and named is not None:
        wanted = str(named).lower() == "true"
    if wanted is None:
        model.enter("ModifyInstanceAttribute", now)
        model.instance(required(p, "InstanceId"))
    else:
        model.set_protected(required(p, "InstanceId"), wanted, now)
    return {}


def describe_instance_attribute(model: Ec2Model, p: Params, now: float) -> Params:
    model.enter("DescribeInstanceAttribute", now)
    record = model.instance(required(p, "InstanceId"))
    match required(p, "Attribute"):
        case "userData":
            value: Params = {"UserData": {"Value": record.data.user_data} if record.data.user_data else {}}
        case "disableApiTermination":
            value = {"DisableApiTermination": {"Value": record.protected}}
        case "instanceType":
            value = {"InstanceType": {"Value": record.instance_type}}
        case other:
            raise Ec2Error("InvalidParameterValue", f"Value ({other}) for parameter attribute is invalid.")
    return {"InstanceId": record.id, **value}


def _changes(changes: Sequence[StateChange]) -> list[Params]:
    return [
        {
            "InstanceId": c.id,
            "PreviousState": {"Code": STATE_CODES[c.previous], "Name": c.previous},
            "CurrentState": {"Code": STATE_CODES[c.current], "Name": c.current},
        }
        for c in changes
    ]
