"""Valid files mean what they say; files that are one value away from valid never break the reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as run
from hypothesis import strategies as st

from clustermgtd.settings import Settings, SettingsError, json_schema, load, loads

EXAMPLES = sorted((Path(__file__).parents[3] / "docs" / "examples").glob("*.yaml"))
SUBNET = "subnet-0123456789abcdef0"

names = st.from_regex(r"[a-z][a-z0-9-]{0,24}", fullmatch=True)


@st.composite
def compute_resources(draw: st.DrawFn, name: str, capacity_type: str) -> dict[str, object]:
    most = draw(st.integers(1, 50))
    resource: dict[str, object] = {"Name": name, "MaxCount": most, "MinCount": draw(st.integers(0, most))}
    resource["InstanceType"] = draw(st.sampled_from(["c5.xlarge", "m6g.medium", "p4d.24xlarge", "hpc7a.96xlarge"]))
    if draw(st.booleans()):
        resource["SchedulableMemory"] = draw(st.integers(1, 4096))
    if capacity_type == "SPOT" and draw(st.booleans()):
        resource["SpotPrice"] = draw(st.floats(0, 100) | st.integers(0, 100))
    return resource


@st.composite
def clusters(draw: st.DrawFn) -> dict[str, Any]:
    queues = []
    for name in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
        capacity_type = draw(st.sampled_from(["ONDEMAND", "SPOT"]))
        resources = draw(st.lists(names, min_size=1, max_size=3, unique=True))
        queues.append(
            {
                "Name": name,
                "CapacityType": capacity_type,
                "Networking": {"SubnetIds": [SUBNET]},
                "ComputeResources": [draw(compute_resources(resource, capacity_type)) for resource in resources],
            }
        )
    return {
        "Image": {"Os": "rocky9"},
        "HeadNode": {"InstanceType": "c5.xlarge", "Networking": {"SubnetId": SUBNET}},
        "Scheduling": {"Scheduler": "slurm", "SlurmQueues": queues},
        "Clustermgtd": {"PeriodSeconds": draw(st.floats(0.1, 300)), "ClusterName": draw(names)},
    }


@run(deadline=None)
@given(clusters())
def test_a_valid_file_is_accepted_and_keeps_every_value(tree: dict[str, Any]) -> None:
    cluster = loads(yaml.safe_dump(tree))
    assert _written(cluster) == tree
    resources = [resource for queue in tree["Scheduling"]["SlurmQueues"] for resource in queue["ComputeResources"]]
    assert len(cluster.node_names) == sum(resource["MaxCount"] for resource in resources)
    assert len({nodes.key for nodes in cluster.nodes}) == len(resources)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_writing_an_example_out_and_reading_it_again_changes_nothing(path: Path) -> None:
    cluster = load(path)
    assert loads(yaml.safe_dump(_written(cluster))) == cluster


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_json_schema_accepts_the_examples_and_refuses_a_misspelling(path: Path) -> None:
    validators = pytest.importorskip("jsonschema")
    schema = json_schema()
    validators.Draft202012Validator.check_schema(schema)
    validator = validators.Draft202012Validator(schema)
    tree = yaml.safe_load(path.read_text())
    assert list(validator.iter_errors(tree)) == []
    tree["Scheduling"]["SlurmQueues"][0]["CapacityTyp"] = "SPOT"
    assert len(list(validator.iter_errors(tree))) == 1


PARALLELCLUSTER = yaml.safe_load(next(path for path in EXAMPLES if path.stem == "parallelcluster").read_text())
strange = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from([[], {}, [1], {"Name": 1}, "q1", "SPOT", "/", "c5.large", "arn:aws:x:y:z:secret"])
)


@run(deadline=None)
@given(st.data())
def test_an_example_with_one_strange_value_is_accepted_or_refused_with_problems(data: st.DataObject) -> None:
    places = list(_places(PARALLELCLUSTER))
    tree = _replaced(PARALLELCLUSTER, data.draw(st.sampled_from(places)), data.draw(strange))
    try:
        loads(yaml.safe_dump(tree))
    except SettingsError as refusal:
        assert refusal.problems


def _written(cluster: Settings) -> dict[str, Any]:
    return cluster.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _places(tree: Any, here: tuple[str | int, ...] = ()) -> Any:
    if here:
        yield here
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from _places(value, (*here, key))


def _replaced(tree: Any, place: tuple[str | int, ...], value: object) -> Any:
    if not place:
        return value
    head, rest = place[0], place[1:]
    if isinstance(tree, dict):
        return {key: _replaced(item, rest, value) if key == head else item for key, item in tree.items()}
    return [_replaced(item, rest, value) if index == head else item for index, item in enumerate(tree)]
