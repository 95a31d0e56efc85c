"""What importing costs: which modules, and how long beside polars."""

import subprocess
import sys

import pytest
from cold_start import import_times

HEAVY = (
    "pandas",
    "polars",
    "boto3",
    "botocore",
    "pluggy",
    "pyarrow",
    "numpy",
    "attrs",
    "attr",
    "click",
    "rich",
)


def modules_after(code):
    out = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(' '.join(sys.modules))"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(out.stdout.split())


@pytest.mark.parametrize("package", ["titans", "titans_common"])
def test_importing_the_package_imports_nothing_heavy(package):
    bare = modules_after("")
    new = modules_after(f"import {package}") - bare
    assert new & set(HEAVY) == set()
    assert {name for name in new if not name.startswith(("titans", "__future__"))} == set()


def test_choosing_a_provider_loads_neither_polars_nor_the_others():
    loaded = modules_after("import titans; titans.get_config('gcp')")
    assert loaded & {"polars", "pandas", "boto3", "pyarrow", "titans_aws", "titans_azure"} == set()
    assert "titans_gcp" in loaded


def test_a_local_archive_needs_neither_boto3_nor_pandas(tmp_path):
    loaded = modules_after(
        "import titans, polars as pl\nfrom datetime import datetime, UTC\n"
        f"a = titans.open({str(tmp_path)!r}, provider='gcp')\n"
        "a.ingest(pl.DataFrame({'InstanceType': ['n1'], 'Region': ['r'], 'SpotPrice': [0.5]}), "
        "datetime(2026, 1, 1, tzinfo=UTC))\nassert a.latest().height == 1"
    )
    assert loaded & {"boto3", "botocore", "pandas", "pyarrow"} == set()


@pytest.mark.slow
def test_importing_takes_next_to_nothing():
    """It is a hundredth of `import polars`. The least of several processes, in turn: whatever else
    runs here delays both."""
    least = import_times(runs=3, packages=("polars", "titans", "titans_common"))
    assert least["titans"] <= 0.1 * least["polars"], least
    assert least["titans_common"] <= 0.1 * least["polars"], least


def test_every_public_name_is_there():
    import titans

    assert [name for name in titans.__all__ if not hasattr(titans, name)] == []
    assert set(titans.__all__) <= set(dir(titans))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        titans.nonsense  # noqa: B018
