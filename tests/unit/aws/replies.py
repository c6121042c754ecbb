"""DescribeInstances replies as EC2 writes them, with everything in them that we do not read."""

from __future__ import annotations

_INSTANCE = """
<item>
  <instanceId>{id}</instanceId><imageId>ami-0123456789abcdef0</imageId>
  <instanceState><code>16</code><name>{state}</name></instanceState>
  <privateDnsName>ip-10-0-0-1.eu-west-1.compute.internal</privateDnsName><dnsName/>
  <reason/><keyName>key</keyName><amiLaunchIndex>0</amiLaunchIndex><productCodes/>
  <instanceType>c5.large</instanceType><launchTime>2026-11-20T10:00:00.000Z</launchTime>
  <placement><availabilityZone>eu-west-1a</availabilityZone><groupName/><tenancy>default</tenancy></placement>
  <monitoring><state>disabled</state></monitoring>
  <subnetId>subnet-0123456789abcdef0</subnetId><vpcId>vpc-0123456789abcdef0</vpcId>
  {address}
  <sourceDestCheck>true</sourceDestCheck>
  <groupSet><item><groupId>sg-0123456789abcdef0</groupId><groupName>compute</groupName></item></groupSet>
  {reason}
  <architecture>x86_64</architecture><rootDeviceType>ebs</rootDeviceType><rootDeviceName>/dev/xvda</rootDeviceName>
  <blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><volumeId>vol-0123456789abcdef0</volumeId>
    <status>attached</status><attachTime>2026-11-20T10:00:01.000Z</attachTime>
    <deleteOnTermination>true</deleteOnTermination></ebs></item></blockDeviceMapping>
  <virtualizationType>hvm</virtualizationType>{lifecycle}{reservation}
  <tagSet>
    <item><key>clustermgtd:launch-token</key><value>{token}</value></item>
    <item><key>clustermgtd:cluster</key><value>demo</value></item>
    <item><key>clustermgtd:queue</key><value>q1</value></item>
    <item><key>clustermgtd:compute-resource</key><value>c5</value></item>
    <item><key>parallelcluster:cluster-name</key><value>demo</value></item>
    <item><key>parallelcluster:node-type</key><value>Compute</value></item>
    <item><key>Name</key><value>R&amp;D &lt;compute&gt;</value></item>
    <item><key>empty</key><value/></item>
  </tagSet>
  <hypervisor>xen</hypervisor>
  <networkInterfaceSet><item>
    <networkInterfaceId>eni-0123456789abcdef0</networkInterfaceId><subnetId>subnet-of-the-interface</subnetId>
    <vpcId>vpc-0123456789abcdef0</vpcId><description/><ownerId>123456789012</ownerId><status>in-use</status>
    <macAddress>02:00:00:00:00:01</macAddress><privateIpAddress>10.9.9.9</privateIpAddress>
    <privateDnsName>ip-10-0-0-1.eu-west-1.compute.internal</privateDnsName><sourceDestCheck>true</sourceDestCheck>
    <groupSet><item><groupId>sg-0123456789abcdef0</groupId><groupName>compute</groupName></item></groupSet>
    <attachment><attachmentId>eni-attach-0123456789abcdef0</attachmentId><deviceIndex>0</deviceIndex>
      <status>attached</status><attachTime>2026-11-20T10:00:00.000Z</attachTime>
      <deleteOnTermination>true</deleteOnTermination><networkCardIndex>0</networkCardIndex></attachment>
    <privateIpAddressesSet><item><privateIpAddress>10.9.9.9</privateIpAddress>
      <privateDnsName>ip-10-0-0-1.eu-west-1.compute.internal</privateDnsName><primary>true</primary></item>
    </privateIpAddressesSet><ipv6AddressesSet/><interfaceType>interface</interfaceType></item>
  </networkInterfaceSet>
  <iamInstanceProfile><arn>arn:aws:iam::123456789012:instance-profile/p</arn><id>AIPAEXAMPLE</id></iamInstanceProfile>
  <ebsOptimized>false</ebsOptimized><cpuOptions><coreCount>1</coreCount><threadsPerCore>2</threadsPerCore></cpuOptions>
  <capacityReservationSpecification><capacityReservationPreference>open</capacityReservationPreference>
  </capacityReservationSpecification><hibernationOptions><configured>false</configured></hibernationOptions>
  <metadataOptions><state>applied</state><httpTokens>required</httpTokens>
    <httpPutResponseHopLimit>1</httpPutResponseHopLimit><httpEndpoint>enabled</httpEndpoint>
    <instanceMetadataTags>enabled</instanceMetadataTags></metadataOptions>
  <enclaveOptions><enabled>false</enabled></enclaveOptions><platformDetails>Linux/UNIX</platformDetails>
  <usageOperation>RunInstances</usageOperation><usageOperationUpdateTime>2026-11-20T10:00:00.000Z</usageOperationUpdateTime>
  <privateDnsNameOptions><hostnameType>ip-name</hostnameType></privateDnsNameOptions>
  <maintenanceOptions><autoRecovery>default</autoRecovery></maintenanceOptions>
  <currentInstanceBootMode>legacy-bios</currentInstanceBootMode>
</item>"""


def an_instance(
    number: int,
    *,
    state: str = "running",
    address: str = "10.0.0.1",
    is_spot: bool = False,
    reason: str = "",
    reservation: str = "",
) -> str:
    return _INSTANCE.format(
        id=f"i-{number:017x}",
        state=state,
        token=f"clmgtd-0badcafe-1-{number}",
        address=f"<privateIpAddress>{address}</privateIpAddress>" if address else "",
        lifecycle="<instanceLifecycle>spot</instanceLifecycle>" if is_spot else "",
        reason=f"<stateReason><code>{reason}</code><message>{reason}: why</message></stateReason>" if reason else "",
        reservation=f"<capacityReservationId>{reservation}</capacityReservationId>" if reservation else "",
    )


def a_page(*instances: str, next_token: str = "", per_reservation: int = 1) -> bytes:
    """A reply with its instances in reservations of a given size."""
    reservations = "".join(
        f"<item><reservationId>r-{start}</reservationId><ownerId>123456789012</ownerId><groupSet/>"
        f"<instancesSet>{''.join(instances[start : start + per_reservation])}</instancesSet></item>"
        for start in range(0, len(instances), per_reservation)
    )
    token = f"<nextToken>{next_token}</nextToken>" if next_token else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
        f"<requestId>req-1</requestId><reservationSet>{reservations}</reservationSet>{token}</DescribeInstancesResponse>"
    ).encode()
