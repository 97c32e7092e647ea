"""What the command line does, a module a group of commands; `app/cli.py` only reads the arguments."""
