from __future__ import annotations

from pathlib import Path

import jsonschema
import msgspec
import pytest

from tidemill.core.errors import SettingError
from tidemill.core.settings import Profile, Serve, json_schema, load

FILE = """
[laptop]
lake = "./lake"
[laptop.sources]
reviews = "file:data/reviews*.csv.gz?columns=item_id,user_id,rating,reviewed_at:unix_s"
[laptop.serve]
port = 9000
[production]
engine = "spark://cluster:7077"
ledger = "postgresql://mill:hunter2@db/ledger?sslpassword=secret2&x=1"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "tidemill.toml").write_text(FILE)
    return tmp_path


def test_a_list_is_written_as_one_in_the_file_and_with_colons_in_a_variable(project: Path) -> None:
    (project / "tidemill.toml").write_text('[laptop]\nsource_roots = ["/data", "../more"]\n')
    assert load(project, environ={}).source_roots == ("/data", "../more")
    assert load(project, environ={"TIDEMILL_SOURCE_ROOTS": "/a:/b"}).source_roots == ("/a", "/b")


def test_without_a_file_everything_has_its_default(tmp_path: Path) -> None:
    settings = load(tmp_path, environ={})
    assert (settings.profile, settings.engine, settings.serve.port) == ("laptop", "polars", 8400)
    assert {origin for _, _, origin in settings.rows()} == {"default"}
    assert settings.lake == "./.tidemill/lake"
    assert settings.keys_folder("ab12") == Path.home() / ".tidemill/keys/ab12"


def test_argument_over_variable_over_file_over_default(project: Path) -> None:
    variables = {"TIDEMILL_SERVE__PORT": "9001", "TIDEMILL_SERVE__DRAIN_S": "2.5", "OTHER": "x"}
    settings = load(project, environ=variables, overrides={"serve": {"port": 9002}, "engine": None})
    found = {key: (value, origin) for key, value, origin in settings.rows()}
    assert found["serve.port"] == ("9002", "argument")
    assert found["serve.drain_s"] == ("2.5", "variable TIDEMILL_SERVE__DRAIN_S")
    assert found["lake"] == ("./lake", "tidemill.toml [laptop]")
    assert found["engine"] == ("polars", "default")
    assert load(project, environ=variables).serve.port == 9001
    assert load(project, environ={}).serve.port == 9000
    assert load(project, environ={}, overrides={"serve.port": 9003}).origin("serve.port") == "argument"


def test_a_profile_is_chosen_by_argument_then_by_variable(project: Path) -> None:
    assert load(project, environ={"TIDEMILL_PROFILE": "production"}).engine == "spark://cluster:7077"
    assert load(project, profile="laptop", environ={"TIDEMILL_PROFILE": "production"}).engine == "polars"
    assert load(project, environ={}).profile == "laptop"
    # A profile stands alone: production has none of the laptop's values.
    assert load(project, profile="production", environ={}).serve.port == 8400


def test_sources_have_any_name(project: Path) -> None:
    settings = load(project, environ={"TIDEMILL_SOURCES__ITEMS": "file:items.jsonl.gz"})
    assert sorted(settings.sources) == ["items", "reviews"]
    assert settings.origin("sources.items") == "variable TIDEMILL_SOURCES__ITEMS"
    assert settings.origin("sources.reviews") == "tidemill.toml [laptop]"


@pytest.mark.parametrize(
    ("content", "says", "tip"),
    [
        ("[laptop]\nengin = 'polars'", r"`engin` \(tidemill.toml \[laptop\]\)", "`engine`"),
        ("[laptop.serve]\nprot = 1", "`serve.prot`", "`serve.port`"),
        ("[laptop.sources]\n[other]\nlaek = 'x'", r"`laek` \(tidemill.toml \[other\]\)", "`lake`"),
        ("[laptop.serve]\nport = 'many'", r"`serve.port = many` .*Expected `int`", None),
        ("[laptop.serve]\nport = 70000", "65535", None),
        ("[laptop.serve]\nworkers = 0", "`serve.workers = 0`", None),
        ("[laptop.serve]\nlog = 'maybe'", "'maybe'", None),
        ("[laptop]\nlake = 3", "`lake = 3`", None),
        ("[laptop]\nserve = 3", "`serve`", None),
        ("engine = 'polars'", "is not in a profile", r"\[laptop\]"),
        ("[laptop\n", "is not valid TOML", "correct the file"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(tmp_path: Path, content: str, says: str, tip: str | None) -> None:
    (tmp_path / "tidemill.toml").write_text(content)
    with pytest.raises(SettingError, match=says) as caught:
        load(tmp_path, environ={})
    if tip:
        assert caught.match(f"tip: .*{tip}")


def test_unknown_variables_arguments_and_profiles_are_named(project: Path) -> None:
    with pytest.raises(SettingError, match=r"`serve.prt` \(variable TIDEMILL_SERVE__PRT\)"):
        load(project, environ={"TIDEMILL_SERVE__PRT": "1"})
    with pytest.raises(SettingError, match=r"`laek` \(argument\)"):
        load(project, environ={}, overrides={"laek": "x"})
    with pytest.raises(SettingError, match="did you mean `production`"):
        load(project, environ={}, profile="prodution")
    with pytest.raises(SettingError, match=r"did you mean `serve\.port`"):
        load(project, environ={}).origin("serve.prt")


def test_the_profile_and_the_tests_data_are_no_settings(project: Path) -> None:
    load(project, environ={"TIDEMILL_PROFILE": "laptop", "TIDEMILL_TEST_DATA": "/data"})


def test_the_process_is_asked_when_no_environment_is_handed_in(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_SERVE__PORT", "9009")
    assert load(project).serve.port == 9009
    assert load(project, environ={}).serve.port == 9000


def test_secrets_are_masked_where_settings_are_shown(project: Path) -> None:
    settings = load(project, profile="production", environ={})
    assert settings.ledger.startswith("postgresql://mill:hunter2@")
    shown = str(settings.rows()) + repr(settings) + f"{settings}"
    assert "hunter2" not in shown
    assert "secret2" not in shown
    assert "postgresql://***@db/ledger" in shown
    with pytest.raises(SettingError) as caught:
        load(project, environ={}, overrides={"serve.port": "redis://me:hunter2@cache"})
    assert "hunter2" not in str(caught.value)


def test_every_setting_says_what_it_is() -> None:
    for struct in (Profile, Serve):
        for field in msgspec.inspect.type_info(struct).fields:  # type: ignore[union-attr]
            assert _described(struct, field.name), f"{struct.__name__}.{field.name}"


def _described(struct: type, name: str) -> str:
    _, parts = msgspec.json.schema_components([struct])
    return str(parts[struct.__name__]["properties"][name].get("description", ""))


def test_the_schema_takes_what_load_takes_and_refuses_what_it_refuses(project: Path) -> None:
    import tomllib

    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(tomllib.loads(FILE), schema)
    for wrong in (
        "[laptop]\nengin = 'x'",
        "[laptop.serve]\nport = 70000",
        "engine = 'polars'",
        "[laptop.sources]\na = 1",
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(tomllib.loads(wrong), schema)
