"""Slurm's hostlist expressions: `q1-dy-c5-[1-3,07]` and back.

`expand` keeps order and duplicates, as `scontrol show hostnames` does; `fold` sorts and removes duplicates.
Numbers are padded as written: `n1` and `n01` are different nodes.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

EXPANDED_MAX = 100_000
"""Slurm itself stops at 65,533 nodes."""
_DIGITS_MAX = 18


def expand(text: str, limit: int = EXPANDED_MAX) -> list[str]:
    """The names that a hostlist expression stands for, in the order written.

    Raises:
        ValueError: not a hostlist expression, or one of more than `limit` names; the message holds the text.
    """
    names: list[str] = []
    for term in _terms(text):
        room = limit - len(names)
        parts, size = _parts(term, text)
        if size > room:
            raise ValueError(f"hostlist stands for more than {limit} names: {_shown(text)}")
        names.extend(map("".join, product(*parts)))
    return names


def fold(names: Iterable[str]) -> str:
    """The shortest usual expression for a set of names: sorted, without duplicates, the last number in brackets.

    A name that holds a bracket, a comma or white space is not a node name and raises ValueError.
    """
    groups: dict[tuple[str, int], list[int]] = {}
    alone: list[str] = []
    for name in set(names):
        prefix = name.rstrip("0123456789")
        digits = name[len(prefix) :]
        if not name or any(character in _SPECIAL or character.isspace() for character in name):
            raise ValueError(f"not a node name: {_shown(name)}")
        if not digits or len(digits) > _DIGITS_MAX or not prefix or not digits.isascii():
            alone.append(name)
            continue
        width = len(digits) if digits[0] == "0" and len(digits) > 1 else 0
        groups.setdefault((prefix, width), []).append(int(digits))
    _let_padded_runs_grow(groups)
    folded = [(name, "") for name in alone]
    folded += [(prefix, _ranges(sorted(numbers), width)) for (prefix, width), numbers in groups.items()]
    return ",".join(prefix + ranges for prefix, ranges in sorted(folded))


_SPECIAL = frozenset("[],")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 200 else text[:200] + "...")


def _terms(text: str) -> list[str]:
    """The comma-separated terms outside brackets."""
    terms: list[str] = []
    depth = 0
    start = 0
    for position, character in enumerate(text):
        if character == "[":
            depth += 1
        elif character == "]":
            depth -= 1
        elif character == "," and depth == 0:
            terms.append(text[start:position])
            start = position + 1
        if depth not in (0, 1):
            raise ValueError(f"unbalanced brackets in hostlist: {_shown(text)}")
    if depth:
        raise ValueError(f"unbalanced brackets in hostlist: {_shown(text)}")
    terms.append(text[start:])
    stripped = [term.strip() for term in terms]
    return [term for term in stripped if term]


def _parts(term: str, text: str) -> tuple[list[list[str]], int]:
    """Alternatives in each place of a term, and how many names they make."""
    parts: list[list[str]] = []
    size = 1
    rest = term
    while rest:
        literal, bracket, rest = rest.partition("[")
        if any(character.isspace() for character in literal):
            raise ValueError(f"white space in hostlist: {_shown(text)}")
        if literal:
            parts.append([literal])
        if not bracket:
            break
        inside, _, rest = rest.partition("]")
        numbers = _numbers(inside, text)
        size *= len(numbers)
        if size > EXPANDED_MAX:
            raise ValueError(f"hostlist stands for more than {EXPANDED_MAX} names: {_shown(text)}")
        parts.append(numbers)
    return parts, size


def _numbers(inside: str, text: str) -> list[str]:
    """What one pair of brackets stands for: `1-3,07` is 1, 2, 3, 07."""
    numbers: list[str] = []
    for piece in inside.split(","):
        first, dash, last = piece.partition("-")
        last = last if dash else first
        if not (_is_number(first) and _is_number(last)):
            raise ValueError(f"{piece!r} is not a number or a range in hostlist: {_shown(text)}")
        low, high = int(first), int(last)
        if high < low:
            raise ValueError(f"range {piece!r} runs backwards in hostlist: {_shown(text)}")
        if high - low >= EXPANDED_MAX - len(numbers):
            raise ValueError(f"hostlist stands for more than {EXPANDED_MAX} names: {_shown(text)}")
        width = len(first)
        numbers.extend(f"{number:0{width}d}" for number in range(low, high + 1))
    return numbers


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX


def _let_padded_runs_grow(groups: dict[tuple[str, int], list[int]]) -> None:
    """Give unpadded numbers of the same width to a padded group: 09 and 10 are one run, as in `[09-10]`."""
    for prefix, width in sorted(key for key in groups if key[1]):
        plain = groups.get((prefix, 0))
        if plain is None:
            continue
        least = 10 ** (width - 1)
        same_width = [number for number in plain if least <= number < 10 * least]
        groups[prefix, width] += same_width
        left = [number for number in plain if not least <= number < 10 * least]
        if left:
            groups[prefix, 0] = left
        else:
            del groups[prefix, 0]


def _ranges(numbers: list[int], width: int) -> str:
    """`[1-3,7]` for sorted numbers, or the number alone."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    written = [f"{low:0{width}d}" if low == high else f"{low:0{width}d}-{high:0{width}d}" for low, high in runs]
    if len(numbers) == 1:
        return written[0]
    return f"[{','.join(written)}]"
