from .doubts import Doubts as Doubts, read_doubts as read_doubts
from .findings import Finding as Finding
from .report import AuditReport as AuditReport, audit_markdown as audit_markdown, write_audit as write_audit
