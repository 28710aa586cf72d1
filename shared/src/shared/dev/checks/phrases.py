"""Public text uses the field's terms: `make check` rejects the phrases of phrases.toml and suggests a replacement.

Public text is text that people read without opening the code: documentation, generated contracts (which contain every
problem's title, cause and remedy), build files, command-line help and messages, and the details of errors.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.dev.fleet import repository

PHRASES: Final = Path(__file__).with_name("phrases.toml")
EXCEPTIONS: Final = Path(__file__).with_name("phrase_exceptions.toml")

_PAGES: Final = ("*.md", "docs/**/*.md", ".env.example", "Makefile", "*.yaml", "k8s/**/*.yaml", "*/contracts/*.json")
_SOURCES: Final = ("*/src/**/*.py",)
_QUOTED_SOURCE: Final = re.compile(r"```\w*\n# \S+\.\w+\n.*?```", re.DOTALL)
_BREAK: Final = r"(?:\s|\\n)+"  # contracts are JSON, where a line break is written \n


@dataclass(frozen=True, slots=True)
class Finding:
    path: str
    line: int
    phrase: str
    replacement: str

    def __str__(self) -> str:
        return f'{self.path}:{self.line}: "{self.phrase}": write "{self.replacement}"'


@dataclass(frozen=True, slots=True)
class PhraseException:
    path: str
    phrase: str
    reason: str


def errors(root: Path, phrases: Path = PHRASES, exceptions: Path = EXCEPTIONS) -> list[str]:
    """A line per phrase that is used without an exception, and per exception that is not used."""
    found = list(_findings(root, tomllib.loads(phrases.read_text(encoding="utf-8"))))
    entries = tomllib.loads(exceptions.read_text(encoding="utf-8")).get("exception", [])
    allowed = {(one.path, one.phrase) for one in (PhraseException(**entry) for entry in entries)}
    unused = allowed - {(finding.path, finding.phrase) for finding in found}
    return [
        *(str(finding) for finding in found if (finding.path, finding.phrase) not in allowed),
        *(f'{path} does not contain "{phrase}": remove it from {exceptions.name}' for path, phrase in sorted(unused)),
    ]


def _findings(root: Path, replacements: dict[str, str]) -> Iterator[Finding]:
    words = {phrase: r"\b" + phrase.replace(" ", _BREAK) + r"\b" for phrase in replacements}
    patterns = {phrase: re.compile(pattern, re.IGNORECASE) for phrase, pattern in words.items()}
    for path, first_line, text in _public_texts(root):
        for phrase, pattern in patterns.items():
            for match in pattern.finditer(text):
                line = first_line + text.count("\n", 0, match.start())
                yield Finding(path, line, phrase, replacements[phrase])


def _public_texts(root: Path) -> Iterator[tuple[str, int, str]]:
    """Each public text with its file and the line on which it begins."""
    for page in _files(root, _PAGES):
        text = page.read_text(encoding="utf-8")
        yield str(page.relative_to(root)), 1, _QUOTED_SOURCE.sub(lambda quote: "\n" * quote[0].count("\n"), text)
    for source in _files(root, _SOURCES):
        for constant in _public_strings(ast.parse(source.read_text(encoding="utf-8"))):
            yield str(source.relative_to(root)), constant.lineno, str(constant.value)


def _files(root: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted({path for pattern in patterns for path in root.glob(pattern)})


def _public_strings(tree: ast.Module) -> Iterator[ast.Constant]:
    """The strings of `typer.echo`, of the launcher's `say`, of `help=` and of raised errors; docstrings of commands."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name("typer"), attr="echo")) | ast.Raise():
                yield from _strings(node)
            case ast.Call(func=ast.Attribute(attr="say") | ast.Name("say")):
                yield from _strings(node)
            case ast.keyword(arg="help"):
                yield from _strings(node)
            case ast.FunctionDef(decorator_list=[ast.Call(func=ast.Attribute(attr="command")), *_]):
                yield from _strings(node.body[0])


def _strings(node: ast.AST) -> Iterator[ast.Constant]:
    return (one for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str))


if __name__ == "__main__":
    found = errors(repository())
    sys.stdout.writelines(f"{line}\n" for line in found)
    sys.exit(bool(found))
