"""Rules of CONTRIBUTING.md that no tool checks."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.architecture.source_tree import ROOT, name_of, python_files, syntax, text_files

LINES_MAX = 400
PARAMETERS_MAX = 6
EVENT_NAME = re.compile(r"[a-z][a-z0-9_]*")
LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
MACHINE_PATHS = re.compile(r"(?<![\w.~}$*>-])/(?:work|root|(?:home|Users)/(?!me/)\w+)/")
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|HACK)\b")


def modules() -> list[Path]:
    return python_files()


def test_every_module_says_what_it_is() -> None:
    silent = [name_of(path) for path in python_files() if not ast.get_docstring(syntax(path))]
    assert silent == []


def test_a_docstring_begins_with_one_sentence() -> None:
    for path in modules():
        first = (ast.get_docstring(syntax(path)) or "").split("\n\n")[0]
        assert first[-1:] in {".", ":", "?"}, f"{name_of(path)}: {first!r}"


def test_modules_stay_short() -> None:
    long = {name_of(path): len(path.read_text().splitlines()) for path in python_files("clustermgtd", "resume_suspend")}
    assert {name: lines for name, lines in long.items() if lines >= LINES_MAX} == {}


def test_functions_take_few_parameters() -> None:
    crowded = []
    for path in modules():
        for node in ast.walk(syntax(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
                count = sum(argument.arg not in {"self", "cls"} for argument in arguments)
                if count > PARAMETERS_MAX:
                    crowded.append(f"{name_of(path)}:{node.lineno} {node.name} takes {count}")
    assert crowded == []


def test_events_have_fixed_lower_case_names() -> None:
    wrong = []
    for path in python_files("clustermgtd"):
        for node in ast.walk(syntax(path)):
            if isinstance(node, ast.Call) and _is_log_call(node):
                name = node.args[1 if node.func.attr == "log" else 0] if node.args else None  # type: ignore[attr-defined]
                is_fixed = isinstance(name, ast.Constant | ast.IfExp)
                constants = [name] if isinstance(name, ast.Constant) else [name.body, name.orelse] if is_fixed else []  # type: ignore[union-attr]
                if not constants or not all(_is_event_name(constant) for constant in constants):
                    wrong.append(f"{name_of(path)}:{node.lineno}")
    assert wrong == []


def _is_log_call(node: ast.Call) -> bool:
    match node.func:
        case ast.Attribute(value=ast.Name(id="log"), attr=method):
            return method in LOG_METHODS
    return False


def _is_event_name(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=str() as text):
            return EVENT_NAME.fullmatch(text) is not None
    return False


def test_nothing_is_left_unfinished() -> None:
    found = [
        f"{name_of(path)}:{number}"
        for path in text_files()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert found == []


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    found = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in text_files()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if MACHINE_PATHS.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "is_found"),
    [
        ("cd /work/main", True),
        ("sys.path.append('/home/somebody/src')", True),
        ("open(/root/x)", True),
        ("url = 'https://host.example/work/x'", False),
        ("${HOME}/work/x", False),
        ("build/root/x", False),
    ],
)
def test_the_search_for_machine_paths_finds_them(line: str, is_found: bool) -> None:
    assert (MACHINE_PATHS.search(line) is not None) == is_found


def test_the_tree_is_where_this_test_thinks() -> None:
    names = {name_of(path) for path in text_files()}
    assert {"pyproject.toml", "clustermgtd/errors.py", "systemd/clustermgtd.service"} <= names
    assert not any(name.startswith(".venv") for name in names), ROOT
