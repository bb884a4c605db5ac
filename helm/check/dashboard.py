"""The dashboard by the rules of Grafana's dashboard linter, its queries as PromQL, its metrics as the nodes have them.

usage: dashboard.py PROMTOOL WORK_FOLDER
"""

import json
import pathlib
import re
import subprocess
import sys

import yaml

from rendering import CHART, Report
from rules import declared_metrics, metrics_in

report = Report()
# The kubelet's, which know nothing of our job.
FOREIGN = re.compile(r"\b(container|kubelet)_")


def dashboard():
    """The dashboard as the chart ships it."""
    return json.loads((CHART / "dashboards" / "rollcall.json").read_text())


def queries(board):
    """(panel's title, expression) of every query."""
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def concrete(expression, job=".+", instance=".+"):
    """The expression with Grafana's variables filled in."""
    return expression.replace("$__rate_interval", "1m").replace("$job", job).replace("$instance", instance)


def variables(board):
    """Data source, job and instance, as the linter wants them."""
    known = {one["name"]: one for one in board["templating"]["list"]}
    report.demand(list(known) == ["datasource", "job", "instance"], f"variables: {list(known)}")
    report.demand(known["datasource"]["type"] == "datasource", "datasource chooses no data source")
    report.demand(known["datasource"]["label"] == "Data source", "the data source's label is another")
    for name in ("job", "instance"):
        one = known[name]
        report.demand(one["label"] == name.capitalize(), f"{name}: label")
        report.demand(one["multi"] and one["includeAll"] and one["allValue"] == ".+", f"{name}: not all at once")
        report.demand(one["refresh"] == 2, f"{name} is not looked up anew when the time changes")


def panels(board):
    """Every panel says what it shows, in which unit, from which source; ids and places are its own."""
    shown = [panel for panel in board["panels"] if panel["type"] != "row"]
    report.demand(board["panels"][0]["type"] == "row", "the first panels are in no row")
    ids = [panel["id"] for panel in board["panels"]]
    report.demand(len(set(ids)) == len(ids), "two panels have one id")
    taken = {}
    for panel in board["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), panel["title"])
                report.demand(other == panel["title"] and x < 24, f"{panel['title']} lies over {other}")
    for panel in shown:
        title = panel["title"]
        report.demand(title and panel["description"], f"{title}: no title or description")
        report.demand(panel["fieldConfig"]["defaults"].get("unit"), f"{title}: no unit")
        report.demand(panel["datasource"]["uid"] == "${datasource}", f"{title}: another data source")
        sources = {target["datasource"]["uid"] for target in panel["targets"]}
        report.demand(sources == {"${datasource}"}, f"{title}: a query has another data source")
    return len(shown)


def expressions(board, promtool, work):
    """Matchers, intervals and syntax of every query."""
    declared, rules = declared_metrics(), []
    for title, expression in queries(board):
        for selector in re.findall(r"\{([^{}]*)\}", expression):
            ours = FOREIGN.search(expression) or 'job=~"$job",instance=~"$instance"' in selector
            report.demand(ours, f"{title}: not by job and instance: {selector}")
        for window in re.findall(r"\[([^\]]+)\]", expression):
            report.demand(window == "$__rate_interval", f"{title}: a window of {window}")
        for counter in re.findall(r"\b\w+_total\b", expression):
            report.demand(f"rate({counter}" in expression, f"{title}: {counter} without rate")
        report.demand(not metrics_in(expression) - declared, f"{title}: no node has {metrics_in(expression) - declared}")
        rules.append({"record": f"panel:{len(rules)}", "expr": concrete(expression)})
    file = pathlib.Path(work) / "dashboard_rules.yaml"
    file.write_text(yaml.dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True)
    report.demand(done.returncode == 0, f"promtool: {done.stdout}{done.stderr}")
    return len(rules)


def main():
    board = dashboard()
    report.demand(board["editable"] is False, "it is editable")
    variables(board)
    count = panels(board)
    print(f"{count} panels, {expressions(board, sys.argv[1], sys.argv[2])} queries")
    report.exit("dashboard")


if __name__ == "__main__":
    main()
