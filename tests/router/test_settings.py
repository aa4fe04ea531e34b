from __future__ import annotations

from pathlib import Path

import pytest

from router.core.errors import InvalidInput
from router.core.types import Importance, MissCost, MissCosts, QualityTarget
from router.settings import Settings, flags_of_settings
from router.settings_sources import load_settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MITSUMORI_CONFIG", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_flags_win_over_environment_over_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("port: 1\nworkers: 1\nquote_ttl_s: 1\n")
    monkeypatch.setenv("MITSUMORI_PORT", "2")
    monkeypatch.setenv("MITSUMORI_WORKERS", "2")
    settings = load_settings(config=config, port=3)
    assert (settings.port, settings.workers, settings.quote_ttl_s) == (3, 2, 1)


def test_nested_settings_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MITSUMORI_MISS_COSTS__HIGH", "2.60")
    goals = load_settings().default_goals
    assert [goals.of(each) for each in Importance] == [
        MissCost(50_000_000), MissCost(250_000_000), MissCost(2_600_000_000),
    ]  # fmt: skip


def test_unless_it_is_said_a_request_without_a_goal_weighs_the_cost_of_a_miss() -> None:
    assert load_settings().default_goals == MissCosts()


def test_the_guide_shows_the_costs_that_are_the_default(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/guide/choice.md").read_text(encoding="utf-8")
    config = tmp_path / "settings.yaml"
    config.write_text(next(line for line in page.splitlines() if line.startswith("miss_costs:")))
    written = load_settings(config=config).default_goals
    assert [written.of(each) for each in Importance] == [
        MissCosts().of(each) for each in Importance
    ]


@pytest.mark.parametrize("low", ["0.06", '"0.06"', "0.060000000"])
def test_the_cost_of_a_miss_is_exact_however_it_is_written(low: str, tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text(f"miss_costs:\n  low: {low}\n")
    goals = load_settings(config=config).default_goals
    assert goals.of(Importance.LOW) == MissCost(60_000_000)
    assert goals.of(Importance.MEDIUM) == MissCost(250_000_000)


def test_quality_targets_replace_the_costs_of_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MITSUMORI_QUALITY_TARGETS__HIGH", "0.95")
    goals = load_settings().default_goals
    assert [goals.of(each) for each in Importance] == [
        QualityTarget(0.4), QualityTarget(0.6), QualityTarget(0.95),
    ]  # fmt: skip


def test_one_kind_of_default_goal_can_be_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("quality_targets: {low: 0.5}\n")
    monkeypatch.setenv("MITSUMORI_MISS_COSTS__LOW", "0.05")
    with pytest.raises(InvalidInput) as caught:
        load_settings(config=config)
    assert caught.value.message == (
        "setting quality_targets: miss_costs is set too, and requests without a goal have one kind of goal; "
        "keep one of them; set it by MITSUMORI_QUALITY_TARGETS or in the settings file"
    )


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            {"miss_costs": {"low": 1_000_000, "medium": 1, "high": 0}},
            "setting miss_costs: low 1000000, medium 1, high 0 must not fall",
        ),
        ({"miss_costs": {"low": "0.26"}}, "setting miss_costs: low 0.26, medium 0.25, high 2.50 must"),
        ({"miss_costs": {"high": "0.24"}}, "setting miss_costs: low 0.05, medium 0.25, high 0.24 must"),
        (
            {"quality_targets": {"low": 0.7}},
            "setting quality_targets: low 0.7, medium 0.6, high 0.8 must not fall",
        ),
    ],
)  # fmt: skip
def test_raising_the_importance_never_lowers_what_is_asked(
    flags: dict[str, object], told: str
) -> None:
    with pytest.raises(InvalidInput, match="MITSUMORI_") as caught:
        load_settings(**flags)
    assert caught.value.message.startswith(told)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["miss_costs", "quality_targets"])
def test_all_importances_may_ask_the_same(name: str) -> None:
    goals = load_settings(**{name: dict.fromkeys(("low", "medium", "high"), "0.5")}).default_goals
    assert len({goals.of(each) for each in Importance}) == 1


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ({"port": 70000}, "port"),
        ({"workers": 0}, "workers"),
        ({"quality_targets": {"low": float("nan")}}, "quality_targets.low"),
        ({"miss_costs": {"low": "NaN"}}, "miss_costs.low"),
        ({"miss_costs": {"medium": "-0.01"}}, "miss_costs.medium"),
        ({"miss_costs": {"high": "1000000.01"}}, "miss_costs.high"),
        ({"miss_costs": {"low": "0.0000000001"}}, "miss_costs.low"),
        ({"miss_costs": {"urgent": "1"}}, "miss_costs.urgent"),
        ({"target_regret": -0.01}, "target_regret"),
        ({"target_regret": 1.01}, "target_regret"),
        ({"explore": -0.01}, "explore"),
        ({"explore": 1.01}, "explore"),
        ({"explore_regret": float("inf")}, "explore_regret"),
        ({"log_level": "loud"}, "log_level"),
        ({"log_prompts": "all"}, "log_prompts"),
        ({"log_prompts": "hash"}, "prompt_key"),
        ({"bundle": "models:/mitsumori@champion"}, "registry"),
        ({"retention": [{"days": 0}]}, "retention.0.days"),
        ({"retention": [{"days": 1}, {"labels": {"team": "x"}}]}, "retention.1.days"),
        ({"retention": [{"days": 1, "labels": {"Team": "x"}}]}, "retention.0.labels"),
        ({"retention": [{"days": 1, "labels": {"team": ""}}]}, "retention.0.labels"),
        ({"retention": [{"days": 1, "lables": {"team": "x"}}]}, "retention.0.lables"),
        ({"expire_every_s": 0}, "expire_every_s"),
    ],
)
def test_a_wrong_value_names_the_setting_and_where_to_set_it(
    flags: dict[str, object], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a store of MLflow lies where this runs, or not
    with pytest.raises(InvalidInput, match="MITSUMORI_") as caught:
        load_settings(**flags)
    assert caught.value.field == name


def test_retention_is_a_list_of_rules_in_the_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("retention:\n- days: 30\n  labels: {team: search}\n- days: 400\n")
    search, rest = load_settings(config=config).retention
    assert (search.days, search.labels) == (30, {"team": "search"})
    assert (rest.days, rest.labels) == (400, {})
    monkeypatch.setenv("MITSUMORI_RETENTION", '[{"days": 7}]')
    assert [rule.days for rule in load_settings(config=config).retention] == [7]
    monkeypatch.setenv("MITSUMORI_RETENTION", "7 days")
    with pytest.raises(InvalidInput, match=r'"retention".*as JSON'):
        load_settings()


def test_off_in_a_file_is_the_word(tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("log_prompts: off\n")
    assert load_settings(config=config).log_prompts == "off"


def test_a_line_of_a_list_is_set_by_the_list(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"set it by MITSUMORI_RETENTION or") as caught:
        load_settings(retention=[{"days": 1, "labels": {"Team": "x"}}])
    assert "'Team' is not a label" in caught.value.message


def test_an_unknown_setting_in_the_file_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("prot: 1\n")
    with pytest.raises(InvalidInput) as caught:
        load_settings(config=config)
    assert caught.value.message == "there is no setting prot; did you mean port?"


@pytest.mark.parametrize("text", ["port: [", "- 1", "just words"])
def test_a_file_that_is_no_settings_file_is_refused(tmp_path: Path, text: str) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text(text)
    with pytest.raises(InvalidInput):
        load_settings(config=config)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.yaml is missing"):
        load_settings(config=tmp_path / "none.yaml")


# A value that no setting of the kind takes, to be given as text.
_WRONG = "\N{SNOWMAN}"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_what_an_error_names_can_set_the_setting(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable of an error is read, and its flag is one of `serve`."""
    monkeypatch.setenv(f"MITSUMORI_{name.upper()}", _WRONG)
    flags = dict.fromkeys(flags_of_settings())
    try:
        read = getattr(load_settings(**flags), name)
    except InvalidInput as error:
        text = error.message
        if name in flags:
            assert f"--{name.replace('_', '-')}, MITSUMORI_{name.upper()} or" in text
        else:
            assert "--" not in text
            assert name in text
    else:
        shown = read.get_secret_value() if name == "prompt_key" else str(read)
        assert shown == _WRONG  # a text, which takes any word


def test_a_secret_has_no_flag_for_all_users_of_the_machine_could_read_it() -> None:
    assert set(Settings.model_fields) - set(flags_of_settings()) == {
        "prompt_key", "conversations", "health", "miss_costs", "quality_targets", "correct_by", "retention",
        "shadow", "canary", "provider_limits", "load_shares",
    }  # fmt: skip


def test_a_command_without_the_flag_does_not_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MITSUMORI_PORT", "many")
    with pytest.raises(InvalidInput, match=r"set it by MITSUMORI_PORT or in the settings file"):
        load_settings(ledger="memory:")


def test_the_wait_of_a_model_cannot_be_longer_than_the_longest() -> None:
    assert load_settings(health={"wait_s": 600}).health.wait_s == 600
    with pytest.raises(InvalidInput, match=r"wait_s 601 must be at most max_wait_s 600"):
        load_settings(health={"wait_s": 601})


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"acme": {"requests_per_minute": -1}}, "requests_per_minute"),
        ({"acme": {"requests_per_minute": 0}}, "requests_per_minute"),
        ({"acme": {"tokens_per_minute": 1.5}}, "tokens_per_minute"),
        ({"acme": {"tokens_in_flight": "many"}}, "tokens_in_flight"),
        ({"acme": {"requests_per_second": 5}}, "requests_per_second"),
        ({"acme": {"models": {"mini": {"requests_in_flight": -5}}}}, "requests_in_flight"),
        ({"acme": {"models": {"mini": {"models": {}}}}}, "models"),
        ({"acme": 5}, "acme"),
        ([], "provider_limits"),
    ],
)  # fmt: skip
def test_limits_of_providers_are_whole_numbers_above_zero(limits: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"(?i){message}"):
        load_settings(provider_limits=limits)


def test_limits_of_providers_are_set_for_an_account_and_for_its_models() -> None:
    own = {"requests_per_minute": 500, "models": {"mini": {"tokens_per_minute": 9_000}}}
    read = load_settings(provider_limits={"acme": own}).provider_limits["acme"]
    assert (read.requests_per_minute, read.tokens_per_minute) == (500, None)
    assert read.models["mini"].tokens_per_minute == 9_000
    assert load_settings().provider_limits == {}


def test_shares_of_limits_do_not_fall_as_work_matters_more() -> None:
    shares = load_settings(load_shares={"batch": 0.8}).load_shares
    assert (shares.batch, shares.low, shares.medium, shares.high) == (0.8, 0.8, 0.9, 1.0)
    with pytest.raises(
        InvalidInput, match=r"batch 0.81, low 0.8, medium 0.9, high 1 must not fall"
    ):
        load_settings(load_shares={"batch": 0.81})
    for wrong in (0, 1.01, -1):
        with pytest.raises(InvalidInput, match="LOAD_SHARES__LOW"):
            load_settings(load_shares={"low": wrong})


def test_a_setting_of_a_group_is_named_as_the_environment_spells_it() -> None:
    with pytest.raises(InvalidInput, match=r"MITSUMORI_QUALITY_TARGETS__LOW or"):
        load_settings(quality_targets={"low": 2})


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_is(name: str) -> None:
    assert Settings.model_fields[name].description


def test_administration_leaves_the_public_port_where_other_machines_reach_it() -> None:
    def of(**settings: object) -> tuple[str, int] | None:
        return Settings(**settings).admin_address  # type: ignore[arg-type]

    assert of() is None
    assert of(host="::1") is None
    assert of(host="0.0.0.0") == ("127.0.0.1", 50052)
    assert of(host="0.0.0.0", admin_host="10.0.0.1", admin_port=7) == ("10.0.0.1", 7)
    assert of(admin_port=0) == ("127.0.0.1", 0)


def test_administration_has_a_port_of_its_own_where_several_processes_share_the_other() -> None:
    assert Settings(processes=1).admin_address is None
    assert Settings(processes=2).admin_address == ("127.0.0.1", 50052)
    assert Settings(processes=2, admin_port=7).admin_address == ("127.0.0.1", 7)


def test_reflection_is_for_this_machine_unless_it_is_said_otherwise() -> None:
    assert Settings().offers_reflection
    assert not Settings(host="0.0.0.0").offers_reflection
    assert Settings(host="0.0.0.0", reflection=True).offers_reflection
    assert not Settings(reflection=False).offers_reflection
    assert not Settings(admin_host="0.0.0.0", admin_port=7).offers_reflection
    assert Settings(admin_host="0.0.0.0").offers_reflection  # it has no port of its own


def test_the_audit_log_lies_beside_a_sqlite_ledger() -> None:
    assert Settings(ledger="sqlite:/x/l.sqlite").audit_path == Path("/x/l.sqlite.audit.jsonl")
    assert Settings(ledger="sqlite:/x/l", audit_log=Path("a")).audit_path == Path("a")
    assert Settings(ledger="sqlite:~/l").audit_path == Path.home() / "l.audit.jsonl"
    assert Settings(ledger="memory:").audit_path is None
    assert Settings(ledger="postgresql://db/x").audit_path is None


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"tls_key": "k"}, "a private key needs tls_certificate too"),
        ({"tls_client_ca": "c"}, "certificates of clients need tls_certificate too"),
        (
            {"jwt_issuer": "i"},
            "jwt_audience: jwt_issuer, jwt_audience and jwt_keys are set all or none",
        ),
        (
            {"jwt_issuer": "i", "jwt_audience": "a"},
            "jwt_keys: jwt_issuer, jwt_audience and jwt_keys",
        ),
        ({"jwt_keys": "f"}, "jwt_keys: jwt_issuer, jwt_audience and jwt_keys"),
    ],
)
def test_what_belongs_together_is_set_together(given: dict[str, str], missing: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_settings(**given)
    assert missing in caught.value.message
