"""Rollouts over real processes, by a StatefulSet controller that is played here: which of them keep a quorum.

Only what a controller deletes next is played, as Kubernetes' source has it for `podManagementPolicy: Parallel`.

usage: rollout.py BINARIES   (a folder with rollcall)
"""

import itertools
import pathlib
import sys
import tempfile
import time

from kubelet import Cluster
from rendering import Report, of_kind, render

report = Report()
names = itertools.count()


def deletes_next(strategy, counts_all, updated, available):
    """The pod that the controller deletes in this state, by number; None: it waits, or is done.

    `updated` and `available` say of each pod whether it is of the new revision and whether it is available. Before
    Kubernetes 1.35 it waits for those that it has passed on its way down; with the feature MaxUnavailableStatefulSet,
    on since then, it counts all of them.
    """
    if strategy == "OnDelete":
        return None
    if counts_all and not all(available):
        return None
    for at in reversed(range(len(updated))):
        if not updated[at]:
            return at
        if not available[at]:
            return None
    return None


def can_change(cluster, seconds=10):
    """Whether the cluster can still commit something, through any node that runs; an election may come before."""
    running = ",".join(f"http://{pod.address}:7400" for pod in cluster.pods if pod.process.poll() is None)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        create = ["devices", "create", f"device-{next(names)}", "--group", "rollout", "--addr", running]
        if cluster.run({"command": ["rollcall"], "args": create})[0] == 0:
            return True
        time.sleep(0.5)
    return False


def by_hand(cluster):
    """As UPGRADING.md says: one pod after the other from the top, each only while all are up."""
    for pod in reversed(cluster.pods):
        states = {node["state"] for node in cluster.ask("nodes", "list")["nodes"]}
        report.demand(states == {"up"}, f"before {pod.name} is deleted the nodes are {states}")
        code, _ = pod.stop()
        report.demand(code == 0, f"{pod.name} stopped with {code}")
        report.demand(can_change(cluster), f"without {pod.name} nothing can change")
        pod.start(cluster.binaries, cluster.names)
        cluster.wait_ready()
        print(f"by hand: {pod.name} restarted, the others could change things meanwhile")


def with_one_down(cluster, strategy, counts_all):
    """rollcall-0 is down when the rollout begins. True if the cluster can change after the controller's first step."""
    down = cluster.pods[0]
    down.process.kill()
    down.process.wait()
    available = [pod.probe("readinessProbe")[0] == 200 for pod in cluster.pods]
    target = deletes_next(strategy, counts_all, [False] * len(cluster.pods), available)
    if target is not None:
        cluster.pods[target].stop()
    kept = can_change(cluster)
    for pod in cluster.pods:
        if pod.process.poll() is not None:
            pod.start(cluster.binaries, cluster.names)
    cluster.wait_ready()
    what = f"deletes {cluster.pods[target].name}" if target is not None else "deletes nothing"
    which = "counting all" if counts_all else "before 1.35"
    print(f"{strategy}, {which}, with {down.name} down: {what}; a change {'succeeds' if kept else 'fails'}")
    return kept


def main():
    objects, _ = render({"drainGraceSeconds": 2})
    default = of_kind(objects, "StatefulSet")[0]["spec"]["updateStrategy"]["type"]
    with tempfile.TemporaryDirectory(prefix="rollcall-rollout-") as folder:
        cluster = Cluster(objects, sys.argv[1], pathlib.Path(folder))
        try:
            cluster.start()
            cluster.wait_ready()
            by_hand(cluster)
            for counts_all in (False, True):
                kept = with_one_down(cluster, default, counts_all)
                report.demand(kept, "the chart's default rollout lost the quorum")
            # Why that is the default. When this changes, so may the default.
            report.demand(not with_one_down(cluster, "RollingUpdate", False), "RollingUpdate before 1.35 kept the quorum")
            report.demand(with_one_down(cluster, "RollingUpdate", True), "RollingUpdate counting all lost the quorum")
        finally:
            cluster.kill()
    report.exit("rollout")


main()
