"""Find out whether RedNet runs on a machine, how fast, and what is in the way."""

from rednet.doctor.report import Report

__all__ = ["Report"]
