"""What changes of cluster.yaml need: the table is total, agrees with the daemon, and judges what a change does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import clustermgtd.daemon
from clustermgtd.errors import ConfigurationError
from clustermgtd.settings import Settings, loads
from clustermgtd.settings.config_diff import Difference, differences, keys
from clustermgtd.settings.restart_only import refuse_restart_only
from clustermgtd.settings.section import Section
from clustermgtd.settings.suggest import without_none
from clustermgtd.settings.update_policy import READ_ONCE, RULES, Need, Rule, rule_of
from clustermgtd.settings.update_reference import page
from clustermgtd.settings.update_rules import MEANINGS, Verdict, verdict

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "examples" / "minimal.yaml").read_text()
SECOND = """\
    - Name: q2
      Networking: {SubnetIds: [subnet-0123456789abcdef0]}
      ComputeResources: [{Name: m5, InstanceType: m5.xlarge, MaxCount: 4}]
"""
RESOURCE = "Scheduling.SlurmQueues[q1].ComputeResources[c5]"


def judged(old: str, new: str) -> dict[str, Verdict]:
    """Verdicts by path."""
    before, after = loads(old), loads(new)
    return {change.path: verdict(change, before, after) for change in differences(before, after)}


def strategy(name: str) -> str:
    return TEXT.replace("  Scheduler: slurm", f"  Scheduler: slurm\n  SlurmSettings: {{QueueUpdateStrategy: {name}}}")


def test_every_key_of_every_model_has_a_rule_and_every_row_a_key() -> None:
    for key in keys():
        assert rule_of(key) in MEANINGS, key
    covered = {key if key in RULES else _section_row(key) for key in keys()}
    assert set(RULES) == covered


def _section_row(key: str) -> str:
    while key:
        key = key.rpartition(".")[0]
        if f"{key}.*" in RULES:
            return f"{key}.*"
    raise AssertionError(key)


def test_a_key_without_a_rule_is_an_error() -> None:
    with pytest.raises(KeyError):
        rule_of("Clustermgtd.New")


def test_the_page_is_current() -> None:
    file = ROOT / "docs" / "reference" / "update-policy.md"
    assert file.read_text() == page(), f"run: python -m clustermgtd.settings.update_reference > {file}"


def test_the_same_file_written_otherwise_is_no_change() -> None:
    assert (
        differences(loads(TEXT), loads(TEXT.replace("MinCount: 1", "StaticNodePriority: 1\n          MinCount: 1")))
        == ()
    )


def test_queues_are_compared_by_name_and_only_the_default_partition_depends_on_the_order() -> None:
    first, second = TEXT.split("    - Name: q1")
    swapped = f"{first}{SECOND}    - Name: q1{second}"
    (change,) = judged(TEXT + SECOND, swapped).items()
    assert change[0] == "Scheduling.SlurmQueues"
    assert change[1].need is Need.LIVE


def test_more_nodes_and_new_queues_are_live_fewer_need_a_drain_of_those_that_leave() -> None:
    grown = judged(TEXT, TEXT.replace("MaxCount: 10", "MaxCount: 12") + SECOND)
    assert {path: one.need for path, one in grown.items()} == {
        "Scheduling.SlurmQueues[q2]": Need.LIVE,
        f"{RESOURCE}.MaxCount": Need.LIVE,
    }
    shrunk = judged(TEXT, TEXT.replace("MaxCount: 10", "MaxCount: 8"))[f"{RESOURCE}.MaxCount"]
    assert shrunk.need is Need.DRAIN
    assert "NodeName=q1-dy-c5-[8-9] " in shrunk.action
    more_static = judged(TEXT, TEXT.replace("MinCount: 1", "MinCount: 2"))[f"{RESOURCE}.MinCount"]
    assert (more_static.need, "NodeName=q1-dy-c5-9 " in more_static.action) == (Need.DRAIN, True)
    gone = judged(TEXT + SECOND, TEXT)["Scheduling.SlurmQueues[q2]"]
    assert (gone.need, "fleet stop --queue q2 " in gone.action) == (Need.DRAIN, True)


@pytest.mark.parametrize(
    ("name", "need", "said"),
    [
        ("COMPUTE_FLEET_STOP", Need.FLEET_STOP, "fleet stop --queue q1 --when-idle"),
        ("DRAIN", Need.DRAIN, "nodes replace --queue q1"),
        ("TERMINATE", Need.DRAIN, "requeued"),
    ],
)
def test_what_nodes_are_launched_with_is_replaced_as_the_strategy_says(name: str, need: Need, said: str) -> None:
    old = strategy(name)
    new = old.replace("    - Name: q1", "    - Name: q1\n      Image: {CustomAmi: ami-00000000000000001}")
    ((path, one),) = judged(old, new).items()
    assert path == "Scheduling.SlurmQueues[q1].Image.CustomAmi"
    assert one.need is need
    assert said in one.action


@pytest.mark.parametrize(
    ("key", "value", "need"),
    [
        # as many CPUs and as much memory: slurm.conf stays as it is
        ("InstanceType", "c6i.xlarge", Need.DRAIN),
        # twice the CPUs
        ("InstanceType", "c5.2xlarge", Need.FLEET_STOP),
    ],
)
def test_an_instance_type_is_judged_by_what_slurm_sees_of_it(key: str, value: str, need: Need) -> None:
    old = strategy("DRAIN")
    new = old.replace(f"          {key}: c5.xlarge", f"          {key}: {value}")
    assert judged(old, new)[f"{RESOURCE}.{key}"].need is need


def test_another_type_beside_the_first_is_live_and_taking_one_away_is_not() -> None:
    one = strategy("DRAIN").replace(
        "          InstanceType: c5.xlarge", "          Instances: [{InstanceType: c5.xlarge}]"
    )
    two = one.replace("c5.xlarge}]", "c5.xlarge}, {InstanceType: c6i.xlarge}]")
    assert judged(one, two)[f"{RESOURCE}.Instances"].need is Need.LIVE
    assert judged(two, one)[f"{RESOURCE}.Instances"].need is Need.DRAIN


def test_a_market_is_live_unless_it_is_a_capacity_block() -> None:
    change = Difference("Scheduling.SlurmQueues[].CapacityType", ("q1",), "ONDEMAND", "SPOT")
    block = Difference("Scheduling.SlurmQueues[].CapacityType", ("q1",), "ONDEMAND", "CAPACITY_BLOCK")
    settings = loads(TEXT)
    assert verdict(change, settings, settings).need is Need.LIVE
    assert verdict(block, settings, settings).need is Need.FLEET_STOP


def test_volumes_grow_and_never_shrink() -> None:
    settings = loads(TEXT)
    needs = [
        verdict(Difference("HeadNode.LocalStorage.RootVolume.Size", (), old, new), settings, settings).need
        for old, new in (("40", "80"), ("80", "40"), ("", "40"))
    ]
    assert needs == [Need.LIVE, Need.NOT_POSSIBLE, Need.NOT_POSSIBLE]


def test_shared_storage_that_comes_concerns_every_machine() -> None:
    storage = "SharedStorage:\n  - {Name: home, MountDir: /home2, StorageType: Ebs}\n"
    ((path, one),) = judged(strategy("DRAIN"), strategy("DRAIN") + storage).items()
    assert (path, one.need) == ("SharedStorage[home]", Need.DRAIN)
    assert "login nodes" in one.action


def test_a_login_pool_that_comes_disturbs_nobody_and_one_that_goes_does() -> None:
    pool = """\
LoginNodes:
  Pools:
    - Name: gate
      InstanceType: t3.medium
      Networking: {SubnetIds: [subnet-0123456789abcdef0]}
"""
    assert judged(TEXT, TEXT + pool)["LoginNodes.Pools[gate]"].need is Need.LIVE
    assert judged(TEXT + pool, TEXT)["LoginNodes.Pools[gate]"].need is Need.DRAIN


def test_a_section_that_comes_is_named_key_by_key() -> None:
    added = TEXT.replace("  Scheduler: slurm", "  Scheduler: slurm\n  SlurmSettings: {ExternalSlurmdbd: {Host: db}}")
    (change,) = differences(loads(TEXT), loads(added))
    assert (change.path, change.old, change.new) == ("Scheduling.SlurmSettings.ExternalSlurmdbd.Host", "", "db")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", "DevSettings: {Cookbook: {ExtraChefAttributes: hunter2}}\n"),
        ("", "DevSettings: {Cookbook: {ChefCookbook: 'https://me:hunter2@example.com/x?sig=hunter2'}}\n"),
        (
            "    - Name: q1",
            "    - Name: q1\n      CustomActions: {OnNodeStart: {Sequence: "
            "[{Script: 's3://bucket/x', Args: [hunter2]}]}}",
        ),
        (
            "  Scheduler: slurm",
            "  Scheduler: slurm\n  SlurmSettings: {CustomSlurmSettings: [{AccountingStoragePass: hunter2}]}",
        ),
    ],
)
def test_secrets_are_not_shown_wherever_they_are(old: str, new: str) -> None:
    text = TEXT.replace(old, new, 1) if old else TEXT + new
    for pair in ((TEXT, text), (text, TEXT)):
        changes = differences(loads(pair[0]), loads(pair[1]))
        assert changes
        assert "hunter2" not in repr(changes)
        assert "<hidden>" in repr(changes)


def _read_at_start() -> Iterator[str]:
    """Attributes of the settings that the daemon's composition reads once, as `Clustermgtd.Hooks.SpoolDir`."""
    tree = ast.parse(Path(clustermgtd.daemon.__file__).read_text())
    roots = {"_serve": {"own": "clustermgtd", "settings": ""}, "run": {"settings": ""}}
    roots |= {"_background_reads": {"own": "clustermgtd"}, "_hook_settings": {"hooks": "clustermgtd.hooks"}}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.name in roots:
            for node in ast.walk(function):
                chain = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
                first, _, rest = chain.partition(".")
                if first in roots[function.name] and rest.isascii() and rest.replace(".", "").isidentifier():
                    yield ".".join(part for part in (roots[function.name][first], rest) if part)


_DERIVED = {"cluster_name": "clustermgtd.cluster_name", "clustermgtd.table_name": "clustermgtd.table"}
_TAKEN_OVER = {"clustermgtd", "clustermgtd.governor", "clustermgtd.governor.limits"}
"""What a reload hands on to what was composed."""


def test_what_the_daemon_reads_once_is_what_a_reload_refuses() -> None:
    read = {_DERIVED.get(chain, chain) for chain in _read_at_start()} - _TAKEN_OVER
    assert {"clustermgtd.events.queue_url", "clustermgtd.hooks.spool_dir", "region"} <= read
    patterns = {_pattern(chain) for chain in read}
    once = {key for key in keys() if rule_of(key) in READ_ONCE}
    for pattern in patterns:
        below = {key for key in keys() if key == pattern or key.startswith(f"{pattern}.")}
        if any(other.startswith(f"{pattern}.") for other in patterns):
            continue  # a section on the way to a key
        assert below <= once, pattern
        assert below, pattern


def _pattern(chain: str) -> str:
    model: type[Section] = Settings
    aliases = []
    for name in chain.split("."):
        field = model.model_fields[name]
        aliases.append(field.alias or name)
        inner = without_none(field.annotation)
        if isinstance(inner, type) and issubclass(inner, Section):
            model = inner
    return ".".join(aliases)


def test_a_reload_is_refused_for_what_is_read_once_and_for_nothing_else() -> None:
    own = "Clustermgtd: {Log: {Level: debug}, PeriodSeconds: 5}\n"
    with pytest.raises(ConfigurationError, match=r"^Clustermgtd\.Log\.Level cannot change while the daemon runs"):
        refuse_restart_only(loads(TEXT), loads(TEXT + own))
    refuse_restart_only(loads(TEXT), loads(TEXT.replace("MaxCount: 10", "MaxCount: 12") + SECOND))
    assert rule_of("Clustermgtd.PeriodSeconds") is Rule.RELOAD
