"""CustomActions of cluster.yaml as the role `custom_actions` gets them."""

from __future__ import annotations

import pytest

from clustermgtd.settings import SettingsError, loads
from clustermgtd.settings.cookbook import Machine, MachineKind
from clustermgtd.settings.cookbook.custom_actions import variables

CLUSTER = """
Image: {Os: rocky9}
HeadNode:
  InstanceType: c5.xlarge
  Networking: {SubnetId: subnet-0123456789abcdef0}
  CustomActions:
    OnNodeStart: {Script: "file:///opt/site/start", Args: [a, b]}
    OnNodeUpdated: {Script: "https://example.com/updated.sh"}
Scheduling:
  Scheduler: slurm
  SlurmQueues:
    - Name: q1
      Networking: {SubnetIds: [subnet-0123456789abcdef0]}
      CustomActions:
        OnNodeConfigured:
          Sequence:
            - Script: s3://bucket/one.sh
            - {Script: s3://bucket/two.sh, Args: ["2"]}
      ComputeResources: [{Name: c5, InstanceType: c5.xlarge}]
DevSettings: {Timeouts: {HeadNodeBootstrapTimeout: 1200, ComputeNodeBootstrapTimeout: 900}}
"""
CHECKSUM = "a" * 64


def test_the_head_nodes() -> None:
    found = variables(Machine(loads(CLUSTER), MachineKind.HEAD))
    assert found["custom_actions_on_node_start"] == [
        {"script": "file:///opt/site/start", "args": ["a", "b"], "sha256": ""}
    ]
    assert found["custom_actions_on_node_configured"] == []
    assert found["custom_actions_on_node_updated"] == [
        {"script": "https://example.com/updated.sh", "args": [], "sha256": ""}
    ]
    assert (found["custom_actions_timeout_s"], found["custom_actions_is_compute"]) == (1200, False)


def test_a_queues_with_checksums() -> None:
    text = CLUSTER + f"Clustermgtd: {{ScriptChecksums: {{s3://bucket/two.sh: {CHECKSUM}}}}}\n"
    found = variables(Machine(loads(text), MachineKind.COMPUTE, "q1"))
    assert found["custom_actions_on_node_configured"] == [
        {"script": "s3://bucket/one.sh", "args": [], "sha256": ""},
        {"script": "s3://bucket/two.sh", "args": ["2"], "sha256": CHECKSUM},
    ]
    assert (found["custom_actions_timeout_s"], found["custom_actions_is_compute"]) == (900, True)


def test_the_digest_is_of_the_whole_file() -> None:
    digests = [
        variables(Machine(loads(text), MachineKind.HEAD))["custom_actions_digest"]
        for text in (CLUSTER, CLUSTER.replace("c5.xlarge}]", "c5.2xlarge}]"), CLUSTER)
    ]
    assert digests[0] == digests[2] != digests[1]


@pytest.mark.parametrize(
    ("checksums", "said"),
    [
        (f"{{s3://bucket/three.sh: {CHECKSUM}}}", "is not the URL of a program of CustomActions"),
        ("{s3://bucket/two.sh: abc}", "must be a SHA-256 checksum"),
    ],
)
def test_checksums_that_mean_nothing(checksums: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        loads(CLUSTER + f"Clustermgtd: {{ScriptChecksums: {checksums}}}\n")
