"""python -m src.predict photo.jpg: what a trained network takes pictures for."""

from src.predict.command import main

main()
