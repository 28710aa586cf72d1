"""The sources of settings, which leave an entry that is not valid JSON to the validation."""

from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource


class LenientEnvironment(EnvSettingsSource):
    """Leaves what should be JSON and is not to the validation, which names it beside every other entry."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


class LenientDotenv(LenientEnvironment, DotEnvSettingsSource):
    """The same for the dotenv files."""
