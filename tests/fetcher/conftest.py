from collections.abc import Iterator

import pytest

from tests.harness.site import Site
from tests.harness.site import site as a_site


@pytest.fixture
def site() -> Iterator[Site]:
    """A site on loopback; what stands there is the test's."""
    with a_site() as one:
        yield one
