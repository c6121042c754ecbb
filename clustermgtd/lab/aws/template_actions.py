"""Launch templates."""

from __future__ import annotations

from clustermgtd.lab.aws.instance_actions import filters_of
from clustermgtd.lab.aws.launch_data import launch_data, tags_of
from clustermgtd.lab.aws.protocol import Params, required
from clustermgtd.lab.ec2.instances import accepts
from clustermgtd.lab.ec2.model import Ec2Model
from clustermgtd.lab.ec2.records import Ec2Error, LaunchTemplate, TemplateRef, TemplateVersion


def _ref(p: Params) -> TemplateRef:
    return TemplateRef(id=p.get("LaunchTemplateId", ""), name=p.get("LaunchTemplateName", ""))


def create_launch_template(model: Ec2Model, p: Params, now: float) -> Params:
    now = model.enter("CreateLaunchTemplate", now)
    raw = p.get("LaunchTemplateData", {})
    tags = tags_of(p.get("TagSpecifications", ()), "launch-template")
    template = model.templates.create(
        p.get("LaunchTemplateName", ""),
        launch_data(raw),
        now,
        raw=raw,
        tags=tags,
        note=p.get("VersionDescription", ""),
    )
    return {"LaunchTemplate": _template(model, template)}


def create_launch_template_version(model: Ec2Model, p: Params, now: float) -> Params:
    now = model.enter("CreateLaunchTemplateVersion", now)
    raw = p.get("LaunchTemplateData", {})
    if "SourceVersion" in p:
        template = model.templates.get(_ref(p))
        raw = {**model.templates.version(template, p["SourceVersion"]).raw, **raw}
    template, version = model.templates.add_version(
        _ref(p), launch_data(raw), now, raw=raw, note=p.get("VersionDescription", "")
    )
    return {"LaunchTemplateVersion": _version(model, template, version)}


def modify_launch_template(model: Ec2Model, p: Params, now: float) -> Params:
    model.enter("ModifyLaunchTemplate", now)
    return {"LaunchTemplate": _template(model, model.templates.set_default(_ref(p), p.get("DefaultVersion", "")))}


def delete_launch_template(model: Ec2Model, p: Params, now: float) -> Params:
    model.enter("DeleteLaunchTemplate", now)
    return {"LaunchTemplate": _template(model, model.templates.delete(_ref(p)))}


def delete_launch_template_versions(model: Ec2Model, p: Params, now: float) -> Params:
    model.enter("DeleteLaunchTemplateVersions", now)
    gone, kept = [], []
    for number in p.get("Versions", ()):
        template = model.templates.get(_ref(p))
        item = {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name, "VersionNumber": number}
        try:
            model.templates.delete_version(template, number)
            gone.append(item)
        except Ec2Error as error:
            code = "launchTemplateVersionDoesNotExist" if error.code.endswith("NotFound") else "unexpectedError"
            kept.append({**item, "ResponseError": {"Code": code, "Message": error.message}})
    return {"SuccessfullyDeletedLaunchTemplateVersions": gone, "UnsuccessfullyDeletedLaunchTemplateVersions": kept}


def describe_launch_templates(model: Ec2Model, p: Params, now: float) -> Params:
    model.enter("DescribeLaunchTemplates", now)
    refs = [TemplateRef(id=id) for id in p.get("LaunchTemplateIds", ())]
    refs += [TemplateRef(name=name) for name in p.get("LaunchTemplateNames", ())]
    found = [model.templates.get(ref) for ref in refs] if refs else list(model.templates.all())
    filters = filters_of(p)
    return {"LaunchTemplates": [_template(model, t) for t in found if _passes(t, filters)]}


def describe_launch_template_versions(model: Ec2Model, p: Params, now: float) -> Params:
    model.enter("DescribeLaunchTemplateVersions", now)
    ref, wanted = _ref(p), list(p.get("Versions", ()))
    templates = [model.templates.get(ref)] if ref.id or ref.name else list(model.templates.all())
    found = []
    for template in templates:
        if wanted:
            versions = [model.templates.version(template, v) for v in wanted]
        else:
            versions = [template.versions[n] for n in sorted(template.versions, reverse=True)]
        found += [_version(model, template, v) for v in versions]
    return {"LaunchTemplateVersions": found}


def get_launch_template_data(model: Ec2Model, p: Params, now: float) -> Params:
    """GetLaunchTemplateData: enough of an instance to launch another one."""
    model.enter("GetLaunchTemplateData", now)
    record = model.instance(required(p, "InstanceId"))
    data = {"ImageId": record.data.image_id, "InstanceType": record.instance_type}
    return {"LaunchTemplateData": data}


def _passes(template: LaunchTemplate, filters: dict[str, tuple[str, ...]]) -> bool:
    for name, values in filters.items():
        if name == "launch-template-name":
            fact = template.name
        elif name.startswith("tag:"):
            fact = template.tags.get(name[4:], "")
            if name[4:] not in template.tags:
                return False
        elif name == "tag-key":
            if not any(accepts(values, key) for key in template.tags):
                return False
            continue
        else:
            raise Ec2Error("InvalidParameterValue", f"The filter '{name}' is invalid")
        if not accepts(values, fact):
            return False
    return True


def _template(model: Ec2Model, t: LaunchTemplate) -> Params:
    return {
        "LaunchTemplateId": t.id,
        "LaunchTemplateName": t.name,
        "CreateTime": t.created_at,
        "CreatedBy": f"arn:aws:iam::{model.scenario.account}:root",
        "DefaultVersionNumber": t.default_version,
        "LatestVersionNumber": t.latest_version,
        "Tags": [{"Key": k, "Value": v} for k, v in t.tags.items()],
    }


def _version(model: Ec2Model, t: LaunchTemplate, v: TemplateVersion) -> Params:
    return {
        "LaunchTemplateId": t.id,
        "LaunchTemplateName": t.name,
        "VersionNumber": v.number,
        "VersionDescription": v.description or None,
        "CreateTime": v.created_at,
        "CreatedBy": f"arn:aws:iam::{model.scenario.account}:root",
        "DefaultVersion": v.number == t.default_version,
        "LaunchTemplateData": v.raw,
    }
