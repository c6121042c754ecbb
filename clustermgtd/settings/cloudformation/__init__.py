"""cluster.yaml -> a CloudFormation template."""

from clustermgtd.settings.cloudformation.template import template

__all__ = ["template"]
