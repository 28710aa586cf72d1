"""Settings that every service shares: nested, typed, read once at the start from the environment and dotenv files.

`DATABASE__POOL_SIZE=20` sets `database.pool_size`. `.env` is read first, then `.env.<environment>`, then the process
environment, the later one winning. All errors are reported at once, and production refuses what only development may
use.
"""

from shared.settings.loading import S, SettingsInvalid, load
from shared.settings.owner import OwnerSettings
from shared.settings.sections import (
    DAY_S,
    YEARS_S,
    Environment,
    HttpUrl,
    LogSettings,
    Section,
    ServerSettings,
    ServiceName,
    TelemetrySettings,
)
from shared.settings.service import MountedFile, ServiceSettings, variable_of

__all__ = [
    "DAY_S",
    "YEARS_S",
    "Environment",
    "HttpUrl",
    "LogSettings",
    "MountedFile",
    "OwnerSettings",
    "S",
    "Section",
    "ServerSettings",
    "ServiceName",
    "ServiceSettings",
    "SettingsInvalid",
    "TelemetrySettings",
    "load",
    "variable_of",
]
