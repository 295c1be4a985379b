"""The command ``vp``, one module per command of it. Plugins with commands use `vpcore_cli.common`."""
