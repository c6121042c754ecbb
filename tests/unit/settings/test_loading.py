"""A wrong cluster.yaml is refused with every problem, each with its place and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as run
from hypothesis import strategies as st

from clustermgtd.errors import ConfigurationError
from clustermgtd.settings import Problem, SettingsError, load, loads

EXAMPLES = sorted((Path(__file__).parents[3] / "docs" / "examples").glob("*.yaml"))
MINIMAL = """\
Region: eu-central-1
Image:
  Os: alinux2023
HeadNode:
  InstanceType: c5.xlarge
  Networking: {SubnetId: subnet-0123456789abcdef0}
Scheduling:
  Scheduler: slurm
  SlurmQueues:
    - Name: q1
      Networking: {SubnetIds: [subnet-0123456789abcdef0]}
      ComputeResources:
        - Name: c5
          InstanceType: c5.xlarge
"""
QUEUE = "Scheduling.SlurmQueues[0]"
RESOURCE = f"{QUEUE}.ComputeResources[0]"


def problems_of(text: str) -> tuple[Problem, ...]:
    with pytest.raises(SettingsError) as refusal:
        loads(text)
    return refusal.value.problems


def resource(*lines: str) -> str:
    """The minimal file with more keys in its compute resource."""
    return MINIMAL + "".join(f"          {line}\n" for line in lines)


def queue(*lines: str) -> str:
    """The minimal file with more keys in its queue."""
    more = "".join(f"      {line}\n" for line in lines)
    return MINIMAL.replace("    - Name: q1\n", "    - Name: q1\n" + more)


def slurm_settings(text: str) -> str:
    return MINIMAL.replace("  SlurmQueues:\n", f"  SlurmSettings: {text}\n  SlurmQueues:\n")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_accepted(path: Path) -> None:
    load(path)


def test_there_are_examples() -> None:
    assert [path.name for path in EXAMPLES] == [
        "capacity-tiers.yaml",
        "clustermgtd.yaml",
        "minimal.yaml",
        "parallelcluster.yaml",
        "warm-nodes.yaml",
    ]


TABLE: list[tuple[str, str, str, str]] = [
    # text, path, part of the message, part of the suggestion
    (resource("MaxCnt: 3"), f"{RESOURCE}.MaxCnt", "unknown key", "MaxCount"),
    (resource("maxcount: 3"), f"{RESOURCE}.maxcount", "unknown key", "MaxCount"),
    (queue("MinCount: 3"), f"{QUEUE}.MinCount", "unknown key", "ComputeResources"),
    (MINIMAL + "ScalingStrategy: best-effort\n", "ScalingStrategy", "unknown key", "belongs under Scheduling"),
    (resource("MaxCount: '3'"), f"{RESOURCE}.MaxCount", "whole number", "remove the quotes"),
    (resource("MaxCount: 3.5"), f"{RESOURCE}.MaxCount", "whole number", ""),
    (resource("MaxCount: yes"), f"{RESOURCE}.MaxCount", "whole number", ""),
    (resource("MaxCount: 0"), f"{RESOURCE}.MaxCount", "at least 1", ""),
    (resource("MinCount: -1"), f"{RESOURCE}.MinCount", "at least 0", ""),
    (resource("MinCount: 11"), f"{RESOURCE}.MinCount", "more than MaxCount 10", ""),
    (resource("MinCount:"), f"{RESOURCE}.MinCount", "whole number", ""),
    (resource("Instances: [{InstanceType: c5.xlarge}]"), f"{RESOURCE}.Instances", "cannot be given together", ""),
    (MINIMAL.replace("          InstanceType: c5.xlarge\n", ""), RESOURCE, "needs InstanceType or Instances", ""),
    (resource("SpotPrice: 0.1"), f"{RESOURCE}.SpotPrice", "needs CapacityType: SPOT", ""),
    (resource("SchedulableMemory: 9000"), f"{RESOURCE}.SchedulableMemory", "8192 MiB", ""),
    (resource("DynamicNodePriority: 4294967296"), f"{RESOURCE}.DynamicNodePriority", "at most 4294967295", ""),
    (resource("CustomSlurmSettings: {weight: 3}"), f"{RESOURCE}.CustomSlurmSettings.weight", "Weight", "NodePriority"),
    (MINIMAL + "        - {Name: c5, InstanceType: c5.large}\n",
     f"{QUEUE}.ComputeResources[1].Name", "ComputeResources[0]", ""),
    (resource("Tags: [{Key: 'aws:x', Value: y}]"), f"{RESOURCE}.Tags[0].Key", "reserved", ""),
    (resource("Tags: [{Key: x, Value: 4711}]"), f"{RESOURCE}.Tags[0].Value", "must be text", "in quotes"),
    (resource("CapacityReservationTarget: {}"), f"{RESOURCE}.CapacityReservationTarget", "one of them", ""),
    (queue("CapacityType: Spot"), f"{QUEUE}.CapacityType", "'SPOT'", "did you mean SPOT?"),
    (queue("CapacityType: CAPACITY_BLOCK"), RESOURCE, "needs a CapacityReservationTarget", ""),
    (queue("CapacityType: CAPACITY_BLOCK\n      CapacityReservationTarget: {CapacityReservationId: cr-1}"),
     f"{RESOURCE}.MinCount", "static nodes only", ""),
    (queue("CapacityType: SPOT\n      CapacityReservationTarget: {CapacityReservationId: cr-1}"),
     RESOURCE, "spot instances never", ""),
    (resource("Networking: {PlacementGroup: {Enabled: true}}").replace("def0]", "def0, subnet-1123456789abcdef0]"),
     RESOURCE, "one zone; the queue has 2 subnets", "name one subnet"),
    (MINIMAL + "Clustermgtd: {JobTags: [Users]}\n", "Clustermgtd.JobTags[0]", "one of", "did you mean User?"),
    (queue("AllocationStrategy: lowest-price"), f"{QUEUE}.AllocationStrategy", "only for compute resources with", ""),
    (queue("CustomSlurmSettings: {Nodes: x}"), f"{QUEUE}.CustomSlurmSettings.Nodes", "written by clustermgtd", ""),
    (MINIMAL.replace("Name: q1", "Name: Q1"), f"{QUEUE}.Name", "lower-case", ""),
    (MINIMAL.replace("Name: q1", f"Name: q{'x' * 25}"), f"{QUEUE}.Name", "1 to 25", ""),
    (MINIMAL.replace("[subnet-0123456789abcdef0]", "[]"), f"{QUEUE}.Networking.SubnetIds", "at least 1", ""),
    (MINIMAL.replace("[subnet-0123456789abcdef0]", "[vpc-1]"), f"{QUEUE}.Networking.SubnetIds[0]", "subnet id", ""),
    (MINIMAL.replace("c5.xlarge\n  Net", "c5\n  Net"), "HeadNode.InstanceType", "EC2 instance type", ""),
    (MINIMAL.replace("          InstanceType: c5.xlarge", "          InstanceType: c99.xlarge"),
     f"{RESOURCE}.InstanceType", "c99.xlarge are not known", "Clustermgtd.InstanceTypes.c99.xlarge"),
    (slurm_settings("{ScaledownIdletime: -2}"), "Scheduling.SlurmSettings.ScaledownIdletime", "at least -1", ""),
    (slurm_settings("{CustomSlurmSettings: [{PrologSlurmctld: /x}]}"),
     "Scheduling.SlurmSettings.CustomSlurmSettings[0].PrologSlurmctld", "cannot be set here", "StartGate.Prolog"),
    (slurm_settings("{CustomSlurmSettings: [{NodeName: 'a-dy-b-[1-3]'}]}"),
     "Scheduling.SlurmSettings.CustomSlurmSettings[0].NodeName", "-dy-", "rename"),
    (slurm_settings("{CustomSlurmSettings: [{PartitionName: q1, Nodes: x}]}"),
     "Scheduling.SlurmSettings.CustomSlurmSettings[0].PartitionName", "name of a queue", ""),
    (slurm_settings('{CustomSlurmSettings: [{MailProg: "/x\\nSlurmUser=root"}]}'),
     "Scheduling.SlurmSettings.CustomSlurmSettings[0].MailProg", "one line", ""),
    (slurm_settings("{CustomSlurmSettings: [{'Mail Prog': /x}]}"),
     "Scheduling.SlurmSettings.CustomSlurmSettings[0].Mail Prog", "not a slurm.conf key", ""),
    (slurm_settings("{CustomSlurmSettings: [{MailProg: [a]}]}"),
     "Scheduling.SlurmSettings.CustomSlurmSettings[0].MailProg", "a word, a number, true or false", ""),
    (MINIMAL.replace("Scheduler: slurm", "Scheduler: sge"), "Scheduling.Scheduler", "'slurm'", ""),
    (MINIMAL.replace("  Os: alinux2023", "  Os: alinux"), "Image.Os", "one of", "alinux2"),
    (MINIMAL.replace("eu-central-1", "Frankfurt"), "Region", "AWS Region", ""),
    (MINIMAL + "Clustermgtd: {Queues: {q2: {}}}\n", "Clustermgtd.Queues.q2", "not the name of a queue", "q1"),
    (MINIMAL + "Clustermgtd: {Launch: {ReplaySeconds: 700}}\n", "Clustermgtd.Launch.ReplaySeconds", "less than", ""),
    (MINIMAL + "Clustermgtd: {Termination: {OrphanGraceSeconds: 60}}\n",
     "Clustermgtd.Termination.OrphanGraceSeconds", "at least MissingGraceSeconds", ""),
    (MINIMAL + "Clustermgtd: {PeriodSeconds: 300, Events: {QueueUrl: https://sqs.eu-central-1.amazonaws.com/1/q}}\n",
     "Clustermgtd.Events.VisibilitySeconds", "more than Clustermgtd.PeriodSeconds", ""),
    (MINIMAL + "Clustermgtd: {Events: {QueueUrl: my-queue}}\n", "Clustermgtd.Events.QueueUrl", "", ""),
    (MINIMAL + "Clustermgtd: {ResumeTimeoutSeconds: 70000}\n", "Clustermgtd.ResumeTimeoutSeconds", "65533", ""),
    (MINIMAL + "Clustermgtd: {PeriodSeconds: .inf}\n", "Clustermgtd.PeriodSeconds", "", ""),
    (MINIMAL + "Clustermgtd: {Hooks: {SocketPath: hooks.sock}}\n", "Clustermgtd.Hooks.SocketPath", "absolute path", ""),
    (MINIMAL + "Clustermgtd: {InstanceTypes: {c99.large: {VCpus: 3, MemoryMiB: 1}}}\n",
     "Clustermgtd.InstanceTypes.c99.large.VCpus", "multiple of ThreadsPerCore", ""),
    (MINIMAL + "SharedStorage: [{Name: a, MountDir: /usr, StorageType: Ebs}]\n",
     "SharedStorage[0].MountDir", "belongs to the system", ""),
    (MINIMAL + "SharedStorage: [{Name: a, MountDir: /a, StorageType: Ebs, EbsSettings: {Raid: {Type: 0, "
     "NumberOfVolumes: 6}}}]\n", "SharedStorage[0].EbsSettings.Raid.NumberOfVolumes", "at most 5", ""),
    (MINIMAL + "SharedStorage: [{Name: a, MountDir: /a, StorageType: Ebs, EfsSettings: {Encrypted: true}}]\n",
     "SharedStorage[0].EfsSettings", "does not belong to StorageType Ebs", "EbsSettings"),
    (MINIMAL + "SharedStorage: [{Name: a, MountDir: /a, StorageType: FsxOntap}]\n",
     "SharedStorage[0].StorageType", "needs FsxOntapSettings", ""),
    (MINIMAL + "SharedStorage: [{Name: a, MountDir: /a, StorageType: Efs}, "
     "{Name: b, MountDir: a/, StorageType: Ebs}]\n",
     "SharedStorage[1].MountDir", "SharedStorage[0]", ""),
    (MINIMAL + "SharedStorage: [{Name: a, MountDir: /a, StorageType: Efs}, "
     "{Name: b, MountDir: /b, StorageType: Efs}]\n",
     "SharedStorage[1]", "at most 1 new Efs", ""),
    (MINIMAL + "Tags: [" + ", ".join(f"{{Key: k{n}, Value: v}}" for n in range(41)) + "]\n",
     "Tags[40]", "at most 40", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "path", "message", "suggestion"), TABLE, ids=[f"{n}-{row[1]}" for n, row in enumerate(TABLE)]
)
def test_a_wrong_value_is_named_with_its_path_and_what_to_do(
    text: str, path: str, message: str, suggestion: str
) -> None:
    problems = problems_of(text)
    assert [problem.path for problem in problems] == [path]
    assert message in problems[0].message
    assert suggestion in problems[0].suggestion


def test_the_place_is_the_line_and_column_of_the_value() -> None:
    (problem,) = problems_of(resource("MaxCount: many"))
    assert (problem.line, problem.column, problem.value) == (15, 21, "many")


def test_all_problems_are_told_at_once_contradictions_included() -> None:
    text = resource("MinCount: 11", "Tags: [{Key: 'aws:x', Value: a}]") + "Foo: 1\nTags: 3\n"
    paths = {problem.path for problem in problems_of(text)}
    assert paths == {f"{RESOURCE}.MinCount", f"{RESOURCE}.Tags[0].Key", "Foo", "Tags"}


def test_a_section_with_a_wrong_value_is_not_accused_of_contradictions_that_follow_from_it() -> None:
    problems = problems_of(resource("MinCount: 11", "MaxCount: x"))
    assert [problem.path for problem in problems] == [f"{RESOURCE}.MaxCount"]


def test_a_missing_key_is_told_at_its_section() -> None:
    (problem,) = problems_of(MINIMAL.replace("  Networking: {SubnetId: subnet-0123456789abcdef0}\n", ""))
    assert (problem.path, problem.message, problem.line) == ("HeadNode.Networking", "is required", 4)


def test_aws_batch_is_refused_with_a_reason_and_nothing_else() -> None:
    text = MINIMAL.replace("Scheduler: slurm", "Scheduler: awsbatch").replace("SlurmQueues", "AwsBatchQueues")
    (problem,) = problems_of(text)
    assert problem.path == "Scheduling.Scheduler"
    assert "leaves nothing for a Slurm daemon" in problem.message
    assert "Scheduler: slurm" in problem.suggestion


def test_a_key_given_twice_names_both_lines() -> None:
    (problem,) = problems_of(MINIMAL + "Region: us-east-1\n")
    assert (problem.path, problem.line) == ("Region", 15)
    assert problem.message == "is given twice: on line 1 and on line 15"


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("", "empty", 1),
        ("# nothing\n", "empty", 1),
        ("- a\n- b\n", "must be a mapping", 1),
        ("word\n", "must be a mapping", 1),
        ("Region: a\n\tImage: b\n", "not valid YAML", 2),
        ("Region: [a\n", "not valid YAML", 2),
        ("Region: a\n---\nRegion: b\n", "not valid YAML", 2),
        ("Region: *nowhere\n", "not valid YAML", 1),
        ("Region: a\x07\n", "not allowed in YAML", 1),
        ("a: &a [*a]\n", "anchor that holds itself", 1),
        ("[" * 5000, "nested too deeply", 1),
    ],
)
def test_a_file_that_is_not_a_yaml_mapping_is_refused(text: str, message: str, line: int) -> None:
    (problem,) = problems_of(text)
    assert message in problem.message
    assert problem.line == line


def test_nested_aliases_do_not_fill_the_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (problem,) = problems_of("\n".join(lines))
    assert "holds more than" in problem.message


def test_unknown_tags_and_keys_that_are_not_words_are_problems() -> None:
    messages = {problem.message for problem in problems_of(MINIMAL + "Tags: !Ref x\n? [a]\n: b\n")}
    assert {"unknown YAML tag !Ref", "a key must be a word"} <= messages


def test_merged_mappings_count_as_written_out() -> None:
    networking = "Networking: {SubnetIds: [subnet-0123456789abcdef0]}"
    text = MINIMAL.replace(networking, "Networking: &net {SubnetIds: [subnet-0123456789abcdef0]}") + (
        "    - Name: q2\n"
        "      Networking: {<<: *net, AssignPublicIp: true}\n"
        "      ComputeResources: [{Name: c5, InstanceType: c5.large}]\n"
    )
    second = loads(text).scheduling.slurm_queues[1]
    assert second.networking.subnet_ids == ("subnet-0123456789abcdef0",)
    assert second.networking.assign_public_ip is True


def test_a_time_of_day_is_text_and_not_a_number_in_base_sixty() -> None:
    cluster = loads(slurm_settings("{CustomSlurmSettings: [{OverTimeLimit: 10:30}]}"))
    assert cluster.scheduling.slurm_settings.custom_slurm_settings[0] == {"OverTimeLimit": "10:30"}


SECRET = "hunter2-correct-horse"


@pytest.mark.parametrize(
    "text",
    [
        slurm_settings(f"{{Database: {{Uri: a, UserName: b, PasswordSecretArn: {SECRET}}}}}"),
        slurm_settings(f"{{CustomSlurmSettings: [{{SlurmUser: {SECRET}}}]}}"),
        queue(f"CustomActions: {{OnNodeStart: {{Args: [{SECRET}, 1], Script: 's3://a'}}}}"),
        queue(f"CustomActions: {{OnNodeStart: {{Script: 'ftp://user:{SECRET}@host/x'}}}}"),
        MINIMAL + f"DirectoryService: {{DomainName: a, PasswordSecretArn: {SECRET}}}\n",
        MINIMAL + f"Password: {SECRET}\n",
        MINIMAL + f"Password: [{SECRET}\n",
        MINIMAL + f"MungeKye: {SECRET}\n",
    ],
)
def test_secrets_do_not_show_in_errors(text: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        loads(text)
    assert SECRET not in str(refusal.value)
    assert SECRET not in repr([problem.as_dict() for problem in refusal.value.problems])
    assert refusal.value.__cause__ is None


def test_the_text_of_a_refusal_is_one_clickable_line_per_problem(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(resource("MaxCnt: 3", "MinCount: x"))
    with pytest.raises(ConfigurationError) as refusal:
        load(file)
    assert str(refusal.value).splitlines() == [
        f"{file}:15:11: {RESOURCE}.MaxCnt: unknown key (did you mean MaxCount?)",
        f"{file}:16:21: {RESOURCE}.MinCount: must be a whole number",
    ]


@pytest.mark.parametrize(("content", "message"), [(None, "cannot be read"), (b"\n\xff: 1\n", "not UTF-8")])
def test_a_file_that_cannot_be_read_is_refused_in_the_same_way(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "cluster.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=message):
        load(file)


keys = st.sampled_from(
    ["Region", "Image", "Os", "HeadNode", "Scheduling", "Scheduler", "SlurmQueues", "Name", "Tags", "Clustermgtd", "<<"]
)
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["slurm", "q"])
)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | st.text(max_size=5), inner, max_size=4)
)


@run(deadline=None)
@given(st.dictionaries(keys, trees, max_size=5))
def test_any_tree_is_accepted_or_refused_with_problems(tree: dict[str, object]) -> None:
    _load_or_refuse(yaml.safe_dump(tree, sort_keys=False))


@run(deadline=None)
@given(st.text(alphabet=st.sampled_from("ab: -[]{}&*!|>%@`#,?\n\t'\"<0.\\é\x00"), max_size=60))
def test_any_text_is_accepted_or_refused_with_problems(text: str) -> None:
    _load_or_refuse(text)


@run(deadline=None)
@given(st.integers(0, len(MINIMAL)), st.text(alphabet="a:-[]{}&*!#\n '\"\t", max_size=3))
def test_a_damaged_file_is_accepted_or_refused_with_problems(position: int, damage: str) -> None:
    _load_or_refuse(MINIMAL[:position] + damage + MINIMAL[position + len(damage) :])


def _load_or_refuse(text: str) -> None:
    lines = text.count("\n") + 2
    try:
        loads(text)
    except SettingsError as refusal:
        assert all(problem.message and 1 <= problem.line <= lines for problem in refusal.problems)
