"""Exports of well-known programs: headers as they were seen in public, the longest of them shortened, and rows of made-up people.
Where each was seen stands in docs/reference/recognised-exports.md."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Known:
    """`header` in the program's order; `rows` name the cells that are not empty. `contacts` are the attributes that each row has
    to get, or the code and column under which it is rejected."""

    name: str
    program: str
    header: str
    rows: tuple[Mapping[str, str], ...]
    contacts: tuple[Mapping[str, Any] | str, ...]
    dropped: tuple[str, ...] = field(default=())
    """Columns that a general name would have taken."""

    @property
    def columns(self) -> list[str]:
        return self.header.split(",")

    @property
    def text(self) -> str:
        out = io.StringIO()
        lines = csv.DictWriter(out, self.columns, restval="", lineterminator="\n")
        lines.writeheader()
        lines.writerows(self.rows)
        return out.getvalue()


# --- Google Contacts

_GOOGLE = (
    "First Name,Middle Name,Last Name,Phonetic First Name,Phonetic Middle Name,Phonetic Last Name,Name Prefix,Name Suffix,"
    "Nickname,File As,Organization Name,Organization Title,Organization Department,Birthday,Notes,Photo,Labels,"
    "E-mail 1 - Label,E-mail 1 - Value,E-mail 2 - Label,E-mail 2 - Value,Phone 1 - Label,Phone 1 - Value,Address 1 - Label,"
    "Address 1 - Formatted,Address 1 - Street,Address 1 - City,Address 1 - PO Box,Address 1 - Region,Address 1 - Postal Code,"
    "Address 1 - Country,Address 1 - Extended Address,Website 1 - Label,Website 1 - Value,Custom Field 1 - Label,"
    "Custom Field 1 - Value"
)
_OLD_GOOGLE = (
    "Name,Given Name,Additional Name,Family Name,Yomi Name,Given Name Yomi,Additional Name Yomi,Family Name Yomi,Name Prefix,"
    "Name Suffix,Initials,Nickname,Short Name,Maiden Name,Birthday,Gender,Location,Billing Information,Directory Server,Mileage,"
    "Occupation,Hobby,Sensitivity,Priority,Subject,Notes,Language,Photo,Group Membership,E-mail 1 - Type,E-mail 1 - Value,"
    "E-mail 2 - Type,E-mail 2 - Value,Phone 1 - Type,Phone 1 - Value,Address 1 - Type,Address 1 - Formatted,"
    "Organization 1 - Type,Organization 1 - Name,Organization 1 - Title"
)
GOOGLE = Known(
    "google-contacts",
    "Google Contacts",
    _GOOGLE,
    (
        {"First Name": "Mila", "Middle Name": "J.", "Last Name": "Ostrander", "Labels": "* myContacts ::: Fair",
         "Organization Name": "Example Mills", "E-mail 1 - Label": "* Work", "E-mail 1 - Value": "mila@example.com",
         "E-mail 2 - Label": "Home", "E-mail 2 - Value": "m@example.org", "Phone 1 - Value": "+1 555 0100 ::: +1 555 0101"},
        {"First Name": "Tobin", "Labels": "* myContacts", "E-mail 1 - Label": "Work",
         "E-mail 1 - Value": "tobin@example.com ::: tobin@example.org"},
        {"Labels": "* myContacts", "E-mail 1 - Value": "nameless@example.com"},
    ),
    (
        {"name": "Mila J. Ostrander", "email": "mila@example.com",
         "custom_fields": {"company": "Example Mills", "phone": "+1 555 0100 ::: +1 555 0101"}},
        {"name": "Tobin", "email": "tobin@example.com", "custom_fields": {}},
        "REQUIRED First Name + Middle Name + Last Name",
    ),
)  # fmt: skip
OLD_GOOGLE = Known(
    "google-contacts-before-2024",
    "Google Contacts (before 2024)",
    _OLD_GOOGLE,
    (
        {"Name": "Mila J. Ostrander", "Given Name": "Mila", "Additional Name": "J.", "Family Name": "Ostrander",
         "Group Membership": "* myContacts", "E-mail 1 - Type": "* ", "E-mail 1 - Value": "mila@example.com",
         "Organization 1 - Name": "Example Mills", "Phone 1 - Type": "Mobile", "Phone 1 - Value": "+1 555 0100"},
        {"Name": "Tobin Reyes", "Given Name": "Tobin", "Family Name": "Reyes", "E-mail 1 - Type": "* Home",
         "E-mail 1 - Value": "tobin@example.com ::: tobin@example.org", "E-mail 2 - Value": "t@example.org"},
    ),
    (
        {"name": "Mila J. Ostrander", "email": "mila@example.com",
         "custom_fields": {"company": "Example Mills", "phone": "+1 555 0100"}},
        {"name": "Tobin Reyes", "email": "tobin@example.com"},
    ),
)  # fmt: skip

# --- Outlook

_OUTLOOK_ROWS = (
    {"First Name": "Mila", "Middle Name": "J.", "Last Name": "Ostrander", "Title": "Dr.", "Company": "Example Mills",
     "Job Title": "Buyer", "E-mail Address": "mila@example.com", "E-mail 2 Address": "m@example.org",
     "Business Phone": "+1 555 0100"},
)  # fmt: skip
_OUTLOOK_CONTACTS = (
    {"name": "Mila J. Ostrander", "email": "mila@example.com",
     "custom_fields": {"company": "Example Mills", "phone": "+1 555 0100", "title": "Buyer"}},
)  # fmt: skip
OUTLOOK = Known(
    "outlook-for-windows",
    "Outlook",
    "Title,First Name,Middle Name,Last Name,Suffix,Company,Department,Job Title,Business Street,Business Street 2,"
    "Business Street 3,Business City,Business State,Business Postal Code,Business Country/Region,Assistant's Phone,Business Fax,"
    "Business Phone,Business Phone 2,Callback,Car Phone,Company Main Phone,Home Fax,Home Phone,Mobile Phone,Other Phone,Pager,"
    "Primary Phone,Account,Anniversary,Birthday,Categories,E-mail Address,E-mail Type,E-mail Display Name,E-mail 2 Address,"
    "E-mail 2 Type,E-mail 2 Display Name,E-mail 3 Address,E-mail 3 Type,E-mail 3 Display Name,Gender,Language,Location,"
    "Manager's Name,Notes,Priority,Private,Profession,Referred By,Sensitivity,User 1,Web Page",
    (
        *_OUTLOOK_ROWS,
        {"First Name": "Tobin", "E-mail Address": "/o=ExampleLabs/cn=Recipients/cn=tobin", "E-mail Type": "EX"},
    ),
    (*_OUTLOOK_CONTACTS, "NOT_AN_ADDRESS E-mail Address"),
)
OUTLOOK_COM = Known(
    "outlook.com",
    "Outlook",
    "First Name,Middle Name,Last Name,Title,Suffix,Nickname,Given Yomi,Surname Yomi,E-mail Address,E-mail 2 Address,"
    "E-mail 3 Address,Home Phone,Home Phone 2,Business Phone,Business Phone 2,Mobile Phone,Car Phone,Other Phone,Primary Phone,"
    "Pager,Business Fax,Home Fax,Other Fax,Company Main Phone,Callback,Radio Phone,Telex,TTY/TDD Phone,IMAddress,Job Title,"
    "Department,Company,Office Location,Manager's Name,Assistant's Name,Assistant's Phone,Company Yomi,Business Street,"
    "Business City,Business State,Business Postal Code,Business Country/Region,Personal Web Page,Spouse,Schools,Hobby,Location,"
    "Web Page,Birthday,Anniversary,Notes",
    _OUTLOOK_ROWS,
    _OUTLOOK_CONTACTS,
)
LIVE_COM = Known(
    "live.com",
    "Outlook",
    "Title,First Name,Middle Name,Last Name,Suffix,Given Name Yomi,Family Name Yomi,Home Street,Home City,Home State,"
    "Home Postal Code,Home Country,Company,Department,Job Title,Office Location,Business Street,Business City,Business Fax,"
    "Business Phone,Business Phone 2,Home Phone,Mobile Phone,Primary Phone,Anniversary,Birthday,E-mail Address,E-mail Type,"
    "E-mail 2 Address,E-mail 2 Type,E-mail 3 Address,E-mail 3 Type,Notes,Spouse,Web Page",
    _OUTLOOK_ROWS,
    _OUTLOOK_CONTACTS,
)
GOOGLE_FOR_OUTLOOK = Known(
    "google-contacts-outlook-csv",
    "Outlook",
    "First Name,Middle Name,Last Name,Title,Suffix,Initials,Web Page,Gender,Birthday,Anniversary,Location,Language,"
    "Internet Free Busy,Notes,E-mail Address,E-mail 2 Address,E-mail 3 Address,Primary Phone,Home Phone,Home Phone 2,"
    "Mobile Phone,Pager,Home Fax,Home Address,Home Street,Home City,Home State,Home Postal Code,Home Country,Manager's Name,"
    "Assistant's Name,Referred By,Company Main Phone,Business Phone,Business Phone 2,Business Fax,Assistant's Phone,Company,"
    "Job Title,Department,Office Location,Organizational ID Number,Profession,Account,Business Address,Business Street",
    _OUTLOOK_ROWS,
    _OUTLOOK_CONTACTS,
)

# --- HubSpot

HUBSPOT = Known(
    "hubspot-default-view",
    "HubSpot",
    "Record ID,First Name,Last Name,Email,Phone Number,Contact owner,Primary Associated Company ID,Last Activity Date,"
    "Lead Status,Marketing contact status,Create Date,Associated Company",
    (
        {"Record ID": "801", "First Name": "Mila", "Last Name": "Ostrander", "Email": "mila@example.com", "Lead Status": "NEW",
         "Phone Number": "+1 555 0100", "Contact owner": "Kim Vale", "Create Date": "2026-01-31 08:15",
         "Associated Company": "Example Mills"},
        {"Record ID": "802", "First Name": "Tobin", "Email": "tobin@example.com", "Create Date": "1/31/2026 8:15"},
    ),
    (
        {"name": "Mila Ostrander", "email": "mila@example.com", "created_by": "Kim Vale", "status": "active",
         "created_at": 1_769_847_300_000_000, "custom_fields": {"company": "Example Mills", "phone": "+1 555 0100"}},
        "NOT_A_TIME Create Date",
    ),
)  # fmt: skip
HUBSPOT_ALL = Known(
    "hubspot-all-properties",
    "HubSpot",
    "Record ID,First Name,Last Name,Annual Revenue,Became a Customer Date,City,Close Date,Company domain name,Company Name,"
    "Company size,Contact owner,Country/Region,Create Date,Created by user ID,Email,Email Domain,Fax Number,Industry,Job Title,"
    "Last Activity Date,Last Modified Date,Latest Source,Lead Status,Lifecycle Stage,Mobile Phone Number,Number of Employees,"
    "Object create date/time,Original Source,Original Source Drill-Down 1,Phone Number,Private e-mail address,Registered At,"
    "Relationship Status,Status,Time Zone,Website URL,Work email,Associated Company,Associated Deal,Associated Company IDs",
    (
        {"Record ID": "801", "First Name": "Mila", "Last Name": "Ostrander", "Email": "mila@example.com", "Status": "Engaged",
         "Create Date": "2026-01-31 08:15", "Last Modified Date": "2026-02-01 00:00", "Original Source": "Organic Search",
         "Lifecycle Stage": "Marketing Qualified Lead", "Company Name": "Mills", "Associated Company": "Example Mills"},
        {"Record ID": "802", "First Name": "Tobin", "Email": "tobin@example.com", "Lifecycle Stage": "Pilot"},
    ),
    (
        {"name": "Mila Ostrander", "relationship_type": "lead", "status": "active", "source": "Organic Search",
         "created_at": 1_769_847_300_000_000, "updated_at": 1_769_904_000_000_000,
         "custom_fields": {"company": "Example Mills"}},
        "UNKNOWN_VALUE Lifecycle Stage",
    ),
    ("Status", "Work email"),
)  # fmt: skip
HUBSPOT_OLD = Known(
    "hubspot-contact-id",
    "HubSpot",
    "Contact ID,First Name,Last Name,Annual Revenue,Associated Company ID,Company Name,Country/Region,Contact owner,"
    "Lifecycle Stage,Lead Status,Email,Phone Number,Website URL,Original Source,HubSpot Score,City,Create Date",
    ({"Contact ID": "801", "First Name": "Mila", "Email": "mila@example.com", "Company Name": "Example Mills",
      "Lifecycle Stage": "customer", "Create Date": "2019-01-31 08:15"},),
    ({"name": "Mila", "relationship_type": "customer", "created_at": 1_548_922_500_000_000,
      "custom_fields": {"company": "Example Mills"}},),
)  # fmt: skip
HUBSPOT_LIST = Known(
    "hubspot-record-id-contact",
    "HubSpot",
    "Record ID - Contact,First Name,Last Name,Email,Phone Number,Contact owner,Last Activity Date,Lead Status,"
    "Marketing contact status,Create Date,HubSpot Score",
    ({"First Name": "Mila", "Email": "mila@example.com", "Create Date": "2022-01-31 08:15"},),
    ({"name": "Mila", "created_at": 1_643_616_900_000_000},),
)
HUBSPOT_ASSOCIATED = Known(
    "hubspot-without-dates",
    "HubSpot",
    "Record ID,First Name,Last Name,Email,Phone Number,Associated Company IDs",
    ({"First Name": "Mila", "Email": "mila@example.com"},),
    ({"name": "Mila", "email": "mila@example.com"},),
)

# --- Salesforce

_API = (
    "Id,IsDeleted,MasterRecordId,AccountId,LastName,FirstName,Salutation,MailingStreet,MailingCity,Phone,Fax,MobilePhone,Email,Title,"
    "Department,LeadSource,Birthdate,Description,OwnerId,HasOptedOutOfEmail,CreatedDate,CreatedById,LastModifiedDate,"
    "LastModifiedById,SystemModstamp"
)
_PERSON = {"Id": "003000000000001AAA", "LastName": "Ostrander", "FirstName": "Mila", "Email": "mila@example.com",
           "LeadSource": "Web", "CreatedById": "005000000000001AAA"}  # fmt: skip
SALESFORCE = Known(
    "salesforce-data-loader",
    "Salesforce",
    _API,
    (
        {**_PERSON, "IsDeleted": "false", "CreatedDate": "2026-01-31T08:15:00.000Z"},
        {**_PERSON, "IsDeleted": "false", "CreatedDate": "2026-01-31T08:15:00.000+0000"},
        {**_PERSON, "CreatedDate": "31/01/2026 08:15"},
    ),
    (
        {"name": "Mila Ostrander", "created_by": "005000000000001AAA", "created_at": 1_769_847_300_000_000},
        {"created_at": 1_769_847_300_000_000},
        "NOT_A_TIME CreatedDate",
    ),
)
WEEKLY = Known(
    "salesforce-weekly-export",
    "Salesforce",
    _API,
    ({**_PERSON, "IsDeleted": "0", "CreatedDate": "2026-01-31 08:15:00", "LastModifiedDate": "2026-02-01 00:00:00"},),
    ({"status": "active", "created_at": 1_769_847_300_000_000, "updated_at": 1_769_904_000_000_000},),
)
CAPITALS = Known(
    "salesforce-data-loader-before-61",
    "Salesforce",
    "ID,FIRSTNAME,LASTNAME,EMAIL,LEADSOURCE,CREATEDDATE,CREATEDBYID",
    ({"FIRSTNAME": "Mila", "LASTNAME": "Ostrander", "EMAIL": "mila@example.com", "LEADSOURCE": "Web",
      "CREATEDDATE": "2026-01-31T08:15:00.000Z"},),
    ({"name": "Mila Ostrander", "source": "Web", "created_at": 1_769_847_300_000_000},),
)  # fmt: skip
LEADS = Known(
    "salesforce-leads",
    "Salesforce",
    "Id,IsDeleted,LastName,FirstName,MiddleName,Salutation,Title,Company,Street,City,Phone,Email,LeadSource,Status,Industry,Rating,"
    "OwnerId,CreatedDate,CreatedById",
    ({**_PERSON, "MiddleName": "J.", "Company": "Example Mills", "Status": "Open - Not Contacted"},),
    ({"name": "Mila J. Ostrander", "status": "active", "custom_fields": {"company": "Example Mills"}},),
    ("Status",),
)
REPORT = Known(
    "salesforce-report",
    "Salesforce report",
    "Salutation,First Name,Last Name,Title,Account Name,Mailing Street,Mailing City,Phone,Email,Account Owner,Contact Owner",
    ({"First Name": "Mila", "Last Name": "Ostrander", "Title": "Buyer", "Account Name": "Example Mills",
      "Mailing Street": "1 Main St\nSuite 4", "Email": "mila@example.com", "Contact Owner": "Kim Vale"},),
    ({"name": "Mila Ostrander", "created_by": "Kim Vale", "custom_fields": {"company": "Example Mills", "title": "Buyer"}},),
)  # fmt: skip
LEAD_REPORT = Known(
    "salesforce-report-of-leads",
    "Salesforce report",
    "Lead Owner,First Name,Last Name,Title,Company / Account,Lead Source,Lead Status,Street,Email",
    ({"First Name": "Mila", "Company / Account": "Example Mills", "Lead Owner": "Kim Vale", "Lead Source": "Web",
      "Lead Status": "Open", "Email": "mila@example.com"},),
    ({"created_by": "Kim Vale", "source": "Web", "status": "active", "custom_fields": {"company": "Example Mills"}},),
)  # fmt: skip

# --- others

ZOHO = Known(
    "zoho",
    "Zoho CRM",
    "Record Id,First Name,Last Name,Account Name,Account Name.id,Email,Mobile,Mailing Street,Mailing City,Mailing Zip",
    ({"Record Id": "1", "First Name": "Mila", "Account Name": "Example Mills", "Email": "mila@example.com"},),
    ({"name": "Mila", "custom_fields": {"company": "Example Mills"}},),
)

KNOWN = (
    *(GOOGLE, OLD_GOOGLE, OUTLOOK, OUTLOOK_COM, LIVE_COM, GOOGLE_FOR_OUTLOOK, HUBSPOT, HUBSPOT_ALL, HUBSPOT_OLD),
    *(HUBSPOT_LIST, HUBSPOT_ASSOCIATED, SALESFORCE, WEEKLY, CAPITALS, LEADS, REPORT, LEAD_REPORT, ZOHO),
)
