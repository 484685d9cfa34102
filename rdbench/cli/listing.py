"""`rdbench codecs` and `rdbench metrics`: what a spec may name."""

from __future__ import annotations

import typer


def codecs() -> None:
    """Lists the codecs that a spec may name."""
    from rdbench.codecs.registry import names

    for name in names():
        typer.echo(name)


def metrics() -> None:
    """Lists the metrics that a spec may name, with unit, direction and definition."""
    from rich.console import Console
    from rich.table import Table

    from rdbench.metrics.registry import definition, keys

    table = Table("key", "unit", "better", "domains", "definition", box=None, pad_edge=False)
    for key in keys():
        meant = definition(key)
        domains = ", ".join(meant.domains) or "all"
        table.add_row(key, meant.unit, meant.direction.value, domains, meant.definition)
    Console().print(table)
