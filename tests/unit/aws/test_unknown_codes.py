"""Codes that the error table lacks: each counted, logged once."""

from __future__ import annotations

from structlog.testing import capture_logs

from clustermgtd.adapters.aws.unknown_codes import CODES_MAX, UnknownCodes


class Counted:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def test_each_is_counted_and_the_first_of_its_kind_logged() -> None:
    count = Counted()
    codes = UnknownCodes(count)
    with capture_logs() as lines:
        for code in ("NeverHeardOf", "NeverHeardOf", "NorThis"):
            codes.look_at(code, f"about {code}", "req-7")
    assert count.times == 3
    assert lines == [
        {
            "event": "error_code_unknown",
            "log_level": "warning",
            "code": code,
            "error": f"about {code}",
            "request_id": "req-7",
        }
        for code in ("NeverHeardOf", "NorThis")
    ]


def test_a_code_of_the_table_is_no_news() -> None:
    count = Counted()
    with capture_logs() as lines:
        UnknownCodes(count).look_at("InsufficientInstanceCapacity", "no", "req-7")
    assert (count.times, lines) == (0, [])


def test_codes_without_end_do_not_fill_the_log() -> None:
    count = Counted()
    codes = UnknownCodes(count)
    with capture_logs() as lines:
        for number in range(CODES_MAX + 10):
            codes.look_at(f"Made{number}Up", "", "")
    assert count.times == CODES_MAX + 10
    assert len(lines) == CODES_MAX
