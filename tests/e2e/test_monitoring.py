"""The alert rules of examples/titans-otel, as Prometheus' own tool sees them. What they name is
tested with the package, see examples/titans-otel/tests."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "examples/titans-otel"
README = (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def promtool():
    """Runs it on the rules: exit code, and what it says."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed; it comes with Prometheus")

    def call(*arguments, folder=FOLDER / "monitoring"):
        done = subprocess.run(
            [found, *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    return call


def rules():
    groups = yaml.safe_load((FOLDER / "monitoring/alerts.yaml").read_text(encoding="utf-8"))
    return [rule for group in groups["groups"] for rule in group["rules"]]


def test_prometheus_accepts_the_rules(promtool):
    code, said = promtool("check", "rules", "alerts.yaml")
    assert (code, f"{len(rules())} rules found" in said) == (0, True), said


def test_the_tests_of_the_rules_pass(promtool):
    code, said = promtool("test", "rules", "alerts_test.yaml")
    assert code == 0, said


def test_a_rule_that_is_wrong_fails_them(promtool, tmp_path):
    for file in (FOLDER / "monitoring").glob("*.yaml"):
        text = file.read_text(encoding="utf-8")
        if file.name == "alerts.yaml":
            text = text.replace("titans_late == 1", "titans_late == 2")
        (tmp_path / file.name).write_text(text, encoding="utf-8")
    code, said = promtool("test", "rules", "alerts_test.yaml", folder=tmp_path)
    assert code == 1
    assert "TitansLate" in said


def test_the_readme_lists_every_alert_with_its_severity():
    listed = {
        name: severity
        for severity, names in re.findall(
            r"^\| `(critical|warning|info)` \| (.+) \|$", README, re.M
        )
        for name in re.findall(r"`(Titans\w+)`", names)
    }
    assert listed == {rule["alert"]: rule["labels"]["severity"] for rule in rules()}
    assert f"{len(rules())} alert rules" in README
