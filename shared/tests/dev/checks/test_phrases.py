"""The phrase check: what it reads, what it reports, and how an exception is honored."""

from pathlib import Path

import pytest

from shared.dev.checks.phrases import PHRASES, errors

_SOURCE = '''
"""A module docstring is not public: nobody."""
import typer

line = typer.Typer(help="{help}")
internal = "{internal}"


@line.command()
def show(name: str) -> None:
    """{docstring}"""
    typer.echo(f"{echo} {{name}}")
    screen.say(f"{say} {{name}}")
    raise LookupError("{raised}")
'''
_PLAIN = dict.fromkeys(("help", "internal", "docstring", "echo", "say", "raised"), "plain")


class _Tree:
    """A small repository and its list of exceptions."""

    def __init__(self, root: Path) -> None:
        self.root = root / "repository"
        self.exceptions = root / "exceptions.toml"
        self.exceptions.touch()
        self.root.mkdir()

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8")

    def allow(self, path: str, phrase: str, reason: str = 'reason = "the name of an account"') -> None:
        self.exceptions.write_text(f'[[exception]]\npath = "{path}"\nphrase = "{phrase}"\n{reason}\n', encoding="utf-8")

    def errors(self) -> list[str]:
        return errors(self.root, PHRASES, self.exceptions)


@pytest.fixture
def tree(tmp_path: Path) -> _Tree:
    return _Tree(tmp_path)


def test_a_phrase_in_a_page_is_reported_with_its_line_and_replacement(tree: _Tree) -> None:
    tree.write("README.md", "# Title\n\nThe cache Is\naway. Nothing else.\n")
    assert tree.errors() == ['README.md:3: "is away": write "is unavailable"']


def test_only_whole_words_match(tree: _Tree) -> None:
    tree.write("README.md", "This aways, untold manewver of ourselves.\n")
    assert tree.errors() == []


@pytest.mark.parametrize(
    ("place", "line"), [("help", 5), ("docstring", 11), ("echo", 12), ("say", 13), ("raised", 14)], ids=str
)
def test_public_strings_of_a_source_are_checked(tree: _Tree, place: str, line: int) -> None:
    tree.write("shared/src/shared/tool.py", _SOURCE.format_map(_PLAIN | {place: "seen by nobody"}))
    [found] = tree.errors()
    assert found.startswith(f'shared/src/shared/tool.py:{line}: "nobody": ')


def test_internal_strings_of_a_source_are_not_checked(tree: _Tree) -> None:
    tree.write("shared/src/shared/tool.py", _SOURCE.format_map(_PLAIN | {"internal": "seen by nobody"}))
    assert tree.errors() == []


def test_a_quoted_source_is_checked_where_it_comes_from(tree: _Tree) -> None:
    tree.write("README.md", "```python\n# shared/src/shared/tool.py\n# of ours\n```\n\n```\nmake up # anew\n```\n")
    assert tree.errors() == ['README.md:7: "anew": write "again"']


def test_an_exception_allows_one_phrase_in_one_file(tree: _Tree) -> None:
    tree.write("README.md", "Files of nobody, anew.\n")
    tree.allow("README.md", "nobody")
    assert tree.errors() == ['README.md:1: "anew": write "again"']


def test_an_exception_that_is_not_needed_is_reported(tree: _Tree) -> None:
    tree.write("README.md", "Plain.\n")
    tree.allow("README.md", "nobody")
    assert tree.errors() == ['README.md does not contain "nobody": remove it from exceptions.toml']


def test_an_exception_needs_a_reason(tree: _Tree) -> None:
    tree.allow("README.md", "nobody", reason="")
    with pytest.raises(TypeError, match="reason"):
        tree.errors()
