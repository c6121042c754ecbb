"""The base of every section of cluster.yaml, and the value types that sections share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_pascal

from clustermgtd.settings.document import Location


@dataclass(frozen=True, slots=True)
class Finding:
    """A contradiction that a section found in itself."""

    location: Location
    """From the section, in the file's spelling: `("SlurmQueues", 1, "Name")`."""
    message: str
    suggestion: str = ""


class Section(BaseModel):
    """A mapping of cluster.yaml: frozen, strict about types and keys, spelled in the file as ParallelCluster does."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_pascal,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    def findings(self) -> Iterator[Finding]:
        """Contradictions between values that are each fine. Sections with any override this.

        A finding of one section hides no other: implementations must bear sections that contradict themselves.
        """
        return iter(())

    def all_findings(self, location: Location = ()) -> Iterator[tuple[Location, Finding]]:
        """Those of this section and of the sections in it, each with the location of the section that made it."""
        for finding in self.findings():
            yield location, finding
        for name, field in type(self).model_fields.items():
            here = (*location, field.alias or name)
            value = getattr(self, name)
            if isinstance(value, Section):
                yield from value.all_findings(here)
            elif isinstance(value, tuple | Mapping):
                items = value.items() if isinstance(value, Mapping) else enumerate(value)
                for key, item in items:
                    if isinstance(item, Section):
                        yield from item.all_findings((*here, key))

    def given(self, *names: str) -> list[str]:
        """Those of the attributes that have a value (not None, False or empty), in the file's spelling."""
        return [to_pascal(name) for name in names if getattr(self, name)]


FORMS = {
    r"^/.*$": "must be an absolute path",
    r"^[a-z][a-z0-9-]{0,24}$": "must be 1 to 25 lower-case letters, digits and dashes, and begin with a letter",
    r"^[A-Za-z][A-Za-z0-9-]{0,59}$": "must be 1 to 60 letters, digits and dashes, and begin with a letter",
    r"^[A-Za-z0-9][A-Za-z0-9_-]{0,29}$": "must be 1 to 30 letters, digits, dashes and underscores",
    r"^[A-Za-z0-9_.-]{3,255}$": "must be 3 to 255 letters, digits, dots, dashes and underscores",
    r"^ami-([0-9a-z]{8}|[0-9a-z]{17})$": "must be an AMI id, such as ami-0123456789abcdef0",
    r"^(subnet-([0-9a-z]{8}|[0-9a-z]{17})|new:[a-z][a-z0-9-]{0,24})$": (
        "must be a subnet id, such as subnet-0123456789abcdef0, or new:NAME of Clustermgtd.Network.Subnets"
    ),
    r"^sg-([0-9a-z]{8}|[0-9a-z]{17})$": "must be a security group id, such as sg-0123456789abcdef0",
    r"^[a-z][a-z0-9-]*\.[a-z0-9-]+$": "must be an EC2 instance type, such as c5.xlarge",
    r"^[a-z]{2}(-[a-z]+)+-[0-9]+$": "must be an AWS Region, such as eu-central-1",
    r"^arn:[^:]+:[^:]+:[^:]*:[^:]*:.+$": "must be an ARN",
    r"^arn:.*:secret": "must be the ARN of a secret",
    r"^arn:.*:(secretsmanager:.*:.*:secret:|ssm:.*:.*:parameter/).*$": (
        "must be the ARN of a Secrets Manager secret or of an SSM parameter"
    ),
    r"^arn:.*:role/": "must be the ARN of an IAM role",
    r"^arn:.*:policy/": "must be the ARN of an IAM policy",
    r"^arn:.*:instance-profile/": "must be the ARN of an IAM instance profile",
    r"^(s3|https?)://.+$": "must be a URL that begins with s3://, https:// or http://",
    r"^(([0-9]{1,3}\.){3}[0-9]{1,3}/[0-9]{1,2}|pl-[0-9a-z]+)$": "must be a CIDR (10.0.0.0/16) or a prefix list id",
    r"^([0-9]{1,3}\.){3}[0-9]{1,3}/[0-9]{1,2}$": "must be a CIDR, such as 10.0.0.0/16",
    r"^vpc-([0-9a-z]{8}|[0-9a-z]{17})$": "must be a VPC id, such as vpc-0123456789abcdef0",
    r"^rtb-([0-9a-z]{8}|[0-9a-z]{17})$": "must be a route table id, such as rtb-0123456789abcdef0",
    r"^((s3|https?):/|file://)/.+$": "must be a URL that begins with s3://, https://, http:// or file:///",
    r"^[0-9a-f]{64}$": "must be a SHA-256 checksum: 64 digits and letters from a to f",
    r"^[A-Za-z0-9.-]+(:[0-9]{1,5})?$": "must be host or host:port, without a scheme or a path",
}
"""What a pattern means, in words, for people who do not read regular expressions."""

_FORM = tuple(FORMS)

AbsolutePath = Annotated[str, Field(pattern=_FORM[0])]
ResourceName = Annotated[str, Field(pattern=_FORM[1])]
"""Of a queue, a compute resource or a login pool: part of host names."""
ClusterName = Annotated[str, Field(pattern=_FORM[2])]
StorageName = Annotated[str, Field(pattern=_FORM[3])]
TableName = Annotated[str, Field(pattern=_FORM[4])]
AmiId = Annotated[str, Field(pattern=_FORM[5])]
SubnetIdText = Annotated[str, Field(pattern=_FORM[6])]
SecurityGroupId = Annotated[str, Field(pattern=_FORM[7])]
InstanceTypeName = Annotated[str, Field(pattern=_FORM[8])]
RegionName = Annotated[str, Field(pattern=_FORM[9])]
Arn = Annotated[str, Field(pattern=_FORM[10])]
SecretArn = Annotated[str, Field(pattern=_FORM[11])]
SecretOrParameterArn = Annotated[str, Field(pattern=_FORM[12])]
RoleArn = Annotated[str, Field(pattern=_FORM[13])]
PolicyArn = Annotated[str, Field(pattern=_FORM[14])]
InstanceProfileArn = Annotated[str, Field(pattern=_FORM[15])]
Url = Annotated[str, Field(pattern=_FORM[16])]
Cidr = Annotated[str, Field(pattern=_FORM[17])]
Ipv4Cidr = Annotated[str, Field(pattern=_FORM[18])]
VpcId = Annotated[str, Field(pattern=_FORM[19])]
RouteTableId = Annotated[str, Field(pattern=_FORM[20])]
ScriptUrl = Annotated[str, Field(pattern=_FORM[21])]
Sha256 = Annotated[str, Field(pattern=_FORM[22])]
HostAndPort = Annotated[str, Field(pattern=_FORM[23])]
Seconds = Annotated[float, Field(gt=0)]
CustomValue = str | int | float | bool
"""A value of a CustomSlurmSettings entry."""


def repeated(names: list[str]) -> Iterator[tuple[int, int]]:
    """(index, index of the first occurrence) of every repetition."""
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in first:
            yield index, first[name]
        else:
            first[name] = index
