"""How the ends of tests become the rows of the matrix."""

from __future__ import annotations

from tests.architecture.source_tree import ROOT
from tests.slurm_releases.checks import CHECKS, Outcome, Row, judge

_RESERVATIONS = "tests/contract/slurm/test_reservations.py"


def row(outcomes: list[Outcome], check: str = "reservations") -> Row:
    return next(one for one in judge("24.11.5", outcomes) if one.check == check)


def test_a_check_passes_when_all_of_its_tests_did() -> None:
    outcomes = [Outcome(f"{_RESERVATIONS}::test_a[slurmctld]", True), Outcome(f"{_RESERVATIONS}::test_b", True, "told")]
    assert row(outcomes) == Row("24.11.5", "reservations", True, "2 of 2 tests; told")


def test_one_failure_fails_it_and_the_note_says_which() -> None:
    outcomes = [
        Outcome(f"{_RESERVATIONS}::test_a", True, "x"),
        Outcome(f"{_RESERVATIONS}::test_b", False, "test_b: no"),
    ]
    assert row(outcomes) == Row("24.11.5", "reservations", False, "1 of 2 tests; test_b: no")


def test_tests_that_were_skipped_do_not_speak_for_a_check_of_which_others_ran() -> None:
    outcomes = [Outcome(f"{_RESERVATIONS}::test_a", True), Outcome(f"{_RESERVATIONS}::test_b", None, "no pyslurm")]
    assert row(outcomes) == Row("24.11.5", "reservations", True, "1 of 1 tests")


def test_a_check_that_was_skipped_is_neither_and_one_that_never_ran_has_failed() -> None:
    assert row([Outcome(f"{_RESERVATIONS}::test_a", None, "no InstanceId here")]).passed is None
    assert row([]) == Row("24.11.5", "reservations", False, "no test ran")


def test_a_test_of_a_similar_name_is_another_one() -> None:
    prefix = CHECKS["requeue holds are lifted"][0]
    assert row([Outcome(f"{prefix}_too", True)], "requeue holds are lifted").note == "no test ran"


def test_every_check_names_tests_that_exist() -> None:
    for prefixes in CHECKS.values():
        for prefix in prefixes:
            file, _, name = prefix.partition("::")
            assert f"def {name}" in (ROOT / file).read_text(), prefix
