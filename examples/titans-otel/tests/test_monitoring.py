"""The dashboard and the alert rules name only what is measured: every metric, label and value in
them is one that `titans check --format prometheus` or the exporter gave in this very test."""

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import promql_parser as promql
import pytest
import yaml
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import titans
from titans import Expectations, Provider, Schema
from titans.cli.app import run
from titans.errors import StoreError, SuspiciousSnapshotError
from titans.store.local import LocalStore
from titans.store.memory import MemoryStore

HERE = Path(__file__).parents[1] / "monitoring"
DASHBOARD = json.loads((HERE / "dashboard.json").read_text(encoding="utf-8"))
ALERTS = yaml.safe_load((HERE / "alerts.yaml").read_text(encoding="utf-8"))
TESTS = yaml.safe_load((HERE / "alerts_test.yaml").read_text(encoding="utf-8"))

RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = {
    **{f"alert {rule['alert']}": rule["expr"] for rule in RULES},
    **{
        f"panel {panel['title']} {target['refId']}": target["expr"]
        for panel in PANELS
        for target in panel["targets"]
    },
}
CHECKED, EXPORTED = "titans-check", "titans-otel"
ACME = Provider(
    name="acme",
    schema=Schema({"Price": "Float64"}),
    key=("Type",),
    expectations=Expectations(min_living=1),
)

# --- what is measured -----------------------------------------------------------------------------


def snapshot(rows, price=0.5):
    return pl.DataFrame({"Type": [f"t{n}" for n in range(rows)], "Price": [price] * rows})


def checked(folder):
    """What a scrape of `titans check` gets, of an archive that was verified."""
    now = datetime.now(UTC)
    archive = titans.open(LocalStore(folder), provider=ACME)
    for slot in range(3):
        archive.ingest(snapshot(3), now - timedelta(minutes=10 * (2 - slot)))
    archive.verify(record=True)


def exported():
    """What a scrape of the exporter gets, after all that the rules are about has happened."""
    archive = titans.open(MemoryStore(), provider=ACME)
    begin = datetime.now(UTC) - timedelta(hours=3)
    for slot in range(16):
        archive.ingest(snapshot(4, slot), begin + timedelta(minutes=10 * slot))
    with pytest.raises(SuspiciousSnapshotError):
        archive.ingest(snapshot(1), datetime.now(UTC))
    archive.upload(snapshot(2), begin - timedelta(minutes=20))
    archive.upload(snapshot(1, 9.0), begin - timedelta(minutes=20))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            archive.store, "list", lambda *_, **__: (_ for _ in ()).throw(StoreError("no"))
        )
        with pytest.raises(StoreError):
            archive.compact()
    return generate_latest(REGISTRY).decode()


def measured(text):
    """Name of a series → label → the values it has."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return {name: labels for name, labels in found.items() if name.startswith("titans_")}


@pytest.fixture(scope="module")
def scraped(installed_reader, tmp_path_factory):
    """By what gives them, the series there are."""
    folder = tmp_path_factory.mktemp("monitoring")
    checked(folder)
    with pytest.MonkeyPatch.context() as patched:
        said = []
        patched.setattr("click.echo", lambda text, **_: said.append(text))
        with pytest.raises(SystemExit):
            run(["check", "--store", str(folder), "--format", "prometheus"])
    return {CHECKED: measured("".join(said)), EXPORTED: measured(exported())}


@pytest.fixture
def series(scraped):
    return scraped[CHECKED] | scraped[EXPORTED]


# --- what is asked --------------------------------------------------------------------------------


def parsed(expression):
    """As Prometheus reads it, with what Grafana puts into it."""
    expression = expression.replace("$__rate_interval", "5m")
    return promql.parse(re.sub(r"\$\w+", ".*", expression))


def parts(expression, kind):
    """All parts of a kind."""
    found = []

    def look(part):
        if isinstance(part, kind):
            found.append(part)

    promql.walk(parsed(expression), look)
    return found


def selected(expression):
    return parts(expression, promql.VectorSelector)


def unknown(expression, series):
    """What an expression names that nobody measures."""
    wrong = []
    for selector in selected(expression):
        labels = series.get(selector.name)
        if labels is None:
            wrong.append(selector.name)
            continue
        for matcher in selector.matchers.matchers:
            if matcher.name not in labels:
                wrong.append(f"{selector.name}: {matcher.name}")
            elif matcher.op == promql.MatchOp.Equal and matcher.value not in labels[matcher.name]:
                wrong.append(f"{selector.name}: {matcher}")

    known = {label for each in selected(expression) for label in series.get(each.name, ())}
    for aggregation in parts(expression, promql.AggregateExpr):
        grouped = aggregation.modifier.labels if aggregation.modifier else []
        wrong += [f"by {label}" for label in grouped if label not in known]
    return wrong


def test_both_give_what_the_readme_says(scraped):
    assert len(scraped[CHECKED]) == 10
    table = (HERE.parent / "README.md").read_text(encoding="utf-8").partition("| metric |")[2]
    documented = re.findall(r"^\| `(titans\.[\w.]+)` \|.*?\| `(titans_\w+)` \|$", table, re.M)
    assert len(documented) == 8
    bare = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in scraped[EXPORTED]}
    assert {prometheus for _, prometheus in documented} == bare


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_names_what_is_measured(name, series):
    assert selected(EXPRESSIONS[name]), "it looks at something"
    assert unknown(EXPRESSIONS[name], series) == []


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("titans_lat == 1", ["titans_lat"]),
        ("titans_late{region='x'} > 0", ["titans_late: region"]),
        (
            'titans_snapshots_total{status="rejected"}',
            ['titans_snapshots_total: status="rejected"'],
        ),
        ("sum by (bucket) (increase(titans_failures_total[1h]))", ["by bucket"]),
        ("rate(titans_duration_ms[5m])", ["titans_duration_ms"]),
    ],
)
def test_what_nobody_measures_would_be_noticed(expression, wrong, series):
    assert unknown(expression, series) == wrong


def test_everything_that_is_measured_is_shown(series):
    shown = {
        each.name for name, e in EXPRESSIONS.items() if "panel" in name for each in selected(e)
    }
    of_histogram = {"titans_duration_seconds_sum", "titans_duration_seconds_count"}
    asked = {each.name for expression in EXPRESSIONS.values() for each in selected(expression)}
    assert shown <= asked
    missing = set(series) - shown - of_histogram
    assert {name for name in missing if not name.endswith("_created")} == set()


# --- the rules ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_is_complete(rule):
    assert re.fullmatch(r"Titans[A-Z]\w+", rule["alert"])
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description"}
    assert re.fullmatch(r"\d+[mhd]", rule.get("for", "0m"))
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_what_a_rule_tells_has_the_labels_it_names(rule, series):
    told = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    grouped = parts(rule["expr"], promql.AggregateExpr)
    if grouped:
        left = set(grouped[0].modifier.labels)
    else:
        left = set.intersection(*(set(series[each.name]) for each in selected(rule["expr"])))
    assert told <= left
    assert "provider" in told or "absent" in rule["expr"]


def test_rules_of_a_group_look_at_what_its_source_gives(scraped):
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            names = {each.name for each in selected(rule["expr"])}
            assert names <= set(scraped[group["name"]]), rule["alert"]


def test_names_are_not_used_twice():
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names))


def test_the_tests_of_the_rules_are_about_these_rules_and_series(series):
    tested = {each["alertname"] for test in TESTS["tests"] for each in test["alert_rule_test"]}
    assert tested <= {rule["alert"] for rule in RULES}
    assert {"TitansLate", "TitansSilent", "TitansFailures", "TitansVerifyFailed"} <= tested
    for test in TESTS["tests"]:
        for each in test["input_series"]:
            (selector,) = selected(each["series"])
            # `process` stands for what a scrape adds.
            labels = {matcher.name for matcher in selector.matchers.matchers} - {"process"}
            assert labels <= set(series[selector.name])


# --- the dashboard --------------------------------------------------------------------------------


def test_variables_are_asked_for_what_is_measured(series):
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert set(variables) == {"datasource", "provider", "environment"}
    for name in ("provider", "environment"):
        query = variables[name]["query"]["query"]
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
        assert found[2] == name
        for metric in re.findall(r"titans_\w+", found[1]):
            assert name in series[metric]
    used = set(
        re.findall(r"\$(\w+)", " ".join(EXPRESSIONS.values()).replace("$__rate_interval", ""))
    )
    assert used == {"provider", "environment"}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_is_complete(panel, series):
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["fieldConfig"]["defaults"]["unit"]
    refs = [target["refId"] for target in panel["targets"]]
    assert len(refs) == len(set(refs)) > 0
    for target in panel["targets"]:
        labels = {label for each in selected(target["expr"]) for label in series[each.name]}
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels
        assert target["datasource"] == panel["datasource"]


def test_panels_do_not_lie_on_each_other():
    cells = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not own & cells, panel["title"]
        cells |= own
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    tops = [panel["gridPos"]["y"] for panel in DASHBOARD["panels"]]
    assert all(first <= second for first, second in pairwise(tops))
