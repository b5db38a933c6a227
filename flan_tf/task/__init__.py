"""Tasks as values: schema, task table, hold-out rules and wordings."""
