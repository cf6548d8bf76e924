"""What holds for all sinks; and what works without the extra."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from avdetect.serve.sinks import (
    CommandSettings,
    FileSettings,
    MqttSettings,
    SinkSettings,
    WebhookSettings,
    open_sink,
)

SETTINGS: TypeAdapter[SinkSettings] = TypeAdapter(SinkSettings)

WITHOUT_EXTRA = """
    import sys

    class Blocked:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ("fastapi", "httpx", "paho", "prometheus_client", "uvicorn"):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Blocked())
    from pathlib import Path
    from avdetect.errors import UsageError
    from avdetect.serve.sinks.delivery import Dispatcher
    from avdetect.serve.store.retention import prune
    from avdetect.serve.sinks import CommandSettings, FileSettings, MqttSettings, WebhookSettings, open_sink
    from avdetect.serve.store import Store
    from tests.synth.reports import an_event

    with Store(Path(sys.argv[1])) as store:
        store.record_event(an_event(), ["out", "run"])
        sinks = [open_sink("out", FileSettings(path="-")), open_sink("run", CommandSettings(argv=["true"]))]
        with Dispatcher(store, sinks) as dispatcher:
            assert dispatcher.drain(10) == 0
    for settings in (MqttSettings(host="h"), WebhookSettings.model_validate({"url": "http://h"})):
        try:
            open_sink("far", settings)
        except UsageError as error:
            print(error)
"""


def test_store_files_and_commands_work_without_the_extra_and_the_others_name_it(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(WITHOUT_EXTRA), str(tmp_path / "events.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[4])

    assert done.returncode == 0, done.stderr
    report, mqtt, webhook = done.stdout.splitlines()
    assert '"class": "gunshot"' in report
    assert mqtt == "sink far: paho is not installed; `pip install 'avdetect[serve]'` brings it."
    assert webhook == "sink far: httpx is not installed; `pip install 'avdetect[serve]'` brings it."


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ({"type": "file", "path": "-"}, FileSettings),
        ({"type": "command", "argv": ["notify-send"]}, CommandSettings),
        ({"type": "webhook", "url_env": "HOOK_URL", "secret_file": "/run/secret"}, WebhookSettings),
        ({"type": "mqtt", "host": "h", "username": "u", "password_env": "PASSWORD", "tls": True}, MqttSettings),
    ],
)
def test_a_table_of_the_configuration_becomes_the_settings_of_its_type(
    table: dict[str, object], kind: type[object]
) -> None:
    assert isinstance(SETTINGS.validate_python(table), kind)


@pytest.mark.parametrize("table", [{"path": "-"}, {"type": "pigeon"}, {"type": "file", "path": "-", "colour": "red"}])
def test_a_table_that_fits_no_type_is_refused(table: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SETTINGS.validate_python(table)


def test_a_sink_is_called_what_the_configuration_calls_it() -> None:
    assert open_sink("my log", FileSettings(path="-")).name == "my log"
