from pathlib import Path

import pytest

from tests.deploy.charted import CHART_YAML, SETS
from tests.harness import helm
from tests.harness.helm import Manifest


@pytest.fixture(scope="session")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart, with stand-ins for the charts that it depends on."""
    return helm.chart(
        tmp_path_factory.mktemp("helm"), {each["name"]: each["version"] for each in CHART_YAML["dependencies"]}
    )


@pytest.fixture(scope="session")
def everything(chart: Path) -> list[Manifest]:
    """All objects that there can be."""
    return helm.rendered(chart, SETS["everything"])
