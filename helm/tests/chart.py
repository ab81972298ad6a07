"""Helm and what it renders."""

import json
import os
import subprocess
from pathlib import Path

import yaml

CHART = Path(__file__).resolve().parent.parent
HELM = os.environ.get("HELM", "helm")
# Each is a way to install the chart; those who add a value add it to one of them.
INSTALLATIONS = sorted(CHART.glob("ci/*-values.yaml"))


def helm(*arguments, values=None):
    """The exit status and what was printed; `values` go before those of files."""
    command = [HELM, *map(str, arguments)]
    if values is not None:
        command += ["--values", "-"]
    done = subprocess.run(
        command, input=json.dumps(values or {}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.returncode, done.stdout


def render(*arguments, values=None, release="test", namespace="spark"):
    """The objects of a release."""
    status, text = helm("template", release, CHART, "--namespace", namespace, *arguments, values=values)
    assert status == 0, text
    return [it for it in yaml.safe_load_all(text) if it]


def installation(name):
    return render("--values", CHART / "ci" / f"{name}-values.yaml")


def minimal(**values):
    return render(values={"kafka": {"brokers": "kafka:9092"}, **values})


def named(objects, kind, suffix=""):
    """The only one of its kind whose name ends so."""
    found = [it for it in objects if it["kind"] == kind and it["metadata"]["name"].endswith(suffix)]
    assert len(found) == 1, (kind, suffix, [it["metadata"]["name"] for it in found])
    return found[0]


def workloads(objects):
    return [it for it in objects if it["kind"] in ("Deployment", "StatefulSet", "Job")]


def pod(workload):
    return workload["spec"]["template"]["spec"]


def containers(objects):
    return {it["name"]: it for workload in workloads(objects) for it in pod(workload)["containers"]}


def environment(container):
    return {it["name"]: it.get("value") for it in container["env"]}
