from __future__ import annotations

import asyncio

import pytest
from google.api_core.exceptions import PermissionDenied, ServiceUnavailable

from gateway_runtime.contacts.firestore.calls import Patience, patiently
from gateway_runtime.contacts.store import StoreFault
from gateway_runtime.errors import stack_of


@pytest.mark.parametrize("kind", [PermissionDenied, ServiceUnavailable])
def test_what_firestore_says_about_a_document_never_reaches_a_stack_in_the_log(kind: type[Exception]) -> None:
    async def call(_: float) -> None:
        raise kind("tenants/acme/contacts/0a1b: jane@example.org")

    with pytest.raises(StoreFault) as caught:
        asyncio.run(patiently(Patience(total=0.01), "RunQuery", call))
    shown = stack_of(caught.value)
    assert "RunQuery" in shown
    assert "jane" not in shown
    assert "acme" not in shown
