"""The gateway beside its peers on the same work: see docs/explanation/performance.md."""
