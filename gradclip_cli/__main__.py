"""`python -m gradclip_cli`."""

from gradclip_cli.cli import main

main(prog_name="gradclip")
