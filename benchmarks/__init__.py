"""Measurements that need a quiet machine; nothing here runs in the tests."""
