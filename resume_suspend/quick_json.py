"""JSON for programs that have to start at once: the standard library's C code without what `json` imports around it.

`import json` brings `re` and `enum` along, which takes longer than to read and write a thousand jobs. A Python that has
no such C code, or calls it otherwise, uses `json`.
"""

from __future__ import annotations


def _refuse(name: object) -> object:
    raise ValueError(f"{name!r} is not JSON")


class _Options:
    """What the scanner asks its context for."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    array_hook = None  # from Python 3.15 on
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_refuse)


try:
    from _json import encode_basestring_ascii, make_encoder, make_scanner

    _scan = make_scanner(_Options)  # type: ignore[arg-type]
    _encode = make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", False, False, False)
except (ImportError, AttributeError, TypeError):
    import json

    def loads(text: bytes) -> object:
        return json.loads(text, parse_constant=_refuse)

    def dumps(value: object) -> str:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
else:

    def loads(text: bytes) -> object:
        """What a JSON text in UTF-8 says.

        Raises:
            ValueError: it is not JSON. (NaN and the infinities are not.)
            RecursionError: it is nested too deeply.
        """
        content = text.decode().strip(" \t\n\r")
        try:
            value, end = _scan(content, 0)
        except StopIteration:
            raise ValueError("not JSON") from None
        if end != len(content):
            raise ValueError(f"more follows after {end} characters of JSON")
        return value

    def dumps(value: object) -> str:
        """JSON in ASCII, without spaces.

        Raises:
            ValueError: something in it cannot be said in JSON.
        """
        return "".join(_encode(value, 0))
