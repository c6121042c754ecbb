"""Top-level sections that describe the site: image, monitoring, users, deployment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field

from clustermgtd.settings.common import DeletionPolicy, Tag
from clustermgtd.settings.section import (
    AmiId,
    CustomValue,
    Finding,
    PolicyArn,
    RoleArn,
    SecretOrParameterArn,
    Section,
    SecurityGroupId,
    SubnetIdText,
)


class ClusterImage(Section):
    """The image of all nodes."""

    os: Literal["alinux2", "alinux2023", "ubuntu2004", "ubuntu2204", "ubuntu2404", "rhel8", "rocky8", "rhel9", "rocky9"]
    """Operating system."""
    custom_ami: AmiId | None = None
    """AMI id; queues may have their own."""


class CloudWatchLogs(Section):
    """Logs in CloudWatch."""

    enabled: bool = True
    """If false, there are none."""
    retention_in_days: Literal[0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653] = 180
    """Days; 0 is for ever."""
    deletion_policy: DeletionPolicy = "Retain"
    """What becomes of them with the cluster."""


class LogRotation(Section):
    """Rotation of log files on the nodes."""

    enabled: bool = True
    """If false, there are none."""


class Logs(Section):
    """Logs."""

    cloud_watch: CloudWatchLogs = CloudWatchLogs()
    rotation: LogRotation = LogRotation()


class CloudWatchDashboards(Section):
    """A dashboard in CloudWatch."""

    enabled: bool = True
    """If false, there are none."""


class Dashboards(Section):
    """Dashboards."""

    cloud_watch: CloudWatchDashboards = CloudWatchDashboards()


class Alarms(Section):
    """Alarms on the head node's health."""

    enabled: bool = True
    """If false, there are none."""


class Monitoring(Section):
    """What is watched."""

    detailed_monitoring: bool = False
    """EC2 metrics every minute instead of every five; costs extra."""
    logs: Logs = Logs()
    dashboards: Dashboards = Dashboards()
    alarms: Alarms = Alarms()


class Roles(Section):
    """IAM roles for what is deployed."""

    lambda_functions_role: RoleArn | None = None
    """ARN of the role for Lambda functions."""


class ClusterIam(Section):
    """IAM of the whole cluster."""

    roles: Roles = Roles()
    permissions_boundary: PolicyArn | None = None
    """ARN of a policy that bounds every role that is made."""
    resource_prefix: str | None = None
    """Prefix of names or paths of IAM resources."""


class DirectoryService(Section):
    """Users from a directory, by SSSD."""

    domain_name: str
    """`corp.example.com`, or its distinguished name."""
    domain_addr: str
    """URIs of the domain controllers, separated by commas."""
    password_secret_arn: SecretOrParameterArn
    """ARN of the secret that holds the read-only user's password."""
    domain_read_only_user: str
    """Distinguished name of the user that looks others up."""
    ldap_tls_ca_cert: str | None = None
    """Path of a CA bundle on the nodes."""
    ldap_tls_req_cert: Literal["never", "allow", "try", "demand", "hard"] = "hard"
    """How strictly the controllers' certificates are checked."""
    ldap_access_filter: str | None = None
    """LDAP filter of who may log in."""
    generate_ssh_keys_for_users: bool = True
    """Make an SSH key for each user at the first login."""
    additional_sssd_configs: Mapping[str, CustomValue] = Field(default_factory=dict)
    """Further lines for the SSSD domain."""


class Imds(Section):
    """Instance metadata of the whole cluster."""

    imds_support: Literal["v1.0", "v2.0"] = "v2.0"
    """v2.0 requires session tokens. Compute nodes always do."""


class IntelSoftware(Section):
    """Intel's packages."""

    intel_hpc_platform: bool = False
    """Meet Intel's HPC platform specification."""


class AdditionalPackages(Section):
    """Further software."""

    intel_software: IntelSoftware = IntelSoftware()


class Timeouts(Section):
    """Time-outs of booting."""

    head_node_bootstrap_timeout: Annotated[int, Field(ge=1)] = 1800
    """Seconds for the head node."""
    compute_node_bootstrap_timeout: Annotated[int, Field(ge=1, le=65_533)] = 1800
    """Seconds from Slurm's wish to slurmd's registration (ResumeTimeout)."""


class AmiSearchFilters(Section):
    """Which official AMIs are looked at."""

    tags: tuple[Tag, ...] = ()
    """Tags an AMI must have."""
    owner: str | None = None
    """Account id; put it in quotes."""


class Cookbook(Section):
    """ParallelCluster's cookbook."""

    chef_cookbook: str | None = None
    """URL of another cookbook."""
    extra_chef_attributes: str | None = None
    """JSON text."""


class DevSettings(Section):
    """For developers; `Timeouts` is in wide use."""

    timeouts: Timeouts = Timeouts()
    cluster_template: str | None = None
    """ParallelCluster's deployment only."""
    ami_search_filters: AmiSearchFilters = AmiSearchFilters()
    instance_types_data: str | None = None
    """JSON text in DescribeInstanceTypes' shape; here, use Clustermgtd.InstanceTypes."""
    compute_startup_time_metric_enabled: bool = False
    """Report boot times to CloudWatch."""
    cookbook: Cookbook = Cookbook()
    node_package: str | None = None
    """ParallelCluster's deployment only."""
    aws_batch_cli_package: str | None = None
    """ParallelCluster's deployment only."""


class LambdaFunctionsVpcConfig(Section):
    """Where Lambda functions run."""

    security_group_ids: Annotated[tuple[SecurityGroupId, ...], Field(min_length=1, max_length=5)]
    """Their security groups."""
    subnet_ids: Annotated[tuple[SubnetIdText, ...], Field(min_length=1, max_length=16)]
    """Their subnets."""


class DeploymentSettings(Section):
    """How the cluster is deployed."""

    lambda_functions_vpc_config: LambdaFunctionsVpcConfig | None = None
    disable_sudo_access_for_default_user: bool = False
    """The image's default user gets no sudo."""
    default_user_home: Annotated[str, Field(pattern=r"^(Shared|Local)$")] = "Shared"
    """Home of the default user: Shared or Local."""


def tag_findings(tags: tuple[Tag, ...]) -> Iterator[Finding]:
    """EC2 takes 50 tags, ten of which we need."""
    if len(tags) > 40:
        yield Finding((40,), f"{len(tags)} tags; at most 40 can be given")
    first: dict[str, int] = {}
    for index, tag in enumerate(tags):
        if tag.key in first:
            yield Finding((index, "Key"), f"is also the key of Tags[{first[tag.key]}]")
        first.setdefault(tag.key, index)
