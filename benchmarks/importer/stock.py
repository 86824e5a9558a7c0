"""The stock Firestore client, row by row and in batches of 500: `python -m benchmarks.importer.stock FILE PROJECT ROWS WAY`.

WAY is one or batch.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import islice
from typing import Any


def main() -> None:
    """Prints rows and seconds as JSON. The rows are read before the clock starts; FIRESTORE_EMULATOR_HOST says where to."""
    from google.cloud import firestore

    path, project, rows, way = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    client = firestore.Client(project=project)
    with open(path, encoding="utf-8", newline="") as file:
        documents = [_document(row) for row in islice(csv.DictReader(file), rows)]
    contacts = client.collection("tenants").document("t").collection("contacts")
    contacts.document("warm").set({"a": 1})
    begun = time.monotonic()
    if way == "one":
        for id, document in documents:
            contacts.document(id).set(document)
    else:
        for at in range(0, len(documents), 500):
            batch = client.batch()
            for id, document in documents[at : at + 500]:
                batch.set(contacts.document(id), document)
            batch.commit()
    print(json.dumps({"rows": len(documents), "seconds": time.monotonic() - begun}))


def _document(row: dict[str, str]) -> tuple[str, dict[str, Any]]:
    now = datetime.now(UTC)
    return blake2b(row["email"].encode(), digest_size=16).hexdigest(), {
        "type": "person",
        "name": row["name"],
        "email": row["email"],
        "relationshipType": "prospect",
        "status": row["status"],
        "source": row["source"],
        "interactionCount": 0,
        "emailCount": 0,
        "slackMessageCount": 0,
        "createdAt": now,
        "updatedAt": now,
        "createdBy": "bench",
        "customFields": {"company": row["company"]},
        "mark": "x:1",
    }


if __name__ == "__main__":
    main()
