import pytest
import quick_compiles


@pytest.fixture(scope="package", autouse=True)
def quick(tmp_path_factory):
    with quick_compiles.into(tmp_path_factory.mktemp("compiled")):
        yield
