"""The login that changes schemas."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.settings.loading import SettingsInvalid


class OwnerSettings(BaseSettings):
    """The administrator's login, read by the commands that change the schema: no process that serves has it."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore")

    database_owner_url: SecretStr | None = Field(
        default=None,
        description="The PostgreSQL server and an administrator's login: postgresql://login:password@host:port.",
    )

    @property
    def url(self) -> str:
        """Raises SettingsInvalid if it is not set."""
        if self.database_owner_url is None or not self.database_owner_url.get_secret_value():
            raise SettingsInvalid(
                "DATABASE_OWNER_URL is not set; set it to an administrator's login, such as postgresql://admin@host"
            )
        return self.database_owner_url.get_secret_value()
