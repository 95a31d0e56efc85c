"""No check of a suite gets lost: not by deletion, not by an override, a mark or a plugin, unless a
reason is given."""

import pytest
from fixtures_plugins import GOOD
from hypothesis import strategies as st

import titans.testing
from titans import PathLayout, Provider, Schema
from titans.testing import ConformanceError, ProviderConformance, StoreConformance, overrides, run

CHECK = "test_null_stays_null"
COMPLETE = "test_no_check_is_missing_or_overridden_without_a_reason"


def test_the_checks_are_counted():
    assert len(ProviderConformance.checks) >= 50
    assert len(StoreConformance.checks) >= 35
    assert all(
        check.__doc__
        for check in (*ProviderConformance.checks.values(), *StoreConformance.checks.values())
    )


# --- when the class is defined --------------------------------------------------------------------


@pytest.mark.parametrize("body", [{CHECK: None}, {CHECK: "later"}])
def test_a_deleted_check_refuses_the_class(body):
    with pytest.raises(ConformanceError, match=f"TestX: the check {CHECK} was deleted"):
        type("TestX", (ProviderConformance,), {"provider": "aws", **body})


def test_an_override_without_a_reason_refuses_the_class():
    with pytest.raises(
        ConformanceError, match=f"{CHECK} is overridden without a reason.*overrides"
    ):

        class TestX(ProviderConformance):
            provider = "aws"

            def test_null_stays_null(self): ...


def test_an_override_in_a_mixin_is_one_too():
    class Lenient:
        def test_null_stays_null(self): ...

    with pytest.raises(ConformanceError, match=f"{CHECK} is overridden without a reason"):

        class TestX(Lenient, ProviderConformance):
            provider = "aws"


@pytest.mark.parametrize("reason", ["", "  ", None, 3])
def test_a_reason_must_say_something(reason):
    with pytest.raises(ConformanceError, match="needs a reason"):
        overrides(reason)


def test_an_override_of_nothing_names_the_check_that_was_meant():
    with pytest.raises(
        ConformanceError, match=f"test_nul_stays_null overrides no check; did you mean {CHECK}"
    ):

        class TestX(ProviderConformance):
            provider = "aws"

            @overrides("there is no such check any more")
            def test_nul_stays_null(self): ...


@pytest.mark.parametrize("name", ["__init__", "__new__", "__test__"])
def test_what_keeps_pytest_from_collecting_refuses_the_class(name):
    with pytest.raises(ConformanceError, match=f"with {name} pytest collects none"):
        type("TestX", (ProviderConformance,), {"provider": "aws", name: False})


def test_a_class_without_a_subject_is_refused():
    with pytest.raises(ConformanceError, match="it names no provider; add provider ="):
        type("TestX", (ProviderConformance,), {})
    with pytest.raises(ConformanceError, match="it names no store; add url ="):
        type("TestX", (StoreConformance,), {})
    type("Shared", (ProviderConformance,), {})


def test_own_tests_beside_the_checks_are_welcome():
    class TestX(ProviderConformance):
        provider = "aws"

        def test_something_else(self): ...

    assert set(TestX.checks) == set(ProviderConformance.checks)


# --- when it runs ---------------------------------------------------------------------------------


def completeness(cls):
    (outcome,) = run(cls, only=[COMPLETE])
    return outcome.status, outcome.message


def test_what_is_deleted_later_fails_the_suite(monkeypatch):
    class TestX(ProviderConformance):
        provider = "aws"

    assert completeness(TestX) == ("passed", "")
    monkeypatch.setattr(TestX, CHECK, None)
    assert completeness(TestX)[0] == "failed"
    monkeypatch.undo()
    monkeypatch.delattr("titans.testing._normalize_checks.NormalizeChecks.test_null_stays_null")
    status, message = completeness(TestX)
    assert status == "failed"
    assert f"{CHECK} was deleted" in message


def test_declaring_other_checks_changes_nothing():
    class TestX(ProviderConformance):
        provider = "aws"
        checks = {}
        _titans_checks = {}

    TestX.test_null_stays_null = None
    assert completeness(TestX)[0] == "failed"


@pytest.mark.parametrize("mark", [pytest.mark.skip, pytest.mark.skipif(True), pytest.mark.xfail])
def test_marks_without_a_reason_fail_the_suite(mark):
    class TestX(ProviderConformance):
        provider = "aws"

        @overrides("this market has none")
        def test_null_stays_null(self): ...

    mark(TestX.test_null_stays_null)
    assert "without a reason" in completeness(TestX)[1]


@pytest.mark.parametrize(
    "mark",
    [pytest.mark.skip("why"), pytest.mark.skip(reason="why"), pytest.mark.xfail(reason="why")],
)
def test_marks_with_a_reason_do_not(mark):
    assert completeness(mark(type("TestX", (ProviderConformance,), {"provider": "aws"}))) == (
        "passed",
        "",
    )


def test_run_says_what_became_of_each_check():
    class TestX(ProviderConformance):
        provider = "no-such-provider"

        @overrides("it has no gaps")
        def test_null_stays_null(self): ...

        @overrides("it has no keys")
        def test_any_text_can_be_a_key(self):
            pytest.skip("no keys")

        @overrides("it falls")
        def test_events_do_not_raise(self):
            raise KeyError("oh")

    names = [
        "test_the_plugin_loads",
        CHECK,
        "test_any_text_can_be_a_key",
        "test_events_do_not_raise",
    ]
    found = {outcome.check: outcome for outcome in run(TestX, only=names)}
    assert [found[name].status for name in names] == ["failed", "passed", "skipped", "error"]
    assert "Unknown provider 'no-such-provider'" in found["test_the_plugin_loads"].message
    assert found[CHECK].override == "it has no gaps"
    assert found["test_any_text_can_be_a_key"].message == "no keys"
    assert found["test_events_do_not_raise"].message == "KeyError: 'oh'"
    with pytest.raises(ConformanceError, match="no such check: test_nonsense"):
        run(TestX, only=["test_nonsense"])


# --- in a test run --------------------------------------------------------------------------------

MODULE = """
    import pytest
    from titans.testing import ProviderConformance, overrides

    class TestGcp(ProviderConformance):
        provider = "gcp"

        @overrides("gaps are welcome here")
        def test_null_stays_null(self): ...
"""


def test_a_suite_is_collected_and_overrides_are_shown(pytester):
    pytester.makepyfile(MODULE)
    result = pytester.runpytest_subprocess(
        "-q", "-k", "null_stays or overridden_without", "-p", "no:cacheprovider"
    )
    result.assert_outcomes(passed=2, deselected=len(ProviderConformance.checks) - 2)
    result.stdout.fnmatch_lines(
        ["*TITANS conformance: overridden checks*", f"TestGcp.{CHECK}: gaps are welcome here"]
    )


def test_a_class_without_a_check_ends_the_run_with_the_reason(pytester):
    pytester.makepyfile(MODULE.replace('@overrides("gaps are welcome here")', ""))
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    assert result.ret != 0
    result.stdout.fnmatch_lines(
        [f"*ConformanceError: TestGcp: the check {CHECK} is overridden without a reason*"]
    )


@pytest.mark.parametrize("mark", ["skip", "skipif(True, reason='')", "xfail"])
def test_marks_on_class_and_module_without_a_reason_fail_every_check(pytester, mark):
    for text in (
        MODULE.replace("class TestGcp", f"@pytest.mark.{mark}\n    class TestGcp"),
        MODULE.replace("class TestGcp", f"pytestmark = pytest.mark.{mark}\n    class TestGcp"),
    ):
        pytester.makepyfile(test_marked=text)
        result = pytester.runpytest_subprocess(
            "-q", "-k", "null_stays or overridden_without", "-p", "no:cacheprovider"
        )
        assert result.parseoutcomes() == {
            "errors": 2,
            "deselected": len(ProviderConformance.checks) - 2,
        }
        result.stdout.fnmatch_lines(
            [
                (
                    f"*the check {CHECK} is marked with pytest.mark.{mark.partition('(')[0]} without a "
                    "reason*"
                )
            ]
        )


def test_a_mark_with_a_reason_is_respected(pytester):
    pytester.makepyfile(
        MODULE.replace(
            "class TestGcp", "@pytest.mark.skip(reason='moving house')\n    class TestGcp"
        )
    )
    result = pytester.runpytest_subprocess("-q", "-k", "null_stays", "-p", "no:cacheprovider")
    assert result.parseoutcomes()["skipped"] == 1


def test_checks_that_a_conftest_takes_out_end_the_run(pytester):
    pytester.makepyfile(MODULE)
    pytester.makeconftest(
        """
        def pytest_collection_modifyitems(items):
            items[:] = [item for item in items if "parquet" not in item.name]
        """
    )
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*1 check(s) of a TITANS conformance suite were taken out*test_rows_survive_parquet*"]
    )


def test_the_plugin_is_light_and_leaves_other_tests_alone(pytester):
    pytester.makepyfile(
        """
        import sys
        import pytest

        def test_nothing_of_the_kit_is_there():
            assert "titans.testing.plugin" in sys.modules
            heavy = {"polars", "hypothesis", "pluggy_", "attrs", "titans.testing._suite", "titans.schema"}
            assert not heavy & set(sys.modules)

        @pytest.mark.skip
        def test_skipped(): ...

        class TestPlain:
            checks = {"test_x": 1}
            @pytest.mark.skip
            def test_x(self): ...
        """
    )
    result = pytester.runpytest_subprocess(
        "-q", "-p", "no:hypothesispytest", "-p", "no:cacheprovider", "-p", "no:xdist"
    )
    result.assert_outcomes(passed=1, skipped=2)


def test_without_the_extra_the_error_names_it(pytester):
    pytester.makepyfile(
        probe="""
        import sys
        sys.modules["hypothesis"] = None
        try:
            from titans.testing import ProviderConformance
        except ImportError as error:
            print(error)
        """
    )
    result = pytester.runpython("probe.py")
    result.stdout.fnmatch_lines(
        ["the conformance kit needs hypothesis: pip install 'titans-core?testing?'"]
    )


def test_every_public_name_is_there():
    assert [name for name in titans.testing.__all__ if not hasattr(titans.testing, name)] == []
    assert set(titans.testing.__all__) <= set(dir(titans.testing))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        titans.testing.nonsense  # noqa: B018


def of(status, outcomes):
    return {outcome.check: outcome.message for outcome in outcomes if outcome.status == status}


def test_a_provider_without_example_data_is_checked_with_made_up_snapshots(site):
    site.add()

    class TestX(ProviderConformance):
        provider = "acme"

    outcomes = run(TestX)
    skipped = of("skipped", outcomes)
    assert set(skipped.values()) == {"provider 'acme' does not implement titans_example"}
    assert {name.partition("_example_")[0] for name in skipped} == {"test"}
    assert len(skipped) == 5
    assert list(of("failed", outcomes)) == ["test_the_package_bounds_its_core"]
    assert of("error", outcomes) == {}


def test_a_provider_made_by_hand_is_checked_as_far_as_it_goes():
    class TestX(ProviderConformance):
        provider = Provider(
            "hand",
            Schema({"v": "Int64"}, unobserved={"v": -1}),
            ("k",),
            layout=PathLayout(slot_minutes=60),
        )

    outcomes = run(TestX)
    assert len(of("passed", outcomes)) >= 40
    assert of("failed", outcomes) == of("error", outcomes) == {}


STRICT = (
    GOOD.replace('{"Price": "Float64"}', '{"Quality": "Int8"}')
    + """
from titans.errors import InputError
@hookimpl
def titans_normalize(frame):
    if "Quality" in frame.columns and not frame["Quality"].cast(int).drop_nulls().is_between(10, 99).all():
        raise InputError("a quality is between 10 and 99")
    return frame
@hookimpl
def titans_example(seed, keys, slots):
    import polars as pl
    for slot in range(slots):
        yield pl.DataFrame({"Type": [f"t{i}" for i in range(keys)], "Quality": [(seed + i + slot) % 90 + 10 for i in range(keys)]},
                           schema={"Type": pl.String, "Quality": pl.Int8})
"""
)


def test_values_say_what_a_provider_takes(site):
    site.add(STRICT)

    class TestX(ProviderConformance):
        provider = "acme"

    class TestY(TestX):
        values = {"Quality": st.integers(10, 99)}

    (refused,) = run(TestX, only=["test_any_snapshots_come_back"])
    assert "a quality is between 10 and 99" in refused.message
    assert set(of("failed", run(TestY))) == {"test_the_package_bounds_its_core"}


def test_a_provider_that_does_not_load_is_explained_once():
    class TestX(ProviderConformance):
        provider = "no-such-provider"

    outcomes = {outcome.check: outcome for outcome in run(TestX)}
    assert "in its folder: pip install -e ." in outcomes.pop("test_the_plugin_loads").message
    assert outcomes.pop(COMPLETE).status == "passed"
    assert {(outcome.status, outcome.message) for outcome in outcomes.values()} == {
        ("failed", "the provider does not load; see test_the_plugin_loads")
    }
