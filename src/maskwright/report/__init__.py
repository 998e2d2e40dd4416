"""Reports: what a run or an audit found, as one HTML file that needs nothing else to be read."""

from maskwright.report.audit_report import audit_report
from maskwright.report.run_report import report

__all__ = ["audit_report", "report"]
