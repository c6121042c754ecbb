"""A JSON Schema of cluster.yaml for editors."""

from __future__ import annotations

from typing import Any

from clustermgtd.settings.cluster import Settings


def json_schema() -> dict[str, Any]:
    """Draft 2020-12; unknown keys are errors, descriptions carry units. Contradictions are `check-config`'s."""
    schema = Settings.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "clustermgtd cluster.yaml",
    }
