"""Files as clients see them, and the form that brings one."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.web.paging import ListQuery
from users_service.files.upload import MAX_CATEGORY, MAX_DESCRIPTION


class FileOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str = Field(examples=["boats.csv"])
    content_type: str = Field(examples=["text/csv"])
    size_bytes: int = Field(examples=[30])
    sha256: str = Field(examples=["9f86d081…"])
    description: str | None = Field(examples=["Boats of May"])
    category: str | None = Field(examples=["reports"])
    owner_id: UUID
    created_at: datetime


class FileQuery(ListQuery):
    category: list[str] = Field(default_factory=list, max_length=20, description="Files of one of these categories.")
    content_type: list[str] = Field(default_factory=list, max_length=20)
    owner_id: UUID | None = Field(
        default=None,
        description="With admin:read: one person's files.",
        examples=["01890a5d-ac96-774b-bcce-b302099a8057"],
    )


UPLOAD_FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "description": {"type": "string", "maxLength": MAX_DESCRIPTION},
                        "category": {"type": "string", "maxLength": MAX_CATEGORY},
                    },
                },
                "example": {"file": "name,amount\nann,3\n", "description": "Amounts of May", "category": "reports"},
            }
        },
    }
}
