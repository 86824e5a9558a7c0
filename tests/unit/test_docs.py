"""The documentation against the code: generated parts, command lines, links, and what must not stand in it."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from tests.unit.cli.commands import EVERY, parse
from xgw.cli.topics import VARIABLES
from xgw.errors import ExitCode, XgwError
from xgw.faults import KINDS
from xgw.plan.model import Verdict
from xgw.settings import SCALARS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
LONGEST = 120
LONG_BY_NATURE = {DOCS / "reference" / "commands.md", DOCS / "explanation" / "plan-and-document.md"}

FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"(?<!`)`(?P<code>xgw [^`\n]+)`(?!`)")
LINK = re.compile(r"(?<!!)\[[^\]]+\]\((?P<to>[^)\s]+)\)")
ASSIGNED = re.compile(r"[A-Z][A-Z0-9_]*=\S*")
PLACEHOLDER = re.compile(r"xgw(?: [a-z0-9]+)* (?:COMMAND|TOPIC)\b")
FOREIGN = re.compile(
    r"/work/|/root/|/home/\w+/|root@vm|/tmp/|domain-facts|plan-review|design\.md|contract\.md", re.IGNORECASE
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def command_lines(text: str) -> Iterator[str]:
    """Every line that tells a reader to type `xgw …`: in fenced blocks, with or without a prompt, and in code spans."""
    for fence in FENCE.finditer(text):
        for line in fence["body"].splitlines():
            words = line.removeprefix("$ ").removeprefix(".venv/bin/").partition("  #")[0].strip()
            while ASSIGNED.match(words):
                words = words.partition(" ")[2]
            if words.startswith("xgw ") and (fence["kind"] == "sh" or line.startswith("$ ")):
                yield words
    yield from (span["code"] for span in SPAN.finditer(FENCE.sub("", text)) if not PLACEHOLDER.match(span["code"]))


LINES = sorted({(name_of(path), line) for path in PAGES for line in command_lines(text_of(path))})


def test_nothing_generated_is_stale() -> None:
    stale = [name_of(path) for path, text in generator().pages().items() if text_of(path) != text]
    assert stale == [], "run: python docs/generate.py"


def test_every_block_that_can_be_generated_is_used() -> None:
    used = set(re.findall(r"<!-- generated: ([a-z0-9-]+) -->\n\n?\S", "\n".join(map(text_of, PAGES))))
    assert used == set(generator().BLOCKS)


@pytest.mark.parametrize(("page", "line"), LINES, ids=[f"{page}:{line}" for page, line in LINES])
def test_every_command_line_parses(page: str, line: str) -> None:
    try:
        parse(line)
    except click.exceptions.Exit:  # --help and --version end there
        return
    except (click.ClickException, XgwError) as fault:
        pytest.fail(f"{page}: {line}: {getattr(fault, 'message', fault)}")


def test_a_command_line_that_does_not_parse_is_found() -> None:
    found = list(command_lines("```sh\nX=1 xgw phase1 applly  # typo\n```\nand `xgw rollback --rn 3`"))
    assert found == ["xgw phase1 applly", "xgw rollback --rn 3"]
    for line in found:
        with pytest.raises((click.ClickException, XgwError)):
            parse(line)


def test_every_command_is_in_the_reference() -> None:
    reference = text_of(DOCS / "reference" / "commands.md")
    paths = [" ".join(path) for path in EVERY if path]
    assert [path for path in paths if not re.search(rf"^### xgw {path}(?= [\[{{A-Z]|$)", reference, re.MULTILINE)] == []


def test_every_exit_code_setting_variable_kind_and_verdict_is_told() -> None:
    exits, settings = text_of(DOCS / "reference" / "exit-codes.md"), text_of(DOCS / "reference" / "configuration.md")
    assert [code for code in ExitCode if f"| {int(code)} |" not in exits] == []
    assert [name for name in (*SCALARS, *VARIABLES) if f"`{name}`" not in settings] == []
    assert [kind for kind in KINDS if f"| `{kind}` |" not in text_of(DOCS / "reference" / "faults.md")] == []
    assert [v for v in Verdict if f"| {v} |" not in text_of(DOCS / "how-to" / "read-the-evidence.md")] == []


def test_every_variable_that_the_code_reads_is_told() -> None:
    read = {name for path in (ROOT / "xgw").rglob("*.py") for name in re.findall(r"\"(XGW_[A-Z_]+)\"", text_of(path))}
    told = text_of(DOCS / "reference" / "configuration.md")
    assert sorted(name for name in read if f"`{name}`" not in told) == []


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    targets = [match["to"].partition("#")[0] for match in LINK.finditer(FENCE.sub("", text_of(path)))]
    inside = [to for to in targets if to and not to.startswith(("http://", "https://"))]
    assert [to for to in inside if not (path.parent / to).exists()] == []


def test_every_page_can_be_reached_from_the_index() -> None:
    reached, waiting = set(), [DOCS / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        waiting += [
            (page.parent / m["to"].partition("#")[0]).resolve()
            for m in LINK.finditer(text_of(page))
            if "://" not in m["to"]
        ]
    assert sorted(name_of(page) for page in {*DOCS.rglob("*.md")} - reached) == []


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_no_page_names_a_place_of_one_machine(path: Path) -> None:
    assert FOREIGN.findall(text_of(path)) == []


@pytest.mark.parametrize("path", [page for page in PAGES if page not in LONG_BY_NATURE], ids=name_of)
def test_a_page_is_short(path: Path) -> None:
    assert len(text_of(path).splitlines()) <= LONGEST
