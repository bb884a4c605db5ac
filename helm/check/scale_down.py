"""Before an upgrade to fewer replicas a Job asks Rollcall. When there is one, Helm decides by the StatefulSet that is there: the
Kubernetes API is played here, as far as `lookup` needs it. What the Job says is tried with real processes.

usage: scale_down.py [BINARIES]   (a folder with rollcall)
"""

import json
import pathlib
import shutil
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import helm_python as helm

from kubelet import Cluster
from rendering import CHART, TRIAL, Report, of_kind, render

ASKS = "a Job asks"
PROBE = '{{- if include "rollcall.asks" . }}{{ fail "%s" }}{{ end }}' % ASKS
STATEFUL_SET = "/apis/apps/v1/namespaces/ns/statefulsets/rel-rollcall"
report = Report()


def resources(group_version, **kinds):
    """A discovery document: plural names by kind."""
    rows = [{"name": name, "kind": kind, "namespaced": True, "verbs": ["get"]} for kind, name in kinds.items()]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": rows}


def group(name):
    """A group of the API with its one version."""
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


PAGES = {
    "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group("apps"), group("policy")]},
    "/api/v1": resources("v1", ConfigMap="configmaps", Service="services", ServiceAccount="serviceaccounts", Pod="pods"),
    "/apis/apps/v1": resources("apps/v1", StatefulSet="statefulsets"),
    "/apis/policy/v1": resources("policy/v1", PodDisruptionBudget="poddisruptionbudgets"),
    STATEFUL_SET: {
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "rel-rollcall", "namespace": "ns"}, "spec": {"replicas": 5},
    },
}
asked = set()


class Api(BaseHTTPRequestHandler):
    """Answers with a page, or that it is not there."""

    def do_GET(self):  # noqa: N802, the name is the library's
        path = self.path.split("?")[0]
        asked.add(path)
        page = PAGES.get(path)
        missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        body = json.dumps(page or missing).encode()
        self.send_response(200 if page else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing."""


def asks(address, chart, values):
    """Whether the chart has the Job with these values, beside the StatefulSet that is there."""
    try:
        with helm.Config(kube_apiserver=address, namespace="ns", storage_driver="memory") as config:
            config.install(str(chart), "rel", values, namespace="ns", dry_run="server")
    except helm.HelmError as error:
        # What the API that is played here cannot do comes later and does not matter.
        return ASKS in str(error)
    return False


def lookups(folder):
    """There is a Job exactly when replicas are to go."""
    chart = folder / "rollcall"
    shutil.copytree(CHART, chart)
    (chart / "templates" / "probe.yaml").write_text(PROBE)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    report.demand(asks(address, chart, {"replicas": 3}), "five replicas become three and nobody asks")
    report.demand(not asks(address, chart, {"replicas": 3, "scaleDown": "allow"}), "what was allowed is asked for")
    report.demand(not asks(address, chart, {"replicas": 5}), "it is asked though no replica goes")
    report.demand(asks(address, chart, {"replicas": 5, "scaleDown": "askAlways"}), "it is not always asked")
    report.demand(STATEFUL_SET in asked, "Helm never asked for the StatefulSet")
    server.shutdown()


def played(binaries, folder):
    """Five nodes vote: the Job refuses three, until the surplus votes are taken, and those are the last pods'."""
    objects, _ = render(TRIAL | {"replicas": 5, "drainGraceSeconds": 1})
    job = of_kind(render(TRIAL | {"replicas": 3, "scaleDown": "askAlways"})[0], "Job")[0]
    check = job["spec"]["template"]["spec"]["containers"][0]
    cluster = Cluster(objects, binaries, folder)
    try:
        cluster.start()
        cluster.wait_ready()
        code, output = cluster.run(check)
        report.demand(code == 1 and "rel-rollcall-4, rel-rollcall-3" in output, f"five vote: {code}, {output}")
        cluster.ask("cluster", "shrink", "--to", "3")
        code, output = cluster.run(check)
        report.demand(code == 0, f"three vote: {code}, {output}")
        learners = {node["name"] for node in cluster.ask("nodes", "list")["nodes"] if node["role"] == "learner"}
        report.demand(learners == {"rel-rollcall-4", "rel-rollcall-3"}, f"without a vote are {learners}")
    finally:
        cluster.kill()
    code, output = cluster.run(check)
    report.demand(code == 3, f"nobody answers: {code}, {output}")
    print("the Job before an upgrade: five voters refused, three let through")


def main():
    with tempfile.TemporaryDirectory(prefix="rollcall-scale-") as folder:
        lookups(pathlib.Path(folder))
        if len(sys.argv) > 1:
            (pathlib.Path(folder) / "pods").mkdir()
            played(sys.argv[1], pathlib.Path(folder) / "pods")
    report.exit("fewer replicas")


main()
