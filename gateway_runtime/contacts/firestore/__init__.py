"""Contacts in Firestore, through Google's public GAPIC client. Nothing but `stores` imports this, and only when it is wanted."""

from gateway_runtime.contacts.firestore.calls import Patience
from gateway_runtime.contacts.firestore.store import FirestoreContacts

__all__ = ["FirestoreContacts", "Patience"]
