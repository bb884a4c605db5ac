"""Plays the kubelet: runs the containers of rendered pods as processes of this machine, each pod on a loopback address."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.request

from rendering import of_kind

# Addresses of our own, so that two checks may run on one machine.
NETWORK = f"127.77.{os.getpid() % 250 + 1}."


class Pod:
    """One pod of a StatefulSet: its address, its folder, its process."""

    def __init__(self, name, address, spec, config, folder):
        self.name, self.address, self.spec = name, address, spec
        self.container = spec["containers"][0]
        self.folder = folder
        self.config = folder / "rollcall.toml"
        self.process = None
        folder.mkdir()
        text = config.replace("0.0.0.0", address).replace("/var/lib/rollcall", str(folder / "data"))
        self.config.write_text(text)

    def environment(self, names):
        """The container's variables as Kubernetes would make them, names as addresses."""
        known = {}
        for variable in self.container["env"]:
            field = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
            if field == "metadata.name":
                value = self.name
            elif field.endswith("pod-index']"):
                value = self.name.rsplit("-", 1)[1]
            else:
                value = re.sub(r"\$\((\w+)\)", lambda used: known[used[1]], variable["value"])
            known[variable["name"]] = value
        return {key: names.replaced(value) for key, value in known.items()}

    def start(self, binaries, names):
        """Starts the process, as its container says."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith("ROLLCALL_")}
        self.binaries, self.variables = binaries, clean | self.environment(names)
        self.process = self.run([*self.container["command"], *self.container["args"]], "log")

    def run(self, words, log):
        """A process of the container, its output in a file of the pod's folder."""
        arguments = [word.replace("/etc/rollcall/rollcall.toml", str(self.config)) for word in words[1:]]
        with open(self.folder / log, "ab") as output:
            command = [str(self.binaries / words[0]), *arguments]
            return subprocess.Popen(command, env=self.variables, stdout=output, stderr=output)

    def probe(self, which):
        """(status, body) of a probe; status 0 if nobody answers."""
        get = self.container[which]["httpGet"]
        port = next(port["containerPort"] for port in self.container["ports"] if port["name"] == get["port"])
        try:
            with urllib.request.urlopen(f"http://{self.address}:{port}{get['path']}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def hook(self):
        """The preStop hook as a process; None: there is none, or it only sleeps."""
        hook = self.container.get("lifecycle", {}).get("preStop", {})
        return self.run(hook["exec"]["command"], "prestop") if "exec" in hook else None

    def stop(self):
        """preStop, then SIGTERM, as the kubelet does; (exit code, seconds). Killed when its grace is over."""
        began, grace = time.monotonic(), self.spec["terminationGracePeriodSeconds"]
        hook = self.hook()
        if hook:
            hook.wait(grace)
        code = self.terminate(grace - (time.monotonic() - began))
        return code, time.monotonic() - began

    def terminate(self, grace):
        """SIGTERM alone, then the exit code; killed when so many seconds are over."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(max(1, grace))
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


class Names:
    """What DNS would say: the pods' own names, and the Services' by the pod that shall answer."""

    def __init__(self, domain):
        self.domain, self.addresses = domain, {}

    def replaced(self, text):
        """The text with addresses for names."""
        for name in sorted(self.addresses, key=len, reverse=True):
            text = text.replace(name, self.addresses[name])
        return text


class Cluster:
    """All pods of a rendered release."""

    def __init__(self, objects, binaries, folder, namespace="ns", domain="cluster.local"):
        self.binaries, self.pods = pathlib.Path(binaries), []
        self.names = Names(domain)
        config = of_kind(objects, "ConfigMap")[0]["data"]["rollcall.toml"]
        sets = of_kind(objects, "StatefulSet")
        wanted = [(f"{one['metadata']['name']}-{at}", one) for one in sets for at in range(one["spec"]["replicas"])]
        for at, (name, one) in enumerate(wanted):
            address = f"{NETWORK}{10 + at}"
            self.names.addresses[f"{name}.{one['spec']['serviceName']}.{namespace}.svc.{domain}"] = address
        for service in of_kind(objects, "Service"):
            name = f"{service['metadata']['name']}.{namespace}.svc.{domain}"
            # Calls come in at the first node, devices at the second, so that a call crosses the cluster.
            at = 1 if service["metadata"]["name"].endswith("-device") and len(wanted) > 1 else 0
            self.names.addresses[name] = f"{NETWORK}{10 + at}"
        for at, (name, one) in enumerate(wanted):
            spec = one["spec"]["template"]["spec"]
            self.pods.append(Pod(name, f"{NETWORK}{10 + at}", spec, self.names.replaced(config), folder / name))

    def start(self):
        """Starts all pods at once, as `Parallel` does."""
        for pod in self.pods:
            pod.start(self.binaries, self.names)

    def wait_ready(self, seconds=60):
        """Waits until every pod is ready; says of the first that is not what it says."""
        end = time.monotonic() + seconds
        while True:
            states = [(pod.name, *pod.probe("readinessProbe")) for pod in self.pods]
            unready = [state for state in states if state[1] != 200]
            if not unready:
                return
            if time.monotonic() > end:
                raise SystemExit(f"FAIL not ready after {seconds} s: {unready}")
            time.sleep(0.2)

    def api(self):
        """The API address of the first node."""
        return f"http://{self.pods[0].address}:7400"

    def run(self, container, seconds=90):
        """Runs a container to its end; (exit code, output)."""
        command = [str(self.binaries / container["command"][0]), *map(self.names.replaced, container["args"])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        return done.returncode, done.stdout + done.stderr

    def begin(self, container):
        """Starts a container and returns its process."""
        command = [str(self.binaries / container["command"][0]), *map(self.names.replaced, container["args"])]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(self, *words, pod=0):
        """What the CLI prints as JSON when that pod is asked."""
        command = [str(self.binaries / "rollcall"), *words, "--output", "json", "--addr", f"http://{self.pods[pod].address}:7400"]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout)

    def kill(self):
        """Ends what still runs."""
        for pod in self.pods:
            if pod.process and pod.process.poll() is None:
                pod.process.kill()
                pod.process.wait()
