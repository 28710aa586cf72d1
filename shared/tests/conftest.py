"""The servers and helpers that shared offers to every package, used by its own tests too."""

pytest_plugins = ["shared.testing.plugin"]
