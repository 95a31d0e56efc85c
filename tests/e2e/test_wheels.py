"""The built distributions, installed with plain pip into an environment of their own."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from cold_start import LIMIT, installed_bytes
from processes import build, call, pip_install

ROOT = Path(__file__).resolve().parents[2]
PROJECTS = {
    "titans-core": "core",
    "titans-aws": "plugins/aws",
    "titans-azure": "plugins/azure",
    "titans-explorer": "plugins/explorer",
    "titans-gcp": "plugins/gcp",
    "titans-spark": "plugins/spark",
}

pytestmark = pytest.mark.xdist_group("wheels")


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """A folder with the wheel and the sdist of every distribution."""
    out = tmp_path_factory.mktemp("dist")
    for folder in PROJECTS.values():
        build(ROOT / folder, out)
    return out


def wheel(dist, name):
    (found,) = dist.glob(f"{name.replace('-', '_')}-*.whl")
    return found


@pytest.fixture(scope="module")
def python(dist, tmp_path_factory):
    """An interpreter in a clean environment that has `titans-aws`, which brought the core, from
    these wheels."""
    environment = tmp_path_factory.mktemp("clean") / "venv"
    call(sys.executable, "-m", "venv", environment)
    python = environment / "bin" / "python"
    pip_install(python, dist, "titans-aws")
    return python


def test_every_distribution_is_complete(dist):
    for name, folder in PROJECTS.items():
        files = zipfile.ZipFile(wheel(dist, name)).namelist()
        package = name.replace("-", "_") if folder != "core" else "titans"
        assert f"{package}/py.typed" in files
        assert ("titans/scaffold/template/plugin.py.tmpl" in files) == (folder == "core")
        assert any(f.endswith("licenses/LICENSE") for f in files)
        (metadata,) = (f for f in files if f.endswith(".dist-info/METADATA"))
        text = zipfile.ZipFile(wheel(dist, name)).read(metadata).decode()
        assert "License-Expression: Apache-2.0" in text
        assert "Requires-Python: >=3.11" in text
        if folder != "core":
            assert re.search(r"Requires-Dist: titans-core(\[cli\])?<0.2,>=0.1\n", text)
        (sdist,) = dist.glob(f"{name.replace('-', '_')}-*.tar.gz")
        with tarfile.open(sdist) as archive:
            assert any(m.name.endswith("pyproject.toml") for m in archive)
            assert any(f"/src/{package}/__init__.py" in m.name for m in archive)


def test_installing_a_provider_brings_the_core_and_nothing_heavy(python):
    listed = call(
        python, "-m", "pip", "list", "--disable-pip-version-check", "--format=freeze"
    ).lower()
    assert "titans-core==" in listed
    for heavy in (
        "pyarrow",
        "pandas",
        "numpy",
        "flask",
        "django",
        "fastapi",
        "click",
        "titans-gcp",
    ):
        assert f"{heavy}==" not in listed


def test_the_aws_provider_fits_into_a_lambda(dist, tmp_path, record_property):
    sizes = installed_bytes(dist, tmp_path / "lambda")
    lines = [f"{size / 1e6:.1f} MB {name}" for name, size in list(sizes.items())[:4]]
    record_property("table", (f"titans-aws unzipped: {sum(sizes.values()) / 1e6:.1f} MB", lines))
    assert sum(sizes.values()) < LIMIT, sizes
    assert {"titans_core", "titans_aws", "polars", "boto3"} <= set(sizes)
    assert {"pandas", "pyarrow", "numpy"} & set(sizes) == set()


def test_it_works_there(python, tmp_path):
    code = """
import polars as pl, titans, titans_common
from datetime import datetime, timezone
a = titans.open("data", provider="aws")
rows = pl.DataFrame({"InstanceType": ["m5.large"], "Region": ["us-west-2"], "AZ": ["usw2-az1"], "SpotPrice": [0.04]})
a.ingest(rows, datetime(2026, 1, 1, tzinfo=timezone.utc))
assert a.latest().height == 1
print(titans.__version__)
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "TITANS"))}
    assert call(python, "-c", code, cwd=tmp_path, env=environment).strip() == "0.1.0"


def test_the_command_line_says_what_it_needs(python):
    done = subprocess.run(
        [python.with_name("titans"), "plugins"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "pip install 'titans-core[cli]'" in done.stderr


def test_the_explorer_installs_alone_and_brings_its_page(dist, tmp_path):
    """Into an environment that has nothing but a provider."""
    files = zipfile.ZipFile(wheel(dist, "titans-explorer")).namelist()
    source = ROOT / "plugins/explorer/src"
    page = {str(file.relative_to(source)) for file in source.rglob("page/**/*") if file.is_file()}
    assert len(page) > 15
    assert page <= set(files)

    environment = tmp_path / "venv"
    call(sys.executable, "-m", "venv", environment)
    alone = environment / "bin" / "python"
    pip_install(alone, dist, "titans-explorer")
    pip_install(alone, dist, "titans-gcp")
    code = (
        "import polars as pl, titans\nfrom datetime import datetime, UTC\n"
        "rows = {'InstanceType': ['n1'], 'Region': ['r'], 'SpotPrice': [0.5]}\n"
        "titans.open('data', provider='gcp').ingest(pl.DataFrame(rows), datetime(2026, 1, 1, tzinfo=UTC))"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "TITANS"))}
    call(alone, "-c", code, cwd=tmp_path, env=environment)
    titans = alone.with_name("titans")
    assert "explore" in call(titans, "--help", cwd=tmp_path, env=environment)
    still = ["explore", "--store", "data", "--static", "site"]
    assert "1 change points" in call(titans, *still, cwd=tmp_path, env=environment)
    assert (tmp_path / "site/js/main.js").is_file()


def test_titans_spark_installs_alone_and_leaves_spark_to_its_users(dist, tmp_path):
    """pyspark and pyspark-client share their files: the one that is there must stay as it is."""
    files = zipfile.ZipFile(wheel(dist, "titans-spark")).namelist()
    assert {"titans_spark/source.py", "pyspark_titans/__init__.py"} <= set(files)
    environment = tmp_path / "venv"
    call(sys.executable, "-m", "venv", environment)
    alone = environment / "bin" / "python"
    pip_install(alone, dist, "titans-spark")
    listed = call(alone, "-m", "pip", "list", "--disable-pip-version-check", "--format=freeze")
    assert "titans-core==" in listed
    assert "pyarrow==" in listed
    assert "pyspark" not in listed
    options = (
        "from titans_spark.options import Options; print(Options.of({'provider': 'aws'}).table)"
    )
    done = subprocess.run(
        [alone, "-c", options], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stderr.strip().endswith("pip install 'titans-spark[pyspark]', or [client]")


def test_the_provider_in_twenty_lines_is_a_package(python, dist, tmp_path):
    from readme_blocks import blocks, sections

    page = ROOT / "docs" / "providers.md"
    lines = sections(page)["## In 20 lines"]
    files = {b.name: b.text for b in blocks(page) if b.name and b.line in lines}
    source = {name: text for name, text in files.items() if name.endswith((".py", ".toml"))}
    assert len(source) == 2
    (module,) = (text for name, text in source.items() if name.endswith(".py"))
    assert len([line for line in module.splitlines() if line.strip()]) <= 20
    project = tmp_path / "newcloud"
    for name, text in source.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    build(project, tmp_path / "dist", "--wheel")
    (built,) = (tmp_path / "dist").glob("*.whl")
    pip_install(python, dist, built)
    asks = "import titans; print(titans.get_config('newcloud').pk_columns)"
    assert "[" in call(python, "-c", asks, cwd=tmp_path)
    call(python, "-m", "pip", "uninstall", "--quiet", "--yes", "titans-newcloud")
    gone = subprocess.run(
        [python, "-c", asks], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert "Unknown provider" in gone.stderr
