"""`python -m distjoint`: the command line, in an environment whose scripts are not on the path."""

from distjoint.cli import main

main()
