"""`xgw token`: a token for the services of the local target."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

from xgw.cli.options import Invocation, leaf, show
from xgw.errors import UsageFault, XgwError
from xgw.report import Report
from xgw.widths import Whole

_LONGEST = 7 * 86400


@leaf(
    "token",
    examples=(
        ("xgw token", "For user engineer of tenant demo, good for an hour."),
        ("xgw token --user ada --tenant acme --ttl 600", "For somebody else, for ten minutes."),
        ("xgw token --role admin -o json", "With a role; and when it ends."),
    ),
)
@click.option("--user", default="engineer", show_default=True, metavar="NAME", help="Whom it is for.")
@click.option("--tenant", default="demo", show_default=True, metavar="NAME", help="Whose data that user sees.")
@click.option("--role", "roles", multiple=True, metavar="NAME", help="A role; may be given more than once.")
@click.option(
    "--ttl", type=click.IntRange(1, _LONGEST), default=3600, show_default=True, help="Seconds it is good for."
)
def token(invocation: Invocation, user: str, tenant: str, roles: tuple[str, ...], ttl: int) -> None:
    """A signed token, to stdout. The local target's own issuer signs it, and no other target believes it.

    Services want it as: Authorization: Bearer TOKEN. Where they answer is told by `xgw local status`.
    """
    from xgw.local import files, issuer

    settings = invocation.settings
    if settings.project:
        raise UsageFault(
            "this signs tokens for the local target only",
            cause=f"project {settings.project} is given ({settings.origins.get('project', '')})",
            fix="get an ID token from your own sign-in, and give it as XGW_TOKEN",
        )
    for name, value in (("--user", user), ("--tenant", tenant), *(("--role", role) for role in roles)):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", value):
            raise UsageFault(
                f"{name} is {value!r}, which cannot be used",
                cause="a name has letters, digits, dots, dashes and underscores, 128 at most",
                fix=f"{name} demo",
            )
    try:
        signed = issuer.token(files.data(settings.home), user=user, tenant=tenant, roles=roles, ttl=ttl)
    except (OSError, ValueError) as error:
        raise XgwError(
            "the local target's issuer cannot sign", cause=str(error), fix="xgw local reset makes a new one"
        ) from error
    expires = datetime.now(UTC) + timedelta(seconds=ttl)
    data = {"token": signed, "user": user, "tenant": tenant, "roles": list(roles), "expires": expires}
    show(invocation, Report("token", head=(Whole(signed),), data=data))
