"""What head and login nodes have in common: their user data, and the parts of an instance's description."""

from __future__ import annotations

from clustermgtd.settings.cloudformation.configuration import parameter_arn
from clustermgtd.settings.cloudformation.parts import Value, without_none
from clustermgtd.settings.cluster import Settings
from clustermgtd.settings.common import Networking, RootVolume
from clustermgtd.settings.instance_types import lookup
from clustermgtd.settings.problem import Problem, SettingsError

PROGRAMS = "/opt/clustermgtd/bin"
COOKBOOKS = "/opt/clustermgtd/cookbooks"


def user_data(settings: Settings, networking: Networking, kind: str, group: str = "") -> Value:
    """A script for cloud-init: the configuration of the stack, then the cookbooks' part that runs at boot.

    The image has clustermgtd, ansible-core and the cookbooks under /opt/clustermgtd. The head node tells the stack how
    it went (`Bootstrapped`).
    """
    exports = [f"export {name}='{value}'" for name, value in networking.proxy.environment.items()]
    timeout_s = settings.dev_settings.timeouts.head_node_bootstrap_timeout
    of_group = f" --group {group}" if group else ""
    lines = [
        "#!/bin/sh",
        f"# Makes this instance a {kind} node of cluster {settings.cluster_name}.",
        "set -eu",
        *exports,
        *(_TELL if kind == "head" else []),
        "mkdir -p /etc/clustermgtd",
        f"{PROGRAMS}/clustermgtctl fetch-config '{parameter_arn(settings)}' --wait-seconds {timeout_s} \\",
        "  --output-file /etc/clustermgtd/cluster.yaml",
        f"{PROGRAMS}/clustermgtctl render cookbook-variables /etc/clustermgtd/cluster.yaml \\",
        f"  --machine {kind}{of_group} > /etc/clustermgtd/variables.yml",
        f"printf '[{kind}]\\nlocalhost ansible_connection=local\\n' > /etc/clustermgtd/inventory",
        f"cd {COOKBOOKS}",
        f"{PROGRAMS}/ansible-playbook -i /etc/clustermgtd/inventory --limit {kind} --tags configure \\",
        "  -e @/etc/clustermgtd/variables.yml site.yml",
        "",
    ]
    return {"Fn::Base64": {"Fn::Sub": "\n".join(lines)}}


_TELL = (
    "tell() {",
    "  result=$?",
    "  if [ $result -eq 0 ]; then status=SUCCESS; else status=FAILURE; fi",
    '  printf \'{"Status": "%s", "Reason": "see /var/log/cloud-init-output.log", "UniqueId": "head", \'\\',
    "'\"Data\": \"%s\"}' $status $result | curl -sS --retry 5 -X PUT -H 'Content-Type:' --data-binary @- \\",
    "    '${Bootstrap}' || echo 'the stack was not told'",
    "  exit $result",
    "}",
    "trap tell EXIT",
)


def image_of(settings: Settings, own: str | None, path: str) -> str:
    """AMI of a machine.

    Raises:
        SettingsError: cluster.yaml gives none.
    """
    image = own or settings.image.custom_ami
    if image is None:
        message = "has no image to boot"
        raise SettingsError([Problem(path, message, suggestion="or set Image.CustomAmi for all nodes")])
    return image


def root_volume(settings: Settings, volume: RootVolume, *, delete: bool = True) -> list[Value]:
    """Under the name that the operating system's images give it."""
    device = "/dev/xvda" if settings.image.os.startswith("alinux") else "/dev/sda1"
    ebs = without_none(
        {
            "VolumeSize": volume.size,
            "VolumeType": volume.volume_type,
            "Encrypted": volume.encrypted or None,
            "Iops": volume.iops,
            "Throughput": volume.throughput,
            "DeleteOnTermination": delete,
        }
    )
    return [{"DeviceName": device, "Ebs": ebs}]


def one_thread_per_core(settings: Settings, instance_type: str) -> Value:
    """`CpuOptions`, None for types whose cores have one thread anyway."""
    facts = lookup(instance_type, settings.clustermgtd.instance_types)
    if isinstance(facts, str) or facts.threads_per_core == 1:
        return None
    return {"CoreCount": facts.cores, "ThreadsPerCore": 1}
