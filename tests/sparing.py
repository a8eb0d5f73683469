"""Of a family of tests that share their machinery, some kinds run by default and the others are slow."""

import pytest


def some(table, *names):
    """Parameters from a table: those of these names by default, all with `-m slow`."""
    assert set(names) <= set(table)
    return [
        pytest.param(value, id=name, marks=() if name in names else pytest.mark.slow) for name, value in table.items()
    ]


def names(every, *some_names):
    """As `some`, of the names themselves."""
    return some({name: name for name in every}, *some_names)
