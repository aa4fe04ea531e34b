"""``python -m router`` is ``mitsumori``."""

from router.cli.main import main

main()
