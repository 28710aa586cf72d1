import pytest

from users_service.files.names import safe_name


@pytest.mark.parametrize(
    ("sent", "safe"),
    [
        ("C:\\temp\\a.txt", "a.txt"),
        ("..", "file"),
        ("/", "file"),
        ("  .bashrc ", "bashrc"),
        ("e\u0301.txt", "é.txt"),
        ("a\u202egpj.exe", "a_gpj.exe"),
        ("a\u061c\u200b\u2028b.txt", "a_b.txt"),
        ("\u3164\u2800", "file"),
        ("x" * 300 + ".csv", "x" * 196 + ".csv"),
    ],
)
def test_names_are_made_safe(sent: str, safe: str) -> None:
    assert safe_name(sent) == safe
