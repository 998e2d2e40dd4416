"""`python -m maskwright`."""

from maskwright.cli import main

main()
