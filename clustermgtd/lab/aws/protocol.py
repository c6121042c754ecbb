"""EC2's query protocol, driven by botocore's service model: form parameters in, XML out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

import botocore.session
from botocore.model import ListShape, OperationModel, ServiceModel, Shape, StructureShape

from clustermgtd.lab.ec2.records import Ec2Error

API_VERSION = "2016-11-15"
NAMESPACE = f"http://ec2.amazonaws.com/doc/{API_VERSION}/"
_PROTOCOL_KEYS = frozenset({"Action", "Version"})

Params = Mapping[str, Any]
"""A call's parameters under the names that boto3 uses; lists and structures nested."""


class Ec2Protocol:
    """Parses requests and writes replies of every EC2 action that botocore knows."""

    def __init__(self) -> None:
        self._service: ServiceModel = botocore.session.get_session().get_service_model("ec2")
        self._operations: dict[str, OperationModel] = {}

    def knows(self, action: str) -> bool:
        return action in self._service.operation_names

    def parse(self, action: str, form: Mapping[str, str]) -> Params:
        """The parameters of a call.

        Raises:
            Ec2Error: InvalidAction, UnknownParameter or InvalidParameterValue.
        """
        shape = self._operation(action).input_shape
        tree: dict[str, Any] = {}
        for key, value in form.items():
            if key not in _PROTOCOL_KEYS:
                _plant(tree, key, value)
        return {} if shape is None else _parse_structure(shape, tree, "")

    def write(self, action: str, reply: Params, request_id: str) -> str:
        """The XML of a reply that is given under boto3's names."""
        shape = self._operation(action).output_shape
        parts: list[str] = []
        if shape is not None:
            _write_members(shape, reply, parts)
        elif not reply:
            parts.append("<return>true</return>")
        return envelope(action, "".join(parts), request_id)

    def _operation(self, action: str) -> OperationModel:
        if action not in self._operations:
            if not self.knows(action):
                raise invalid_action(action)
            self._operations[action] = self._service.operation_model(action)
        return self._operations[action]


def required(p: Params, name: str) -> Any:
    """A parameter that must be there. Raises: Ec2Error MissingParameter."""
    if name not in p:
        raise Ec2Error("MissingParameter", f"The request must contain the parameter {name}")
    return p[name]


def invalid_action(action: str) -> Ec2Error:
    """What EC2 says to an action that it does not have."""
    return Ec2Error("InvalidAction", f"The action {action} is not valid for this web service.")


def envelope(action: str, body: str, request_id: str) -> str:
    """A whole reply around the XML of its members."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{action}Response xmlns="{NAMESPACE}">'
        f"<requestId>{request_id}</requestId>{body}</{action}Response>"
    )


def error_body(error: Ec2Error, request_id: str) -> str:
    """EC2's error document."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error>'
        f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
        f"</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    )


def iso(at: float) -> str:
    """Epoch seconds as EC2 writes times."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(at * 1000) % 1000:03d}Z"


def _plant(tree: dict[str, Any], key: str, value: str) -> None:
    """Put `A.1.B=value` into a tree of dictionaries."""
    node = tree
    *path, last = key.split(".")
    for part in path:
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise Ec2Error("InvalidParameterCombination", f"The parameter {key} contradicts another one")
        node = child
    node[last] = value


def _parse(shape: Shape, node: Any, path: str) -> Any:
    if isinstance(shape, StructureShape):
        return _parse_structure(shape, node, path)
    if isinstance(shape, ListShape):
        return _parse_list(shape, node, path)
    if not isinstance(node, str):
        raise _unknown(path)
    try:
        return _parse_scalar(shape.type_name, node)
    except ValueError as error:
        raise Ec2Error("InvalidParameterValue", f"Invalid value '{node}' for {path}. Invalid type.") from error


def _parse_scalar(type_name: str, text: str) -> Any:
    match type_name:
        case "boolean":
            if text.lower() not in ("true", "false"):
                raise ValueError(text)
            return text.lower() == "true"
        case "integer" | "long":
            return int(text)
        case "float" | "double":
            return float(text)
        case "timestamp":
            return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
        case _:
            return text


def _parse_structure(shape: StructureShape, node: Any, path: str) -> dict[str, Any]:
    if not isinstance(node, dict):
        raise _unknown(path)
    names = {_wire_name(name, member): (name, member) for name, member in shape.members.items()}
    parsed: dict[str, Any] = {}
    for key, value in node.items():
        if key not in names:
            raise _unknown(f"{path}.{key}" if path else key)
        name, member = names[key]
        parsed[name] = _parse(member, value, f"{path}.{key}" if path else key)
    return parsed


def _parse_list(shape: ListShape, node: Any, path: str) -> list[Any]:
    if not isinstance(node, dict) or not all(key.isdecimal() for key in node):
        raise _unknown(path)
    return [_parse(shape.member, node[key], f"{path}.{key}") for key in sorted(node, key=int)]


def _wire_name(name: str, member: Shape) -> str:
    serialization: Mapping[str, str] = member.serialization
    if "queryName" in serialization:
        return serialization["queryName"]
    wire = serialization.get("name", name)
    return wire[0].upper() + wire[1:]


def _unknown(path: str) -> Ec2Error:
    return Ec2Error("UnknownParameter", f"The parameter {path} is not recognized")


def _write_members(shape: StructureShape, value: Params, parts: list[str]) -> None:
    for name, member in shape.members.items():
        found = value.get(name)
        if found is not None:
            _write(member, member.serialization.get("name", name), found, parts)
    unknown = value.keys() - shape.members.keys()
    assert not unknown, f"{shape.name} has no {sorted(unknown)}"


def _write(shape: Shape, tag: str, value: Any, parts: list[str]) -> None:
    if isinstance(shape, StructureShape):
        parts.append(f"<{tag}>")
        _write_members(shape, value, parts)
        parts.append(f"</{tag}>")
    elif isinstance(shape, ListShape):
        item = shape.member.serialization.get("name", "item")
        parts.append(f"<{tag}>")
        for element in value:
            _write(shape.member, item, element, parts)
        parts.append(f"</{tag}>")
    else:
        parts.append(f"<{tag}>{_text(shape.type_name, value)}</{tag}>")


def _text(type_name: str, value: Any) -> str:
    if type_name == "boolean":
        return "true" if value else "false"
    if type_name == "timestamp":
        return iso(value)
    return escape(str(value))
