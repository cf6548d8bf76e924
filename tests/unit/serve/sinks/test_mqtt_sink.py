"""Against a real mosquitto, which is killed and started again."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from pydantic import ValidationError

from avdetect.errors import UsageError
from avdetect.events.event import FeedEvent
from avdetect.serve.sinks import Delivery, DeliveryError, MqttSettings, open_sink
from avdetect.serve.sinks.base import SetThreshold
from avdetect.serve.sinks.delivery import Dispatcher
from avdetect.serve.sinks.mqtt import MqttSink
from avdetect.serve.sinks.mqtt_topics import Topics
from avdetect.serve.store import Store
from tests.synth.brokers import Mosquitto, Subscriber, free_port, retained, wait_until
from tests.synth.reports import a_gap, an_event

pytestmark = pytest.mark.needs("mosquitto")

FAST = {"first_retry_s": 0.01, "max_retry_s": 0.1}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as broker:
        yield broker


def mqtt(port: int, **settings: Any) -> MqttSink:
    sink = open_sink("mqtt", MqttSettings.model_validate({"host": "127.0.0.1", "port": port, **settings}))
    assert isinstance(sink, MqttSink)
    sink.open()
    return sink


def report(event: FeedEvent, seq: int, *, superseded: bool = False) -> Delivery:
    return Delivery(seq, f"{event.id}/{event.stage}/{seq}", "event", event.as_dict(), superseded)


def test_a_report_is_on_the_topic_of_events_when_it_counts_as_delivered(broker: Mosquitto) -> None:
    event = an_event()
    sink = mqtt(broker.port)
    with Subscriber(broker.port) as subscriber:
        sink.deliver(report(event, 1))
        wait_until(lambda: subscriber.on("avdetect/events"))
        sink.close()

    assert subscriber.documents("avdetect/events") == [report(event, 1).document()]


def test_a_class_is_on_while_an_event_is_open(broker: Mosquitto) -> None:
    event = an_event(feed="front/door")
    sink = mqtt(broker.port, prefix="home/alarm")
    sink.announce({"front/door": ["gunshot", "scream"]}, ())
    sink.deliver(report(event, 1))
    wait_until(lambda: "ON" in retained(broker.port).values())
    opened = retained(broker.port)
    closed_event = replace(event, stage="closed")
    sink.deliver(report(closed_event, 2))
    wait_until(lambda: "ON" not in retained(broker.port).values())
    sink.close()
    closed = retained(broker.port)

    assert opened["home/alarm/front%2Fdoor/gunshot/state"] == "ON"
    assert opened["home/alarm/front%2Fdoor/scream/state"] == "OFF"
    assert closed["home/alarm/front%2Fdoor/gunshot/state"] == "OFF"
    assert json.loads(closed["home/alarm/front%2Fdoor/gunshot/event"]) == report(closed_event, 2).document()


def test_a_class_that_has_an_open_event_stays_on_when_the_sink_is_opened_anew(broker: Mosquitto) -> None:
    sink = mqtt(broker.port)
    sink.announce({"yard": ["gunshot", "scream"]}, {("yard", "gunshot")})
    wait_until(lambda: "avdetect/yard/scream/state" in retained(broker.port))
    sink.close()
    kept = retained(broker.port)

    assert (kept["avdetect/yard/gunshot/state"], kept["avdetect/yard/scream/state"]) == ("ON", "OFF")


def test_a_report_that_was_overtaken_does_not_switch_a_sensor_on(broker: Mosquitto) -> None:
    event = an_event()
    sink = mqtt(broker.port)
    with Subscriber(broker.port) as subscriber:
        sink.deliver(report(event, 1, superseded=True))
        sink.deliver(report(replace(event, stage="closed"), 2))
        wait_until(lambda: len(subscriber.on("avdetect/events")) == 2 and subscriber.on("avdetect/yard/gunshot/state"))
    sink.close()

    assert subscriber.on("avdetect/yard/gunshot/state") == ["OFF"]


def test_the_clip_of_a_closed_event_does_not_switch_its_sensor(broker: Mosquitto) -> None:
    event = replace(an_event(stage="closed"), clip="a.mp4")
    sink = mqtt(broker.port)
    sink.deliver(report(event, 1))
    sink.deliver(replace(report(event, 2), kind="clip"))
    sink.close()
    kept = retained(broker.port)

    assert kept["avdetect/yard/gunshot/state"] == "OFF"
    assert json.loads(kept["avdetect/yard/gunshot/event"])["kind"] == "clip"


def test_gaps_have_a_topic_of_their_own(broker: Mosquitto) -> None:
    gap = Delivery(1, "x/began/1", "gap", {"id": "x", **a_gap().as_dict()})
    sink = mqtt(broker.port)
    with Subscriber(broker.port) as subscriber:
        sink.deliver(gap)
        wait_until(lambda: subscriber.on("avdetect/gaps"))
    sink.close()

    assert subscriber.documents("avdetect/gaps") == [gap.document()]


def test_the_broker_knows_whether_the_service_and_its_feeds_are_there(broker: Mosquitto) -> None:
    sink = mqtt(broker.port)
    sink.announce({"yard": ["gunshot"], "door": ["gunshot"]}, ())
    sink.status("yard", True)
    wait_until(lambda: retained(broker.port).get("avdetect/yard/availability") == "online")
    wait_until(lambda: retained(broker.port).get("avdetect/door/availability") == "offline")
    running = retained(broker.port)
    sink.close()
    stopped = retained(broker.port)

    assert running["avdetect/availability"] == "online"
    assert stopped["avdetect/availability"] == "offline"


def test_the_broker_says_that_the_service_is_gone_when_it_dies(broker: Mosquitto) -> None:
    sink = mqtt(broker.port)
    wait_until(lambda: retained(broker.port).get("avdetect/availability") == "online")
    with Subscriber(broker.port, "avdetect/availability") as subscriber:
        sink._client._sock_close()  # as the system does for a process that is killed
        wait_until(lambda: "offline" in subscriber.on("avdetect/availability"))
    sink.close()


def test_home_assistant_finds_a_sensor_for_each_class_of_each_feed(broker: Mosquitto) -> None:
    sink = mqtt(broker.port, home_assistant=True)
    sink.announce({"Front door": ["glass_break"]}, ())
    wait_until(lambda: sum(topic.endswith("/config") for topic in retained(broker.port)) == 3)
    found = {topic: json.loads(text) for topic, text in retained(broker.port).items() if topic.endswith("/config")}
    sink.close()

    by_name = {config["name"]: (topic, config) for topic, config in found.items()}
    topic, config = by_name["Glass break"]
    assert topic.startswith("homeassistant/binary_sensor/avdetect/front_door_")
    assert config["device"]["name"] == "Front door"
    assert config["state_topic"] == "avdetect/Front door/glass_break/state"
    assert [each["topic"] for each in config["availability"]] == [
        "avdetect/availability",
        "avdetect/Front door/availability",
    ]
    assert by_name["Any event"][1]["state_topic"] == "avdetect/Front door/all/state"
    assert by_name["Sound level"][0].startswith("homeassistant/sensor/avdetect/")
    assert by_name["Sound level"][1]["unit_of_measurement"] == "dBFS"
    assert len({config["unique_id"] for config in found.values()}) == 3


def test_what_is_kept_of_a_feed_goes_with_it_also_in_a_later_run(broker: Mosquitto) -> None:
    first = mqtt(broker.port, home_assistant=True)
    first.announce({"yard": ["gunshot", "scream"], "door": ["gunshot"], "gate": ["gunshot"]}, ())
    first.status("gate", True)
    for seq, feed in enumerate(("yard", "door", "gate")):
        first.deliver(report(an_event(feed=feed), seq))
    wait_until(lambda: sum("config" in topic for topic in retained(broker.port)) == 10)
    first.announce({"yard": ["gunshot"], "door": ["gunshot"]}, ())
    wait_until(lambda: not [topic for topic in retained(broker.port) if "gate" in topic or "scream" in topic])
    first.close()
    second = mqtt(broker.port, home_assistant=True)
    second.announce({"yard": ["gunshot"]}, ())
    wait_until(lambda: not [topic for topic in retained(broker.port) if "door" in topic])
    kept = set(retained(broker.port))
    second.close()

    assert kept == {
        "avdetect/availability",
        "avdetect/yard/availability",
        "avdetect/yard/gunshot/event",
        "avdetect/yard/gunshot/state",
        "avdetect/yard/all/state",
        *Topics("avdetect", "homeassistant", "").discovery("yard", ["gunshot"], control=False),
    }


@pytest.mark.parametrize("violently", [False, True])
def test_all_reports_arrive_in_order_when_the_broker_ends_and_comes_back(tmp_path: Path, violently: bool) -> None:
    ids: list[str] = []
    with Mosquitto(tmp_path) as broker, Store(tmp_path / "events.db") as store, Subscriber(broker.port) as subscriber:

        def arrived() -> list[str]:
            return list(dict.fromkeys(document["id"] for document in subscriber.documents("avdetect/events")))

        def record(num: int) -> None:
            for _ in range(num):
                event = an_event(stage="closed")
                store.record_event(event, ["mqtt"])
                dispatcher.wake()
                ids.append(event.id)

        with Dispatcher(store, [mqtt(broker.port, timeout_s=1.0)], **FAST) as dispatcher:
            record(10)
            if violently:  # what the broker had acknowledged and not passed on yet would be the broker's loss
                wait_until(lambda: arrived() == ids)
                broker.kill()
            else:
                wait_until(lambda: len(arrived()) > 3)
                broker.stop()
            record(10)
            broker.start()
            record(10)
            wait_until(lambda: arrived() == ids)

            assert dispatcher.drain(10) == 0


def test_the_present_state_is_told_again_to_a_broker_that_has_forgotten_it(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker:
        sink = mqtt(broker.port)
        sink.announce({"yard": ["gunshot"]}, ())
        sink.status("yard", True)
        sink.deliver(report(an_event(), 1))
        broker.kill()
        sink.status("yard", False)
        (tmp_path / "mosquitto.db").unlink(missing_ok=True)
        broker.start()
        wait_until(lambda: "avdetect/yard/gunshot/state" in retained(broker.port))
        kept = retained(broker.port)
        sink.close()

    assert kept["avdetect/yard/gunshot/state"] == "ON"
    assert kept["avdetect/yard/availability"] == "offline"
    assert kept["avdetect/availability"] == "online"


def test_a_broker_that_is_not_there_is_a_failure_that_passes() -> None:
    port = free_port()
    sink = mqtt(port, timeout_s=0.5)

    with pytest.raises(DeliveryError, match=f"127.0.0.1:{port}: .*refused") as caught:
        sink.deliver(report(an_event(), 1))
    sink.close()

    assert not caught.value.permanent


def test_closing_ends_a_delivery_under_way_and_the_thread() -> None:
    before = threading.active_count()
    sink = mqtt(free_port(), timeout_s=60)
    failures: list[BaseException] = []

    def deliver() -> None:
        try:
            sink.deliver(report(an_event(), 1))
        except DeliveryError as error:
            failures.append(error)

    thread = threading.Thread(target=deliver)
    thread.start()
    sink.close()
    thread.join(10)

    assert len(failures) == 1
    assert threading.active_count() == before


def test_a_broker_that_wants_a_password_gets_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", str(passwords), "ann", "hunter2"], check=True)
    with Mosquitto(tmp_path, options=f"allow_anonymous false\npassword_file {passwords}") as broker:
        wrong = mqtt(broker.port, username="ann", password="hunter3", timeout_s=2.0)
        with pytest.raises(DeliveryError, match="the broker refuses us: Not authorized"):
            wrong.deliver(report(an_event(), 1))
        wrong.close()
        right = mqtt(broker.port, username="ann", password="hunter2")
        right.deliver(report(an_event(), 1))
        right.close()

    assert "hunter" not in caplog.text


@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")  # paho leaves it to the garbage collector
def test_the_connection_is_encrypted_and_the_broker_known(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=broker"
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*request.split(), *files], check=True, capture_output=True)
    options = f"allow_anonymous true\ncertfile {certificate}\nkeyfile {key}"
    with Mosquitto(tmp_path, options=options) as broker:
        trusting = mqtt(broker.port, host="localhost", tls={"ca": str(certificate)})
        trusting.deliver(report(an_event(), 1))
        trusting.close()
        for doubtful in ({"host": "localhost", "tls": True}, {"host": "127.0.0.1", "tls": {"ca": str(certificate)}}):
            sink = mqtt(broker.port, timeout_s=1.0, **doubtful)
            with pytest.raises(DeliveryError, match="certificate"):
                sink.deliver(report(an_event(), 1))
            sink.close()
        careless = mqtt(broker.port, tls={"ca": str(certificate), "insecure": True})
        careless.deliver(report(an_event(), 1))
        careless.close()


def test_certificates_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sink mqtt: its certificates"):
        mqtt(1883, tls={"ca": str(tmp_path / "missing.pem")})


def test_the_usual_port_depends_on_encryption() -> None:
    assert MqttSettings(host="h").chosen_port == 1883
    assert MqttSettings.model_validate({"host": "h", "tls": True}).chosen_port == 8883
    assert MqttSettings.model_validate({"host": "h", "tls": False}).tls is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"prefix": "a/+"},
        {"prefix": "/a"},
        {"prefix": ""},
        {"port": 0},
        {"host": ""},
        {"host": "a..b"},
        {"password": "hunter2"},
        {"tls": {"cert": "only.pem"}},
        {"topic": "a"},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MqttSettings.model_validate({"host": "h", **wrong})


def test_names_that_differ_never_share_a_topic_or_an_identifier() -> None:
    topics = Topics("avdetect", "homeassistant", "")
    names = ["yard", "Yard", "yard ", "ya/rd", "ya%2Frd", "ya_rd", "ya+rd", "ya#rd", "yärd", "yard_ya", "all", "_any"]

    assert len({topics.state(name, "x") for name in names}) == len(names)
    assert len({topics.state("x", name) for name in names} | {topics.any_state("x")}) == len(names) + 1
    configs = [topics.discovery(name, names, control=True) for name in names]
    assert len({topic for found in configs for topic in found}) == len(names) * (2 + 2 * len(names))
    identities = {json.loads(text)["unique_id"] for found in configs for text in found.values()}
    assert len(identities) == len(names) * (2 + 2 * len(names))


def installation(port: int, identity: str, **settings: Any) -> MqttSink:
    chosen = MqttSettings.model_validate({"host": "127.0.0.1", "port": port, "home_assistant": True, **settings})
    sink = open_sink("mqtt", chosen, identity=identity)
    assert isinstance(sink, MqttSink)
    sink.open()
    return sink


FIRST, SECOND = "1" * 32, "2" * 32


def test_two_services_on_one_broker_do_not_delete_each_others_sensors(
    broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    first = installation(broker.port, FIRST)
    first.announce({"yard": ["gunshot"]}, ())
    wait_until(lambda: sum("config" in topic for topic in retained(broker.port)) == 3)
    before = retained(broker.port)
    second = installation(broker.port, SECOND, timeout_s=0.5)
    second.announce({"door": ["scream"]}, ())
    with pytest.raises(DeliveryError, match='another avdetect, on .*, uses the topics below "avdetect"'):
        second.deliver(report(an_event(feed="door"), 1))
    second.announce({"door": ["scream", "gunshot"]}, ())
    during = retained(broker.port)
    second.close()
    after = retained(broker.port)
    first.close()

    assert during == after == before
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(told) == 1
    assert "give each service a `prefix` of its own" in told[0]


def test_with_prefixes_of_their_own_two_services_share_a_broker(broker: Mosquitto) -> None:
    sinks = {
        prefix: installation(broker.port, identity, prefix=prefix)
        for prefix, identity in (("north", FIRST), ("south", SECOND))
    }
    for sink in sinks.values():
        sink.announce({"yard": ["gunshot"]}, ())
        sink.deliver(report(an_event(), 1))
    wait_until(lambda: sum("config" in topic for topic in retained(broker.port)) == 6)
    kept = retained(broker.port)
    for sink in sinks.values():
        sink.close()

    identities = [json.loads(text)["unique_id"] for topic, text in kept.items() if topic.endswith("config")]
    assert len(set(identities)) == 6
    assert (kept["north/yard/gunshot/state"], kept["south/yard/gunshot/state"]) == ("ON", "ON")


def test_the_topics_of_an_installation_that_has_gone_can_be_taken(broker: Mosquitto) -> None:
    first = installation(broker.port, FIRST)
    first.announce({"yard": ["gunshot"]}, ())
    wait_until(lambda: "avdetect/yard/gunshot/state" in retained(broker.port))
    second = installation(broker.port, SECOND)
    second.announce({"door": ["scream"]}, ())
    first.close()  # the second one has been waiting for it
    wait_until(lambda: "avdetect/door/scream/state" in retained(broker.port), timeout_s=30)
    second.deliver(report(an_event(feed="door"), 1))
    kept = retained(broker.port)
    second.close()

    assert not [topic for topic in kept if "yard" in topic]
    assert kept["avdetect/availability"] == "online"


def test_the_last_will_of_one_that_was_refused_does_not_make_the_other_unavailable(broker: Mosquitto) -> None:
    first = installation(broker.port, FIRST)
    first.announce({"yard": ["gunshot"]}, ())
    wait_until(lambda: retained(broker.port).get("avdetect/availability") == "online")
    with Subscriber(broker.port, "avdetect/availability") as subscriber:
        refused = Client(CallbackAPIVersion.VERSION2)
        refused.will_set("avdetect/availability", "offline", 1, retain=True)
        refused.connect("127.0.0.1", broker.port)
        refused.loop_start()
        wait_until(refused.is_connected)
        refused.socket().shutdown(2)  # type: ignore[union-attr]  # it vanishes without a word
        wait_until(lambda: subscriber.on("avdetect/availability")[-2:] == ["offline", "online"])
        refused.loop_stop()
    first.close()


def test_the_sensors_of_a_version_without_identities_are_replaced(broker: Mosquitto) -> None:
    former = "homeassistant/binary_sensor/avdetect/yard_gunshot/config"
    with Subscriber(broker.port) as subscriber:
        subscriber._client.publish(former, "{}", 1, retain=True).wait_for_publish(10)
    sink = installation(broker.port, FIRST)
    sink.announce({"yard": ["gunshot"]}, ())
    wait_until(lambda: former not in retained(broker.port) and sum("config" in t for t in retained(broker.port)) == 3)
    sink.close()


def test_a_feed_that_was_taken_out_leaves_nothing_behind_though_its_end_is_told_later(broker: Mosquitto) -> None:
    sink = mqtt(broker.port)
    sink.announce({"yard": ["gunshot"], "door": ["gunshot"]}, ())
    sink.status("yard", True)
    wait_until(lambda: retained(broker.port).get("avdetect/yard/availability") == "online")
    sink.announce({"door": ["gunshot"]}, ())
    sink.status("yard", False)  # the engine stops it a moment later
    sink.deliver(report(replace(an_event(), stage="closed"), 1))
    wait_until(lambda: not [topic for topic in retained(broker.port) if "yard" in topic])
    sink.close()

    assert not [topic for topic in retained(broker.port) if "yard" in topic]


def test_any_event_of_a_feed_switches_its_topic_of_all_classes(broker: Mosquitto) -> None:
    sink = mqtt(broker.port)
    sink.announce({"yard": ["gunshot", "scream"]}, ())
    wait_until(lambda: retained(broker.port).get("avdetect/yard/all/state") == "OFF")
    event = an_event()
    with Subscriber(broker.port, "avdetect/yard/all/state") as subscriber:
        sink.deliver(report(event, 1))
        sink.deliver(report(replace(event, stage="closed"), 2))
        wait_until(lambda: subscriber.on("avdetect/yard/all/state")[-2:] == ["ON", "OFF"])
    sink.close()


def test_how_loud_a_feed_is_comes_every_few_seconds(broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avdetect.serve.sinks.mqtt._LEVEL_INTERVAL_S", 0.5)
    sink = mqtt(broker.port)
    sink.announce({"yard": ["gunshot"]}, ())
    wait_until(lambda: "avdetect/yard/gunshot/state" in retained(broker.port))
    with Subscriber(broker.port, "avdetect/yard/sound_level") as subscriber:
        for _ in range(50):
            sink.level("yard", -31.26)
        wait_until(lambda: subscriber.on("avdetect/yard/sound_level"))
        time.sleep(0.6)
        sink.level("yard", -12.0)
        wait_until(lambda: len(subscriber.on("avdetect/yard/sound_level")) == 2)
    sink.close()

    assert subscriber.on("avdetect/yard/sound_level") == ["-31.3", "-12.0"]
    assert "avdetect/yard/sound_level" not in retained(broker.port)


def controlled(port: int, set_threshold: SetThreshold, **settings: Any) -> MqttSink:
    chosen = MqttSettings.model_validate({"host": "127.0.0.1", "port": port, "control": True, **settings})
    sink = open_sink("mqtt", chosen)
    assert isinstance(sink, MqttSink)
    sink.obey(set_threshold)
    sink.open()
    sink.announce({"yard": ["gunshot"]}, ())
    return sink


def test_thresholds_are_set_through_the_broker_and_told_there(broker: Mosquitto) -> None:
    orders: list[tuple[str, str, float | None]] = []

    def set_threshold(feed: str, label: str, value: float | None) -> None:
        orders.append((feed, label, value))
        sink.thresholds(feed, {label: 0.3 if value is None else value})

    sink = controlled(broker.port, set_threshold, home_assistant=True)
    sink.thresholds("yard", {"gunshot": 0.5})
    wait_until(lambda: retained(broker.port).get("avdetect/yard/gunshot/threshold") == "0.5")
    configs = [json.loads(text) for topic, text in retained(broker.port).items() if "/number/" in topic]
    with Subscriber(broker.port) as person:
        for text in ("0.75", "reset"):
            person.publish("avdetect/yard/gunshot/threshold/set", text)
        wait_until(lambda: person.on("avdetect/yard/gunshot/threshold")[-2:] == ["0.75", "0.3"])
    sink.close()

    assert orders == [("yard", "gunshot", 0.75), ("yard", "gunshot", None)]
    assert configs[0]["command_topic"] == "avdetect/yard/gunshot/threshold/set"


@pytest.mark.parametrize("text", ["loud", "", "nan", "2"])
def test_an_order_that_makes_no_sense_is_logged_and_changes_nothing(
    broker: Mosquitto, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    def set_threshold(feed: str, label: str, value: float | None) -> None:
        raise UsageError("a threshold must be a probability.")

    sink = controlled(broker.port, set_threshold)
    wait_until(lambda: "avdetect/yard/gunshot/state" in retained(broker.port))
    with Subscriber(broker.port) as person:
        person.publish("avdetect/yard/gunshot/threshold/set", text)
        wait_until(lambda: [record for record in caplog.records if "cannot be set" in record.getMessage()])
    sink.close()


def test_nobody_sets_thresholds_unless_the_configuration_says_so(broker: Mosquitto) -> None:
    orders: list[float | None] = []
    sink = controlled(broker.port, lambda feed, label, value: orders.append(value), control=False)
    wait_until(lambda: "avdetect/yard/gunshot/state" in retained(broker.port))
    with Subscriber(broker.port) as person:
        person.publish("avdetect/yard/gunshot/threshold/set", "0.9")
        wait_until(lambda: person.on("avdetect/yard/gunshot/threshold/set"))
        time.sleep(0.5)
    sink.close()

    assert orders == []
