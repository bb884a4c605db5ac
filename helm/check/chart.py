"""The chart without a cluster: every set of values renders into valid objects that fit each other, bad-* are refused.

usage: chart.py CUSTOM_OBJECTS_FILE   (writes the objects that have no schema in Kubernetes itself, for crds.mjs)
"""

import json
import re
import sys

import helm_python as helm
import kubernetes_validate
import yaml

from rendering import CHART, ROOT, TRIAL, Report, containers, of_kind, pod_specs, render, value_sets

KUBERNETES = ["1.30", "1.33", "1.37"]
# What the chart sets itself; everything else in the node's table may stand in `config`.
OWN_SETTINGS = {
    "name", "data_dir", "join", "bootstrap_expect", "voters", "api_addr", "device_addr", "peer_addr", "http_addr",
    "advertise_api_addr", "advertise_device_addr", "advertise_peer_addr", "advertise_http_addr", "drain_grace", "leave_on_stop",
    "tls_cert", "tls_key", "client_ca", "peer_cert", "peer_key", "peer_ca", "access", "insecure",
    "device_trusted_proxies", "api_trusted_proxies",
}
report = Report()


def lint():
    """Helm's own opinion; an icon is not demanded."""
    for message in helm.lint(str(CHART), TRIAL, strict=True)["messages"]:
        report.demand(message["severity"] < 2, f"lint: {message['path']}: {message['error']}")


def valid(name, objects, custom):
    """Each object by the schemas of several Kubernetes versions; those without a schema are put aside."""
    first_line = (CHART / "ci" / f"{name}.yaml").read_text().splitlines()[0] if name != "trial" else ""
    since = re.search(r"Kubernetes: ([\d.]+)", first_line)
    versions = [version for version in KUBERNETES if not since or version >= since[1]]
    for one in objects:
        for version in versions:
            try:
                kubernetes_validate.validate(one, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                where = ".".join(map(str, error.path))
                report.demand(False, f"{name}: {one['kind']} for Kubernetes {version}: {where}: {error.message}")
            except kubernetes_validate.SchemaNotFoundError:
                custom.append({"set": name, "object": one})
                break


def distinct(name, objects):
    """No two objects of one kind and name; every one in the release's namespace."""
    ids = [(one["kind"], one["metadata"]["name"]) for one in objects]
    report.demand(len(ids) == len(set(ids)), f"{name}: an object is there twice: {ids}")
    for one in objects:
        report.demand(one["metadata"].get("namespace") == "ns", f"{name}: {one['kind']} names no namespace")


def restricted(name, objects):
    """The `restricted` pod security standard, a read-only root, and no token."""
    for pod, _, spec in pod_specs(objects):
        where, security = f"{name}: pod {pod}", spec.get("securityContext", {})
        report.demand(security.get("runAsNonRoot") is True, f"{where} may run as root")
        report.demand(security.get("runAsUser", 0) > 0, f"{where} has no numeric user")
        profile = security.get("seccompProfile", {}).get("type")
        report.demand(profile == "RuntimeDefault", f"{where} has no seccomp profile")
        report.demand(spec.get("automountServiceAccountToken") is False, f"{where} mounts a token")
        report.demand(not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), f"{where} uses the host")
        report.demand(not any("hostPath" in volume for volume in spec.get("volumes", [])), f"{where} mounts the host")
        for container in containers(spec):
            own, who = container.get("securityContext", {}), f"{where}, container {container['name']}"
            report.demand(own.get("allowPrivilegeEscalation") is False, f"{who} may gain privileges")
            report.demand(own.get("capabilities", {}).get("drop") == ["ALL"], f"{who} keeps capabilities")
            ours = container["name"] in ("rollcall", "device", "call", "check")
            report.demand(not ours or own.get("readOnlyRootFilesystem") is True, f"{who} may write its root")


def selected(labels, selector):
    """Whether labels match a selector of equals."""
    return all(labels.get(key) == value for key, value in selector.items())


def fits(name, objects):
    """What refers to something finds it: Services and budgets their pods, ports their names, variables theirs."""
    nodes = [(labels, spec) for pod, labels, spec in pod_specs(objects) if not pod.endswith(("-test", "-scale-down"))]
    tests = [labels for pod, labels, _ in pod_specs(objects) if pod.endswith(("-test", "-scale-down"))]
    for service in of_kind(objects, "Service"):
        spec, where = service["spec"], f"{name}: Service {service['metadata']['name']}"
        # Kubernetes itself adds the pod's name.
        selector = {key: value for key, value in spec["selector"].items() if not key.startswith("statefulset.")}
        report.demand(all(selected(labels, selector) for labels, _ in nodes), f"{where} misses nodes")
        report.demand(not any(selected(labels, selector) for labels in tests), f"{where} takes the test for a node")
        ports = {port["name"] for _, pod in nodes for port in pod["containers"][0]["ports"]}
        report.demand(all(port["targetPort"] in ports for port in spec["ports"]), f"{where}: no such port")
    for budget in of_kind(objects, "PodDisruptionBudget"):
        matched = [1 for labels, _ in nodes if selected(labels, budget["spec"]["selector"]["matchLabels"])]
        report.demand(len(matched) == 1, f"{name}: a budget is for {len(matched)} StatefulSets")
    for one in of_kind(objects, "StatefulSet"):
        spec, where = one["spec"], f"{name}: StatefulSet {one['metadata']['name']}"
        fixed = spec["selector"]["matchLabels"]
        report.demand(selected(spec["template"]["metadata"]["labels"], fixed), f"{where} does not select its pods")
        claim = spec["volumeClaimTemplates"][0]["metadata"]["labels"]
        report.demand(claim == fixed, f"{where}: labels of claims can never change, these might: {claim}")
        pod = spec["template"]["spec"]
        hook = pod["containers"][0].get("lifecycle", {}).get("preStop", {})
        waits = re.findall(r"^(\d+)s$", "\n".join(hook.get("exec", {}).get("command", [])), re.MULTILINE)
        stop = hook.get("sleep", {}).get("seconds", 0) + sum(map(int, waits))
        config = of_kind(objects, "ConfigMap")[0]["data"]["rollcall.toml"]
        grace = int(re.search(r'drain_grace = "(\d+)s"', config)[1])
        report.demand(pod["terminationGracePeriodSeconds"] >= stop + grace + 5, f"{where} is killed while it drains")
        known = set()
        for variable in pod["containers"][0]["env"]:
            for used in re.findall(r"\$\((\w+)\)", variable.get("value", "")):
                report.demand(used in known, f"{where}: {variable['name']} uses {used}, which comes later or never")
            known.add(variable["name"])


def names_are_short_enough():
    """The longest release name that Helm allows still makes names that Kubernetes takes."""
    values = TRIAL | {"learners": {"replicas": 1}, "device": {"external": "perPod", "perPod": {"hostname": "{pod}"}}}
    for one in render(values, release="r" * 53)[0]:
        # A StatefulSet's pods carry its name with a revision's hash of ten letters as a label.
        most = 52 if one["kind"] == "StatefulSet" else 63
        name = one["metadata"]["name"]
        report.demand(len(name) <= most, f"{one['kind']} {name}: a name of {len(name)} letters")


def settings_are_the_nodes():
    """`config` takes exactly the settings of the node that the chart does not set itself."""
    document = (ROOT / "node" / "docs" / "operating.md").read_text()
    table = document.split("<!-- settings: begin -->")[1].split("<!-- settings: end -->")[0]
    known = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    schema = json.loads((CHART / "values.schema.json").read_text())
    allowed = set(schema["properties"]["config"]["properties"])
    report.demand(OWN_SETTINGS <= known, f"the chart sets what is no setting: {OWN_SETTINGS - known}")
    for key in sorted(known - OWN_SETTINGS - allowed):
        report.demand(False, f"the node has the setting `{key}`: add it to `config` in values.schema.json, "
                      'as `"…": {"$ref": "#/definitions/setting"}`')
    report.demand(allowed <= known, f"values.schema.json allows settings that the node does not have: {allowed - known}")


def versions_agree():
    """The chart says the version of the node that it is for."""
    workspace = re.search(r'\[workspace.package\]\nversion = "(.*)"', (ROOT / "Cargo.toml").read_text())[1]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    report.demand(chart["appVersion"] == workspace, f"appVersion is {chart['appVersion']}, the workspace {workspace}")


def main():
    lint()
    custom = []
    for name, values in value_sets():
        try:
            objects, notes = render(values)
        except helm.HelmError as error:
            reason = str(error).strip().splitlines()[-1]
            if report.demand(name.startswith("bad-"), f"{name}: {error}"):
                print(f"refused {name}: {reason}")
            continue
        except yaml.YAMLError as error:
            report.demand(False, f"{name}: {error}")
            continue
        if not report.demand(not name.startswith("bad-"), f"{name} was accepted"):
            continue
        for check in (distinct, restricted, fits):
            check(name, objects)
        valid(name, objects, custom)
        upgraded, upgrade_notes = render(values, upgrade=True)
        report.demand(upgraded == objects, f"{name}: an upgrade makes other objects")
        by_hand = values.get("updateStrategy") == "OnDelete"
        told = "kubectl -n ns delete pod" in upgrade_notes
        report.demand("Rollcall" in notes and told == by_hand, f"{name}: the notes do not say who restarts the pods")
        print(f"rendered {name}: {len(objects)} objects")
    names_are_short_enough()
    settings_are_the_nodes()
    versions_agree()
    with open(sys.argv[1], "w") as file:
        json.dump(custom, file)
    report.exit("chart")


main()
