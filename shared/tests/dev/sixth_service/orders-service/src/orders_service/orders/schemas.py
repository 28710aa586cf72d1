from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.text import NAME
from shared.web.json_input import Input


class OrderIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"item": "Rope, 20 m", "quantity": 2}})

    item: Annotated[str, Field(min_length=1, max_length=200), NAME]
    quantity: Annotated[int, Field(ge=1, le=1000)] = 1


class OrderOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    item: str = Field(examples=["Rope, 20 m"])
    quantity: int
