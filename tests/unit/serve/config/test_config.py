from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

import avdetect
from avdetect.errors import DataError, UsageError
from avdetect.events.event import Event, FeedEvent, Modality
from avdetect.runtime.bundle_files import default_bundle_path
from avdetect.serve.config.loading import load_config
from avdetect.serve.config.mistakes import KeyLines, KeyPath
from avdetect.serve.sinks.settings import CommandSettings

EXAMPLE = Path(avdetect.__file__).parent / "assets" / "serve.toml"
FEED = '[feeds.door]\nurl = "rtsp://camera/1"\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "cameras.toml"
    path.write_text(text)
    return path


def mistakes(folder: Path, text: str) -> list[str]:
    """Lines of the message, without the path."""
    path = write(folder, text)
    with pytest.raises(UsageError) as caught:
        load_config(path)
    return [line.removeprefix(f"{path}:") for line in str(caught.value).splitlines()]


def test_the_example_has_no_mistake() -> None:
    loaded = load_config(EXAMPLE)

    assert [feed.name for feed in loaded.feeds] == ["door"]


def test_everything_that_the_example_shows_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA_USER", "me")
    monkeypatch.setenv("CAMERA_PASSWORD", "p@ss")
    monkeypatch.setenv("AVDETECT_WEB_TOKEN", "x" * 32)
    monkeypatch.setenv("HOOK_SECRET", "secret")
    monkeypatch.setenv("MQTT_PASSWORD", "secret")
    (tmp_path / "bundle").symlink_to(default_bundle_path())
    lines = EXAMPLE.read_text().splitlines()
    uncommented = [line.removeprefix("# ") if " = " in line or line.startswith("# [") else line for line in lines]

    loaded = load_config(write(tmp_path, "\n".join(uncommented)))

    [feed] = loaded.feeds
    assert feed.address.url == "rtsp://me:p%40ss@camera.local/stream"
    assert set(loaded.config.sinks) == {"hook", "home", "log", "siren"}
    assert loaded.token == "x" * 32
    assert loaded.classes(feed.name) == ("gunshot", "glass")
    assert loaded.sinks("door") == ("home",)


def test_all_mistakes_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    text = """\
[store]
max_age = "a while"

[sinks.phone]
type = "pigeon"

[feeds.door]
url = "rtsp://camera/1"
transport = "tpc"
stall_timeot_s = 3
thresholds = { siren = 2 }

[feeds."back yard"]
url = "rtsp://camera/2"

[feeds.garage]
"""

    assert mistakes(tmp_path, text)[1:] == [
        '2: store.max_age: must be a number and one of s, min, h, d, as in "30 d".',
        "5: sinks.phone.type: must be one of webhook, mqtt, command, file.",
        '9: feeds.door.transport: must be "tcp" or "udp", got "tpc".',
        '10: feeds.door.stall_timeot_s: is no setting; did you mean "stall_timeout_s"?',
        "11: feeds.door.thresholds.siren: must be less than or equal to 1, got 2.",
        "13: feeds.back yard: a name has up to 64 letters, digits, - and _, and begins with a letter or a digit.",
        "16: feeds.garage.url: is missing.",
    ]


def test_names_that_do_not_exist_are_mistakes(tmp_path: Path) -> None:
    text = FEED + 'classes = ["sirens"]\nsinks = ["phone"]\nthresholds = { dragon = 0.5 }\n'

    found = mistakes(tmp_path, text)

    assert found[1:3] == [
        '3: feeds.door.classes: no class is called "sirens"; did you mean "siren"?',
        '4: feeds.door.sinks: no sink is called "phone"; there is none.',
    ]
    assert found[3].startswith('5: feeds.door.thresholds.dragon: no class is called "dragon"; there are ')


def test_a_page_that_others_can_reach_needs_a_token(tmp_path: Path) -> None:
    [mistake] = mistakes(tmp_path, '[web]\nhost = "0.0.0.0"\n' + FEED)

    assert mistake.startswith("2: web.host: ")
    assert "token" in mistake


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[feeds.door]\nurl = "a" "b"\n', "2: Expected newline"),
        ("", "1: feeds: is missing."),
    ],
)
def test_a_file_that_cannot_be_understood(tmp_path: Path, text: str, expected: str) -> None:
    assert mistakes(tmp_path, text)[0].startswith(expected)


def test_a_bundle_that_is_not_there(tmp_path: Path) -> None:
    [mistake] = mistakes(tmp_path, '[model]\nbundle = "mine/"\n' + FEED)

    assert mistake == f"2: model.bundle: there is no bundle at {tmp_path / 'mine'}."


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read .*none.toml: No such file"):
        load_config(tmp_path / "none.toml")


def test_credentials_come_from_elsewhere_and_are_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("p/w\n")
    monkeypatch.setenv("DOOR_USER", "me")
    text = FEED + 'username_env = "DOOR_USER"\npassword_file = "secret"\n'

    loaded = load_config(write(tmp_path, text))

    assert loaded.feeds[0].address.url == "rtsp://me:p%2Fw@camera/1"
    assert "p%2Fw" not in repr(loaded)
    assert "p/w" not in repr(loaded)


def test_a_variable_in_a_url_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '[feeds.door]\nurl = "rtsp://u:${DOOR_PASSWORD}@camera/1"\n'
    monkeypatch.setenv("DOOR_PASSWORD", "hunter2")
    assert load_config(write(tmp_path, text)).feeds[0].address.url == "rtsp://u:hunter2@camera/1"

    monkeypatch.delenv("DOOR_PASSWORD")
    assert mistakes(tmp_path, text) == ["2: feeds.door.url: the environment variable DOOR_PASSWORD is not set."]


def test_all_credentials_that_are_missing_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    text = """\
[web]
token_env = "NO_TOKEN"
[sinks.home]
type = "mqtt"
host = "broker"
username = "me"
password_env = "NO_PASSWORD"
[sinks.hook]
type = "webhook"
url_file = "no-url"
headers = { Authorization = { env = "NO_HEADER" } }
[feeds.door]
url = "rtsp://camera/1"
username = "me"
password = { env = "NO_DOOR" }
[feeds.yard]
url = "rtsp://${NO_YARD}@camera/2"
classes = ["sirens"]
"""
    unset = "the environment variable {}, which holds a credential, is not set."

    found = mistakes(tmp_path, text)[1:]

    assert [line for line in found if "no-url" not in line] == [
        f"2: web.token_env: {unset.format('NO_TOKEN')}",
        f"7: sinks.home.password_env: {unset.format('NO_PASSWORD')}",
        f"11: sinks.hook.headers.Authorization: {unset.format('NO_HEADER')}",
        f"15: feeds.door.password: {unset.format('NO_DOOR')}",
        "17: feeds.yard.url: the environment variable NO_YARD is not set.",
        '18: feeds.yard.classes: no class is called "sirens"; did you mean "siren"?',
    ]
    [in_file] = [line for line in found if "no-url" in line]
    assert in_file.startswith(f"10: sinks.hook.url_file: cannot read the credential in {tmp_path / 'no-url'}: ")


def test_values_of_another_kind_are_told_in_words_of_the_file(tmp_path: Path) -> None:
    text = (
        '[store]\nfolder = 3\n[feeds.door]\nurl = ""\nclasses = "siren"\n[feeds.yard]\nurl = "x"\nffmpeg_options = 1\n'
    )

    assert mistakes(tmp_path, text)[1:] == [
        "2: store.folder: must be a text.",
        "4: feeds.door.url: must be a text that is not empty.",
        "5: feeds.door.classes: must be a list.",
        "8: feeds.yard.ffmpeg_options: must be a table.",
    ]
    assert mistakes(tmp_path, '[feeds]\nurl = "x"\n') == ["2: feeds.url: must be a table."]


def test_a_device_or_sink_that_cannot_be_used_is_a_mistake(tmp_path: Path) -> None:
    text = FEED + '[model]\ndevice = "gpu"\n[sinks.hook]\ntype = "webhook"\nurl = "ftp://x"\n'
    text += '[sinks.home]\ntype = "mqtt"\nhost = "x"\ntls = { ca = "no.pem" }\n'

    device, hook, home = mistakes(tmp_path, text)[1:]

    assert device == "4: model.device: device 'gpu' is not known; choose auto, cpu, cuda, cuda:N or tensorrt."
    assert hook == "5: sinks.hook: its URL must begin with http:// or https:// and name a host."
    assert home.startswith("8: sinks.home: its certificates or key cannot be read")


@pytest.mark.parametrize("url", ["rtsp://me@camera/1", "/dev/video0"])
def test_a_user_name_without_a_place_is_a_mistake(tmp_path: Path, url: str) -> None:
    [mistake] = mistakes(tmp_path, f'[feeds.door]\nurl = "{url}"\nusername = "me"\n')

    assert mistake.startswith("3: feeds.door.username: ")


@pytest.mark.parametrize(
    ("feed", "place"),
    [
        ('url = "clips/a.mp4"\nrealtime = true', "{folder}/clips/a.mp4"),
        ('url = "/srv/a.mp4"', "/srv/a.mp4"),
        ('url = "-"\ninput_format = "mpegts"', "-"),
        ('url = "hw:1"\ninput_format = "alsa"', "hw:1"),
        ('url = "raw.pcm"\ninput_format = "s16le"', "{folder}/raw.pcm"),
        ('url = "https://camera/a.m3u8"', "https://camera/a.m3u8"),
    ],
)
def test_a_file_to_play_counts_from_the_folder_of_the_configuration(tmp_path: Path, feed: str, place: str) -> None:
    (tmp_path / "raw.pcm").touch()

    [spec] = load_config(write(tmp_path, f"[feeds.door]\n{feed}\n")).feeds

    assert spec.address.url == place.format(folder=tmp_path)


def test_a_program_with_a_path_counts_from_the_folder_of_the_configuration(tmp_path: Path) -> None:
    text = FEED + '[sinks.a]\ntype = "command"\nargv = ["./siren", "x/y"]\n'
    text += '[sinks.b]\ntype = "command"\nargv = ["siren", "x/y"]\n'

    sinks = load_config(write(tmp_path, text)).config.sinks

    assert [sink.argv for sink in sinks.values() if isinstance(sink, CommandSettings)] == [
        (str(tmp_path / "siren"), "x/y"),
        ("siren", "x/y"),
    ]


def test_what_was_set_is_not_shown_where_it_may_be_a_secret(tmp_path: Path) -> None:
    found = mistakes(tmp_path, FEED + 'password = ["hunter2"]\npasword = "hunter2"\n')

    assert len(found) == 3
    assert "hunter2" not in "".join(found)


def test_the_store_is_beside_the_file_where_nothing_else_is_said(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, FEED)).config.store.folder == tmp_path / "avdetect-data"


def test_paths_count_from_the_folder_of_the_file(tmp_path: Path) -> None:
    loaded = load_config(write(tmp_path, '[store]\nfolder = "kept"\n[sinks.log]\ntype = "file"\npath = "-"\n' + FEED))

    assert loaded.config.store.folder == tmp_path / "kept"
    assert loaded.feeds[0].clips is not None
    assert loaded.feeds[0].clips.folder == tmp_path / "kept" / "clips"
    assert loaded.config.sinks["log"].path == "-"  # type: ignore[union-attr]


def test_rules_of_a_feed_are_laid_over_those_of_the_bundle(tmp_path: Path) -> None:
    text = FEED + 'classes = ["siren"]\nthreshold = 0.9\ncooldown_s = 30\n'

    [feed] = load_config(write(tmp_path, text)).feeds

    [rule] = [rule for rule in feed.rules if rule is not None]
    assert (rule.on, rule.cooldown_s) == (0.9, 30)


def test_a_feed_that_is_switched_off_is_not_run(tmp_path: Path) -> None:
    text = FEED + '[feeds.yard]\nurl = "rtsp://u:${NOT_SET}@camera/2"\nenabled = false\n'

    assert [feed.name for feed in load_config(write(tmp_path, text)).feeds] == ["door"]


def test_the_same_file_gives_the_same_feeds(tmp_path: Path) -> None:
    path = write(tmp_path, FEED)

    assert load_config(path).feeds == load_config(path).feeds


DOCUMENT = """\
top = 1

# text
[a.b] # more
x = [
  1,
  2,
]
"quoted key" = '''
[not.a.table]
'''
y.z = 3
[c]
u = { v = 1 }
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 1),
        (("a",), 4),
        (("a", "b"), 4),
        (("a", "b", "x", 1), 5),
        (("a", "b", "quoted key"), 9),
        (("a", "b", "y", "z"), 12),
        (("c", "u", "v"), 14),
        (("c", "missing"), 13),
        (("missing",), 1),
    ],
)
def test_the_line_of_a_key(path: KeyPath, line: int) -> None:
    assert KeyLines(DOCUMENT).line(path) == line


def test_mistakes_of_all_kinds_are_told_in_one_round(tmp_path: Path) -> None:
    """Of syntax, of values, of what is missing in the environment, on the disk and among names."""
    text = """\
[model]
bundle = "mine/"
device = "gpu"

[web]
host = "0.0.0.0"

[sinks.phone]
type = "webhook"
url_env = "NO_SUCH_VARIABLE"
quiet_hours = ["22-6"]

[sinks.home]
type = "mqtt"
host = "127.0.0.1"
tls = { ca = "missing.pem" }

[feeds.door]
url = "rtsp://camera/1" "twice"
transport = "tpc"
sinks = ["fone"]

[feeds.yard]
url = "rtsp://camera/${NO_SUCH_VARIABLE}"
hours = { "22:00-06:00" = { treshold = 0.5 } }
"""

    found = mistakes(tmp_path, text)

    assert found[0].endswith("has 11 mistakes:")
    assert [line.partition(": ")[0] + ": " + line.split(": ")[1] for line in found[1:]] == [
        "2: model.bundle",
        "3: model.device",
        "6: web.host",
        "10: sinks.phone.url_env",
        "11: sinks.phone.quiet_hours",
        "13: sinks.home",
        "19: Expected newline or end of document after a statement.",
        "20: feeds.door.transport",
        "21: feeds.door.sinks",
        "24: feeds.yard.url",
        "25: feeds.yard.hours.22:00-06:00.treshold",
    ]


def test_several_lines_that_are_no_toml_are_told_at_once(tmp_path: Path) -> None:
    text = '[web\nport = 1\n[feeds.door]\nurl = "rtsp://camera/1"\nenabled = yes\n[log]\nlevel = "quiet"\nformat = [\n'

    assert [line.partition(":")[0] for line in mistakes(tmp_path, text)[1:]] == ["1", "5", "7", "8"]


def test_a_threshold_holds_at_its_hours_and_one_that_was_chosen_before_all(tmp_path: Path) -> None:
    text = (
        FEED
        + "threshold = 0.6\nthresholds = { glass = 0.5 }\n"
        + '[feeds.door.hours]\n"22:00-06:00" = { thresholds = { glass = 0.3 } }\n'
        + '"12:00-13:00" = { threshold = 0.9 }\n"13:00-14:00" = { quiet = true }\n'
    )
    loaded = load_config(write(tmp_path, text))

    def thresholds(hour: int, chosen: dict[str, float]) -> dict[str, float]:
        rules = loaded.feed("door", chosen).rules_at(datetime(2026, 11, 23, hour, 30).astimezone())
        return {name: rule.on for name, rule in zip(loaded.class_names, rules, strict=True) if rule is not None}

    assert (thresholds(9, {})["siren"], thresholds(9, {})["glass"]) == (0.6, 0.5)
    assert (thresholds(23, {})["siren"], thresholds(23, {})["glass"]) == (0.6, 0.3)
    assert (thresholds(12, {})["siren"], thresholds(12, {})["glass"]) == (0.9, 0.9)
    assert thresholds(13, {"glass": 0.1}) == {}
    assert thresholds(23, {"glass": 0.1})["glass"] == thresholds(9, {"glass": 0.1})["glass"] == 0.1


def test_a_sink_gets_the_events_it_wants(tmp_path: Path) -> None:
    text = (
        FEED
        + '[sinks.all]\ntype = "file"\npath = "-"\n'
        + '[sinks.shots]\ntype = "file"\npath = "-"\nclasses = ["gunshot"]\n'
        + '[sinks.heard]\ntype = "file"\npath = "-"\nmodality = ["audio", "both"]\n'
        + '[sinks.day]\ntype = "file"\npath = "-"\nquiet_hours = "22:00-06:00"\n'
    )
    loaded = load_config(write(tmp_path, text))
    night, noon = (datetime(2026, 11, 23, hour).astimezone() for hour in (23, 12))

    def sinks(class_name: str, modality: Modality, at: datetime) -> set[str]:
        event = Event(class_name, 0.0, 1.0, 0.5, 0.9, modality)
        return set(loaded.sinks("door", FeedEvent("a", "door", "opened", event, at, at, at)))

    assert sinks("gunshot", "audio", noon) == {"all", "shots", "heard", "day"}
    assert sinks("siren", "visual", noon) == {"all", "day"}
    assert sinks("gunshot", "both", night) == {"all", "shots", "heard"}
    assert loaded.sinks("door") == ("all", "shots", "heard", "day")


def test_what_only_a_restart_can_change_is_named_and_all_else_is_taken_over(tmp_path: Path) -> None:
    running = load_config(write(tmp_path, FEED))
    changed = '[store]\nfolder = "elsewhere"\n[prompts]\nkey = "keys jingle"\n' + FEED + "threshold = 0.7\n"

    loaded = load_config(write(tmp_path, changed), running=running)

    assert [note for note in loaded.notes if note.startswith("a change")] == [
        "a change of [prompts] needs a restart; all else is taken over.",
        "a change of [store] needs a restart; all else is taken over.",
    ]
    assert loaded.config.store == running.config.store
    assert {rule.on for rule in loaded.feeds[0].rules if rule is not None} == {0.7}
