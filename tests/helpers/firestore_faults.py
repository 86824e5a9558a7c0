"""A gRPC proxy in front of the Firestore emulator that fails as it is told to, call by call.

    with FirestoreFaultProxy(emulator().host, [Fault("lose", on="BatchWrite", times=3)]) as proxy:
        os.environ["FIRESTORE_EMULATOR_HOST"] = proxy.host

It runs in threads of its own, so that processes and event loops alike can be behind it. `proxy.calls` counts what came by
method, `proxy.struck` what was struck by a fault; `proxy.plan` may be changed at any time.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import grpc
from google.cloud.firestore_v1.types import firestore

WRITES = ("Commit", "BatchWrite")
_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0))


@dataclass
class Fault:
    """What happens to the calls of a method (`on`; "" for all, "writes" for Commit and BatchWrite): the first `skip` pass,
    the next `times` are struck; for -1 all of them are.

    | do | |
    |---|---|
    | refuse | `status` comes back and nothing is forwarded |
    | lose | it is forwarded, carried out, and then `status` comes back instead of the answer |
    | silence | it is forwarded and carried out, and no answer comes at all |
    | delay | it is forwarded after `seconds` |
    | rows | of a BatchWrite every `every`-th row is held back, and its status is `status`; the others are carried out |
    """

    do: Literal["refuse", "lose", "silence", "delay", "rows"]
    on: str = "writes"
    times: int = 1
    skip: int = 0
    status: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    seconds: float = 0.0
    every: int = 3

    def strikes(self, method: str) -> bool:
        """Whether this call is struck; counts it."""
        if self.on not in ("", method) and not (self.on == "writes" and method in WRITES):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times == 0:
            return False
        self.times -= 1
        return True


class FirestoreFaultProxy:
    """Listens on a loopback port while it is entered. The first fault of the plan that strikes a call is the only one."""

    def __init__(self, upstream: str, plan: Iterable[Fault] = ()) -> None:
        self.plan = list(plan)
        self.calls: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()
        self._upstream = upstream
        self._lock = threading.Lock()
        self._over = threading.Event()

    @property
    def host(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self._port}"

    def __enter__(self) -> FirestoreFaultProxy:
        self._channel = grpc.insecure_channel(self._upstream, options=(*_OPTIONS, ("grpc.enable_http_proxy", 0)))
        self._server = grpc.server(
            ThreadPoolExecutor(max_workers=32, thread_name_prefix="faults"),
            options=_OPTIONS,
            handlers=[_Any(self._serve)],
        )
        self._port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.stop(0).wait()
        self._channel.close()

    def _serve(self, path: str, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        method = path.rpartition("/")[2]
        with self._lock:
            self.calls[method] += 1
            fault = next((fault for fault in self.plan if fault.strikes(method)), None)
            self.struck[method] += fault is not None
        if fault is not None and fault.do == "refuse":
            context.abort(fault.status, "refused on purpose")
        if fault is not None and fault.do == "delay":
            self._over.wait(fault.seconds)
        sent = next(requests)
        held: list[int] = []
        if fault is not None and fault.do == "rows":
            sent, held = _without(sent, fault.every)
        said = context.invocation_metadata()
        metadata = [(key, value) for key, value in said if key in ("authorization", "google-cloud-resource-prefix")]
        answers = self._channel.unary_stream(path)(sent, metadata=metadata)
        try:
            if fault is not None and fault.do in ("lose", "silence"):
                list(answers)
                if fault.do == "silence":
                    while context.is_active() and not self._over.wait(0.05):
                        pass
                context.abort(fault.status, "lost on purpose")
            for answer in answers:
                yield _with(answer, held, fault.status) if fault is not None and held else answer
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())


class _Any(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Every method, as bytes: on the wire a call with one request is one with a stream of them."""

    def __init__(self, serve: Any) -> None:
        self._serve = serve

    def service(self, details: Any) -> Any:
        path = details.method
        return grpc.stream_stream_rpc_method_handler(lambda requests, context: self._serve(path, requests, context))


def _without(sent: bytes, every: int) -> tuple[bytes, list[int]]:
    request = firestore.BatchWriteRequest.pb().FromString(sent)
    held = list(range(0, len(request.writes), every))
    for index in reversed(held):
        del request.writes[index]
    return request.SerializeToString(), held


def _with(answer: bytes, held: list[int], status: grpc.StatusCode) -> bytes:
    found = firestore.BatchWriteResponse.pb().FromString(answer)
    results, states = list(found.write_results), list(found.status)
    made = firestore.BatchWriteResponse.pb()()
    for index in range(len(held) + len(results)):
        if index in set(held):
            made.write_results.add()
            made.status.add().code = status.value[0]
        else:
            made.write_results.add().CopyFrom(results.pop(0))
            made.status.add().CopyFrom(states.pop(0))
    return bytes(made.SerializeToString())


def await_calls(proxy: FirestoreFaultProxy, method: str, count: int, seconds: float = 20) -> None:
    """Waits until so many calls of a method have come."""
    end = time.monotonic() + seconds
    while proxy.calls[method] < count:
        assert time.monotonic() < end, f"{proxy.calls[method]} calls of {method}"
        time.sleep(0.005)
