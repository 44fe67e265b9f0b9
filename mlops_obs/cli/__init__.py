"""The `obs` command: one module per group of sub-commands; `wiring` is the only place where ports meet adapters."""
