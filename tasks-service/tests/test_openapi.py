"""The OpenAPI document of this service."""

from fastapi import FastAPI

from shared.testing.documented import undocumented


def test_every_operation_is_documented(app: FastAPI) -> None:
    assert undocumented(app.openapi()) == []
