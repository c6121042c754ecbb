"""Pages that are made from the code are current, and the runbook knows what exists."""

from __future__ import annotations

import re

import pytest
import yaml
from prometheus_client import CollectorRegistry

from clustermgtd.decide import node_states
from clustermgtd.telemetry.metrics import Metrics
from clustermgtd.telemetry.reference import metrics_page
from tests.architecture.source_tree import ROOT

RUNBOOK = ROOT / "docs" / "operations" / "README.md"
ALERTS = ROOT / "docs" / "operations" / "alerts.yaml"
METRIC = re.compile(r"clustermgtd_[a-z_]+")
LABELLED = re.compile(r"(clustermgtd_[a-z_]+)\{([^}]*)\}")
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)(?:#[^)]*)?\)")


def alerts() -> list[dict[str, object]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    rules: list[dict[str, object]] = group["rules"]
    return rules


def exposed_names() -> set[str]:
    names = set()
    for declaration in Metrics(CollectorRegistry()).declarations:
        names.add(declaration.name)
        if declaration.kind == "histogram":
            names |= {f"{declaration.name}_{part}" for part in ("bucket", "sum", "count")}
    return names


def test_the_metrics_page_is_current() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    assert page == metrics_page(), "run `make docs`"


def test_the_page_of_node_states_is_current() -> None:
    written = (ROOT / "docs" / "reference" / "node-states.md").read_text()
    assert written == node_states.page(), "run `make docs`"


def test_every_metric_is_documented() -> None:
    page = metrics_page()
    for declaration in Metrics(CollectorRegistry()).declarations:
        assert f"## {declaration.name}\n\n{declaration.kind.capitalize()}. {declaration.help}\n" in page


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_asks_for_metrics_that_exist(rule: dict[str, object]) -> None:
    expression = str(rule["expr"])
    names = set(METRIC.findall(expression))
    assert names
    assert names <= exposed_names()
    labels = {d.name: {label.name: label for label in d.labels} for d in Metrics(CollectorRegistry()).declarations}
    for name, selector in LABELLED.findall(expression):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        for label, values in re.findall(r'(\w+)=~?"([^"]*)"', selector):
            known = labels[base][label].values
            assert not known or set(values.split("|")) <= set(known), f"{name}: {label}={values}"


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_has_its_page_in_the_runbook(rule: dict[str, object]) -> None:
    name = str(rule["alert"])
    assert f"\n## {name}\n" in RUNBOOK.read_text()
    annotations = rule["annotations"]
    assert isinstance(annotations, dict)
    assert re.fullmatch(r"[A-Z].*\.", str(annotations["summary"]))
    assert str(annotations["runbook"]).endswith(f"#{name.lower()}")


def test_the_runbook_has_no_page_without_an_alert() -> None:
    pages = set(re.findall(r"^## (Clustermgtd\w+)$", RUNBOOK.read_text(), re.MULTILINE))
    assert pages == {str(rule["alert"]) for rule in alerts()}


def test_what_the_runbook_names_exists() -> None:
    assert set(METRIC.findall(RUNBOOK.read_text())) <= exposed_names()


def test_the_tests_that_known_defects_name_exist() -> None:
    page = (ROOT / "docs" / "explanation" / "known-defects.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| Defect |")]
    assert [row for row in rows if "`tests/" not in row] == []
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).exists()
        or not re.search(rf"^ *(?:def|class) {name}\b", (ROOT / file).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)} -> {target}"
        for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for target in LINK.findall(page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []
