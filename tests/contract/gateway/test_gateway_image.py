"""The image's files, without a container engine: what the Dockerfile says, what would be sent, and whether just that starts."""

from __future__ import annotations

import ast
import re
import shutil
import signal
import subprocess
import sys
import venv
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path, PurePosixPath

import httpx
import pytest
from packaging.requirements import Requirement

from tests.helpers import gateway_process
from tests.helpers.gateway_process import ROOT, free_port

RUNTIME = ROOT / "gateway_runtime"
INSTRUCTIONS = [
    tuple(line.split(maxsplit=1))
    for line in re.sub(r"\\\n", " ", (RUNTIME / "Dockerfile").read_text()).splitlines()
    if line and not line.startswith("#")
]
STAGES = [number for number, (word, _) in enumerate(INSTRUCTIONS) if word == "FROM"]
LAST = INSTRUCTIONS[STAGES[-1] :]
PROVIDES = {
    "backports": "backports.zstd",
    "compression": "",
    "google": "google-cloud-firestore",
    "grpc": "",
    "email_validator": "email-validator",
    "engineio": "python-engineio",
    "socketio": "python-socketio",
}
"""Modules that are not named as what brings them: `compression` is the standard library's, from 3.14 on; `grpc` comes with
google-cloud-firestore, whose errors it raises."""


def requirements() -> dict[str, Requirement]:
    lines = (RUNTIME / "requirements.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {requirement.name: requirement for requirement in found}


def ignored(path: str) -> bool:
    """As the builder reads .dockerignore: the last line that fits a path, or a folder above it, decides."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    out = False
    for line in lines:
        pattern = line.removeprefix("!").removeprefix("**/")
        whole = not line.removeprefix("!").startswith("**/")
        for step in [PurePosixPath(path), *PurePosixPath(path).parents][:-1]:
            if fnmatch(str(step) if whole else step.name, pattern) and (
                not whole or "/" not in str(step) or pattern != "*"
            ):
                out = not line.startswith("!")
    return out


def sent() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    every = listed.stdout.split() or [str(path.relative_to(ROOT)) for path in RUNTIME.rglob("*") if path.is_file()]
    return [path for path in every if not ignored(path) and (ROOT / path).is_file()]


def test_it_is_built_in_one_stage_and_runs_in_another() -> None:
    assert len(STAGES) == 2
    assert ("COPY", "--from=build /app /app") in LAST
    assert [rest for word, rest in LAST if word == "COPY" and not rest.startswith("--from=build")] == []


def test_it_runs_as_nobody_and_without_a_shell_between() -> None:
    (user,) = [rest for word, rest in LAST if word == "USER"]
    assert re.fullmatch(r"[1-9][0-9]{4}:[1-9][0-9]{4}", user)
    assert LAST[-1] == ("CMD", '["python", "-m", "gateway_runtime"]')


def test_nothing_that_installs_or_compiles_is_left() -> None:
    runs = [rest for word, rest in LAST if word == "RUN"]
    assert not re.search(r"apt|apk|curl|wget|gcc|install", " ".join(runs))
    assert re.search(r"rm -rf \S*site-packages/\* \S*ensurepip \S*bin/pip\*", runs[0])
    assert not re.search(r"apt|gcc|build-essential", (RUNTIME / "Dockerfile").read_text())
    assert not [word for word, _ in INSTRUCTIONS if word == "ADD"]


def test_only_the_runtimes_files_are_sent() -> None:
    files = sent()
    assert {path.partition("/")[0] for path in files} == {"gateway_runtime"}
    assert {PurePosixPath(path).suffix for path in files} == {".py", ".json", ".txt"}
    assert "gateway_runtime/openapi.json" in files
    for path in ("tests/x.py", ".git/config", "gateway_runtime/Dockerfile", "gateway_runtime/a/__pycache__/b.pyc",
                 "gateway_runtime/.env", ".env", "README.md", "xgw/cli/main.py", "gateway_runtime/server/.hidden"):  # fmt: skip
        assert ignored(path), path


def test_the_requirements_are_what_is_imported() -> None:
    imported = set()
    for path in RUNTIME.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                imported.add(node.module.partition(".")[0])
    foreign = imported - sys.stdlib_module_names - {"gateway_runtime"}
    assert {PROVIDES.get(name, name) for name in foreign} - {""} == set(requirements())


def test_the_requirements_are_the_projects_own() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    ours = {each.name: str(each) for each in map(Requirement, project)}
    assert {name: ours.get(name) for name in requirements()} == {n: str(r) for n, r in requirements().items()}


def closure() -> set[str]:
    """The distributions that the requirements bring."""
    found: set[str] = set()
    waiting = list(requirements().values())
    while waiting:
        wanted = waiting.pop()
        extras = wanted.extras or {""}
        if wanted.marker and not any(wanted.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        found.add(wanted.name)
        for text in metadata.requires(wanted.name) or ():
            inner = Requirement(text)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                inner.marker = None
                if inner.name not in found:
                    waiting.append(inner)
    return found


def test_just_these_files_and_these_libraries_start_and_answer(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    for name in closure():
        for file in metadata.distribution(name).files or ():
            source = Path(str(file.locate()))
            if ".." not in file.parts and source.is_file():
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, site / file)
    app = tmp_path / "app"
    for path in sent():
        (app / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, app / path)
    (app / "gateway_runtime" / "requirements.txt").unlink()

    def run(code: str) -> str:
        done = subprocess.run([python, "-c", code], cwd=app, capture_output=True, text=True, timeout=240, check=True)
        return done.stdout.strip()

    absent = ("xgw", "httpx", "pytest", "pip", "hypothesis", "psutil", "google.cloud.run_v2")
    assert run(f"import importlib.util as u; print([n for n in {absent!r} if u.find_spec(n)])") == "[]"
    run(
        "import pkgutil, importlib, gateway_runtime\n"
        "for m in pkgutil.walk_packages(gateway_runtime.__path__, 'gateway_runtime.'):\n"
        "    m.name.endswith('__main__') or importlib.import_module(m.name)"
    )
    port = free_port()
    out = tmp_path / "out.log"
    with out.open("wb") as sink:
        process = subprocess.Popen(
            [python, "-m", "gateway_runtime"], cwd=app, env={"PORT": str(port)}, stdout=sink, stderr=subprocess.STDOUT
        )
    try:
        gateway_process._until_listening(process, port, out)
        for path in ("/health", "/openapi.json", "/health/deep"):
            assert httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("word", ["HEALTHCHECK", "ENTRYPOINT"])
def test_what_cloud_run_does_not_read_is_not_there(word: str) -> None:
    assert word not in [instruction for instruction, _ in INSTRUCTIONS]
