"""The composition root: the only room that names concrete classes and joins them."""

from app.services.opening import open_services
from app.services.parts import Services

__all__ = ["Services", "open_services"]
