"""What takes too long for every run of the tests: `make soak`, or `python -m tests.soak PART …`."""
