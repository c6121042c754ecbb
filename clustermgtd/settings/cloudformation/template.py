"""The whole template."""

from __future__ import annotations

from dataclasses import replace

from clustermgtd.settings.cloudformation import logs, secrets
from clustermgtd.settings.cloudformation.configuration import configuration, parameter_arn
from clustermgtd.settings.cloudformation.database import database
from clustermgtd.settings.cloudformation.endpoints import endpoints
from clustermgtd.settings.cloudformation.groups import Needs, groups
from clustermgtd.settings.cloudformation.head import head
from clustermgtd.settings.cloudformation.login import login
from clustermgtd.settings.cloudformation.messages import messages
from clustermgtd.settings.cloudformation.parts import Part, Value, merged, sub
from clustermgtd.settings.cloudformation.roles import Grants, roles
from clustermgtd.settings.cloudformation.storage import client_statements, has_network_file_system, storage
from clustermgtd.settings.cloudformation.table import table
from clustermgtd.settings.cloudformation.vpc import network
from clustermgtd.settings.cluster import Settings


def template(settings: Settings, text: str) -> dict[str, Value]:
    """A CloudFormation template that makes in AWS what cluster.yaml describes, but for compute nodes, which are the
    daemon's. `text` is the file that `settings` was read from.

    Raises:
        SettingsError: cluster.yaml lacks what only the template needs.
    """
    has_database = settings.clustermgtd.infrastructure.database is not None
    needs = Needs(storage=has_network_file_system(settings), database=has_database)
    parts = merged(
        [
            network(settings),
            endpoints(settings),
            groups(settings, needs),
            messages(settings),
            table(settings),
            logs.logs(settings),
            secrets.secrets(settings),
            storage(settings),
            database(settings),
            _roles(settings),
            head(settings),
            login(settings),
        ]
    )
    whole = merged([parts, replace(configuration(settings, text, parts), made={})])
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"Slurm cluster {settings.cluster_name}: what clustermgtd needs in AWS",
        "Resources": dict(whole.resources),
        "Outputs": {name: {"Value": value} for name, value in sorted(whole.outputs.items())},
    }


def _roles(settings: Settings) -> Part:
    shared: list[Value] = [
        *_reading(secrets.of_every_machine(settings)),
        *client_statements(settings),
        *logs.writing(settings),
    ]
    fetched = {"Effect": "Allow", "Action": "ssm:GetParameter", "Resource": sub(parameter_arn(settings))}
    own = _reading(secrets.of_the_head_node(settings))
    return roles(
        settings,
        head=Grants((fetched, *own, *shared)),
        compute=Grants(tuple(shared)),
        login=Grants((fetched, *shared)),
    )


def _reading(arns: list[Value]) -> list[Value]:
    """Secrets, and parameters, each with the action of its service."""
    found: list[Value] = []
    for arn in arns:
        is_parameter = isinstance(arn, str) and arn.split(":")[2] == "ssm"
        action = "ssm:GetParameter" if is_parameter else "secretsmanager:GetSecretValue"
        found.append({"Effect": "Allow", "Action": action, "Resource": arn})
    return found
