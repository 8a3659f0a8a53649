"""`python -m lambdad` is the lambdad command."""

from lambdad.cli import main

main(prog_name="lambdad")
