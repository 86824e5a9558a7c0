"""The verifier that the settings describe, or none."""

from __future__ import annotations

from gateway_runtime.auth.claims import Rules
from gateway_runtime.auth.keyring import Keyring
from gateway_runtime.auth.verifier import Verifier
from gateway_runtime.logs import Log
from gateway_runtime.settings import Settings


def verifier_of(settings: Settings, log: Log) -> Verifier | None:
    """None when no keys are configured: then nothing that needs a token is open."""
    if not settings.auth_keys:
        log.write("warning", "AUTH_KEYS is not set: what needs a token answers 503")
        return None
    from gateway_runtime.auth.source import source

    rules = Rules(
        settings.auth_issuer,
        settings.auth_audience,
        tenant=settings.auth_tenant_claim,
        user=settings.auth_user_claim,
        roles=settings.auth_roles_claim,
        leeway=settings.auth_leeway,
    )
    keys = Keyring(source(settings.auth_keys), log, refetch=settings.auth_keys_refetch, stale=settings.auth_keys_stale)
    return Verifier(keys, rules, room=settings.auth_remembered)
