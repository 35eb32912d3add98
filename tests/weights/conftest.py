import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def layouts():
    """The module official_layouts.py beside this file (tests are no package, so it cannot be imported by name)."""
    spec = importlib.util.spec_from_file_location("official_layouts", Path(__file__).with_name("official_layouts.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
