"""The XML of instances, written directly: a page of a thousand must not cost seconds."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from xml.sax.saxutils import escape

from clustermgtd.lab.aws.protocol import iso
from clustermgtd.lab.ec2.catalog import type_spec
from clustermgtd.lab.ec2.model import Ec2Model
from clustermgtd.lab.ec2.records import CAPACITY_BLOCK, STATE_CODES, InstanceRecord, Interface


def reservations_xml(model: Ec2Model, records: Iterable[InstanceRecord]) -> str:
    """DescribeInstances' reservationSet; `records` are in launch order."""
    items = []
    for _, group in groupby(records, key=lambda r: r.reservation_id):
        members = list(group)
        items.append(
            f"<item>{reservation_xml(model, members[0], ''.join(instance_xml(model, r) for r in members))}</item>"
        )
    return f"<reservationSet>{''.join(items)}</reservationSet>"


def reservation_xml(model: Ec2Model, record: InstanceRecord, instances: str) -> str:
    """The members of a reservation around its instances."""
    return (
        f"<reservationId>{record.reservation_id}</reservationId><ownerId>{model.scenario.account}</ownerId><groupSet/>"
        f"<instancesSet>{instances}</instancesSet>"
    )


def instance_xml(model: Ec2Model, r: InstanceRecord) -> str:
    """One instance as an item."""
    spec = type_spec(r.instance_type)
    vpc = model.network.subnet(r.subnet).spec.vpc
    tags = "".join(f"<item><key>{escape(k)}</key><value>{escape(v)}</value></item>" for k, v in r.tags.items())
    threads = r.data.threads_per_core or (spec.threads_per_core if spec else 1)
    cores = r.data.cores or (spec.vcpus // spec.threads_per_core if spec else 1) or 1
    return (
        f"<item><instanceId>{r.id}</instanceId><imageId>{r.data.image_id}</imageId>"
        f"<instanceState><code>{STATE_CODES[r.state]}</code><name>{r.state}</name></instanceState>"
        f"{_names(r)}<reason>{escape(r.transition_reason)}</reason>{_optional(r, model.scenario.account)}"
        f"<amiLaunchIndex>0</amiLaunchIndex><productCodes/><instanceType>{r.instance_type}</instanceType>"
        f"<launchTime>{iso(r.launched_at)}</launchTime>"
        f"<placement><availabilityZone>{r.zone}</availabilityZone>"
        f"<groupName>{escape(r.data.placement_group)}</groupName><tenancy>default</tenancy></placement>"
        f"<monitoring><state>{'enabled' if r.data.monitoring else 'disabled'}</state></monitoring>"
        f"{_network(r, vpc, model.scenario.account)}"
        f"<architecture>{'arm64' if spec and spec.arm else 'x86_64'}</architecture>"
        "<rootDeviceType>ebs</rootDeviceType><rootDeviceName>/dev/xvda</rootDeviceName>"
        f"{_volume(r)}<virtualizationType>hvm</virtualizationType><clientToken>{escape(r.client_token)}</clientToken>"
        f"<tagSet>{tags}</tagSet><hypervisor>xen</hypervisor>"
        f"<cpuOptions><coreCount>{cores}</coreCount><threadsPerCore>{threads}</threadsPerCore></cpuOptions>"
        f"{_metadata(r)}</item>"
    )


def private_dns(address: str, region: str = "us-east-1") -> str:
    """The IP-based host name that EC2 gives an instance."""
    suffix = "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"
    return f"ip-{address.replace('.', '-')}.{suffix}" if address else ""


def _names(r: InstanceRecord) -> str:
    name = private_dns(r.private_address, r.zone[:-1])
    return f"<privateDnsName>{name}</privateDnsName><dnsName/>"


def _optional(r: InstanceRecord, account: str) -> str:
    parts = []
    if r.data.key_name:
        parts.append(f"<keyName>{escape(r.data.key_name)}</keyName>")
    if r.state_reason_code:
        parts.append(
            f"<stateReason><code>{r.state_reason_code}</code><message>{escape(r.state_reason)}</message></stateReason>"
        )
    if r.is_spot:
        parts.append(
            f"<instanceLifecycle>spot</instanceLifecycle><spotInstanceRequestId>{r.spot_request_id}"
            "</spotInstanceRequestId>"
        )
    if r.market == CAPACITY_BLOCK:
        parts.append(f"<instanceLifecycle>{CAPACITY_BLOCK}</instanceLifecycle>")
    if r.capacity_reservation:
        parts.append(f"<capacityReservationId>{r.capacity_reservation}</capacityReservationId>")
    if r.data.instance_profile:
        profile = r.data.instance_profile
        arn = profile if profile.startswith("arn:") else f"arn:aws:iam::{account}:instance-profile/{profile}"
        parts.append(f"<iamInstanceProfile><arn>{escape(arn)}</arn></iamInstanceProfile>")
    return "".join(parts)


def _groups(r: InstanceRecord) -> str:
    items = (
        f"<item><groupId>{escape(g)}</groupId><groupName>{escape(g)}</groupName></item>" for g in r.data.security_groups
    )
    return f"<groupSet>{''.join(items)}</groupSet>"


def _network(r: InstanceRecord, vpc: str, account: str) -> str:
    if r.state == "terminated":
        return "<groupSet/><networkInterfaceSet/>"
    place = f"<subnetId>{r.subnet}</subnetId><vpcId>{vpc}</vpcId>"
    address = f"<privateIpAddress>{r.private_address}</privateIpAddress>" if r.private_address else ""
    if not r.private_address:
        return f"{place}{_groups(r)}<networkInterfaceSet/>"
    interfaces = "".join(
        _interface(r, one, number, place + (address if number == 0 else ""), account)
        for number, one in enumerate(r.data.interfaces or (Interface(),))
    )
    return f"{place}{address}{_groups(r)}<networkInterfaceSet>{interfaces}</networkInterfaceSet>"


def _interface(r: InstanceRecord, one: Interface, number: int, place: str, account: str) -> str:
    """One interface; only the first one's address is modelled."""
    id = r.interface_id if number == 0 else f"{r.interface_id[:-2]}{number:02x}"
    return (
        f"<item><networkInterfaceId>{id}</networkInterfaceId>{place}<ownerId>{account}</ownerId>"
        f"<status>in-use</status><interfaceType>{one.kind}</interfaceType>{_groups(r)}"
        f"<attachment><deviceIndex>{one.device}</deviceIndex><networkCardIndex>{one.card}</networkCardIndex>"
        "<status>attached</status></attachment></item>"
    )


def _volume(r: InstanceRecord) -> str:
    if r.state == "terminated":
        return "<blockDeviceMapping/>"
    return (
        f"<blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><volumeId>{r.volume_id}</volumeId>"
        "<status>attached</status><deleteOnTermination>true</deleteOnTermination></ebs></item></blockDeviceMapping>"
    )


def _metadata(r: InstanceRecord) -> str:
    options = r.data.metadata_options
    return (
        f"<metadataOptions><state>applied</state><httpTokens>{options.get('HttpTokens', 'optional')}</httpTokens>"
        f"<httpPutResponseHopLimit>{options.get('HttpPutResponseHopLimit', 1)}</httpPutResponseHopLimit>"
        f"<httpEndpoint>{options.get('HttpEndpoint', 'enabled')}</httpEndpoint>"
        f"<instanceMetadataTags>{options.get('InstanceMetadataTags', 'disabled')}</instanceMetadataTags>"
        "</metadataOptions>"
    )
