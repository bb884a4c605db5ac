"""Renders the chart as Helm does, and reads what came out. Decides nothing."""

import pathlib

import helm_python as helm
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "rollcall"


class Strict(yaml.SafeLoader):
    """YAML in which a key that is there twice is an error: Kubernetes would take either."""


def _mapping(loader, node, deep=False):
    keys = [loader.construct_object(key, deep=deep) for key, _ in node.value]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise yaml.YAMLError(f"line {node.start_mark.line + 1}: twice there: {', '.join(sorted(twice))}")
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def render(values=None, release="rel", namespace="ns", upgrade=False):
    """(objects, notes) of a release. Raises helm.HelmError where Helm would refuse."""
    with helm.Chart.load(str(CHART)) as chart:
        chart.validate_schema(values or {})
        files = chart.render(values or {}, name=release, namespace=namespace, is_upgrade=upgrade)
    objects, notes = [], ""
    for path, text in sorted(files.items()):
        if path.endswith("NOTES.txt"):
            notes = text
        else:
            objects += [document for document in yaml.load_all(text, Strict) if document]
    return objects, notes


# Who tries the chart has to say so: its default values are refused.
TRIAL = {"insecure": True}


def value_sets():
    """(name, values) of a trial with nothing else, and of every file in ci/."""
    yield "trial", TRIAL
    for path in sorted((CHART / "ci").glob("*.yaml")):
        yield path.stem, yaml.safe_load(path.read_text())


def of_kind(objects, *kinds):
    """The objects of these kinds."""
    return [one for one in objects if one["kind"] in kinds]


def pod_specs(objects):
    """(name, labels, spec) of everything that becomes a pod."""
    for one in objects:
        if one["kind"] == "Pod":
            yield one["metadata"]["name"], one["metadata"]["labels"], one["spec"]
        elif one["kind"] in ("StatefulSet", "Job"):
            template = one["spec"]["template"]
            yield one["metadata"]["name"], template["metadata"]["labels"], template["spec"]


def containers(spec):
    """All containers of a pod's spec."""
    return spec.get("initContainers", []) + spec["containers"]


class Report:
    """Counts what is wrong, and says it."""

    def __init__(self):
        self.wrong = 0

    def demand(self, holds, problem):
        """Says `problem` unless it holds."""
        if not holds:
            self.wrong += 1
            print(f"FAIL {problem}")
        return bool(holds)

    def exit(self, what):
        """Ends the process: 0 if nothing was wrong."""
        print(f"{what}: {'well' if not self.wrong else f'{self.wrong} wrong'}")
        raise SystemExit(1 if self.wrong else 0)
