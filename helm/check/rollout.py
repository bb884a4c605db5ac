"""Rollouts over real processes, by a StatefulSet controller that is played here: which of them keep a quorum.

Only what a controller deletes next is played, as Kubernetes' source has it for `podManagementPolicy: Parallel`.

usage: rollout.py BINARIES   (a folder with rollcall)
"""

import itertools
import pathlib
import sys
import tempfile
import threading
import time

from kubelet import Cluster
from rendering import TRIAL, Report, of_kind, render

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
    """rollcall-0 is down when the rollout begins. Whether the cluster can change after the controller's first step."""
    down = cluster.pods[0]
    down.process.kill()
    down.process.wait()
    available = [pod.probe("readinessProbe")[0] == 200 for pod in cluster.pods]
    target = deletes_next(strategy, counts_all, [False] * len(cluster.pods), available)
    stopping = threading.Thread(target=cluster.pods[target].stop) if target is not None else None
    if stopping:
        stopping.start()
        # Until it is gone, or has said that it waits.
        waits = cluster.pods[target].folder / "prestop"
        wait_for(lambda: not stopping.is_alive() or (waits.exists() and "waiting" in waits.read_text()))
    kept = can_change(cluster)
    down.start(cluster.binaries, cluster.names)
    if stopping:
        stopping.join()
        cluster.pods[target].start(cluster.binaries, cluster.names)
        (cluster.pods[target].folder / "prestop").unlink(missing_ok=True)
    cluster.wait_ready()
    what = f"deletes {cluster.pods[target].name}" if target is not None else "deletes nothing"
    which = "counting all" if counts_all else "before 1.35"
    print(f"{strategy}, {which}, with {down.name} down: {what}; a change {'succeeds' if kept else 'fails'}")
    return kept


def all_deleted(cluster):
    """Somebody deletes every pod at once: they go one after the other, each when those before it are back."""
    changed, ended = [], threading.Event()

    def change():
        while not ended.is_set():
            changed.append(can_change(cluster))

    def restart(pod):
        code, _ = pod.stop()
        report.demand(code == 0, f"{pod.name} stopped with {code}")
        report.demand(sum(one.process.poll() is not None for one in cluster.pods) == 1, "two pods are gone at once")
        pod.start(cluster.binaries, cluster.names)

    changing = threading.Thread(target=change)
    changing.start()
    restarts = [threading.Thread(target=restart, args=[pod]) for pod in cluster.pods]
    for one in restarts:
        one.start()
    for one in restarts:
        one.join()
    cluster.wait_ready()
    ended.set()
    changing.join()
    report.demand(changed and all(changed), f"changes failed: {changed.count(False)} of {len(changed)}")
    print(f"all deleted at once: {len(changed)} changes meanwhile, {changed.count(False)} failed")


def wait_for(holds, seconds=60):
    """Waits until a condition holds."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise SystemExit("FAIL a pod neither stopped nor said that it waits")
        time.sleep(0.1)


def play(folder, values, story):
    """Plays a story over the pods of a release."""
    objects, _ = render(TRIAL | values)
    folder.mkdir()
    cluster = Cluster(objects, sys.argv[1], folder)
    try:
        cluster.start()
        cluster.wait_ready()
        story(cluster, of_kind(objects, "StatefulSet")[0]["spec"]["updateStrategy"]["type"])
    finally:
        cluster.kill()


def with_turns(cluster, default):
    """As the chart is by default."""
    by_hand(cluster)
    for strategy in {default, "RollingUpdate", "OnDelete"}:
        for counts_all in (False, True):
            kept = with_one_down(cluster, strategy, counts_all)
            report.demand(kept, f"{strategy} lost the quorum")
    all_deleted(cluster)


def without_turns(cluster, _):
    """What the turns are for. If this kept the quorum, they would not be needed."""
    report.demand(not with_one_down(cluster, "RollingUpdate", False), "RollingUpdate before 1.35 kept the quorum without turns")


def main():
    short = {"drainGraceSeconds": 2, "preStopSleepSeconds": 1}
    with tempfile.TemporaryDirectory(prefix="rollcall-rollout-") as folder:
        play(pathlib.Path(folder) / "with", short, with_turns)
        play(pathlib.Path(folder) / "without", short | {"preStopTurnSeconds": 0}, without_turns)
    report.exit("rollout")


main()
