"""What only the true networks need: the folder of images, its loader, recipes, estimates, checks before a long run.

Imports every room but report and commands.
"""

from ..lazy import names

__getattr__, __dir__, __all__ = names(__name__, folder="Folder scan", plan="Changes", driver="compute dataset started")
