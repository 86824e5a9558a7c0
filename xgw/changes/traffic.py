"""Whose traffic goes where when a step is promoted or put back: shares, tags, and whether the latest revision may have it.

Reads only. Shares come from the record of the step; tags are whatever the service has now, since others set and remove
theirs while a step is open.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from xgw.resources import Revision, Service, Share
from xgw.target import Target

OURS = "xgw-"
"""How the tags of candidates under proof begin; every other tag is somebody else's."""


def tags_of_others(service: Service) -> tuple[Share, ...]:
    """The tags that the service has now, but for those of candidates."""
    return tuple(
        Share(share.revision, 0, share.tag) for share in service.traffic if share.tag and not share.tag.startswith(OURS)
    )


def as_before(service: Service, recorded: tuple[Share, ...], there: Collection[str]) -> tuple[Share, ...]:
    """The recorded shares with the tags of today. The share of a revision that is gone goes to the latest."""
    tags = {share.tag: share for share in tags_of_others(service)}
    shares = [
        replace(share, tag=share.tag if share.tag in tags and tags[share.tag].revision == share.revision else "")
        for share in recorded
        if share.percent and (share.revision is None or share.revision in there)
    ]
    if missing := 100 - sum(share.percent for share in shares):
        shares.append(Share(None, missing))
    worn = {share.tag for share in shares}
    return (*shares, *(share for tag, share in tags.items() if tag not in worn))


def unproven(target: Target, role: str, service: Service, besides: Collection[str] = ()) -> str:
    """Why the latest revision must not get the traffic, or nothing.

    Users have met what serves now. The latest one is as good when it is that, or differs from it in nothing but the fields
    `besides`: anything else in it was deployed by somebody while the traffic was held, and nobody has proven it."""
    if service.latest_created == service.main:
        return ""
    there = {revision.name: revision for revision in target.revisions(role)}
    latest, serving = there.get(service.latest_created), there.get(service.main)
    if latest is None or serving is None:
        return f"{service.latest_created} cannot be compared with what serves"
    if not latest.ready:
        return f"{latest.name} is not ready: {latest.reason}"
    if _but_for(latest, besides) != _but_for(serving, besides):
        return f"{latest.name} has what somebody else deployed, and it was never proven"
    return ""


def _but_for(revision: Revision, besides: Collection[str]) -> tuple[dict[str, str], str]:
    return {name: value for name, value in revision.fields.items() if name not in besides}, revision.rest
