"""The hooks' JSON is the standard library's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resume_suspend import quick_json

finite = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(values)
def test_what_is_written_is_what_json_writes(value: object) -> None:
    assert quick_json.dumps(value) == json.dumps(value, separators=(",", ":"))


@given(values, st.sampled_from([None, 2]), st.sampled_from(["", "\n", " \t\r\n"]))
def test_what_is_read_is_what_json_reads(value: object, indent: int | None, around: str) -> None:
    text = around + json.dumps(value, indent=indent, ensure_ascii=False) + around
    assert quick_json.loads(text.encode("utf-8", "surrogatepass") if text.isascii() else text.encode()) == value


@pytest.mark.parametrize(
    "text", [b"", b" ", b"{", b"[1", b"[1] 2", b"nul", b"'a'", b"\xff", b"NaN", b"-Infinity", b'{"a" 1}', b"1" * 5000]
)
def test_what_is_not_json_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):
        quick_json.loads(text)


def test_what_is_nested_too_deeply_is_told_apart() -> None:
    with pytest.raises(RecursionError):
        quick_json.loads(b"[" * 100_000)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_what_json_cannot_say_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError):
        quick_json.dumps(value)


def test_a_python_without_the_c_code_reads_and_writes_the_same() -> None:
    program = (
        "import sys; sys.modules['_json'] = None\n"
        "from resume_suspend import quick_json\n"
        'print(quick_json.dumps(quick_json.loads(b\' [1, {"a": "\\u00e4"}]\\n\')))'
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == '[1,{"a":"\\u00e4"}]\n'
