"""How work in a child process tells how far it is."""

from collections.abc import Callable

Report = Callable[[float, str | None], None]
"""Percent from 0 to 100, and a few words."""
