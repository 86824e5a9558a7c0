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

Refused = Callable[[Problem, str, str], None]
"""Hears of every request refused before the application saw it: the problem, its request id, the client's address."""


class Front:
    """Makes the connections: what uvicorn takes for `http=`, called with its arguments for every client.

    `connections` and `tasks` are uvicorn's own sets: it drains by them.
    """

    def __init__(self, limits: Limits, hosts: HostPolicy, refused: Refused = lambda *_: None) -> None:
        self.limits = limits
        self.heads = HeadReader(limits, hosts)
        self.refused = refused
        self.sweep = Sweep()
        self.logger = logging.getLogger("uvicorn.error")
        self.draining = False
        self.config: Config | None = None
        self.app: Any = None
        self.upgrades = False
        """Whether a wish to speak WebSocket is granted."""
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

    def websocket(self) -> Any:
        """A WebSocket protocol of uvicorn's, for a connection that asked to switch."""
        assert self.config is not None
        assert self.config.ws_protocol_class is not None
        return self.config.ws_protocol_class(
            config=self.config,  # type: ignore[call-arg]
            server_state=self.server_state,
            app_state=self.state,
        )
