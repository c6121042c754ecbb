"""The descriptions of images: what Packer and EC2 Image Builder do is the same, and all that they name is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, get_args

import hcl2
import pytest
import yaml

from clustermgtd.settings.site import ClusterImage
from tests.architecture.source_tree import ROOT

IMAGE = ROOT / "cookbooks" / "image"
NOT_SUPPORTED = {"alinux2", "ubuntu2004", "rhel8", "rocky8"}
"""Values of Image.Os for which the cookbooks have no names of packages."""
SCRIPTS = [*sorted(IMAGE.glob("*-image")), ROOT / "tools" / "image", ROOT / "tools" / "image-bundle"]


def template() -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for path in sorted(IMAGE.glob("*.pkr.hcl")):
        for key, blocks in hcl2.loads(path.read_text()).items():
            merged.setdefault(key, []).extend(blocks if isinstance(blocks, list) else [])
    return merged


def unquoted(value: str) -> str:
    return value.strip('"')


def component() -> dict[str, Any]:
    return dict(yaml.safe_load((IMAGE / "component.yml").read_text()))


def commands_of_component(phase: str) -> list[str]:
    steps = next(one["steps"] for one in component()["phases"] if one["name"] == phase)
    return [line for step in steps if step["action"] == "ExecuteBash" for line in step["inputs"]["commands"]]


def scripts_in(text: str) -> list[str]:
    return re.findall(r"image/([a-z]+-image)", text)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_posix_shell(script: Path) -> None:
    assert script.read_text().startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", str(script)], check=True)


def test_every_variable_of_the_template_is_declared_and_used() -> None:
    declared = {unquoted(name) for block in template()["variable"] for name in block if not name.startswith("__")}
    text = "".join(path.read_text() for path in IMAGE.glob("*.pkr.hcl"))
    assert declared == set(re.findall(r"\bvar\.([a-z_]+)", text))


def test_every_supported_operating_system_has_a_base_image() -> None:
    bases = {unquoted(name) for name in template()["locals"][0]["base_images"] if not name.startswith("__")}
    known = set(get_args(ClusterImage.model_fields["os"].annotation))
    assert known >= NOT_SUPPORTED
    assert bases == (known - NOT_SUPPORTED) | {"debian12", "debian13"}


def test_packer_and_image_builder_run_the_same_scripts() -> None:
    packer = scripts_in((IMAGE / "image.pkr.hcl").read_text())
    assert packer == ["make-image", "clean-image", "check-image"]
    assert scripts_in("\n".join(commands_of_component("build"))) == ["make-image", "clean-image"]
    assert scripts_in("\n".join(commands_of_component("validate"))) == ["check-image"]
    assert commands_of_component("test") == commands_of_component("validate")


def test_the_component_uses_what_it_declares() -> None:
    document = component()
    declared = {name for one in document["parameters"] for name in one}
    assert document["schemaVersion"] == 1.0
    assert declared == set(re.findall(r"{{ (\w+) }}", (IMAGE / "component.yml").read_text()))
