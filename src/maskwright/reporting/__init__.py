"""Reports: what a run or an audit found, as one HTML file that needs nothing else to be read."""

from maskwright.reporting.audit_report import audit_report, write_audit
from maskwright.reporting.explain_report import write_explanation
from maskwright.reporting.run_report import report

__all__ = ["audit_report", "report", "write_audit", "write_explanation"]
