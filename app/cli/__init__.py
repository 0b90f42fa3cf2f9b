"""The command line: one file per command. Only `common` and typer are imported before a command is known."""
