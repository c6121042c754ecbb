"""The whole template."""

from __future__ import annotations

from clustermgtd.settings.cloudformation.endpoints import endpoints
from clustermgtd.settings.cloudformation.groups import Needs, groups
from clustermgtd.settings.cloudformation.messages import messages
from clustermgtd.settings.cloudformation.parts import Value, merged
from clustermgtd.settings.cloudformation.roles import Grants, roles
from clustermgtd.settings.cloudformation.table import table
from clustermgtd.settings.cloudformation.vpc import network
from clustermgtd.settings.cluster import Settings


def template(settings: Settings) -> dict[str, Value]:
    """A CloudFormation template that makes in AWS what cluster.yaml describes, but for compute nodes, which are the
    daemon's.

    Raises:
        SettingsError: cluster.yaml lacks what only the template needs.
    """
    whole = merged(
        [
            network(settings),
            endpoints(settings),
            groups(settings, Needs()),
            messages(settings),
            table(settings),
            roles(settings, Grants(), Grants(), Grants()),
        ]
    )
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"Slurm cluster {settings.cluster_name}: what clustermgtd needs in AWS",
        "Resources": dict(whole.resources),
        "Outputs": {name: {"Value": value} for name, value in sorted(whole.outputs.items())},
    }
