"""The image's files, without a container engine: what the Dockerfile says, what would be sent, and whether just that starts."""

from __future__ import annotations

import ast
import os
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
from packaging.utils import canonicalize_name

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
    assert re.search(r"rm -rf \S*site-packages/\* \S*ensurepip \S*bin/pip\* +\S*/include ", runs[0])
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


def pins() -> dict[str, tuple[Requirement, int]]:
    """What the image is made of: the version of each, and how many files of it may be taken."""
    lines = re.sub(r"\\\n", " ", (RUNTIME / "pinned.txt").read_text()).splitlines()
    found = [line.partition("--hash=") for line in lines if line and not line.startswith("#")]
    read = [(Requirement(pin.strip()), f"{hashes}".count("sha256:")) for pin, _, hashes in found]
    return {canonicalize_name(requirement.name): (requirement, count) for requirement, count in read}


def test_the_image_is_made_of_exact_versions_and_files_that_are_known() -> None:
    (install,) = [rest for word, rest in INSTRUCTIONS if word == "RUN" and "pip install" in rest]
    assert install.endswith("--only-binary :all:      --target /app -r pinned.txt"), install
    for requirement, hashes in pins().values():
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(requirement.specifier)), requirement
        assert hashes >= 1, requirement


def test_what_is_pinned_is_what_the_project_asks_for() -> None:
    for name, requirement in requirements().items():
        pin, _ = pins()[canonicalize_name(name)]
        (exact,) = pin.specifier
        assert requirement.specifier.contains(exact.version), f"{pin} is not {requirement}: renew pinned.txt"


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


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A Python that has nothing, and the folder /app as the Dockerfile makes it: the libraries are copied from here instead
    of installed, the rest is carried out as it stands there. The checkout is one that only its owner may read, and after
    the build every file gets another time, as builders do that make the same image twice."""
    folder = tmp_path_factory.mktemp("image")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    app = folder / "app"
    for name in closure():
        for file in metadata.distribution(name).files or ():
            source = Path(str(file.locate()))
            if ".." not in file.parts and source.is_file() and source.suffix != ".pyc":
                (app / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, app / file)
    for path in sent():
        (app / path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copy2(ROOT / path, app / path)
        (app / path).chmod(0o600)
    (run,) = [rest for word, rest in INSTRUCTIONS[: STAGES[-1]] if word == "RUN" and "pip install" not in rest]
    there = {"PATH": f"{folder}/venv/bin:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", run.replace("/app", str(app))], env=there, check=True, timeout=240)
    for path in app.rglob("*.py"):
        os.utime(path, (0, 0))
    return folder / "venv" / "bin" / "python", app


def run(image: tuple[Path, Path], *words: str) -> tuple[str, str]:
    """What a command says in the image, on stdout and on stderr."""
    python, app = image
    environment = {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [python, *words], cwd=app, env=environment, capture_output=True, text=True, timeout=240, check=True
    )
    return done.stdout.strip(), done.stderr


def test_just_these_files_and_these_libraries_can_all_be_imported(image: tuple[Path, Path]) -> None:
    absent = ("xgw", "httpx", "pytest", "pip", "hypothesis", "psutil", "google.cloud.run_v2")
    assert run(image, "-c", f"import importlib.util as u; print([n for n in {absent!r} if u.find_spec(n)])")[0] == "[]"
    run(
        image,
        "-c",
        "import pkgutil, importlib, gateway_runtime\n"
        "for m in pkgutil.walk_packages(gateway_runtime.__path__, 'gateway_runtime.'):\n"
        "    m.name.endswith('__main__') or importlib.import_module(m.name)",
    )


def test_a_start_compiles_nothing_whatever_times_the_files_have(image: tuple[Path, Path]) -> None:
    _, told = run(image, "-v", "-c", "import gateway_runtime.server.run, gateway_runtime.roles.gateway")
    loaded = re.findall(rf"^# code object from '{image[1]}/(\S+)'", told, re.MULTILINE)
    assert len(loaded) > 50
    assert [path for path in loaded if not path.endswith(".pyc")] == []
    # The base image has no byte code of the standard library: its publisher takes it out.
    (command,) = [rest for word, rest in LAST if word == "RUN"]
    assert re.search(r"python -m compileall .*--invalidation-mode unchecked-hash .* /usr/local/lib/python3\*$", command)


def test_everybody_may_read_all_of_it_and_nobody_but_its_owner_write(image: tuple[Path, Path]) -> None:
    modes = {path: path.stat().st_mode & 0o777 for path in (image[1], *image[1].rglob("*"))}
    wanted = {path: 0o555 if path.is_dir() else 0o444 for path in modes}
    assert [path for path, mode in modes.items() if mode & wanted[path] != wanted[path] or mode & 0o022] == []


def test_what_only_serves_those_who_develop_is_not_in_it(image: tuple[Path, Path]) -> None:
    files = [path.relative_to(image[1]) for path in image[1].rglob("*") if path.is_file()]
    dev = {".c", ".h", ".pyi", ".pyx", ".pxd", ".proto", ".a"}
    assert [path for path in files if path.suffix in dev or "tests" in path.parts or path.parts[0] == "bin"] == []
    assert not list((image[1] / "gateway_runtime").glob("*.txt"))


def test_just_that_starts_answers_and_stops(image: tuple[Path, Path], tmp_path: Path) -> None:
    python, app = image
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
