from __future__ import annotations

import time

import pytest

from avdetect.redaction import keep_secret, kept_secrets, redacted


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://admin:hunter2@cam/stream", "rtsp://***@cam/stream"),
        ("rtsp://admin@cam/stream", "rtsp://***@cam/stream"),
        ("rtsp://admin:hun@ter2@cam:554/stream", "rtsp://***@cam:554/stream"),
        ("rtsp://admin:hun/ter2@cam/stream", "rtsp://***@cam/stream"),
        ("rtsp://admin:12/hunter2@cam/stream", "rtsp://***@cam/stream"),
        ("rtsp://admin:hun#?ter2@cam/stream", "rtsp://***@cam/stream"),
        ("rtsp://admin:hun ter2@cam/stream", "rtsp://***@cam/stream"),
        ("rtsp://:hunter2@[::1]:554/stream", "rtsp://***@[::1]:554/stream"),
        ("http://cam/video?user=a&password=hunter2&fps=5", "http://cam/video?user=a&password=***&fps=5"),
        ("http://cam/video?pwd=hunter2", "http://cam/video?pwd=***"),
        ("https://cdn/a.m3u8?Policy=x&Signature=hunter2", "https://cdn/a.m3u8?Policy=x&Signature=***"),
        ("https://s3/a?X-Amz-Security-Token=hunter2", "https://s3/a?X-Amz-Security-Token=***"),
        ("https://cdn/a?access_token=hunter2#t=1", "https://cdn/a?access_token=***"),
        ("srt://host:9000?mode=caller&passphrase=hunter2", "srt://host:9000?mode=caller&passphrase=***"),
        ("srt://host:9000?streamid=read:cam:bob:hunter2", "srt://host:9000?streamid=***"),
        ("rtsp://dvr/user=a_password=hunter2_channel=1.sdp", "rtsp://dvr/user=a_password=***"),
    ],
)
def test_credentials_in_a_url_are_hidden(url: str, shown: str) -> None:
    assert redacted(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://cam.local:554/Streaming/Channels/101",
        "rtsp://[fe80::1]:554/stream",
        "http://host/@name/live.m3u8",
        "udp://239.0.0.1:1234?fifo_size=5000&reuse=1",
        "/dev/video0",
        "/srv/a video with: colons.mp4",
        "-",
    ],
)
def test_what_holds_no_credentials_is_left_as_it_is(url: str) -> None:
    assert redacted(url) == url


def test_urls_inside_a_sentence_are_redacted_and_the_sentence_stays() -> None:
    sentence = "cannot open 'rtsp://a:hunter2@cam/1': refused; trying http://cam/2?token=hunter2 next."

    assert redacted(sentence) == "cannot open 'rtsp://***@cam/1': refused; trying http://cam/2?token=*** next."


def test_headers_that_carry_a_secret_are_hidden() -> None:
    assert redacted("Authorization: Bearer hunter2\r\nHost: cam") == "Authorization: ***\r\nHost: cam"


@pytest.mark.parametrize(
    "hostile", ["a" * 100_000, "://" * 30_000, "://a:" * 20_000, "key" * 30_000, "://:" + "1" * 90_000]
)
def test_a_hostile_text_does_not_cost_more_than_a_moment(hostile: str) -> None:
    started = time.process_time()

    redacted(hostile)

    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    ("secret", "text", "shown"),
    [
        ("s3cret/key", "rtmp://host/app/s3cret/key: refused", "rtmp://host/app/***: refused"),
        ("s3cret/key", "rtmp://host/app/s3cret%2Fkey and S3CRET%2fKEY", "rtmp://host/app/*** and ***"),
        ("p@ss word", "p%40ss%20word, p@ss word, p%40ss+word", "***, ***, p%40ss+word"),
        ('quo"te', '{"url": "http://a/quo\\"te"}', '{"url": "http://a/***"}'),
        ("a1", "http://host/a1/a12?x=a1 took a1 s", "http://host/***/a12?x=*** took a1 s"),
        ("rtsp://me:pass@cam/live/long-stream-key", "long-stream-key of live at cam", "*** of live at cam"),
        ("rtsp://me:pass@cam/live/long-stream-key", "rtsp://me:pass@cam/live/long-stream-key", "***"),
    ],
)
def test_what_is_kept_secret_is_masked_however_it_is_written(secret: str, text: str, shown: str) -> None:
    keep_secret([secret])

    assert redacted(text) == shown


def test_the_longest_secret_is_masked_first_and_an_empty_one_is_none() -> None:
    keep_secret(["", " ", "stream", "stream-key"])

    assert redacted("a stream-key and a stream") == "a *** and a ***"
    assert kept_secrets() == {"stream", "stream-key"}
