"""A real Prometheus over a running cluster, with the labels that the chart's monitors give."""

import json
import subprocess
import time
import urllib.parse
import urllib.request

import yaml

from kubelet import NETWORK

ADDRESS = f"{NETWORK}200:9090"


class Prometheus:
    """One Prometheus that scrapes every second and evaluates these rules."""

    def __init__(self, binary, cluster, rules, folder, job="rel-rollcall", namespace="ns"):
        targets = [
            {"targets": [f"{pod.address}:7403"], "labels": {"instance": pod.name, "namespace": namespace}}
            for pod in cluster.pods
        ]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": job, "static_configs": targets}],
        }
        folder.mkdir()
        (folder / "rules.yaml").write_text(yaml.dump({"groups": [{"name": "rollcall", "rules": rules}]}))
        (folder / "prometheus.yml").write_text(yaml.dump(config))
        log = open(folder / "log", "ab")
        arguments = [
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={ADDRESS}",
        ]
        self.process = subprocess.Popen([binary, *arguments], stdout=log, stderr=log)

    def get(self, path, **parameters):
        """The `data` of an answer; an error of a query raises."""
        url = f"http://{ADDRESS}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression):
        """The series of an instant query."""
        return self.get("query", query=expression)["result"]

    def wait(self, expression, seconds=30):
        """Waits until an expression has series; False if it does not come to that."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if self.query(expression):
                    return True
            except OSError:
                pass
            time.sleep(0.3)
        return False

    def stop(self):
        """Ends it."""
        self.process.kill()
        self.process.wait()
