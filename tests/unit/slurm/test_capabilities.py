"""What is concluded from Slurm's answers; real ones are in tests/contract/slurm/test_release_features.py."""

from __future__ import annotations

import asyncio

import pytest

from clustermgtd.adapters.slurm.capabilities import NO_NODE, Capabilities, probe
from clustermgtd.adapters.slurm.program import Answer
from clustermgtd.errors import IncompleteObservationError

CONFIG = "AccountingStorageType   = {accounting}\nSLURM_VERSION           = {release}\n"
UNKNOWN_NODE = Answer(1, b"", "slurm_update error: Invalid node name specified")
UNKNOWN_WORD = Answer(1, b"", "Update of this parameter is not supported: InstanceId=i-0\nRequest aborted")


def found(update: Answer, accounting: str = "accounting_storage/slurmdbd", config_code: int = 0) -> Capabilities:
    async def ask(program: str, *argv: str) -> Answer:
        assert program == "scontrol"
        match argv:
            case ("show", "config"):
                text = CONFIG.format(accounting=accounting, release="24.11.5")
                return Answer(config_code, text.encode(), "")
            case ("-o", "-a", "show", "partitions"):
                return Answer(0, b"PartitionName=q1 State=UP SuspendTime=GLOBAL\n", "")
        assert argv == ("update", f"NodeName={NO_NODE}", "InstanceId=i-0")
        return update

    return asyncio.run(probe(ask))


def test_a_word_that_scontrol_knows_fails_for_the_node_only() -> None:
    assert found(UNKNOWN_NODE) == Capabilities("24.11.5", True, True, True)


def test_a_word_that_scontrol_does_not_know_is_refused() -> None:
    assert not found(UNKNOWN_WORD).has_instance_ids


@pytest.mark.parametrize("storage", ["(null)", "accounting_storage/none"])
def test_both_ways_to_say_that_there_is_no_accounting(storage: str) -> None:
    assert not found(UNKNOWN_NODE, storage).has_accounting


def test_an_answer_that_was_not_expected_is_none() -> None:
    with pytest.raises(IncompleteObservationError, match="Access/permission denied"):
        found(Answer(1, b"", "slurm_update error: Access/permission denied"))
    with pytest.raises(IncompleteObservationError, match="show config ended with 1"):
        found(UNKNOWN_NODE, config_code=1)
