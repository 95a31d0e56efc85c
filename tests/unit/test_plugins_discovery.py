"""Which providers there are, and that nothing is imported before somebody asks for it."""

import subprocess
import sys
from importlib import metadata

import pytest
from fixtures_plugins import GOOD, HEAD, KEY, SCHEMA

import titans
from titans import plugins
from titans.errors import PluginError, ProviderError, UnknownProviderError
from titans.provider import Provider


def infos(name):
    return [info for info in plugins.installed() if info.name == name]


def test_a_distribution_with_an_entry_point_is_listed_without_being_imported(site):
    module = site.add()
    (info,) = infos("acme")
    assert (info.value, info.distribution, info.version, info.status) == (
        module,
        "acme-titans",
        "1.0",
        "found",
    )
    assert module not in sys.modules
    assert str(info) == f"acme-titans 1.0, entry point acme = {module}"


def test_the_three_of_this_repository_are_found_like_any_other():
    assert {"aws", "azure", "gcp"} <= {info.name for info in plugins.installed()}


def test_loading_one_imports_only_that_one(site):
    wanted = site.add(name="one", distribution="one-titans")
    other = site.add(name="two", distribution="two-titans")
    provider = plugins.load("one")
    assert isinstance(provider, Provider)
    assert (provider.name, provider.distribution, provider.version) == ("one", "one-titans", "1.0")
    assert wanted in sys.modules
    assert other not in sys.modules
    assert [info.status for info in infos("one") + infos("two")] == ["loaded", "found"]


def test_a_fresh_process_that_loads_one_provider_has_neither_polars_nor_another_provider():
    code = (
        "import sys; from titans import plugins; plugins.installed(); assert 'pluggy' not in "
        "sys.modules\n"
        "plugins.load('gcp'); print(*sorted({m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = done.stdout.split()
    assert "titans_gcp" in modules
    assert not {"titans_aws", "titans_azure", "polars", "pandas", "boto3"} & set(modules)


def test_a_provider_is_loaded_once(site):
    site.add()
    assert plugins.load("acme") is plugins.load("acme")


def test_a_package_installed_later_is_found_without_a_restart(site):
    with pytest.raises(UnknownProviderError):
        plugins.load("acme")
    site.add()
    assert plugins.load("acme").name == "acme"


def test_what_is_found_follows_the_search_path(site, monkeypatch):
    site.add()
    assert infos("acme")
    plugins.load("acme")
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder != str(site.folder)])
    with pytest.raises(UnknownProviderError):
        plugins.load("acme")
    assert not infos("acme")


def test_fifty_plugins_are_listed_and_looked_for_once(site, monkeypatch):
    modules = [site.add(name=f"cloud{i}", distribution=f"cloud{i}-titans") for i in range(50)]
    scan = metadata.entry_points
    calls = []
    monkeypatch.setattr(
        metadata, "entry_points", lambda **given: calls.append(given) or scan(**given)
    )
    found = plugins.installed(refresh=True)
    assert sum(info.name.startswith("cloud") for info in found) == 50
    assert len(calls) == 1
    plugins.load("cloud7")
    plugins.installed()
    assert len(calls) == 1
    assert [m for m in modules if m in sys.modules] == [modules[7]]


def test_an_unknown_provider_is_a_value_error_that_says_what_to_install(site):
    site.add()
    with pytest.raises(
        ValueError,
        match=r"^Unknown provider 'nimbus'; installed: acme, .*pip install titans-nimbus$",
    ) as caught:
        plugins.load("nimbus")
    assert isinstance(caught.value, UnknownProviderError)
    assert caught.value.provider == "nimbus"


@pytest.mark.parametrize("name", ["../etc", "", "a b", None, 7])
def test_a_name_no_package_can_have_gets_no_advice_to_install_it(name):
    with pytest.raises(UnknownProviderError, match=r"^Unknown provider") as caught:
        plugins.load(name)
    assert "pip install" not in str(caught.value)


# --- environment ----------------------------------------------------------------------------------


def test_only_allowed_providers_can_be_loaded(site, monkeypatch):
    module = site.add()
    monkeypatch.setenv("TITANS_PLUGINS", "aws, gcp")
    with pytest.raises(
        PluginError,
        match=r"acme-titans 1\.0, entry point acme = .*TITANS_PLUGINS=aws, gcp does not allow it; add 'acme'",
    ) as caught:
        plugins.load("acme")
    assert caught.value.provider == "acme"
    assert module not in sys.modules
    assert plugins.load("gcp").name == "gcp"
    monkeypatch.setenv("TITANS_PLUGINS", "acme")
    assert plugins.load("acme").name == "acme"


def test_a_denied_provider_cannot_be_loaded_and_the_message_names_the_variable(site, monkeypatch):
    module = site.add()
    monkeypatch.setenv("TITANS_DISABLE_PLUGINS", "acme")
    with pytest.raises(
        PluginError, match=r"TITANS_DISABLE_PLUGINS=acme blocks it; take 'acme' out"
    ):
        plugins.load("acme")
    assert [info.status for info in infos("acme")] == ["blocked"]
    plugins.installed(load=True)
    assert module not in sys.modules


def test_denying_wins_over_allowing(site, monkeypatch):
    site.add()
    monkeypatch.setenv("TITANS_PLUGINS", "acme")
    monkeypatch.setenv("TITANS_DISABLE_PLUGINS", "acme")
    with pytest.raises(PluginError, match="TITANS_DISABLE_PLUGINS"):
        plugins.load("acme")


def test_an_empty_list_allows_all(site, monkeypatch):
    site.add()
    monkeypatch.setenv("TITANS_PLUGINS", "")
    assert plugins.load("acme").name == "acme"


def test_an_unknown_provider_names_what_is_blocked(site, monkeypatch):
    site.add()
    monkeypatch.setenv("TITANS_DISABLE_PLUGINS", "acme")
    with pytest.raises(UnknownProviderError, match=r"\(blocked by TITANS_DISABLE_PLUGINS: acme\)"):
        plugins.load("nimbus")


# --- two distributions, one name ------------------------------------------------------------------


def test_a_name_claimed_by_two_distributions_is_refused_with_both_named(site):
    first = site.add(distribution="acme-titans", version="1.0")
    second = site.add(distribution="other-acme", version="2.5")
    with pytest.raises(PluginError) as caught:
        plugins.load("acme")
    message = str(caught.value)
    assert f"acme-titans 1.0, entry point acme = {first}" in message
    assert f"other-acme 2.5, entry point acme = {second}" in message
    assert "pip uninstall acme-titans | other-acme" in message
    assert "TITANS_DISABLE_PLUGINS=acme" in message
    assert [info.status for info in infos("acme")] == ["duplicate", "duplicate"]
    assert first not in sys.modules
    assert second not in sys.modules
    assert plugins.load("gcp").name == "gcp"


def test_one_distribution_that_claims_a_name_twice_is_refused(site):
    module = site.add()
    (info,) = site.folder.glob("acme*.dist-info")
    (info / "entry_points.txt").write_text(
        f"[titans.providers]\nacme = {module}\nacme = {module}:other\n"
    )
    plugins.clear()
    with pytest.raises(
        PluginError, match=r"claimed 2 times.*pip install --force-reinstall acme-titans"
    ):
        plugins.load("acme")


def test_the_same_distribution_on_two_paths_is_one(site, tmp_path):
    site.add(module="fake_plugin_twice")
    site.add(module="fake_plugin_twice", folder=site.folder / "elsewhere")
    assert len(infos("acme")) == 1
    assert plugins.load("acme").distribution == "acme-titans"


def test_the_same_distribution_with_its_name_written_in_two_ways_is_one(site, monkeypatch):
    class Entry:
        name, value = "acme", "acme_module"

        def __init__(self, distribution):
            self.dist = type("Dist", (), {"metadata": {"Name": distribution, "Version": "1.0"}})

    monkeypatch.setattr(
        metadata, "entry_points", lambda group: [Entry("Acme.Titans"), Entry("acme-titans")]
    )
    plugins.clear()
    assert [info.status for info in plugins.installed()] == ["found"]


def test_a_distribution_with_damaged_metadata_hurts_nobody(site):
    site.add(name="damaged", distribution="damaged-titans")
    (site.folder / "damaged_titans-1.0.dist-info" / "METADATA").write_text(
        "Summary: neither a name nor a version\n"
    )
    plugins.clear()
    (info,) = infos("damaged")
    assert (info.distribution, info.version) == ("(unnamed distribution)", "(no version)")
    assert plugins.load("gcp").name == "gcp"


def test_an_entry_point_whose_name_cannot_stand_in_a_path_is_broken(site):
    module = site.add(name="../acme")
    (info,) = infos("../acme")
    assert info.status == "broken"
    assert "rename the entry point" in info.problem
    with pytest.raises(PluginError, match="letters, digits"):
        plugins.load("../acme")
    assert module not in sys.modules


# --- trying all -----------------------------------------------------------------------------------


def test_trying_all_isolates_the_broken_one(site):
    site.add("raise RuntimeError('out of coffee')", name="bad", distribution="bad-titans")
    site.add("import sys; sys.exit('no')", name="exits", distribution="exits-titans")
    site.add()
    found = {info.name: info for info in plugins.installed(load=True)}
    assert found["bad"].status == found["exits"].status == "broken"
    assert "RuntimeError: out of coffee" in found["bad"].problem
    assert "SystemExit: no" in found["exits"].problem
    assert found["acme"].status == found["aws"].status == "loaded"


# --- the mapping ----------------------------------------------------------------------------------


def test_the_mapping_loads_only_what_is_taken(site):
    wanted = site.add(name="one", distribution="one-titans")
    other = site.add(name="two", distribution="two-titans")
    view = plugins.providers()
    assert "one" in view
    assert "two" in view
    assert "nimbus" not in view
    assert wanted not in sys.modules
    assert view["one"] is plugins.load("one")
    assert other not in sys.modules
    assert "two" in repr(view)


def test_iterating_the_mapping_leaves_out_what_does_not_work_and_logs_it(site, caplog):
    site.add("raise RuntimeError('out of coffee')", name="bad", distribution="bad-titans")
    site.add()
    view = plugins.providers()
    assert {"aws", "azure", "gcp", "acme"} <= set(view)
    assert "bad" not in set(view)
    assert len(view) == len(list(view)) == len(dict(view))
    assert "bad-titans 1.0" in caplog.text
    with pytest.raises(PluginError, match="out of coffee"):
        view["bad"]


def test_a_missing_name_behaves_as_in_any_mapping():
    view = plugins.providers()
    assert view.get("nimbus") is None
    with pytest.raises(KeyError) as caught:
        view["nimbus"]
    assert isinstance(caught.value, UnknownProviderError)
    assert str(caught.value).startswith("Unknown provider 'nimbus'; installed: ")


@pytest.mark.parametrize(
    "change",
    [
        lambda view: view.__setitem__("acme", None),
        lambda view: view.__delitem__("aws"),
        lambda view: view.update(acme=None),
        lambda view: view.setdefault("acme", None),
        lambda view: view.pop("aws"),
        lambda view: view.clear(),
    ],
)
def test_assigning_a_provider_says_publish_a_package(change):
    with pytest.raises(
        TypeError, match=r'publish a package.*"titans\.providers".*titans_schema'
    ) as caught:
        change(plugins.providers())
    assert isinstance(caught.value, ProviderError)


# --- what a plugin may be -------------------------------------------------------------------------

AS_CLASS = (
    HEAD
    + """
class Acme:
    @hookimpl
    def titans_schema(self):
        return Schema({"Price": "Float64"})

    @hookimpl
    def titans_pk_columns(self):
        return ("Type",)

acme = Acme()
"""
)


@pytest.mark.parametrize("attribute", ["Acme", "acme"])
def test_a_plugin_may_be_an_object_or_a_class_and_then_its_module_may_state_the_api(
    site, attribute
):
    site.add(AS_CLASS, attribute=attribute)
    provider = plugins.load("acme")
    assert provider.pk_columns == ["Type"]
    assert provider.value_columns == ["Price"]


def test_hooks_that_are_not_implemented_have_defaults(site):
    site.add()
    provider = plugins.load("acme")
    frame = object()
    assert provider.normalize(frame) is frame
    assert provider.layout.slot_minutes == 10
    with pytest.raises(ValueError, match="no example data"):
        provider.example(seed=1, keys=1, slots=1)


def test_hooks_that_are_implemented_win_over_the_defaults_and_may_leave_out_arguments(site):
    site.add(
        GOOD
        + """
@hookimpl
def titans_path_layout():
    return PathLayout(slot_minutes=60)

@hookimpl
def titans_normalize(frame):
    return [frame]

@hookimpl
def titans_example(slots):
    return ["snapshot"] * slots
"""
    )
    provider = plugins.load("acme")
    assert provider.layout.slot_minutes == 60
    assert provider.normalize("frame") == ["frame"]
    assert list(provider.example(seed=1, keys=1, slots=2)) == ["snapshot", "snapshot"]


def test_a_wrapper_sees_the_default(site):
    site.add(
        GOOD
        + """
@hookimpl(wrapper=True)
def titans_normalize(frame):
    return [(yield)]
"""
    )
    assert plugins.load("acme").normalize("frame") == ["frame"]


def test_a_normalize_that_forgets_its_return_is_not_covered_up_by_the_default(site):
    site.add(
        GOOD
        + """
@hookimpl
def titans_normalize(frame):
    frame.lower()
"""
    )
    assert plugins.load("acme").normalize("frame") is None


def test_a_normalize_that_raises_is_reported_as_the_plugins_failure(site):
    import polars as pl

    site.add(
        GOOD
        + """
@hookimpl
def titans_normalize(frame):
    return frame.select("Nowhere")
"""
    )
    with pytest.raises(
        PluginError,
        match=r"'acme' \(acme-titans 1\.0\): its titans_normalize failed on .* columns Type, Price",
    ):
        plugins.load("acme").normalize(pl.DataFrame({"Type": ["a"], "Price": [1.0]}))


def test_plugins_do_not_answer_for_each_other(site):
    site.add(name="one", distribution="one-titans")
    site.add(HEAD + SCHEMA.replace("Price", "Cost") + KEY, name="two", distribution="two-titans")
    assert plugins.load("one").value_columns == ["Price"]
    assert plugins.load("two").value_columns == ["Cost"]


def test_newcloud_is_a_provider_like_any_other(newcloud):
    provider = plugins.load(newcloud)
    assert provider.canonical_columns == ["Flavor", "Zone", "Time", "Price", "Free", "Ceased"]
    (frame, second) = provider.example(seed=1, keys=30, slots=2)
    assert provider.normalize(frame).columns == ["Flavor", "Zone", "Price", "Free"]
    assert not frame.equals(second)


def test_newcloud_is_gone_when_it_is_uninstalled():
    with pytest.raises(UnknownProviderError, match="pip install titans-newcloud"):
        plugins.load("newcloud")


# --- neighbours -----------------------------------------------------------------------------------

BROKEN = {
    "entry points that are no text": {"METADATA": b"Name: x\n", "entry_points.txt": b"[\xff]\n"},
    "a line without a value": {"METADATA": b"Name: x\n", "entry_points.txt": b"[a]\nnothing\n"},
    "lines without a group": {"METADATA": b"Name: x\n", "entry_points.txt": b"= = =\n[\n]"},
    "metadata that is no text": {"METADATA": b"Name: \xff\xfe\n", "entry_points.txt": b"[a\xff]"},
    "no metadata": {"entry_points.txt": b"[a]\nnothing\n"},
    "nothing": {},
    "entry points in a folder": {"METADATA": b"Name: x\n", "entry_points.txt/x": b""},
}


@pytest.mark.parametrize("group", ["titans.providers", "titans.observers", "titans.stores"])
@pytest.mark.parametrize("files", BROKEN.values(), ids=BROKEN)
def test_a_broken_distribution_keeps_no_other_from_being_found(site, files, group):
    site.add(name="healthy", distribution="healthy-titans", group=group)
    for name in ("aa_broken-1.0.dist-info", "zz_broken-1.0.dist-info", "-.dist-info"):
        for file, content in files.items():
            path = site.folder / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (site.folder / name).mkdir(exist_ok=True)
    plugins.clear()

    assert [info.name for info in plugins.discover(group) if info.name == "healthy"] == ["healthy"]
    if group == plugins.GROUP:
        assert titans.open("memory://", provider="gcp").provider.name == "gcp"
        assert plugins.load("healthy").name == "healthy"


def test_a_broken_distribution_is_named_in_the_log(site, caplog):
    site.add()
    info = site.folder / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: broken\n")
    (info / "entry_points.txt").write_text("[a]\nnothing\n")
    plugins.clear()
    assert plugins.load("acme").name == "acme"
    assert any("broken-1.0.dist-info is left out" in line for line in caplog.messages)


def test_beside_a_broken_distribution_the_first_on_the_path_still_wins(site, tmp_path):
    site.add(module="old_plugin", version="0.9", folder=tmp_path / "later")
    site.add(module="new_plugin", version="1.0")
    (site.folder / "broken-1.0.dist-info").mkdir()
    (site.folder / "broken-1.0.dist-info" / "entry_points.txt").write_text("[a]\nnothing\n")
    plugins.clear()
    (info,) = infos("acme")
    assert info.version == "1.0"


def unknown(name):
    with pytest.raises(UnknownProviderError) as caught:
        plugins.load(name)
    return str(caught.value)


@pytest.mark.parametrize("name", ["AWS", "titans-aws", "titans_aws", "awss", "Gcp", "azur"])
def test_a_name_that_is_nearly_that_of_an_installed_provider_is_put_right(name):
    message = unknown(name)
    assert "Did you mean" in message
    assert "pip install" not in message


def test_a_package_that_is_installed_is_not_to_be_installed(site):
    site.add(name="other", distribution="titans-nimbus")
    message = unknown("nimbus")
    assert "titans-nimbus 1.0 is installed, but has no entry point 'nimbus'" in message
    assert "pip install titans-nimbus" not in message

    (site.folder / "titans_nimbus-1.0.dist-info" / "METADATA").write_bytes(b"Name: \xff\n")
    plugins.clear()
    assert "titans-nimbus is installed, but its metadata cannot be read" in unknown("nimbus")


def test_a_package_that_can_be_imported_but_is_not_installed_is_named(site):
    site.add()
    (site.folder / "titans_nimbus.py").write_text("TITANS_API = 1\n")
    message = unknown("nimbus")
    assert "titans_nimbus can be imported from" in message
    assert "is not installed" in message
