from typing import Annotated

from pydantic import Field

LinkToken = Annotated[str, Field(min_length=1, max_length=100, description="The token of the mailed link.")]
