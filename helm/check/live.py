"""The chart's pods as real processes: they become one cluster, the helm test's call arrives, a stop is in time, and a
real Prometheus finds in them what alerts and dashboard ask for.

usage: live.py BINARIES PROMETHEUS   (folders with rollcall and rollcall-agent, and with prometheus)
"""

import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

from dashboard import concrete, dashboard, queries
from kubelet import Cluster
from rendering import ROOT, TRIAL, Report, of_kind, render
from rules import ON, rules_of
from scraping import Prometheus

VALUES = TRIAL | {
    "replicas": 3,
    "learners": {"replicas": 1},
    "drainGraceSeconds": 2,
    "preStopSleepSeconds": 1,
    "device": {"external": "perPod", "perPod": {"hostname": "{pod}.devices.example.com"}},
}
# What a machine that does much else may be told rightly: these say nothing of the pod that is killed.
OF_SLOW_MACHINES = {"RollcallLeaseAtRisk", "RollcallFsyncSlow", "RollcallCallP99"}
# Nodes without certificates show none of these; cluster-tests/tests/tls.rs looks at them.
OF_CERTIFICATES = {"rollcall_certificate_expiry_timestamp_seconds"}
report = Report()


def members(cluster):
    """Everybody is in, under the pod's name; who votes is who should."""
    nodes = {node["name"]: node for node in cluster.ask("nodes", "list")["nodes"]}
    report.demand(set(nodes) == {pod.name for pod in cluster.pods}, f"the members are {sorted(nodes)}")
    for pod in cluster.pods:
        learner = nodes[pod.name]["role"] == "learner"
        report.demand(learner == ("learner" in pod.name), f"{pod.name} is a {nodes[pod.name]['role']}")
        told = nodes[pod.name]["device_addr"]
        report.demand(told == f"{pod.name}.devices.example.com:7401", f"{pod.name} tells devices {told}")


def helm_test(cluster, objects):
    """The test pod's own commands: a device attaches at one node, the call comes in at another."""
    spec = next(pod["spec"] for pod in of_kind(objects, "Pod"))
    device = cluster.begin(spec["initContainers"][0])
    try:
        code, output = cluster.run(spec["containers"][0])
    finally:
        device.send_signal(signal.SIGTERM)
        device.wait(10)
    report.demand(code == 0 and "hello from helm test" in output, f"helm test: exit code {code}: {output}")
    print(f"helm test: {' '.join(output.split())}")


def failures(cluster, prometheus):
    """A call to nobody and a device that is not let in: what only failures make visible in metrics."""
    code, _ = cluster.run({"command": ["rollcall"], "args": ["invoke", "--addr", cluster.api(), "nobody", "echo"]})
    report.demand(code == 1, f"a call to nobody ended with {code}")
    create = ["devices", "create", "stranger", "--group", "nobody", "--disabled", "--addr", cluster.api()]
    code, output = cluster.run({"command": ["rollcall"], "args": create})
    report.demand(code == 0, f"devices create: {output}")
    address = f"http://{cluster.pods[1].address}:7401"
    attach = [f"--server={address}", "--device-id=stranger", "--group=nobody", "--action=echo=echo", "--grace-s=0"]
    device = cluster.begin({"command": ["rollcall-agent"], "args": attach})
    refused = prometheus.wait("sum(rollcall_device_attaches_refused_total) > 0")
    report.demand(refused, "a disabled device was not refused")
    device.kill()
    device.wait()


def scraped(cluster, prometheus):
    """Every rule and every panel's query works, and the panels show something."""
    report.demand(prometheus.wait("sum(rollcall_link_breaks_total) > 0"), "no link broke when a node was killed")
    for group in prometheus.get("rules")["groups"]:
        for rule in group["rules"]:
            report.demand(rule["health"] == "ok", f"{rule['name']}: {rule.get('lastError')}")
    empty = []
    for title, expression in queries(dashboard()):
        try:
            if not prometheus.query(concrete(expression)):
                empty.append((title, expression))
        except urllib.error.HTTPError as error:
            report.demand(False, f"{title}: {error.read().decode()}")
    ours = [title for title, expression in empty if "rollcall_" in expression or "grpc_" in expression]
    report.demand(not ours, f"panels without data: {ours}")
    targets = prometheus.get("targets")["activeTargets"]
    report.demand(all(not target["lastError"] for target in targets), f"scrapes fail: {targets}")


def catalogued(cluster, promtool):
    """promtool finds nothing to say of what a node shows, and the catalogue has all of it."""
    document = (ROOT / "node" / "docs" / "metrics.md").read_text()
    known = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", document, re.MULTILINE))
    for pod in cluster.pods:
        with urllib.request.urlopen(f"http://{pod.address}:7403/metrics", timeout=10) as answer:
            page = answer.read().decode()
        linted = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, text=True)
        said = linted.stdout + linted.stderr
        report.demand(linted.returncode == 0 and not said.strip(), f"{pod.name}: promtool check metrics: {said}")
        shown = dict(re.findall(r"^# TYPE (\w+) (\w+)$", page, re.MULTILINE))
        odd = {name: kind for name, kind in shown.items() if known.get(name) != kind}
        report.demand(not odd, f"{pod.name}: not so in node/docs/metrics.md: {odd}")
        report.demand(len(shown) > 40, f"{pod.name} shows only {len(shown)} metrics")
    print(f"catalogue: {len(known)} metrics, promtool has nothing to say")


def labels_of_rules(prometheus, rules):
    """Every label by which a rule selects is there on the metric that it selects from."""
    for rule in rules:
        for metric, selector in re.findall(r"\b((?:rollcall|grpc_server)_[a-z_]+)\{([^}]*)\}", rule["expr"]):
            if metric in OF_CERTIFICATES:
                continue
            for label in re.findall(r"(\w+)=", selector):
                there = prometheus.query(f'{metric}{{{label}!=""}}')
                report.demand(there, f"{rule['alert']}: no {metric} has the label {label}")


def alarm(cluster, prometheus):
    """A node that is killed is what the alerts for it say, and nothing else is: it leads nobody."""
    followers = {node["name"] for node in cluster.ask("nodes", "list")["nodes"] if node["role"] == "voter"}
    pod = next(pod for pod in reversed(cluster.pods) if pod.name in followers)
    pod.process.kill()
    pod.process.wait()
    wanted = {"RollcallFailureToleranceZero", "RollcallNodeDown"}
    for name in wanted:
        report.demand(prometheus.wait(f'ALERTS{{alertname="{name}"}}'), f"{pod.name} was killed: no {name}")
    ringing = {one["metric"]["alertname"] for one in prometheus.query("ALERTS")} - OF_SLOW_MACHINES
    report.demand(ringing == wanted, f"{pod.name} was killed: {ringing}")
    pod.start(cluster.binaries, cluster.names)
    cluster.wait_ready()
    others = f'ALERTS{{alertname!~"{"|".join(sorted(OF_SLOW_MACHINES))}"}}'
    report.demand(prometheus.wait(f"absent({others})"), f"{pod.name} is back: {prometheus.query(others)}")


def restart(cluster, pod):
    """A pod that is deleted stops within its grace, with 0, and its successor is ready again."""
    code, seconds = pod.stop()
    report.demand(code == 0, f"{pod.name} stopped with {code}")
    print(f"{pod.name}: stopped after {seconds:.1f} s of {pod.spec['terminationGracePeriodSeconds']} s")
    pod.start(cluster.binaries, cluster.names)
    cluster.wait_ready()


def main():
    objects, _ = render(VALUES)
    prometheus = None
    with tempfile.TemporaryDirectory(prefix="rollcall-chart-") as folder:
        cluster = Cluster(objects, sys.argv[1], pathlib.Path(folder))
        try:
            cluster.start()
            cluster.wait_ready()
            for pod in cluster.pods:
                report.demand(pod.probe("livenessProbe")[0] == 200, f"{pod.name} is not alive")
            members(cluster)
            rules = rules_of(VALUES | ON | {"alerts": {"RollcallCallP99": {"enabled": True}}})
            prometheus = Prometheus(f"{sys.argv[2]}/prometheus", cluster, rules, pathlib.Path(folder) / "prometheus")
            report.demand(prometheus.wait("sum(up) == 4"), "Prometheus does not scrape every pod")
            helm_test(cluster, objects)
            failures(cluster, prometheus)
            alarm(cluster, prometheus)
            scraped(cluster, prometheus)
            labels_of_rules(prometheus, rules)
            catalogued(cluster, f"{sys.argv[2]}/promtool")
            for pod in cluster.pods[2:]:
                restart(cluster, pod)
            # All of them go: the last ones would wait for their turn in vain.
            for pod in cluster.pods:
                code = pod.terminate(30)
                report.demand(code == 0, f"{pod.name} stopped with {code}")
        finally:
            cluster.kill()
            if prometheus:
                prometheus.stop()
    report.exit("live")


main()
