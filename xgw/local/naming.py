"""Names of Cloud Run resources: how they are read, which are legal, how new ones are made."""

from __future__ import annotations

import base64
import re
import secrets
import uuid
from dataclasses import dataclass

from xgw.local.refusal import invalid

MAX_REVISION_NAME = 63
_LABEL = r"[a-z](?:[-a-z0-9]*[a-z0-9])?"
_SERVICE_ID = re.compile(_LABEL)
_TAG = re.compile(_LABEL)
_PARENT = re.compile(r"projects/([^/]+)/locations/([^/]+)")
_SERVICE = re.compile(r"projects/([^/]+)/locations/([^/]+)/services/([^/]+)")
_REVISION = re.compile(r"projects/([^/]+)/locations/([^/]+)/services/([^/]+)/revisions/([^/]+)")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Place:
    """A project and a region, and what is named inside them."""

    project: str
    region: str
    service: str = ""
    revision: str = ""

    @property
    def parent(self) -> str:
        """`projects/P/locations/L`."""
        return f"projects/{self.project}/locations/{self.region}"

    @property
    def service_name(self) -> str:
        """`projects/P/locations/L/services/S`."""
        return f"{self.parent}/services/{self.service}"

    @property
    def missing(self) -> str:
        """Cloud Run's sentence for a service or revision that is not there."""
        kind, name = ("REVISION", self.revision) if self.revision else ("SERVICE", self.service)
        return (
            f"Resource '{name}' of kind '{kind}' in region '{self.region}' in project '{self.project}' does not exist."
        )


def _read(pattern: re.Pattern[str], name: str, form: str) -> Place:
    found = pattern.fullmatch(name)
    if not found:
        invalid(f"Name {name!r} is not of the form {form}.")
    return Place(*found.groups())


def parse_parent(name: str) -> Place:
    """A location. "-" for the location is refused, as ListServices does."""
    place = _read(_PARENT, name, "projects/{project}/locations/{location}")
    if place.region == "-":
        invalid("The location cannot be '-': list one location at a time.")
    return place


def parse_service(name: str) -> Place:
    """A service by its full name; "-" as service stands for all of them where the API allows it."""
    return _read(_SERVICE, name, "projects/{project}/locations/{location}/services/{service}")


def parse_revision(name: str) -> Place:
    """A revision by its full name."""
    return _read(_REVISION, name, "projects/{project}/locations/{location}/services/{service}/revisions/{revision}")


def short(name: str) -> str:
    """The last part of a full name."""
    return name.rpartition("/")[2]


def check_service_id(service_id: str) -> None:
    """Fewer than 50 characters of a-z, 0-9 and "-"; begins with a letter, does not end with "-" (Service.name)."""
    if not _SERVICE_ID.fullmatch(service_id) or len(service_id) >= 50:
        invalid(
            f"service_id: {service_id!r} must use lowercase letters, digits and hyphens only, begin with a letter, "
            "not end with a hyphen, and be less than 50 characters."
        )


def check_tag(tag: str) -> None:
    """Traffic tags are DNS labels: they become part of a host name on Cloud Run."""
    if not _TAG.fullmatch(tag) or len(tag) > 46:
        invalid(
            f"traffic.tag: {tag!r} must use lowercase letters, digits and hyphens only, begin with a letter, "
            "not end with a hyphen, and be at most 46 characters."
        )


def check_revision_name(revision: str, service: str) -> None:
    """An explicit template.revision: prefixed by the service's name, a DNS label of at most 63 characters."""
    if not revision.startswith(f"{service}-"):
        invalid(f"template.revision: {revision!r} must be prefixed by the service name and a hyphen: '{service}-'.")
    if not _SERVICE_ID.fullmatch(revision) or len(revision) > MAX_REVISION_NAME:
        invalid(
            f"template.revision: {revision!r} must use lowercase letters, digits and hyphens only and be at most "
            f"{MAX_REVISION_NAME} characters."
        )


def new_revision_name(service: str, generation: int) -> str:
    """`<service>-<generation, 5 digits>-<3 letters>`; a service id of at most 49 characters always fits."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(3))
    suffix = f"-{generation:05d}-{letters}"
    return service[: MAX_REVISION_NAME - len(suffix)] + suffix


def new_operation_name(parent: str) -> str:
    """`projects/P/locations/L/operations/UUID`."""
    return f"{parent}/operations/{uuid.uuid4()}"


def etag(uid: str, generation: int) -> str:
    """Says which wished state was read. It changes with every accepted update and with nothing else: not with a
    restart, and not when reconciliation ends. Quoted, as Cloud Run's are."""
    return '"' + base64.urlsafe_b64encode(f"{uid[:8]}/{generation}".encode()).decode() + '"'
