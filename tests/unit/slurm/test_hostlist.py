"""Hostlist expressions. What Slurm itself makes of them is in the contract suite."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustermgtd.model import hostlist

PREFIXES = st.sampled_from(["a", "q1-dy-c5-", "x9y", "login", "q-1-st-"])
NAMES = st.builds(
    lambda prefix, number, width: f"{prefix}{number:0{width}d}", PREFIXES, st.integers(0, 130), st.integers(1, 4)
) | st.sampled_from(["login", "head", "a", "n123456789012345678901234567890", "7"])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("head", ["head"]),
        ("n[1-3]", ["n1", "n2", "n3"]),
        ("n[1-3,05-07,9]", ["n1", "n2", "n3", "n05", "n06", "n07", "n9"]),
        ("n[08-11]", ["n08", "n09", "n10", "n11"]),
        ("n[98-102]", ["n98", "n99", "n100", "n101", "n102"]),
        ("n[9-011]", ["n9", "n10", "n11"]),
        ("a[1-2]-b[1-2]", ["a1-b1", "a1-b2", "a2-b1", "a2-b2"]),
        ("a[1-2][3-4]", ["a13", "a14", "a23", "a24"]),
        ("b,a[2,1],b,", ["b", "a2", "a1", "b"]),
    ],
)
def test_an_expression_stands_for_its_names_in_the_order_written(text: str, names: list[str]) -> None:
    assert hostlist.expand(text) == names


@pytest.mark.parametrize(
    "text", ["n[", "n]", "n[1-2", "n[[1]]", "n[]", "n[3-1]", "n[a-b]", "n[1,]", "n[1-2-3]", "n 1[2]"]
)
def test_what_is_no_expression_is_an_error_that_shows_it(text: str) -> None:
    with pytest.raises(ValueError, match="hostlist") as error:
        hostlist.expand(text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    "text", ["n[1-100001]", "n[0-999999999999999999]", "a[1-400]b[1-400]", "a[1-60000],b[1-60000]"]
)
def test_an_expression_of_too_many_names_is_an_error_before_it_costs_memory(text: str) -> None:
    with pytest.raises(ValueError, match="100000"):
        hostlist.expand(text)


def test_the_limit_may_be_lower() -> None:
    assert len(hostlist.expand("n[1-10]", limit=10)) == 10
    with pytest.raises(ValueError, match="more than 9"):
        hostlist.expand("n[1-10]", limit=9)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["n2", "n1", "n2", "n3"], "n[1-3]"),
        (["n1"], "n1"),
        (["n1", "n01"], "n01,n1"),
        (["n08", "n09", "n10", "n11"], "n[08-11]"),
        (["n1", "n2", "n01", "n02"], "n[01-02],n[1-2]"),
        (["q1-st-c5-1", "q1-dy-c5-10", "q1-dy-c5-9", "head"], "head,q1-dy-c5-[9-10],q1-st-c5-1"),
        (["n007", "n9"], "n007,n9"),
    ],
)
def test_names_fold_into_one_expression(names: list[str], text: str) -> None:
    assert hostlist.fold(names) == text


@pytest.mark.parametrize("name", ["", "a,b", "a[1]", "a b", "a\n"])
def test_what_is_no_node_name_is_not_folded(name: str) -> None:
    with pytest.raises(ValueError, match="not a node name"):
        hostlist.fold(["n1", name])


@given(st.lists(NAMES, max_size=60))
def test_folding_keeps_exactly_the_names(names: list[str]) -> None:
    expanded = hostlist.expand(hostlist.fold(names))
    assert set(expanded) == set(names)
    assert len(expanded) == len(set(names))


@given(st.lists(NAMES, max_size=60), st.randoms())
def test_folding_does_not_depend_on_the_order(names: list[str], random: object) -> None:
    shuffled = list(names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert hostlist.fold(shuffled) == hostlist.fold(names)


def test_ten_thousand_names_fold_into_a_few_characters() -> None:
    names = [f"q1-dy-c5-{number}" for number in range(1, 10_001)]
    assert hostlist.fold(names) == "q1-dy-c5-[1-10000]"
    assert hostlist.expand("q1-dy-c5-[1-10000]") == names
