"""The kustomizations: rendered by kubectl, by the schemas of Kubernetes, restricted, and with commands and options that exist."""

import shutil
import subprocess
from typing import Any

import pytest

from tests.deploy.dockerfile import ROOT, stages, words
from tests.deploy.test_compose import check_options

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

FOLDER = ROOT / "deploy" / "kubernetes"
PARTS = ("server", "witness", "client")
VOLUMES = {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}
Object = dict[str, Any]


def rendered(part: str) -> list[Object]:
    """Return the objects of a kustomization, as kubectl renders it; skips the test where there is none."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run([kubectl, "kustomize", str(FOLDER / part)], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def pods(part: str) -> list[Object]:
    return [one["spec"]["template"]["spec"] for one in rendered(part) if one["kind"] == "StatefulSet"]


@pytest.mark.parametrize("part", PARTS)
def test_the_schemas_are_kept(part: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed (PyPI)")
    for one in rendered(part):
        kubernetes_validate.validate(one, "1.32", strict=True)


def test_the_schemas_find_what_is_wrong() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed (PyPI)")
    (found,) = [one for one in rendered("client") if one["kind"] == "StatefulSet"]
    found["spec"]["replicaz"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(found, "1.32", strict=True)


@pytest.mark.parametrize("part", PARTS)
def test_pods_are_restricted(part: str) -> None:
    """Keep what the Pod Security Standard 'restricted' demands, which the namespaces enforce, and a read-only root besides."""
    (namespace,) = [one for one in rendered(part) if one["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in pods(part):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod["automountServiceAccountToken"]
        assert {next(iter(set(volume) - {"name"})) for volume in pod["volumes"]} <= {
            "configMap",
            "secret",
            "emptyDir",
            "persistentVolumeClaim",
        }
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("part", PARTS)
def test_containers_run_commands_that_exist(part: str) -> None:
    for pod in pods(part):
        mounted = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            target = container["image"].partition(":")[0].removeprefix("lunaria-")
            check_options(target, container["args"])
            home = words(dict(stages()["base"].steps)["VOLUME"])[0]
            places = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert {home, "/tmp"} <= places  # noqa: S108 - all that is written
            assert {mount["name"] for mount in container["volumeMounts"]} - mounted <= {"run", "state"}
            for word in container["args"]:
                path = word.partition("=")[2] or word
                assert not path.startswith("/") or any(path.startswith(place) for place in places), word


@pytest.mark.parametrize("part", PARTS)
def test_nothing_is_reachable_that_is_not_named(part: str) -> None:
    policies = [one["spec"] for one in rendered(part) if one["kind"] == "NetworkPolicy"]
    everything = [one for one in policies if one["podSelector"] == {} and set(one["policyTypes"]) == {"Ingress", "Egress"}]
    assert everything
    open_to_all = [port["port"] for one in policies for rule in one.get("ingress", []) if "from" not in rule for port in rule["ports"]]
    assert open_to_all == {"server": ["gate"], "witness": ["witness"], "client": []}[part]
