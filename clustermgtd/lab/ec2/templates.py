"""Launch templates and their versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from clustermgtd.lab.ec2.records import Ec2Error, LaunchData, LaunchTemplate, TemplateRef, TemplateVersion


class LaunchTemplates:
    """The Region's launch templates, by id and by name."""

    def __init__(self, new_id: Callable[[str], str]) -> None:
        self._new_id = new_id
        self._by_id: dict[str, LaunchTemplate] = {}
        self._ids: dict[str, str] = {}

    def create(
        self, name: str, data: LaunchData, now: float, *, raw: Mapping[str, Any], tags: Mapping[str, str], note: str
    ) -> LaunchTemplate:
        """A template with version 1.

        Raises:
            Ec2Error: InvalidLaunchTemplateName.AlreadyExistsException.
        """
        if not name:
            raise Ec2Error("MissingParameter", "The request must contain the parameter LaunchTemplateName")
        if name in self._ids:
            raise Ec2Error("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
        template = LaunchTemplate(
            self._new_id("lt"), name, now, 1, {1: TemplateVersion(1, now, data, raw, note)}, dict(tags)
        )
        self._store(template)
        return template

    def add_version(
        self, ref: TemplateRef, data: LaunchData, now: float, *, raw: Mapping[str, Any], note: str
    ) -> tuple[LaunchTemplate, TemplateVersion]:
        template = self.get(ref)
        version = TemplateVersion(template.latest_version + 1, now, data, raw, note)
        template = replace(template, versions={**template.versions, version.number: version})
        self._store(template)
        return template, version

    def set_default(self, ref: TemplateRef, version: str) -> LaunchTemplate:
        template = self.get(ref)
        template = replace(template, default_version=self.version(template, version).number)
        self._store(template)
        return template

    def set_tags(self, id: str, tags: Mapping[str, str]) -> None:
        self._store(replace(self._by_id[id], tags=dict(tags)))

    def delete(self, ref: TemplateRef) -> LaunchTemplate:
        template = self.get(ref)
        del self._by_id[template.id], self._ids[template.name]
        return template

    def delete_version(self, template: LaunchTemplate, version: str) -> TemplateVersion:
        """Raises: Ec2Error when it is the default version or does not exist."""
        found = self.version(template, version)
        if found.number == template.default_version:
            raise Ec2Error("UnexpectedError", "The default version of a launch template cannot be deleted")
        self._store(replace(template, versions={n: v for n, v in template.versions.items() if n != found.number}))
        return found

    def get(self, ref: TemplateRef) -> LaunchTemplate:
        """Raises: Ec2Error InvalidLaunchTemplateId.* or InvalidLaunchTemplateName.*."""
        if ref.id:
            if not ref.id.startswith("lt-"):
                raise Ec2Error("InvalidLaunchTemplateId.Malformed", f"The launch template ID '{ref.id}' is malformed")
            if ref.id not in self._by_id:
                raise Ec2Error(
                    "InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID "
                    f"{ref.id}, does not exist.",
                )  # fmt: skip
            return self._by_id[ref.id]
        if not ref.name:
            raise Ec2Error("MissingParameter", "Either a launch template ID or a launch template name is needed")
        if ref.name not in self._ids:
            raise Ec2Error(
                "InvalidLaunchTemplateName.NotFoundException",
                f"The specified launch template, with template name {ref.name}, does not exist.",
            )
        return self._by_id[self._ids[ref.name]]

    def find(self, id: str) -> LaunchTemplate | None:
        return self._by_id.get(id)

    def version(self, template: LaunchTemplate, version: str) -> TemplateVersion:
        """`version` is a number, `$Latest`, `$Default` or empty (`$Default`).

        Raises:
            Ec2Error: InvalidLaunchTemplateId.VersionNotFound.
        """
        if version in ("", "$Default"):
            return template.versions[template.default_version]
        if version == "$Latest":
            return template.versions[template.latest_version]
        if version.isdecimal() and int(version) in template.versions:
            return template.versions[int(version)]
        raise Ec2Error(
            "InvalidLaunchTemplateId.VersionNotFound",
            f"Could not find the specified version {version} for the launch template with ID {template.id}.",
        )

    def all(self) -> tuple[LaunchTemplate, ...]:
        """Sorted by name."""
        return tuple(self._by_id[self._ids[name]] for name in sorted(self._ids))

    def _store(self, template: LaunchTemplate) -> None:
        self._by_id[template.id] = template
        self._ids[template.name] = template.id
