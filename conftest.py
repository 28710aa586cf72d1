"""Import the packages whose names are also folder names here, before pytest imports their tests.

pytest names shared/tests/x/test_y.py `shared.tests.x.test_y` and would make an empty `shared` of the folder for it.
"""

import gateway
import shared

__all__ = ["gateway", "shared"]
