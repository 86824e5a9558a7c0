"""What stops a run: a figure from a target that did other work than asked for would be worse than none."""


class BenchmarkFault(Exception):
    """The run cannot go on, or its figures would be wrong; the message says why."""
