"""`clustermgtctl nodes`, as typed: what is refused before anything is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from clustermgtd.cli.main import main

EXAMPLE = str(Path(__file__).parents[3] / "docs" / "examples" / "minimal.yaml")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--queue", "q9"], "has no queue q9: q1"),
        (["q1-dy-c5-99"], "has no node q1-dy-c5-99"),
        (["q1-dy-c5-[1"], "hostlist"),
    ],
)
def test_nodes_that_do_not_exist_are_refused(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nodes", "replace", *argv, "--config", EXAMPLE]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "one of the arguments HOSTLIST --queue --all is required"),
        (["--all", "--queue", "q1"], "not allowed with argument"),
        (["--all", "--at-once", "0"], "at least 1"),
        (["--all", "--launched-before", "soon"], "'soon' is not a time such as"),
    ],
)
def test_wrong_command_lines(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["nodes", "replace", *argv, "--config", EXAMPLE])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
