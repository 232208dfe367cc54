"""python -m src.compare A B: do two runs differ by more than chance?"""

from src.compare.command import main

main()
