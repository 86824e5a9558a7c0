"""What the connections of one process share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway_runtime.errors import Problem
from gateway_runtime.server.connection import Connection
from gateway_runtime.server.head import HeadReader
from gateway_runtime.server.hosts import HostPolicy
from gateway_runtime.server.limits import LINGERING, Limits
from gateway_runtime.server.sweep import Sweep

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from gateway_runtime.server.head import Head

Refused = Callable[[Problem, str, str], None]
"""Hears of every request refused before the application saw it: the problem, its request id, the client's address."""


class Front:
    """Makes the connections: what uvicorn takes for `http=`, called with its arguments for every client.

    `connections` and `tasks` are uvicorn's own sets: it drains by them.
    """

    def __init__(
        self,
        limits: Limits,
        hosts: HostPolicy,
        refused: Refused = lambda *_: None,
        sockets: frozenset[bytes] = frozenset(),
    ) -> None:
        self.limits = limits
        self.heads = HeadReader(limits, hosts)
        self.refused = refused
        self.sweep = Sweep()
        self.logger = logging.getLogger("uvicorn.error")
        self.draining = False
        self.config: Config | None = None
        self.app: Any = None
        self.upgrades = False
        """Whether uvicorn was told to speak WebSocket, and every wish for it is granted."""
        self.sockets = sockets
        """The paths on which it is granted by our own protocol, which is loaded for the first of them."""
        self._socket: type[Any] | None = None
        self.state: dict[str, Any] = {}
        self.loop: asyncio.AbstractEventLoop
        self.server_state: ServerState
        self.connections: set[Any]
        self.tasks: set[asyncio.Task[None]]

    def __call__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> Connection:
        if self.config is not config:
            self._settle(config, server_state, app_state)
        return Connection(self)

    def _settle(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        if not config.loaded:
            config.load()
        self.config, self.server_state, self.state = config, server_state, app_state
        self.app = config.loaded_app
        self.upgrades = config.ws_protocol_class is not None
        self.loop = asyncio.get_running_loop()
        self.connections, self.tasks = server_state.connections, server_state.tasks

    def full(self) -> bool:
        """Whether one more connection is one too many."""
        return len(self.connections) >= self.limits.connections

    def crowded(self) -> bool:
        """Whether those that are being turned away are too many themselves."""
        return len(self.sweep) > self.limits.connections + LINGERING

    def switches(self, head: Head) -> bool:
        """Whether the request is to become a WebSocket. Anywhere else the wish is ignored, as it may be."""
        return (self.upgrades or head.path in self.sockets) and head.upgrade == b"websocket" and head.method == "GET"

    @property
    def loaded(self) -> bool:
        """Whether `websocket` can be called."""
        return self.upgrades or self._socket is not None

    async def load(self) -> None:
        """Imports the WebSocket protocol, in a thread: no cold start pays for it, and nobody waits but who wants it."""

        def work() -> type[Any]:
            from gateway_runtime.server.websocket import Socket

            return Socket

        self._socket = await asyncio.to_thread(work)

    def websocket(self) -> Any:
        """A WebSocket protocol, for a connection that asked to switch."""
        assert self.config is not None
        protocol: Any = self._socket or self.config.ws_protocol_class
        assert protocol is not None
        return protocol(config=self.config, server_state=self.server_state, app_state=self.state)
