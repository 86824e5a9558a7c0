"""How columns are called: in general, and in the exports of well-known programs. Data only.

What the exports were checked against, and what could not be, is in docs/reference/recognised-exports.md.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway_runtime.contacts.model import ATTRIBUTES

FIELDS: Sequence[str] = (
    *("type", "name", "email", "relationshipType", "status", "source", "interactionCount", "emailCount"),
    *("slackMessageCount", "createdAt", "updatedAt", "createdBy"),
)
"""What a column can become, besides customFields.NAME."""
CUSTOM = "customFields."

FIRST, LAST = "first name", "last name"
"""Halves of a name: no fields, but columns that are joined."""


def plain_name(name: str) -> str:
    """A column's name without what varies: case, blanks, signs."""
    return "".join(sign for sign in unicodedata.normalize("NFKC", name).casefold() if sign.isalnum())


NAMES: Mapping[str, str] = {
    "name": "name|full name|display name|contact name|contact|nombre completo|nom complet",
    FIRST: "first name|firstname|given name|forename|first|vorname|prénom|prenom|nombre",
    LAST: "last name|lastname|surname|family name|last|nachname|nom|apellido|apellidos",
    "email": "email|e-mail|email address|e-mail address|mail|primary email|work email|e-mail-adresse|correo|courriel",
    "type": "type|contact type|record type",
    "relationshipType": "relationshiptype|relationship|relationship type",
    "status": "status|contact status",
    "source": "source|lead source|contact source|original source",
    "interactionCount": "interactioncount|interactions|number of interactions",
    "emailCount": "emailcount|emails|number of emails",
    "slackMessageCount": "slackmessagecount|slack messages",
    "createdAt": "createdat|created at|created|create date|created date|date created|creation date",
    "updatedAt": "updatedat|updated at|updated|last modified|last modified date|modified|date modified",
    "createdBy": "createdby|created by|created by user|owner|contact owner",
}
GENERAL: Mapping[str, str] = {plain_name(name): target for target, names in NAMES.items() for name in names.split("|")}
"""Plain name of a column -> what it holds."""

_ORDINARY = (
    "company|company name|organization|organisation|account name|phone|phone number|mobile|mobile phone|telephone|fax|"
    "city|country|state|street|address|zip|postal code|title|job title|notes|note|tags|website|url|id|contact id|"
    "record id|birthday|language|salutation|department|industry|description|region|currency|amount|score"
)
KNOWN = frozenset(GENERAL) | frozenset(plain_name(name) for name in _ORDINARY.split("|"))
"""Plain names that tell a header line from any other, and its delimiter."""


@dataclass(frozen=True)
class Export:
    """A program's export, known when all of `signs` are among the columns. `fields`: field -> columns, joined by a blank.

    "A|B" is a column that is called one or the other; where both are there, the first. `capitals`: the program also
    writes its signs in capitals. `foreign`: columns that are called like a field of ours and hold words of the program's own.
    `date_formats` and `separator` as in a FieldMap.
    """

    name: str
    signs: tuple[str, ...]
    fields: Mapping[str, tuple[str, ...]]
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    date_formats: tuple[str, ...] = ()
    separator: str = ""
    capitals: bool = False
    foreign: tuple[str, ...] = ()
    neutralised: bool = False


_STAGES = {
    "subscriber": "prospect",
    "lead": "lead",
    "marketing qualified lead": "lead",
    "marketingqualifiedlead": "lead",
    "sales qualified lead": "lead",
    "salesqualifiedlead": "lead",
    "opportunity": "prospect",
    "customer": "customer",
    "evangelist": "other",
    "other": "other",
}

OWN = "xgw"
"""The name of our own export: its column id says which contact a row was."""
OWN_COLUMNS = tuple(name for name in ATTRIBUTES if name != "customFields")
OWN_HEAD = ",".join(OWN_COLUMNS)
"""What its header begins with; the custom fields follow."""

EXPORTS: Sequence[Export] = (
    Export(
        OWN,
        ("id", "type", "name", "email", "relationshipType", "interactionCount", "slackMessageCount", "createdAt"),
        {name: (name,) for name in FIELDS},
        neutralised=True,
    ),
    Export(
        "HubSpot",
        (
            *("Record ID|Record ID - Contact|Contact ID", "First Name", "Last Name", "Email"),
            "Create Date|Lifecycle Stage|Contact owner|Associated Company|Associated Company IDs",
        ),
        {
            "name": ("First Name", "Last Name"),
            "email": ("Email",),
            "relationshipType": ("Lifecycle Stage",),
            "source": ("Original Source",),
            "createdAt": ("Create Date",),
            "updatedAt": ("Last Modified Date",),
            "createdBy": ("Contact owner",),
            "customFields.company": ("Associated Company|Associated Company (Primary)|Company Name",),
            "customFields.phone": ("Phone Number",),
        },
        values={"relationshipType": _STAGES},
        date_formats=("%Y-%m-%d %H:%M",),
        foreign=("Status",),
    ),
    Export(
        "Salesforce",
        ("Id", "FirstName", "LastName", "Email", "CreatedDate"),
        {
            "name": ("FirstName", "MiddleName", "LastName"),
            "email": ("Email",),
            "source": ("LeadSource",),
            "createdAt": ("CreatedDate",),
            "updatedAt": ("LastModifiedDate",),
            "createdBy": ("CreatedById",),
            "customFields.company": ("Company",),
            "customFields.phone": ("Phone",),
            "customFields.title": ("Title",),
        },
        date_formats=("%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%d %H:%M:%S"),
        capitals=True,
        foreign=("Status",),
    ),
    Export(
        "Zoho CRM",
        ("Record Id", "First Name", "Last Name", "Account Name", "Email"),
        {
            "name": ("First Name", "Last Name"),
            "email": ("Email",),
            "source": ("Lead Source",),
            "createdBy": ("Contact Owner",),
            "customFields.company": ("Account Name",),
            "customFields.phone": ("Phone",),
            "customFields.title": ("Title",),
        },
    ),
    Export(
        "Salesforce report",
        ("First Name", "Last Name", "Account Name|Company / Account", "Email"),
        {
            "name": ("First Name", "Middle Name", "Last Name"),
            "email": ("Email",),
            "source": ("Lead Source",),
            "createdBy": ("Contact Owner|Lead Owner",),
            "customFields.company": ("Account Name|Company / Account",),
            "customFields.phone": ("Phone",),
            "customFields.title": ("Title",),
        },
    ),
    Export(
        "Google Contacts",
        ("First Name", "Last Name", "Labels", "E-mail 1 - Value"),
        {
            "name": ("First Name", "Middle Name", "Last Name"),
            "email": ("E-mail 1 - Value",),
            "customFields.company": ("Organization Name",),
            "customFields.phone": ("Phone 1 - Value",),
        },
        separator=" ::: ",
    ),
    Export(
        "Google Contacts (before 2024)",
        ("Name", "Given Name", "Family Name", "E-mail 1 - Value"),
        {
            "name": ("Name",),
            "email": ("E-mail 1 - Value",),
            "customFields.company": ("Organization 1 - Name",),
            "customFields.phone": ("Phone 1 - Value",),
        },
        separator=" ::: ",
    ),
    Export(
        "Outlook",
        ("First Name", "Last Name", "E-mail Address", "E-mail 2 Address|E-mail Display Name"),
        {
            "name": ("First Name", "Middle Name", "Last Name"),
            "email": ("E-mail Address",),
            "customFields.company": ("Company",),
            "customFields.phone": ("Business Phone",),
            "customFields.title": ("Job Title",),
        },
    ),
)
"""In the order in which they are tried. A column that an export lacks is left out of the mapping."""

EXPORT_NAMES = frozenset(
    plain_name(name)
    for export in EXPORTS
    for names in (*export.signs, *(c for cs in export.fields.values() for c in cs))
    for name in names.split("|")
)
