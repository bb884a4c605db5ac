"""An upgrade to fewer replicas is refused: Helm asks a Kubernetes API for the StatefulSet that is there. The API is
played here, as far as `lookup` needs it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import helm_python as helm

from rendering import CHART, Report

REFUSAL = "Nodes that go must lose their vote first"
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


def refused(address, values):
    """Whether the chart refuses these values beside the StatefulSet that is there."""
    try:
        with helm.Config(kube_apiserver=address, namespace="ns", storage_driver="memory") as config:
            config.install(str(CHART), "rel", values, namespace="ns", dry_run="server")
    except helm.HelmError as error:
        # What the API that is played here cannot do comes later and does not matter.
        return REFUSAL in str(error)
    return False


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    report.demand(refused(address, {"replicas": 3}), "five replicas became three without a word")
    report.demand(not refused(address, {"replicas": 3, "scaleDown": "allow"}), "what was allowed is refused")
    report.demand(not refused(address, {"replicas": 5}), "as many replicas as before are refused")
    report.demand(STATEFUL_SET in asked, "Helm never asked for the StatefulSet")
    report.exit("fewer replicas")


main()
