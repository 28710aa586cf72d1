"""Import the packages whose names are also folder names here, before pytest imports their tests.

pytest names shared/tests/x/test_y.py `shared.tests.x.test_y` and would make an empty `shared` of the folder for it.
"""

import os

import gateway
import shared

os.environ["NO_PROXY"] = os.environ["no_proxy"] = "localhost,127.0.0.1"  # what tests speak to is on this machine

__all__ = ["gateway", "shared"]
