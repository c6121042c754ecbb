"""botocore's reply parsers, where they are too slow or too forgiving for us."""

from __future__ import annotations

import json
from typing import Any
from xml.parsers.expat import ExpatError

from aiobotocore.parsers import AioEC2QueryParser, AioJSONParser, AioResponseParserFactory
from botocore.parsers import ResponseParserError

from clustermgtd.adapters.aws.describe_instances import KnownInstances, read_page


class ParserFactory(AioResponseParserFactory):  # type: ignore[misc]
    """Makes the parsers below for their protocols and botocore's for all others.

    A client asks for a parser with every call, so what is known from call to call is the factory's.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known = KnownInstances()

    def create_parser(self, protocol_name: str) -> Any:
        match protocol_name:
            case "ec2":
                return LeanEc2Parser(self._known, **self._defaults)
            case "json":
                return StrictJsonParser(**self._defaults)
            case _:
                return super().create_parser(protocol_name)


class LeanEc2Parser(AioEC2QueryParser):  # type: ignore[misc]
    """DescribeInstances replies hold `Instance` values and `NextToken`, and are read without blocking for long."""

    def __init__(self, known: KnownInstances, **defaults: Any) -> None:
        super().__init__(**defaults)
        self._known = known

    async def _do_parse(self, response: Any, shape: Any) -> Any:
        if shape is None or shape.name != "DescribeInstancesResult":
            return super()._do_parse(response, shape)
        try:
            page = await read_page(response["body"], self._known)
        except (ExpatError, ValueError, KeyError) as error:
            raise ResponseParserError(f"DescribeInstances reply cannot be read: {error}") from error
        return {
            "Instances": page.instances,
            "NextToken": page.next_token,
            "ResponseMetadata": {"RequestId": page.request_id},
        }


class StrictJsonParser(AioJSONParser):  # type: ignore[misc]
    """A successful reply that is not JSON is an error; botocore takes it for an empty one.

    The difference matters: an item that could not be read is not an item that does not exist.
    """

    def _handle_json_body(self, raw_body: bytes, shape: Any) -> Any:
        try:
            parsed = json.loads(raw_body)
        except ValueError as error:
            raise ResponseParserError(f"reply is not JSON: {error}") from error
        return self._parse_shape(shape, parsed)
