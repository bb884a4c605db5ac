"""The alerts: valid, unit-tested, each with a switch, a runbook and a test, over metrics that the nodes have.

usage: rules.py PROMTOOL WORK_FOLDER
"""

import pathlib
import re
import shutil
import subprocess
import sys

import yaml

from rendering import CHART, ROOT, TRIAL, Report, of_kind, render

report = Report()
ON = TRIAL | {"monitoring": {"rules": {"enabled": True}}}


def rules_of(values):
    """The rules of the first group of a release."""
    rule = of_kind(render(values)[0], "PrometheusRule")[0]
    return rule["spec"]["groups"][0]["rules"]


def declared_metrics():
    """The names in the crates' files of metrics."""
    names = set()
    for path in ROOT.glob("*/src/**/metric*.rs"):
        names |= set(re.findall(r'"((?:rollcall|grpc)_[a-z_]+)"', path.read_text()))
    return names


def metrics_in(text):
    """The metrics that an expression or a dashboard names, histograms by their own name."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\b(?:rollcall|grpc_server)_[a-z_]+\b", text)}


def main():
    promtool, work = sys.argv[1], pathlib.Path(sys.argv[2])
    names = [one["alert"] for one in yaml.safe_load((CHART / "alerts" / "rollcall.yaml").read_text())]
    all_on = ON | {"alerts": {name: {"enabled": True} for name in names}}
    rules = rules_of(all_on)
    report.demand([rule["alert"] for rule in rules] == names, "not every alert can be switched on")
    for name in names:
        left = {rule["alert"] for rule in rules_of(all_on | {"alerts": {name: {"enabled": False}}})}
        report.demand(name not in left, f"{name} cannot be switched off")
    runbooks = (ROOT / "node" / "docs" / "operating.md").read_text()
    tests = (pathlib.Path(__file__).parent / "alerts_test.yaml").read_text()
    declared = declared_metrics()
    for rule in rules:
        name = rule["alert"]
        report.demand(re.search(rf"^#+ {name}$", runbooks, re.MULTILINE), f"{name} has no runbook in node/docs/operating.md")
        report.demand(f'alertname="{name}"' in tests, f"{name} has no test")
        report.demand("%" not in re.sub(r" % ", " ", rule["expr"]), f"{name}: a placeholder is left: {rule['expr']}")
        unknown = metrics_in(rule["expr"]) - declared
        report.demand(not unknown, f"{name}: no node has {unknown}")
    work.mkdir(parents=True, exist_ok=True)
    (work / "rules.yaml").write_text(yaml.dump({"groups": [{"name": "rollcall", "rules": rules}]}))
    shutil.copy(pathlib.Path(__file__).parent / "alerts_test.yaml", work)
    for words in (["check", "rules", "rules.yaml"], ["test", "rules", "alerts_test.yaml"]):
        done = subprocess.run([promtool, *words], cwd=work, capture_output=True, text=True)
        report.demand(done.returncode == 0, f"promtool {' '.join(words)}:\n{done.stdout}{done.stderr}")
    print(f"{len(rules)} alerts, {tests.count('  - name: ')} stories")
    report.exit("alerts")


if __name__ == "__main__":
    main()
