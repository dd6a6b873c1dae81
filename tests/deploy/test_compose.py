"""The Compose file: by the schema, hardened, and with commands, options, files and steps that exist."""

import json
from pathlib import Path

import pytest
import typer

from clients.command import app as flower_client
from server.cli import app as lunaria
from server.deployment.command import app as flower_server
from tests.deploy.dockerfile import ROOT, stages

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

DEPLOY = ROOT / "deploy"
TEXT = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
COMMANDS = {"server": flower_server, "client": flower_client, "tools": lunaria}


def known_options(program: typer.Typer, words: list[str]) -> set[str]:
    """Return the options of a program, or of its subcommand that ``words`` begin with."""
    command = typer.main.get_command(program)
    inner = getattr(command, "commands", {}).get(words[0]) if words else None
    return {option for parameter in (inner or command).params for option in parameter.opts}


def check_options(target: str, words: list[str]) -> None:
    """Refuse what a program does not take."""
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert options <= known_options(COMMANDS[target], words)


def test_the_schema_is_kept() -> None:
    spec = pytest.importorskip("compose_spec", reason="compose-spec is not installed (PyPI)")
    parsed = spec.PyCompose.from_json(json.dumps(COMPOSE))
    for check in (parsed.validate, parsed.validate_networks, parsed.validate_secrets, parsed.validate_volumes):
        check()


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "build" in service])
def test_a_service_runs_a_command_that_exists(name: str) -> None:
    service = SERVICES[name]
    target = service["build"]["target"]
    assert target in stages()
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists()
    check_options(target, service["command"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] not in ("", "0", "root", "0:0")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service


def test_only_the_proxy_is_reachable() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]
    inside = {name for name, network in COMPOSE["networks"].items() if network.get("internal")}
    outside = {name for name, service in SERVICES.items() if not set(service["networks"]) <= inside}
    assert outside == {"proxy", "client-a", "client-b", "client-c"}


def test_the_names_that_services_call_each_other_by_are_services() -> None:
    urls = [word.partition("//")[2] for word in SERVICES["server"]["command"] if "//" in word]
    hosts = {url.rpartition("@")[2].partition(":")[0].partition("/")[0] for url in urls}
    config = (DEPLOY / "proxy" / "nginx.conf").read_text(encoding="utf-8")
    hosts |= {line.split()[1].partition(":")[0] for line in config.splitlines() if line.strip().startswith("server ") and ":" in line}
    assert hosts == {"database", "witness-1", "witness-2", "server", "ledger"}
    assert hosts <= set(SERVICES)


def test_secrets_are_files_and_what_is_mounted_is_described() -> None:
    named = {Path(secret["file"]) for secret in COMPOSE["secrets"].values()}
    mounted = [volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    named |= {Path(source) for source in mounted if source.startswith(".")}
    described = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    for path in named:
        assert (DEPLOY / path).exists() or f"`{path}`" in described, path
    assert "POSTGRES_PASSWORD:" not in TEXT
