from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from avdetect.errors import UsageError
from avdetect.serve.secrets import Secret, SecretSettings


class Settings(SecretSettings):
    user: str = ""
    password: Secret | None = None
    headers: dict[str, Secret] = {}  # noqa: RUF012


def revealed(settings: Settings) -> str:
    assert settings.password is not None
    return settings.password.reveal()


def test_a_credential_comes_from_the_value_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("from a file\n")
    monkeypatch.setenv("PASSWORD", "from the environment")

    assert revealed(Settings.model_validate({"password": "from the value"})) == "from the value"
    assert revealed(Settings.model_validate({"password_env": "PASSWORD"})) == "from the environment"
    assert revealed(Settings.model_validate({"password_file": str(tmp_path / "password")})) == "from a file"
    assert revealed(Settings.model_validate({"password": {"env": "PASSWORD"}})) == "from the environment"


def test_a_credential_inside_a_table_may_come_from_elsewhere_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "Bearer x")
    settings = Settings.model_validate({"headers": {"Authorization": {"env": "TOKEN"}, "X-Plain": "y"}})

    assert {key: value.reveal() for key, value in settings.headers.items()} == {
        "Authorization": "Bearer x",
        "X-Plain": "y",
    }


def test_a_credential_is_not_shown() -> None:
    settings = Settings.model_validate({"password": "hunter2", "headers": {"Authorization": "hunter2"}})

    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "hunter2", "password_env": "PASSWORD"},
        {"password_file": "hunter2", "password_env": "PASSWORD"},
        {"password": {"value": "hunter2", "env": "PASSWORD"}},
        {"password": ["hunter2"]},
        {"passwort": "hunter2"},
        {"user": 2, "password": "hunter2"},
    ],
)
def test_what_is_wrong_is_refused_without_showing_the_credential(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(wrong)

    assert "hunter2" not in str(caught.value)


def test_a_credential_that_is_not_there_is_named_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PASSWORD", raising=False)
    (tmp_path / "empty").touch()

    with pytest.raises(UsageError, match="environment variable PASSWORD"):
        Secret(env="PASSWORD").reveal()
    with pytest.raises(UsageError, match="cannot read the credential in .*missing"):
        Secret(file=tmp_path / "missing").reveal()
    with pytest.raises(UsageError, match="empty, which holds a credential, is empty"):
        Secret(file=tmp_path / "empty").reveal()
