"""What every package's tests stand on: real servers, databases cloned from a template, people, running services.

A conftest takes it by `pytest_plugins = ["shared.testing.plugin"]`.
"""

from shared.testing.people import People
from shared.testing.running import Served, running, running_service, serving_service
from shared.testing.servers import Servers
from shared.testing.waiting import eventually

__all__ = ["People", "Served", "Servers", "eventually", "running", "running_service", "serving_service"]
