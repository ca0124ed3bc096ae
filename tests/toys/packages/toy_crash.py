"""A backend that does not survive its own import."""

raise RuntimeError("this toy crashes\nat import")
