"""What every table of `sidecar.db` belongs to."""

from __future__ import annotations

from sqlalchemy import MetaData

metadata = MetaData()
