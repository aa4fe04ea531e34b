"""``python -m router`` is ``mitsumori``."""

from router.cli import main

main()
