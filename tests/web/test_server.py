"""The HTTP server on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterable

import pytest
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from daemon.web.server import WebServer
from tests.presence.stage import LogRecorder


@contextlib.asynccontextmanager
async def serving(port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[CollectorRegistry]:
    registry, stop = CollectorRegistry(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(WebServer((host, port), registry).run(stop))
        try:
            yield registry
        finally:
            stop.set()


async def url_of(log: LogRecorder) -> str:
    await log.written("http_listening")
    return f"http://127.0.0.1:{log.of('http_listening')[0]['port']}"


async def test_metrics_are_collected_at_every_request(log: LogRecorder) -> None:
    async with serving() as registry, ClientSession(await url_of(log)) as client:
        gauge = Gauge("answers", "How many", registry=registry)
        read = []
        for value in (1, 2):
            gauge.set(value)
            async with client.get("/metrics") as answer:
                assert answer.status == 200
                (family,) = text_string_to_metric_families(await answer.text())
                read.append(family.samples[0].value)

    assert read == [1, 2]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/metrics/x", 404), ("POST", "/metrics", 404), ("GET", "/../etc/passwd", 404)],
)
async def test_nothing_else_is_there(log: LogRecorder, method: str, path: str, status: int) -> None:
    async with serving(), ClientSession(await url_of(log)) as client, client.request(method, path) as answer:
        assert answer.status == status
        assert await answer.json() == {"error": "not found"}


async def test_headers_beyond_the_bound_are_refused(log: LogRecorder) -> None:
    async with serving(), ClientSession(await url_of(log)) as client:
        async with client.get("/metrics", headers={"x": "y" * 10_000}) as answer:
            assert answer.status == 400
        async with client.get("/metrics") as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    "request_line", [b"GET / HTTP/9.9", b"\x16\x03\x01", b"GET", b"GET /" + b"x" * 9_000 + b" HTTP/1.1"]
)
async def test_what_is_no_http_is_refused_without_a_word_in_the_log(
    log: LogRecorder, caplog: pytest.LogCaptureFixture, request_line: bytes
) -> None:
    async with serving():
        port = int((await url_of(log)).rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_line + b"\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(10):
            answer = await reader.readline()
        writer.close()

    assert b" 400 " in answer
    assert [record for record in caplog.records if record.name != "asyncio"] == []


async def test_a_collector_that_fails_is_our_fault_and_is_logged(
    log: LogRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Collector):
        def collect(self) -> Iterable[Metric]:
            raise LookupError("no status")

    async with serving() as registry, ClientSession(await url_of(log)) as client:
        registry.register(Broken())
        async with client.get("/metrics") as answer:
            assert answer.status == 500

    assert "LookupError" in caplog.text


async def test_a_port_that_is_taken_is_reported_once_and_waited_for(
    log: LogRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.web.server.RETRY_SECONDS", 0.02)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        async with serving(port):
            await log.written("http_not_listening")
            other.close()
            await log.written("http_listening")

    (said,) = log.of("http_not_listening")
    assert (said["level"], said["port"]) == ("error", port)
    assert "REFRESHD_HTTP_LISTEN" in said["hint"]


async def test_without_an_address_it_listens_nowhere_until_it_is_stopped(log: LogRecorder) -> None:
    stop = asyncio.Event()
    server = asyncio.ensure_future(WebServer(None, CollectorRegistry()).run(stop))
    await asyncio.sleep(0)

    stop.set()
    await server

    assert not log.lines


async def test_it_stops_although_a_client_stays_connected(log: LogRecorder) -> None:
    async with contextlib.AsyncExitStack() as stack, serving():
        port = int((await url_of(log)).rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        stack.callback(writer.close)


async def test_a_host_that_no_resolver_takes_is_reported_and_does_no_harm(log: LogRecorder) -> None:
    async with serving(host="a..b"):
        await log.written("http_not_listening")
