"""The model must behave the same in every run: it may not reach for the clock, the network or chance."""

from __future__ import annotations

import ast
from pathlib import Path

import clustermgtd.lab.ec2

FORBIDDEN = {"asyncio", "time", "uuid", "os", "socket", "subprocess", "logging", "threading", "aiohttp", "botocore"}


def test_the_model_imports_nothing_that_could_differ_between_runs() -> None:
    for module in Path(clustermgtd.lab.ec2.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not {n.split(".")[0] for n in names} & FORBIDDEN, module.name
