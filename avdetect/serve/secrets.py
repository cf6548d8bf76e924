"""Credentials in a configuration: given there, in the environment or in a file, and shown nowhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator

from avdetect.errors import UsageError
from avdetect.redaction import keep_secret

__all__ = ["Secret", "SecretSettings", "expand_variables", "variables_in", "with_credentials"]


class Secret(BaseModel):
    """A credential: ``"the value"``, ``{env = "NAME"}`` or ``{file = "path"}``."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    value: SecretStr | None = None
    env: str | None = None
    """Name of an environment variable that holds it."""
    file: Path | None = None
    """File that holds it, as services get credentials from systemd, Docker and Kubernetes; line ends do not count."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"value": data}
        if not isinstance(data, dict | Secret):
            raise ValueError("must be a text, or a table with `env` or `file`")
        return data

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.value, self.env, self.file)) != 1:
            raise ValueError("give exactly one of the value itself, `env` and `file`")
        return self

    def reveal(self) -> str:
        """The credential itself: for the library that needs it, never for a message; logs mask it from here on.

        Raises:
            UsageError: the variable is not set, the file cannot be read, or there is nothing in it.
        """
        value = self._value()
        keep_secret([value])
        return value

    def _value(self) -> str:
        if self.value is not None:
            return self.value.get_secret_value()
        if self.env is not None:
            if not (found := os.environ.get(self.env, "")):
                raise UsageError(f"the environment variable {self.env}, which holds a credential, is not set.")
            return found
        assert self.file is not None
        try:
            found = self.file.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the credential in {self.file}: {error}.") from error
        if not found:
            raise UsageError(f"{self.file}, which holds a credential, is empty.")
        return found


class SecretSettings(BaseModel):
    """Settings with credentials: beside ``password`` they also take ``password_env`` and ``password_file``."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def secrets(self) -> Iterator[tuple[tuple[str, ...], Secret]]:
        """All that are set, with the names of the settings that lead to them."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            inner = value.items() if isinstance(value, Mapping) else ()
            for path, found in [((name,), value), *(((name, key), entry) for key, entry in inner)]:
                if isinstance(found, Secret):
                    yield path, found

    @model_validator(mode="before")
    @classmethod
    def _fold(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        folded = dict(data)
        for name, field in cls.model_fields.items():
            if not _holds_secret(field.annotation):
                continue
            sources = [suffix for suffix in ("env", "file") if f"{name}_{suffix}" in folded]
            if len(sources) + (name in folded) > 1:
                raise ValueError(f"give only one of `{name}`, `{name}_env` and `{name}_file`")
            for suffix in sources:
                folded[name] = {suffix: folded.pop(f"{name}_{suffix}")}
        return folded


def _holds_secret(annotation: Any) -> bool:
    return annotation is Secret or Secret in getattr(annotation, "__args__", ())


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def expand_variables(text: str) -> str:
    """``text`` with every ``${NAME}`` replaced by that environment variable, as it is; logs mask its value.

    Raises:
        UsageError: one is not set.
    """

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise UsageError(f"the environment variable {match[1]} is not set.")
        keep_secret([found])
        return found

    return _VARIABLE.sub(value, text)


def variables_in(text: str) -> list[str]:
    """Names of the environment variables that ``text`` refers to as ``${NAME}``."""
    return _VARIABLE.findall(text)


def with_credentials(url: str, username: str, password: str) -> str:
    """``url`` with a user name and a password; what has a meaning in URLs is escaped.

    Raises:
        UsageError: the URL has a user name already, or no host to give one to.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise UsageError("a user name and a password need a URL with a host, as in rtsp://camera/stream.")
    if "@" in re.split(r"[/?#]", rest, maxsplit=1)[0]:
        raise UsageError("the URL has a user name already: give it only once.")
    return f"{scheme}://{quote(username, safe='')}:{quote(password, safe='')}@{rest}"
