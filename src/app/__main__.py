"""python -m src.app: a page on this machine to drop pictures on."""

from src.app.command import main

main()
