"""cluster.yaml on its way to head and login nodes: a parameter of SSM with the file, and with what was made.

User data could hold it too, but a change of user data stops and starts the head node.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping

import yaml

from clustermgtd.settings.cloudformation.parts import Part, Resource, Value, sub
from clustermgtd.settings.cluster import Settings
from clustermgtd.settings.document import Location
from clustermgtd.settings.problem import Problem, SettingsError

PARAMETER_MAX = 8192
"""Characters of an advanced parameter."""
_VALUES_MARGIN = 1024
"""For values that are longer than their references: ARNs, addresses."""


def parameter_name(settings: Settings) -> str:
    return f"/clustermgtd/{settings.cluster_name}/configuration"


def parameter_arn(settings: Settings) -> str:
    """For `Fn::Sub`."""
    return f"arn:${{AWS::Partition}}:ssm:${{AWS::Region}}:${{AWS::AccountId}}:parameter{parameter_name(settings)}"


def configuration(settings: Settings, text: str, whole: Part) -> Part:
    """`text` is cluster.yaml as it was written.

    Raises:
        SettingsError: it is too long, even compressed.
    """
    # what is taken out comes last: another part may have filled in something below it
    places = sorted(whole.made.items(), key=lambda item: (item[1] is None, str(item)))
    made: list[Value] = [[list(place), value] for place, value in places]
    made.append([["Region"], {"Ref": "AWS::Region"}])
    packed = base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
    value: Value = {"cluster_yaml": packed, "made": made}
    length = len(json.dumps(value))
    if length > PARAMETER_MAX - _VALUES_MARGIN:
        message = f"has {length} characters, compressed and with what is made; a parameter of SSM holds {PARAMETER_MAX}"
        raise SettingsError([Problem("", message, suggestion="take comments and long scripts' arguments out of it")])
    resource: Resource = {
        "Type": "AWS::SSM::Parameter",
        # the head node waits for the parameter: its name has to be known by then, or resolvers keep that it is not
        **({"DependsOn": ["HeadName"]} if "HeadName" in whole.resources else {}),
        "Properties": {
            "Name": parameter_name(settings),
            "Type": "String",
            "Tier": "Intelligent-Tiering",
            "Description": f"cluster.yaml of {settings.cluster_name}; read with clustermgtctl fetch-config",
            "Value": {"Fn::Join": ["", _joined(value)]},
        },
    }
    return Part({"Configuration": resource}, outputs={"ConfigurationArn": sub(parameter_arn(settings))})


def unpacked(parameter: str) -> str:
    """The parameter's value as the machines' cluster.yaml.

    Raises:
        ValueError: it is not what `configuration` makes.
    """
    try:
        value = json.loads(parameter)
        text = gzip.decompress(base64.b64decode(value["cluster_yaml"])).decode()
        data = yaml.safe_load(text)
        for place, made in value["made"]:
            _put(data, tuple(place), made)
        return yaml.safe_dump(data, sort_keys=False, width=120)
    except (KeyError, TypeError, OSError, EOFError, yaml.YAMLError) as error:
        raise ValueError(f"is not what `render cloudformation` makes: {error!r}") from error


def _put(data: object, place: Location, value: Value) -> None:
    """Set a value at a place; mappings on the way are made, and one that is there is filled up."""
    *way, last = place
    here = data
    for key in way:
        if isinstance(here, dict) and here.get(key) is None:
            here[key] = {}
        here = here[key]  # type: ignore[index]
    if isinstance(here, dict) and isinstance(value, dict) and isinstance(here.get(last), dict):
        here[last] = {**here[last], **value}
    else:
        here[last] = value  # type: ignore[index]


def _joined(value: Value) -> list[Value]:
    """JSON text in pieces, between which CloudFormation puts what it knows."""
    if isinstance(value, Mapping):
        if _is_reference(value):
            return ['"', value, '"']
        pieces: list[Value] = ["{"]
        for number, (key, item) in enumerate(value.items()):
            pieces += [", " if number else "", json.dumps(key), ": ", *_joined(item)]
        return _merged([*pieces, "}"])
    if isinstance(value, list | tuple):
        pieces = ["["]
        for number, item in enumerate(value):
            pieces += [", " if number else "", *_joined(item)]
        return _merged([*pieces, "]"])
    return [json.dumps(value)]


def _is_reference(value: Mapping[str, Value]) -> bool:
    return len(value) == 1 and all(key == "Ref" or key.startswith("Fn::") for key in value)


def _merged(pieces: list[Value]) -> list[Value]:
    merged: list[Value] = []
    for piece in pieces:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged
