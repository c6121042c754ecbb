"""The reference page and the JSON Schema say what the models do."""

from __future__ import annotations

from pathlib import Path

from clustermgtd.settings import json_schema
from clustermgtd.settings.reference import reference
from clustermgtd.settings.section import Section
from clustermgtd.settings.suggest import key_suggestion, section_at, sections

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cluster-yaml.md"


def test_the_reference_page_is_current() -> None:
    assert PAGE.read_text() == reference(), "run: python -m clustermgtd.settings.reference > docs/reference/..."


def test_every_key_has_a_description_or_is_a_section_that_has_one() -> None:
    undescribed = [
        f"{path}.{field.alias}"
        for path, section in sections()
        for field in section.model_fields.values()
        if not field.description and section_at((*_location(path), str(field.alias))) is None
    ]
    assert undescribed == []
    assert [path for path, section in sections() if section.__doc__ in (None, Section.__doc__)] == []


def _location(path: str) -> tuple[str | int, ...]:
    parts: list[str | int] = []
    for part in path.split("."):
        parts.append(part.removesuffix("[]"))
        if part.endswith("[]"):
            parts.append(0)
    return tuple(part for part in parts if part != "")


def test_the_schema_refuses_unknown_keys_in_every_section_of_ours() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    objects = [schema, *(entry for entry in schema["$defs"].values() if entry.get("type") == "object")]
    assert len(objects) > 60
    assert all(entry["additionalProperties"] is False for entry in objects)
    queue = schema["$defs"]["SlurmQueue"]["properties"]
    assert queue["CapacityType"]["enum"] == ["ONDEMAND", "SPOT", "CAPACITY_BLOCK"]
    assert schema["$defs"]["ComputeResource"]["properties"]["MaxCount"]["minimum"] == 1


def test_suggestions_know_neighbours_homes_and_short_lists() -> None:
    assert key_suggestion(("Scheduling", "SlurmQueues", 3, "CapacityTyp")) == "did you mean CapacityType?"
    assert key_suggestion(("SlurmQueues",)) == "SlurmQueues belongs under Scheduling"
    assert key_suggestion(("Clustermgtd", "Metrics", "Zzz")) == "known keys: Enabled, Address, Port"
    assert key_suggestion(("Clustermgtd", "Queues", "q1", "ResumeTimeout")) == "did you mean ResumeTimeoutSeconds?"
