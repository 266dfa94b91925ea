"""`python -m gradclip_cli`."""

from gradclip_cli.cli import main

if __name__ == "__main__":  # Spawned workers import this module too.
    main(prog_name="gradclip")
